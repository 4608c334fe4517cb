//go:build !linux

package listen

import (
	"net"
	"net/netip"
	"time"
)

// Socket is a datagram socket.
type Socket struct{ *net.UDPConn }

// newSocket takes over a connection.
func newSocket(conn *net.UDPConn) (*Socket, error) { return &Socket{conn}, nil }

// interrupt has who waits, now or later, return with an error.
func (s *Socket) interrupt() { _ = s.SetReadDeadline(time.Unix(1, 0)) }

// send sends one datagram.
func (s *Socket) send(b []byte, to netip.AddrPort) error {
	_, err := s.WriteToUDPAddrPort(b, to)
	return err
}
