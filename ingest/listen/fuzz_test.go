package listen

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// chunks is a connection that brings its data in pieces and swallows answers.
type chunks struct {
	net.Conn
	data []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.data[:min(c.size, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

func (c *chunks) SetReadDeadline(time.Time) error { return nil }

// FuzzStream: where a stream is cut into reads makes no difference to what is
// handed on and refused, and nothing is made up.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"t,device=x v=1\nt v=2", "{\"v\":1}\r\n\xa2\x66device\x61x\x61v\x0at v=1\n", "\xbf\x00\xff", "\x00\n \xd9\xd9\xf7\xa0",
		"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01", "\xd9\xd9", "\n\n\xd9", "\xef\xbb\xbft v=1\n",
	} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 3)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 1 {
			size = 1
		}
		whole, wholeEnd := handedOn(t, data, len(data)+1)
		parts, partsEnd := handedOn(t, data, size)
		if whole != parts || wholeEnd != partsEnd {
			t.Errorf("whole: %q, %s\nin parts of %d: %q, %s", whole, wholeEnd, size, parts, partsEnd)
		}
		if !strings.HasPrefix(string(data), whole) && len(data) <= MaxLine {
			t.Errorf("handed on %q", whole)
		}
	})
}

// handedOn returns what a stream of data hands on, and how it ends.
func handedOn(t *testing.T, data []byte, size int) (payloads, end string) {
	r := newRecorder()
	var refused refusals
	err := (&TCP{Refuse: refused.refuse}).read(t.Context(), &stream{conn: &chunks{data: data, size: size}}, r)
	for _, p := range r.all() {
		if p == "" {
			t.Error("an empty payload")
		}
	}
	// Blanks before what cannot be followed may be handed on or not.
	return strings.TrimRight(strings.Join(r.all(), ""), " \t\r\n\x00"), err.Error() + strings.Join(refused.all(), ";")
}
