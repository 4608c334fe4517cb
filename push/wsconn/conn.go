// Package wsconn takes WebSocket connections (RFC 6455) over from net/http with
// small buffers and deadlines. github.com/coder/websocket does the handshake,
// reading, pongs and closing; messages may be written to the [Conn] itself, as
// unmasked frames that were encoded once for many viewers.
package wsconn

import (
	"bufio"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
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
	readBuffer  = 512
	writeBuffer = 256
	// deadlineAge is how old a write's deadline may be. Setting one costs a
	// twentieth of a write.
	deadlineAge = time.Second
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

// Conn is the connection of a WebSocket. Whoever writes to it, the library or
// we, has a deadline, and a write that fails closes it: a frame that was cut
// cannot be continued. net.Conn keeps the writes of several goroutines apart.
type Conn struct {
	net.Conn
	early []byte       // what the server has read ahead
	since time.Time    // when the connection was taken over
	armed atomic.Int64 // when the deadline was last set, nanoseconds after since; 0: never
}

// newConn returns a Conn over one that was taken over.
func newConn(conn net.Conn) *Conn { return &Conn{Conn: conn, since: time.Now()} }

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

func (c *Conn) Write(b []byte) (int, error) {
	age := int64(time.Since(c.since)) + 1
	if last := c.armed.Load(); last == 0 || age-last >= int64(deadlineAge) {
		if err := c.SetWriteDeadline(time.Now().Add(Jittered(WriteTimeout) + deadlineAge)); err != nil {
			return 0, err
		}
		c.armed.Store(age)
	}
	n, err := c.Conn.Write(b)
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
	return h.conn, bufio.NewReadWriter(
		bufio.NewReaderSize(h.conn, readBuffer), bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
