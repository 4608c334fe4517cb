package engine

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/naru-telemetry/naru/push/wsconn"
)

// Messages are encoded messages. They are immutable and may be sent to any number
// of sessions, by either transport.
type Messages struct {
	frames []byte // as WebSocket frames, one behind the other

	once    sync.Once
	payload []byte // as packets of a payload; made when first asked for
}

// Size returns roughly how many bytes the messages take.
func (m *Messages) Size() int { return len(m.frames) }

// asPayload returns the messages as packets of a payload.
func (m *Messages) asPayload() []byte {
	m.once.Do(func() {
		m.payload, _, _ = appendPackets(make([]byte, 0, len(m.frames)), m.frames, math.MaxInt)
	})
	return m.payload
}

// appendPackets appends at most n frames to a payload, and returns the others and
// how many more there may be.
func appendPackets(dst, frames []byte, n int) (_, rest []byte, left int) {
	for ; n > 0 && len(frames) > 0; n-- {
		var opcode byte
		var data []byte
		if opcode, data, frames = cutFrame(frames); opcode == wsconn.Binary {
			dst = appendBinary(dst, data)
		} else {
			dst = append(appendSeparated(dst), data...)
		}
	}
	return dst, frames, n
}

// cutFrame returns the first of frames that Builder has written.
func cutFrame(frames []byte) (opcode byte, data, rest []byte) {
	size, head := int(frames[1]), 2
	switch size {
	case 126:
		size, head = int(binary.BigEndian.Uint16(frames[2:])), 4
	case 127:
		size, head = int(binary.BigEndian.Uint64(frames[2:])), 10
	}
	return frames[0] & 0x0f, frames[head : head+size], frames[head+size:]
}

// Builder encodes messages. The zero Builder is empty and ready for use.
type Builder struct{ frames []byte }

// Grow makes room for about n more bytes.
func (b *Builder) Grow(n int) {
	if cap(b.frames)-len(b.frames) < n {
		b.frames = append(make([]byte, 0, len(b.frames)+n), b.frames...)
	}
}

// Text adds one text message, whose parts are joined. They must be UTF-8.
func (b *Builder) Text(parts ...[]byte) {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	b.frames = append(wsconn.AppendHeader(b.frames, wsconn.Text, size), byte(typeMessage))
	for _, p := range parts {
		b.frames = append(b.frames, p...)
	}
}

// Binary adds one binary message.
func (b *Builder) Binary(data []byte) {
	b.frames = append(wsconn.AppendHeader(b.frames, wsconn.Binary, len(data)), data...)
}

// Messages returns what was added, which the builder forgets.
func (b *Builder) Messages() *Messages {
	m := &Messages{frames: b.frames}
	b.frames = nil
	return m
}
