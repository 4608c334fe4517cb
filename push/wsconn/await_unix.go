//go:build unix

package wsconn

import (
	"net"
	"syscall"
)

// pongLen is how long a pong without payload is, from a client: the head and the mask
// (RFC 6455, section 5.2).
const pongLen = 6

// Waiter waits for a socket to have something to read. It lets a goroutine wait on a
// small stack, and takes pongs without payload, which is all that an idle viewer
// sends.
type Waiter struct {
	conn syscall.RawConn
	look func(fd uintptr) bool // made once
	pong func()
}

// NewWaiter returns a Waiter, nil where there is nothing to wait by; pong is called for each pong that it takes.
func NewWaiter(conn net.Conn, pong func()) *Waiter {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Waiter{conn: raw, pong: pong}
	w.look = func(fd uintptr) bool {
		var head [pongLen]byte
		for {
			n, _, err := syscall.Recvfrom(int(fd), head[:], syscall.MSG_PEEK)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err == syscall.EINTR:
				continue
			case err == nil && n == pongLen && head[0] == 0x8a && head[1] == 0x80:
				if n, err := syscall.Read(int(fd), head[:]); n != pongLen || err != nil {
					return true // cannot be: they were there
				}
				w.pong()
				continue
			}
			return true // something else, the end, or an error: who reads finds out
		}
	}
	return w
}

// Wait returns when there is something to read, or the connection is closed.
func (w *Waiter) Wait() {
	if w != nil {
		_ = w.conn.Read(w.look) // who reads finds out
	}
}
