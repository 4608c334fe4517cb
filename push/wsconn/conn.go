// Package wsconn takes WebSocket connections (RFC 6455) over from net/http with
// small buffers and deadlines. github.com/coder/websocket does the handshake,
// reading, pongs and closing; messages may be written to the [Conn] itself, as
// unmasked frames that were encoded once for many viewers.
package wsconn

import (
	"bufio"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"
)

// WriteTimeout ends a connection that does not take what is written. Less than
// the time in which a person notices, more than a Wi-Fi hiccup.
const WriteTimeout = 15 * time.Second

const (
	// readBuffer and writeBuffer replace net/http's 4 KiB each. Viewers send
	// little, and frames are written past the buffer. A control frame must fit
	// into the latter, so that it is one write.
	readBuffer  = 256
	writeBuffer = 144
)

// Opcodes of data frames.
const (
	Text   = 1
	Binary = 2
)

// MaxHeader is the longest header of an unmasked frame.
const MaxHeader = 10

// AppendHeader appends the header of an unmasked frame that is a whole message
// of size bytes (RFC 6455, section 5.2).
func AppendHeader(dst []byte, opcode byte, size int) []byte {
	dst = append(dst, 0x80|opcode)
	switch {
	case size < 126:
		return append(dst, byte(size))
	case size <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(size))
}

// Conn is the connection of a WebSocket, on which the library writes control frames
// and its owner messages. A write that may wait has a deadline, and one that fails
// closes the connection: a frame that was cut cannot be continued.
type Conn struct {
	net.Conn
	raw   *rawWriter    // nil: every write may wait
	early []byte        // what the server has read ahead
	in    *bufio.Reader // the library's

	// writing keeps the writes of several goroutines apart. It is held from a TryWrite
	// that has not written everything to its Finish.
	writing sync.Mutex
}

// newConn returns a Conn over one that was taken over.
func newConn(conn net.Conn) *Conn {
	c := &Conn{Conn: conn}
	if socket, ok := conn.(syscall.Conn); ok { // TLS is none: what is written there is not what goes out
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = newRawWriter(raw)
		}
	}
	return c
}

// Unread reports whether something was read that the library has not taken. It is for
// who reads by the library, between two messages.
func (c *Conn) Unread() bool { return len(c.early) > 0 || c.in.Buffered() > 0 }

func (c *Conn) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil // lets go of the server's buffer
	}
	return n, nil
}

// Write writes all of b. It sets a deadline only when it has to wait: that costs as much
// as half a write.
func (c *Conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	rest, err := c.writeNow(b)
	switch {
	case err != nil:
		return 0, err
	case rest == nil:
		return len(b), nil
	}
	n, err := c.Finish(rest)
	return len(b) - len(rest) + n, err
}

// ErrBusy is returned by TryWrite while somebody else writes.
var ErrBusy = errors.New("wsconn: somebody else writes")

// TryWrite writes what the kernel takes at once. A rest must be given to Finish,
// which waits; nothing else is written before.
func (c *Conn) TryWrite(b []byte) (rest []byte, err error) {
	if !c.writing.TryLock() {
		return nil, ErrBusy
	}
	return c.writeNow(b)
}

// writeNow does it for who holds writing, and lets go of it unless there is a rest.
func (c *Conn) writeNow(b []byte) (rest []byte, err error) {
	if c.raw == nil {
		return b, nil
	}
	n, err := c.raw.write(b)
	switch {
	case err != nil:
		c.writing.Unlock()
		_ = c.Close()
		return nil, err
	case n < len(b):
		return b[n:], nil
	}
	c.writing.Unlock()
	return nil, nil
}

// Finish writes the rest of what TryWrite was given.
func (c *Conn) Finish(rest []byte) (int, error) {
	defer c.writing.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(Jittered(WriteTimeout))); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(rest)
	if err == nil {
		err = c.SetWriteDeadline(time.Time{}) // it would also hold for TryWrite
	}
	if err != nil {
		_ = c.Close()
	}
	return n, err
}

// Jittered returns 80 to 100 % of d, so that viewers which stalled together do
// not come back together.
func Jittered(d time.Duration) time.Duration {
	return d - rand.N(d/5)
}

// Refusal is why a handshake was refused; nothing has been answered yet.
type Refusal struct {
	Status int
	Reason string
}

func (e *Refusal) Error() string { return e.Reason }

// Accept does the server's part of the handshake. When that is not possible it
// returns a *Refusal, for the caller to answer, or another error when the
// connection is gone.
func Accept(w http.ResponseWriter, r *http.Request, o *websocket.AcceptOptions) (*websocket.Conn, *Conn, error) {
	shake := &handshake{ResponseWriter: w}
	ws, err := websocket.Accept(shake, r, o)
	if err == nil {
		return ws, shake.conn, nil
	}
	if shake.refused != 0 {
		return nil, nil, &Refusal{shake.refused, strings.TrimPrefix(err.Error(), "failed to accept WebSocket connection: ")}
	}
	return nil, nil, err
}

// handshake is the ResponseWriter of an upgrade. It hands the connection to the
// library with small buffers, and keeps it; of a refusal it keeps the status, so
// that the answer can be the caller's.
type handshake struct {
	http.ResponseWriter
	conn    *Conn
	refused int // status of the refusal; 0: none
}

// Unwrap lets http.ResponseController reach the server's writer.
func (h *handshake) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *handshake) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		h.refused = status
		return
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *handshake) Write(b []byte) (int, error) {
	if h.refused != 0 {
		return len(b), nil
	}
	return h.ResponseWriter.Write(b)
}

func (h *handshake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = newConn(conn)
	if n := rw.Reader.Buffered(); n > 0 {
		h.conn.early, _ = rw.Peek(n) // cannot fail
	}
	h.conn.in = bufio.NewReaderSize(h.conn, readBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.in, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
