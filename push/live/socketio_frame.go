package live

import (
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// The forms of a frame that viewers by Socket.IO share: an event for each
// reading, and one for all.
const (
	formSingle = iota
	formBatch
)

// encode returns a frame as events, and moves where the client stands.
func (s *socketSource) encode(f *push.Frame) *engine.Messages {
	if f.Cursor.Store == "" {
		return event(f.Kind, f.JSON(), s.at) // of a device: it says nothing of the cursor
	}
	s.at = f.Cursor
	form, build := formSingle, singleEvents
	if s.v.batch {
		form, build = formBatch, batchEvent
	}
	m, _ := f.Form(form, func() any { return build(f) }).(*engine.Messages)
	return m
}

func batchEvent(f *push.Frame) *engine.Messages { return event(f.Kind, f.JSON(), f.Cursor) }

// singleEvents returns an event for each reading. Each ends with the cursor of its
// reading, the last with that of the frame, which may be further.
func singleEvents(f *push.Frame) *engine.Messages {
	if f.Kind != "readings" {
		return batchEvent(f)
	}
	var b engine.Builder
	b.Grow(len(f.JSON()) + f.Readings*eventRoom)
	left, at := f.Readings, f.Cursor
	for offset, reading := range f.Each() {
		if left--; left > 0 {
			at.Offset = offset
		} else {
			at = f.Cursor
		}
		addEvent(&b, "reading", reading, at)
	}
	return b.Messages()
}

// eventRoom is about what an event has beside its reading, in bytes.
const eventRoom = 64

// event returns one event: its name, a JSON value, and the cursor as the last
// argument, by which the client resumes.
func event(name string, json []byte, at push.Cursor) *engine.Messages {
	var b engine.Builder
	b.Grow(len(json) + eventRoom)
	addEvent(&b, name, json, at)
	return b.Messages()
}

func addEvent(b *engine.Builder, name string, json []byte, at push.Cursor) {
	var room [128]byte
	dst := append(room[:0], `2["`...)
	dst = append(append(dst, name...), `",`...)
	head := len(dst)
	dst = append(dst, `,"`...)
	dst = append(at.Append(dst), `"]`...)
	b.Text(dst[:head], json, dst[head:])
}

// hello returns the first event of a connection.
func hello(s *socketSource, recovered bool) *engine.Messages {
	text := append([]byte(`{"type":"hello","cursor":"`), s.sub.Cursor().String()...)
	text = append(text, '"')
	if recovered {
		text = append(text, `,"recovered":true`...)
	}
	return event("hello", append(text, '}'), s.at)
}
