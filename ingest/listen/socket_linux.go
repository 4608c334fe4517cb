package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Socket is a datagram socket.
//
// Go's network poller is told of every datagram that a socket it knows gets, and wakes a
// thread, also for those that are left to gather. So it does not know this one, but a
// bell: an epoll instance that looks at the socket only while somebody waits.
type Socket struct {
	file  *os.File // non-blocking, and not known to the poller
	raw   syscall.RawConn
	local net.Addr
	v6    bool
	batch *ipv4.PacketConn // the package serves both families

	bell    *os.File
	bellRaw syscall.RawConn
	ring    func(bell uintptr) bool // made once, as the next two; for who reads
	hush    func(bell uintptr)
	ask     func(socket uintptr)
	epoll   int
	asked   bool
	err     error
}

// sendWait is for how long an answer waits for room in the socket's send buffer.
const sendWait = 100 * time.Millisecond

// newSocket takes over a connection, which it closes.
func newSocket(conn *net.UDPConn) (*Socket, error) {
	s := &Socket{local: conn.LocalAddr()}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	fd, dupErr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, dupErr, conn.Close()); err != nil {
		return nil, err
	}
	// A file that blocks when it is made stays out of the poller.
	err = unix.SetNonblock(fd, false)
	s.file = os.NewFile(uintptr(fd), "udp")
	if err = errors.Join(err, unix.SetNonblock(fd, true)); err == nil {
		err = s.open(fd)
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// open makes what belongs to the socket fd.
func (s *Socket) open(fd int) error {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	_, s.v6 = name.(*unix.SockaddrInet6)
	bell, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	err = errors.Join(unix.SetNonblock(bell, true), unix.EpollCtl(bell, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{}))
	s.bell = os.NewFile(uintptr(bell), "bell")
	if err == nil {
		s.raw, err = s.file.SyscallConn()
	}
	if err == nil {
		s.bellRaw, err = s.bell.SyscallConn()
	}
	if err != nil {
		return errors.Join(err, s.bell.Close())
	}
	s.batch = ipv4.NewPacketConn(batchConn{raw: s.raw, local: s.local})
	s.ask = func(socket uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT}
		s.err = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, int(socket), &event)
	}
	s.ring = func(bell uintptr) bool {
		if s.asked {
			return true
		}
		s.asked, s.epoll = true, int(bell)
		// A bell that counts as ringing from before would not ring again for what is
		// there when it is asked to.
		if s.hush(bell); s.err == nil {
			if err := s.raw.Control(s.ask); err != nil {
				s.err = err
			}
		}
		return s.err != nil
	}
	s.hush = func(bell uintptr) {
		var events [1]unix.EpollEvent
		_, s.err = unix.EpollWait(int(bell), events[:], 0)
	}
	return nil
}

// wait returns when there may be something to read. It is for one goroutine.
func (s *Socket) wait() error {
	s.asked = false
	if err := s.bellRaw.Read(s.ring); err != nil {
		return err
	}
	if s.err != nil {
		return s.err
	}
	if err := s.bellRaw.Control(s.hush); err != nil { // for what else comes before the next wait
		return err
	}
	return s.err
}

// read fills msgs with datagrams, of which it waits for the first.
func (s *Socket) read(msgs []ipv4.Message) (int, error) {
	for {
		n, err := s.batch.ReadBatch(msgs, unix.MSG_DONTWAIT)
		if !errors.Is(err, unix.EAGAIN) {
			return n, err
		}
		if err := s.wait(); err != nil {
			return 0, err
		}
	}
}

// interrupt has who waits, now or later, return with an error.
func (s *Socket) interrupt() { _ = s.bell.SetReadDeadline(time.Unix(1, 0)) }

// send sends one datagram. It waits a little where the kernel has no room for it.
func (s *Socket) send(b []byte, to netip.AddrPort) error {
	if to.Addr().Zone() != "" { // the package knows the numbers of interfaces
		m := ipv4.Message{Buffers: [][]byte{b}, Addr: net.UDPAddrFromAddrPort(to)}
		_, err := s.batch.WriteBatch([]ipv4.Message{m}, unix.MSG_DONTWAIT)
		return err
	}
	var sa unix.Sockaddr
	if s.v6 {
		sa = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	} else {
		if !to.Addr().Unmap().Is4() {
			return fmt.Errorf("listen: %v cannot be reached from a socket of IPv4", to)
		}
		sa = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().Unmap().As4()}
	}
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		failed = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, sa)
		if errors.Is(failed, unix.EAGAIN) {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(sendWait/time.Millisecond))
			failed = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, sa)
		}
	})
	return errors.Join(err, failed)
}

// LocalAddr returns the address that the socket is bound to.
func (s *Socket) LocalAddr() net.Addr { return s.local }

// Close closes the socket. Nobody may be reading.
func (s *Socket) Close() error { return errors.Join(s.bell.Close(), s.file.Close()) }

// SyscallConn implements syscall.Conn.
func (s *Socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// batchConn is what package ipv4 takes, which uses no other methods than these two.
type batchConn struct {
	*net.UDPConn // nil
	raw          syscall.RawConn
	local        net.Addr
}

// LocalAddr implements net.PacketConn.
func (c batchConn) LocalAddr() net.Addr { return c.local }

// SyscallConn implements syscall.Conn.
func (c batchConn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }
