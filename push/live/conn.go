package live

import (
	"bufio"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// wsReadBuffer and wsWriteBuffer replace net/http's 4 KiB each. Viewers send
	// little, and frames are written past the buffer. A control frame must fit
	// into the latter, so that it is one write.
	wsReadBuffer  = 512
	wsWriteBuffer = 256
	// deadlineAge is how old a write's deadline may be. Setting one costs a
	// twentieth of a write.
	deadlineAge = time.Second
)

// viewerConn is the connection of a WebSocket. Whoever writes to it, the library
// or we, has a deadline, and a write that fails closes it: a frame that was cut
// cannot be continued. net.Conn keeps the writes of several goroutines apart.
type viewerConn struct {
	net.Conn
	early []byte       // what the server has read ahead
	since time.Time    // when the connection was taken over
	armed atomic.Int64 // when the deadline was last set, nanoseconds after since; 0: never
}

func (c *viewerConn) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	if c.early = c.early[n:]; len(c.early) == 0 {
		c.early = nil // lets go of the server's buffer
	}
	return n, nil
}

func (c *viewerConn) Write(b []byte) (int, error) {
	age := int64(time.Since(c.since)) + 1
	if last := c.armed.Load(); last == 0 || age-last >= int64(deadlineAge) {
		if err := c.SetWriteDeadline(time.Now().Add(jittered(writeTimeout) + deadlineAge)); err != nil {
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

// handshake is the ResponseWriter of an upgrade. It hands the connection to the
// library with small buffers, and keeps it; of a refusal it keeps the status, so
// that the answer can be ours.
type handshake struct {
	http.ResponseWriter
	conn    *viewerConn
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
	h.conn = &viewerConn{Conn: conn, since: time.Now()}
	if n := rw.Reader.Buffered(); n > 0 {
		h.conn.early, _ = rw.Peek(n) // cannot fail
	}
	return h.conn, bufio.NewReadWriter(
		bufio.NewReaderSize(h.conn, wsReadBuffer), bufio.NewWriterSize(h.conn, wsWriteBuffer)), nil
}
