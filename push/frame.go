package push

import (
	"encoding/binary"

	"github.com/naru-telemetry/naru/device"
)

// Frame is one message to a viewer, encoded. It is immutable and shared.
type Frame struct {
	// Cursor is where the viewer stands after this message.
	Cursor Cursor
	// Readings is how many readings the message carries.
	Readings int

	live  bool   // it reaches up to the feed's head, or where subscribers were to stop
	buf   []byte // room for the WebSocket header, then the JSON text
	start int    // where the header begins
	json  int    // where the JSON text begins
}

// maxHeader is the longest header of an unmasked WebSocket frame (RFC 6455,
// section 5.2).
const maxHeader = 10

// JSON returns the message as one line of JSON, without a newline.
func (f *Frame) JSON() []byte { return f.buf[f.json:] }

// WebSocket returns the message as an unmasked text frame of RFC 6455.
func (f *Frame) WebSocket() []byte { return f.buf[f.start:] }

// seal writes the WebSocket header in front of the JSON text.
func (f *Frame) seal() *Frame {
	f.json = maxHeader
	switch n := len(f.buf) - maxHeader; {
	case n < 126:
		f.start = maxHeader - 2
		f.buf[f.start+1] = byte(n)
	case n <= 0xffff:
		f.start = maxHeader - 4
		f.buf[f.start+1] = 126
		binary.BigEndian.PutUint16(f.buf[f.start+2:], uint16(n))
	default:
		f.start = 0
		f.buf[1] = 127
		binary.BigEndian.PutUint64(f.buf[2:], uint64(n))
	}
	f.buf[f.start] = 0x81 // FIN, text
	return f
}

// frameBuilder gathers encoded readings into a readings message.
type frameBuilder struct {
	frame *Frame
}

func newFrame(size int) *Frame {
	return &Frame{buf: make([]byte, maxHeader, maxHeader+size)}
}

const readingsHead = `{"type":"readings","cursor":"`

// begin opens the message. The cursor is known at the end only, so room for the
// longest one is left and closed again by finish.
func (b *frameBuilder) begin(store string, sizeHint int) {
	b.frame = newFrame(len(readingsHead) + len(store) + 64 + sizeHint)
	b.frame.buf = append(b.frame.buf, readingsHead...)
	b.frame.buf = append(b.frame.buf, store...)
	b.frame.buf = append(b.frame.buf, "-00000000000000000000"...)
	b.frame.buf = append(b.frame.buf, `","readings":[`...)
}

func (b *frameBuilder) add(json []byte) {
	b.comma()
	b.frame.buf = append(b.frame.buf, json...)
}

func (b *frameBuilder) addStored(s *device.Stored) {
	b.comma()
	b.frame.buf = s.AppendJSON(b.frame.buf)
}

func (b *frameBuilder) comma() {
	if b.frame.Readings > 0 {
		b.frame.buf = append(b.frame.buf, ',')
	}
	b.frame.Readings++
}

// finish writes the cursor into its place, moving the head of the message up to
// the readings, and closes the message.
func (b *frameBuilder) finish(c Cursor) *Frame {
	f := b.frame
	f.Cursor = c
	f.buf = append(f.buf, "]}"...)
	var digits [20]byte
	n := Cursor{Offset: c.Offset}.append(digits[:0])[1:] // without the dash
	field := maxHeader + len(readingsHead) + len(c.Store) + 1
	gap := 20 - len(n)
	copy(f.buf[gap:], f.buf[:field])
	copy(f.buf[field+gap:], n)
	f.buf = f.buf[gap:]
	return f.seal()
}

// control returns a message without readings.
func control(c Cursor, kind string, members ...string) *Frame {
	f := newFrame(128)
	f.Cursor = c
	f.buf = append(f.buf, `{"type":`...)
	f.buf = device.AppendJSONString(f.buf, kind)
	if c.Store != "" {
		f.buf = append(f.buf, `,"cursor":"`...)
		f.buf = c.append(f.buf)
		f.buf = append(f.buf, '"')
	}
	for i := 0; i+1 < len(members); i += 2 {
		f.buf = append(f.buf, ',')
		f.buf = device.AppendJSONString(f.buf, members[i])
		f.buf = append(f.buf, ':')
		f.buf = device.AppendJSONString(f.buf, members[i+1])
	}
	f.buf = append(f.buf, '}')
	return f.seal()
}

// Subscribed returns the answer to a viewer's subscribe message.
func Subscribed(c Cursor) *Frame { return control(c, "subscribed") }

// Failure returns an error message for the viewer.
func Failure(msg string) *Frame { return control(Cursor{}, "error", "error", msg) }

// Empty returns a readings message without readings, which tells the cursor.
func Empty(c Cursor) *Frame {
	var b frameBuilder
	b.begin(c.Store, 0)
	return b.finish(c)
}
