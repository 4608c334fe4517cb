package fleet

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// socket is a datagram socket behind a link that may be bad. That nobody listens
// at the moment is not its end, and a datagram that cannot leave is one more lost.
type socket struct {
	net.Conn
	link  *link
	stats *stats
	// spared passes the link by: while hands are shaken nobody looks after the
	// datagrams that it delays.
	spared atomic.Bool
}

// newSocket returns the socket as the device sees it. What the link has kept from an
// earlier socket leaves through this one.
func newSocket(conn net.Conn, l *link, st *stats) *socket {
	s := &socket{Conn: conn, link: l, stats: st}
	l.through(s.put)
	return s
}

// put puts a datagram on the network. A session that ends breaks off its own writes
// by their deadline.
func (s *socket) put(b []byte) error {
	s.stats.bytes.Add(int64(len(b)))
	if _, err := s.Conn.Write(b); err != nil {
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		s.stats.fail(err)
	}
	return nil
}

// Write sends a datagram, through the link unless it is spared.
func (s *socket) Write(b []byte) (int, error) {
	var err error
	if s.spared.Load() {
		err = s.put(b)
	} else {
		err = s.link.send(b, time.Now())
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Read reads a datagram.
func (s *socket) Read(b []byte) (int, error) {
	for {
		n, err := s.Conn.Read(b)
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return n, err
		}
	}
}

// datagrams carries a message in each datagram.
type datagrams struct {
	conn net.Conn
	buf  []byte // of receive
}

func newDatagrams(conn net.Conn) *datagrams {
	return &datagrams{conn: conn, buf: make([]byte, maxAnswer)}
}

func (d *datagrams) frame(dst []byte, m *message) []byte { return appendPayload(dst, m, false) }

func (d *datagrams) send(framed []byte, _ uint64) error {
	_, err := d.conn.Write(framed)
	return err
}

func (d *datagrams) receive() (answer, error) {
	n, err := d.conn.Read(d.buf)
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(d.buf[:n])
}
