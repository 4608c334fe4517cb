package fleet

import (
	"bufio"
	"net"
	"time"
)

// stream carries messages one after the other. It writes many at once.
type stream struct {
	conn  net.Conn
	in    *bufio.Reader
	out   []byte // not written yet
	stats *stats
}

// newStream returns a stream that begins with the introduction, if there is one.
func newStream(conn net.Conn, s *stats, introduction []byte) *stream {
	return &stream{conn: conn, in: bufio.NewReaderSize(conn, maxAnswer), out: introduction, stats: s}
}

func (c *stream) frame(dst []byte, m *message) []byte { return appendPayload(dst, m, true) }

func (c *stream) send(framed []byte, _ uint64) error {
	c.stats.bytes.Add(int64(len(framed)))
	c.out = append(c.out, framed...)
	if len(c.out) < streamBuffer {
		return nil
	}
	return c.flush()
}

func (c *stream) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

func (c *stream) receive() (answer, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return answer{}, err
	}
	return parseAnswer(line)
}

// finish closes our end first, so that the server reads all of it.
func (c *stream) finish() (follows bool, err error) {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok {
		return false, nil
	}
	return true, half.CloseWrite()
}
