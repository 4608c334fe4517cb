package listen

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Bounds of a handshake that is under way.
const (
	// maxShakeDatagrams bounds what waits for the handshake to read it; a client
	// sends a few and then waits for an answer.
	maxShakeDatagrams = 16
	// maxShakeDatagram is the largest that is worth reading: the handshake's
	// buffer. A chain of certificates comes in pieces.
	maxShakeDatagram = 8192
	// maxStrange and maxShake bound what a handshake reads in all, in bytes: before
	// the client has shown that its address is its own, a few ClientHellos; after
	// that, two chains of certificates.
	maxStrange = 2 << 10
	maxShake   = 24 << 10
	// maxHeld and maxHeldBytes bound the records that come under the new keys
	// before the handshake has made them: a burst of readings.
	maxHeld      = 64
	maxHeldBytes = 16 << 10
)

// shakeConn is the connection that a handshake runs over: the demultiplexer
// feeds it, and what it writes goes out by the socket. It reads from what goes
// out what the record layer needs to know.
type shakeConn struct {
	to   netip.AddrPort
	send func(to netip.AddrPort, b []byte)
	wake chan struct{} // to the reader, capacity 1
	// spoken is called when something goes out.
	spoken func()

	mu       sync.Mutex // guards following
	in       [][]byte
	fed      int  // bytes that went into in
	expired  bool // the reader is to give up
	closed   bool
	muted    bool // nothing goes out any more
	answered bool // the client has returned its cookie, so that its address is true
	seen     sent
}

// sent is what went out.
type sent struct {
	suite  uint16
	random []byte    // the server's
	flight []byte    // the last datagram with a record of epoch 1
	next   [2]uint64 // number of the next record, by epoch
}

func newShakeConn(to netip.AddrPort, send func(netip.AddrPort, []byte)) *shakeConn {
	return &shakeConn{to: to, send: send, wake: make(chan struct{}, 1), spoken: func() {}}
}

// feed queues a datagram, which it copies.
func (c *shakeConn) feed(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := maxStrange
	if c.answered {
		most = maxShake
	}
	if c.closed || len(c.in) >= maxShakeDatagrams || len(b) > maxShakeDatagram || c.fed+len(b) > most {
		return
	}
	c.fed += len(b)
	c.in = append(c.in, append([]byte(nil), b...))
	c.signal()
}

func (c *shakeConn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Read returns a datagram. It has one caller at a time.
func (c *shakeConn) Read(b []byte) (int, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, io.EOF
		case c.expired:
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0:
			n := copy(b, c.in[0])
			c.in = c.in[1:]
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		<-c.wake
	}
}

// Write sends a datagram.
func (c *shakeConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.muted {
		return len(b), nil
	}
	c.note(b)
	c.send(c.to, b)
	c.spoken()
	return len(b), nil
}

// note reads a datagram that goes out. The caller holds mu.
func (c *shakeConn) note(b []byte) {
	for rest := b; ; {
		r, after, ok := cutRecord(rest)
		if !ok {
			return
		}
		rest = after
		if r.epoch > epoch {
			continue
		}
		c.seen.next[r.epoch] = max(c.seen.next[r.epoch], r.seq+1)
		switch {
		case r.epoch == epoch:
			c.seen.flight = append([]byte(nil), b...)
		case r.kind == typeHandshake && len(r.body) > 0 && r.body[0] != helloVerifyRequest:
			c.answered = true
			c.noteHello(r.body)
		}
	}
}

// noteHello reads the server's random and suite off its ServerHello. The caller
// holds mu.
func (c *shakeConn) noteHello(b []byte) {
	const at = messageHead + 2
	if b[0] != serverHello || len(b) < at+32+1 {
		return
	}
	if id := at + 32 + 1 + int(b[at+32]); len(b) >= id+2 {
		c.seen.random = append([]byte(nil), b[at:at+32]...)
		c.seen.suite = binary.BigEndian.Uint16(b[id:])
	}
}

// alert sends an alert in clear, behind what the handshake has sent, and then
// nothing any more.
func (c *shakeConn) alert(description byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.muted {
		b := appendHead(nil, typeAlert, 0, c.seen.next[0], 2)
		c.send(c.to, append(b, alertFatal, description))
		c.muted = true
	}
}

// mute ends the sending and returns what has been sent.
func (c *shakeConn) mute() sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = true
	return c.seen
}

// returned reports whether the client has returned its cookie.
func (c *shakeConn) returned() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answered
}

// Close wakes the reader.
func (c *shakeConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.in = true, nil
	c.signal()
	return nil
}

// SetReadDeadline ends a Read when t is over; pion sets no others.
func (c *shakeConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired = !t.IsZero() && !t.After(time.Now())
	c.signal()
	return nil
}

// SetWriteDeadline does nothing: a datagram goes out at once.
func (c *shakeConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline is SetReadDeadline.
func (c *shakeConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// LocalAddr returns no address worth knowing.
func (c *shakeConn) LocalAddr() net.Addr { return &net.UDPAddr{} }

// RemoteAddr returns the client's.
func (c *shakeConn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(c.to) }
