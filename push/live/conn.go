package live

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

const (
	// wsReadBuffer and wsWriteBuffer replace net/http's 4 KiB each. Viewers send
	// little, and frames are written past the buffer. A control frame must fit
	// into the latter, so that it is one write.
	wsReadBuffer  = 512
	wsWriteBuffer = 256
)

// viewerConn is the connection of a WebSocket, on which the library writes control
// frames and we messages. A write that blocks has a deadline, and one that fails
// closes the connection: a frame that was cut cannot be continued.
type viewerConn struct {
	net.Conn
	raw   *rawWriter    // nil: every write may block
	early []byte        // what the server has read ahead
	in    *bufio.Reader // the library's

	// writing keeps the writes of several goroutines apart. It is held from a tryWrite
	// that has not written everything to its finish.
	writing sync.Mutex
}

func newViewerConn(conn net.Conn) *viewerConn {
	c := &viewerConn{Conn: conn}
	if socket, ok := conn.(syscall.Conn); ok { // TLS is none: what is written there is not what goes out
		if raw, err := socket.SyscallConn(); err == nil {
			c.raw = newRawWriter(raw)
		}
	}
	return c
}

// unread reports whether something was read that the library has not taken.
func (c *viewerConn) unread() bool { return len(c.early) > 0 || c.in.Buffered() > 0 }

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
	c.writing.Lock()
	return c.finish(b)
}

// tryWrite writes what the kernel takes at once. A rest must be given to finish,
// which waits; nothing else is written before.
func (c *viewerConn) tryWrite(b []byte) (rest []byte, err error) {
	if !c.writing.TryLock() {
		return nil, errBusy
	}
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

// errBusy is returned by tryWrite while somebody else writes.
var errBusy = errors.New("somebody else writes")

// finish writes the rest of what tryWrite was given.
func (c *viewerConn) finish(rest []byte) (int, error) {
	defer c.writing.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(jittered(writeTimeout))); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(rest)
	if err == nil {
		err = c.SetWriteDeadline(time.Time{}) // it would also hold for tryWrite
	}
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
	h.conn = newViewerConn(conn)
	if n := rw.Reader.Buffered(); n > 0 {
		h.conn.early, _ = rw.Peek(n) // cannot fail
	}
	h.conn.in = bufio.NewReaderSize(h.conn, wsReadBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.in, bufio.NewWriterSize(h.conn, wsWriteBuffer)), nil
}
