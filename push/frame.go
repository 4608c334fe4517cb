package push

import (
	"bytes"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/wsconn"
)

// Frame is one message to a viewer, encoded. It is immutable and shared.
type Frame struct {
	// Cursor is where the viewer stands after this message.
	Cursor Cursor
	// Readings is how many readings the message carries.
	Readings int
	// Kind is the message's type.
	Kind string

	aside bool   // it says nothing of readings, and nothing of the cursor
	live  bool   // it reaches up to the feed's head, or where subscribers were to stop
	buf   []byte // a WebSocket header, then the JSON text
	json  int    // where the JSON text begins

	forms atomic.Pointer[[Forms]form]
}

// Forms is how many forms of a frame there may be beside its own.
const Forms = 2

type form struct {
	once sync.Once
	made any
}

// Form returns form i of the frame, as made when it was first asked for: so it is
// encoded once for all who are handed the frame.
func (f *Frame) Form(i int, make func() any) any {
	forms := f.forms.Load()
	if forms == nil {
		f.forms.CompareAndSwap(nil, new([Forms]form))
		forms = f.forms.Load()
	}
	o := &forms[i]
	o.once.Do(func() { o.made = make() })
	return o.made
}

// Each returns the readings of the message with their offsets, as the JSON that
// they stand there.
func (f *Frame) Each() iter.Seq2[uint64, []byte] {
	return func(yield func(uint64, []byte) bool) {
		if f.Readings == 0 {
			return
		}
		_, rest, _ := bytes.Cut(f.JSON(), []byte(readingsAfter))
		for len(rest) > len(readingsEnd) {
			n := objectLen(rest)
			if !yield(offsetOf(rest[:n]), rest[:n:n]) {
				return
			}
			rest = rest[min(n+1, len(rest)):]
		}
	}
}

// objectLen returns the length of the object that json begins with. It holds no
// other object: it is a reading.
func objectLen(json []byte) int {
	text := false
	for i := 0; i < len(json); i++ {
		switch {
		case json[i] == '"':
			text = !text
		case text && json[i] == '\\':
			i++
		case !text && json[i] == '}':
			return i + 1
		}
	}
	return len(json)
}

// offsetOf returns the offset that an encoded reading begins with.
func offsetOf(reading []byte) (offset uint64) {
	for _, c := range reading[min(len(offsetHead), len(reading)):] {
		if c < '0' || c > '9' {
			break
		}
		offset = 10*offset + uint64(c-'0')
	}
	return offset
}

// JSON returns the message as one line of JSON, without a newline.
func (f *Frame) JSON() []byte { return f.buf[f.json:] }

// WebSocket returns the message as an unmasked text frame of RFC 6455.
func (f *Frame) WebSocket() []byte { return f.buf }

// newFrame returns a frame for a JSON text of this size, which is yet to be
// appended to buf.
func newFrame(size int) *Frame {
	var h [wsconn.MaxHeader]byte
	header := wsconn.AppendHeader(h[:0], wsconn.Text, size)
	return &Frame{buf: append(make([]byte, 0, len(header)+size), header...), json: len(header)}
}

// frameBuilder gathers encoded readings into a readings message.
type frameBuilder struct {
	body     []byte // readings, between commas
	readings int
	room     windowRoom // for who looks for the readings
}

const (
	readingsHead  = `{"type":"readings","cursor":"`
	readingsAfter = `","readings":[`
	readingsEnd   = `]}`
	offsetHead    = `{"offset":`
	maxCursor     = maxStoreLen + 1 + 20
)

func (b *frameBuilder) add(json []byte) {
	b.comma()
	b.body = append(b.body, json...)
}

func (b *frameBuilder) addStored(s *device.Stored) {
	b.comma()
	b.body = s.AppendJSON(b.body)
}

func (b *frameBuilder) comma() {
	if b.readings > 0 {
		b.body = append(b.body, ',')
	}
	b.readings++
}

// finish returns the message. The builder's memory is not part of it.
func (b *frameBuilder) finish(c Cursor) *Frame {
	var room [maxCursor]byte
	cursor := c.Append(room[:0])
	f := newFrame(len(readingsHead) + len(cursor) + len(readingsAfter) + len(b.body) + len(readingsEnd))
	f.Cursor, f.Readings, f.Kind = c, b.readings, "readings"
	f.buf = append(f.buf, readingsHead...)
	f.buf = append(f.buf, cursor...)
	f.buf = append(f.buf, readingsAfter...)
	f.buf = append(f.buf, b.body...)
	f.buf = append(f.buf, readingsEnd...)
	return f
}

// control returns a message without readings.
func control(c Cursor, kind string, members ...string) *Frame {
	text := device.AppendJSONString([]byte(`{"type":`), kind)
	if c.Store != "" {
		text = append(text, `,"cursor":"`...)
		text = c.Append(text)
		text = append(text, '"')
	}
	for i := 0; i+1 < len(members); i += 2 {
		text = append(text, ',')
		text = device.AppendJSONString(text, members[i])
		text = append(text, ':')
		text = device.AppendJSONString(text, members[i+1])
	}
	text = append(text, '}')
	f := newFrame(len(text))
	f.Cursor, f.Kind, f.buf = c, kind, append(f.buf, text...)
	return f
}

// Subscribed returns the answer to a viewer's subscribe message.
func Subscribed(c Cursor) *Frame { return control(c, "subscribed") }

// Failure returns an error message for the viewer.
func Failure(msg string) *Frame { return control(Cursor{}, "error", "error", msg) }

// Empty returns a readings message without readings, which tells the cursor.
func Empty(c Cursor) *Frame {
	var b frameBuilder
	return b.finish(c)
}
