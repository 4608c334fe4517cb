package wire

import (
	"bytes"
	"strconv"
)

// Decoder reads the messages of one payload after the other. It keeps its
// buffers, so that decoding allocates nothing once it is warm. The zero Decoder
// is ready; it must not be shared by goroutines.
//
//	d.Reset(payload, false)
//	for d.Next() {
//		m, err := d.Message()
//		…
//	}
type Decoder struct {
	buf     []byte // what is not read yet begins at pos
	pos     int
	lines   bool // a message ends with its line
	line    int  // number of the line at lineAt
	lineAt  int  // where that line begins in buf
	msg     Message
	err     *SyntaxError
	tags    []tag
	scratch []byte // unescaped texts and composed names of the message
	path    []byte // dotted name of the member being read
	json    jsonTokens
	cbor    cborTokens
	array   arrayState
	senml   senmlBase
}

// arrayState is where the decoder stands in a top-level JSON or CBOR array.
type arrayState struct {
	open  bool
	cbor  bool
	senml bool
	any   bool // one element has been read
}

// Reset begins a new payload. The decoder and its messages refer to payload
// until the next Reset. With lines, as in a stream, no message reaches over the
// end of its line; without, as in a datagram, a JSON text may.
func (d *Decoder) Reset(payload []byte, lines bool) {
	d.buf, d.pos, d.lines = payload, 0, lines
	d.line, d.lineAt = 1, 0
	d.array = arrayState{}
}

// Next reads the next message and reports whether there was one. A message that
// cannot be read counts; Message tells.
func (d *Decoder) Next() bool {
	d.err = nil
	d.scratch = d.scratch[:0]
	d.msg = Message{Fields: d.msg.Fields[:0]}
	if d.array.open {
		if d.nextElement() {
			return true
		}
		if d.err != nil {
			return true
		}
	}
	for d.pos < len(d.buf) {
		switch c := d.buf[d.pos]; {
		case c == '\n':
			d.pos++
			d.newLine()
		case c == ' ' || c == '\r' || c == '\t' || c == 0:
			d.pos++
		case c == '#':
			d.skipLine()
		case c == '{' || c == '[':
			if d.decodeJSON() {
				return true
			}
		case isCBOR(d.buf[d.pos:]):
			if d.decodeCBOR() {
				return true
			}
		default:
			d.decodeLine()
			return true
		}
	}
	return false
}

// Message returns the message that Next has read, or why it could not be read.
// Even then Format and Raw are set, and whatever of Device, Seq and Ack was
// understood.
func (d *Decoder) Message() (*Message, error) {
	if d.err != nil {
		return &d.msg, d.err
	}
	return &d.msg, nil
}

// isCBOR reports whether b begins with a CBOR array, map or self-description.
func isCBOR(b []byte) bool {
	return b[0] >= 0x80 && b[0] <= 0xbf || len(b) > 2 && b[0] == 0xd9 && b[1] == 0xd9 && b[2] == 0xf7
}

func (d *Decoder) newLine() {
	d.line++
	d.lineAt = d.pos
}

func (d *Decoder) skipLine() {
	if i := bytes.IndexByte(d.buf[d.pos:], '\n'); i >= 0 {
		d.pos += i
	} else {
		d.pos = len(d.buf)
	}
}

// end returns where the message at pos may reach to.
func (d *Decoder) end() int {
	if d.lines {
		if i := bytes.IndexByte(d.buf[d.pos:], '\n'); i >= 0 {
			return d.pos + i
		}
	}
	return len(d.buf)
}

// advance moves to pos and counts the lines that it passes.
func (d *Decoder) advance(pos int) {
	for {
		i := bytes.IndexByte(d.buf[d.pos:pos], '\n')
		if i < 0 {
			break
		}
		d.pos += i + 1
		d.newLine()
	}
	d.pos = pos
}

// fail records why the message at pos cannot be read.
func (d *Decoder) fail(f Format, at int, msg string) {
	e := &SyntaxError{Format: f, Line: d.line, Byte: at + 1, Msg: msg}
	if f == FormatLine || f == FormatJSON || f == FormatSenML {
		start := d.lineAt
		for {
			i := bytes.IndexByte(d.buf[start:at], '\n')
			if i < 0 {
				break
			}
			start += i + 1
			e.Line++
		}
		e.Byte = at - start + 1
	}
	d.msg.Format = f
	d.err = e
}

// addField appends a reading to the message and reports whether there was room.
func (d *Decoder) addField(metric []byte, v Value) bool {
	if len(d.msg.Fields) >= maxFields {
		return false
	}
	d.msg.Fields = append(d.msg.Fields, Field{Metric: metric, Value: v})
	return true
}

// keep copies b into the scratch space, where it lives as long as the message.
func (d *Decoder) keep(b []byte) []byte {
	at := len(d.scratch)
	d.scratch = append(d.scratch, b...)
	return d.scratch[at:len(d.scratch):len(d.scratch)]
}

// parseFloat reads a decimal number; false when it is none or out of range.
func parseFloat(b []byte) (float64, bool) {
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil
}

// parseInt reads a decimal integer without leading plus; false when it is none
// or does not fit.
func parseInt(b []byte) (int64, bool) {
	i, neg := 0, len(b) > 0 && b[0] == '-'
	if neg {
		i = 1
	}
	if i == len(b) || len(b)-i > 19 {
		return 0, false
	}
	var n uint64
	for ; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	switch {
	case neg && n <= 1<<63:
		return -int64(n), true
	case !neg && n < 1<<63:
		return int64(n), true
	}
	return 0, false
}
