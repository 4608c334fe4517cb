package wire

import (
	"bytes"

	"github.com/naru-telemetry/naru/device"
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
	// Accept are the formats that are taken; the zero value takes all. What comes
	// in another is a SyntaxError.
	Accept Formats

	buf     []byte // what is not read yet begins at pos
	pos     int
	lines   bool // a message ends with its line
	line    int  // number of the line at lineAt
	lineAt  int  // where that line begins in buf; no newline stands before pos
	lineEnd int  // with lines, where the line ends that was looked at last
	midLine bool // with lines, a text message has been read on this line
	msg     Message
	err     *SyntaxError
	tags    []tag
	scratch []byte // unescaped texts and composed names of the message
	path    []byte // dotted name of the member being read
	json    jsonTokens
	cbor    cborTokens
	array   arrayState
	senml   senmlBase
	series  seriesState
	gzip    *gzipState // nil until something has been packed
	// unpacked says that buf is what a packed payload held.
	unpacked bool
}

// arrayState is where the decoder stands in what holds many messages: a
// top-level JSON or CBOR array, or a line or datagram of a dialect.
type arrayState struct {
	open    bool
	cbor    bool
	senml   bool
	dialect Format // FormatTeleplot or FormatCollectd, whose place is in series
}

// Reset begins a new payload. The decoder and its messages refer to payload
// until the next Reset. With lines, as in a stream, no message reaches over the
// end of its line; without, as in a datagram, a JSON text may.
func (d *Decoder) Reset(payload []byte, lines bool) {
	d.buf, d.pos, d.lines = payload, 0, lines
	d.line, d.lineAt, d.lineEnd, d.midLine = 1, 0, -1, false
	d.array = arrayState{}
	d.unpacked = false
}

// Next reads the next message and reports whether there was one. A message that
// cannot be read counts; Message tells.
func (d *Decoder) Next() bool {
	if d.Accept != 0 {
		return d.nextAccepted()
	}
	return d.next()
}

// nextAccepted is Next for a decoder that does not take every format. What is
// read in another is refused where it can still be told as what it is.
func (d *Decoder) nextAccepted() bool {
	if !d.next() {
		return false
	}
	if f := d.msg.Format; f != 0 && !d.Accept.Has(f) {
		d.msg.Fields = d.msg.Fields[:0]
		d.err = &SyntaxError{Format: f, Line: d.line, Byte: 1, At: 1, Msg: "this is " + f.String() + ", and what is taken here is " + d.Accept.String()}
	}
	return true
}

func (d *Decoder) next() bool {
	read := d.nextMessage()
	if d.msg.Format.binary() {
		d.msg.Line = 0
	}
	return read
}

func (d *Decoder) nextMessage() bool {
	d.err = nil
	d.scratch = d.scratch[:0]
	d.msg = Message{Fields: d.msg.Fields[:0]}
	if d.array.open && d.nextElement() {
		return true
	}
	for d.pos < len(d.buf) {
		d.msg.Line = d.line
		switch c := d.buf[d.pos]; {
		case c == '\n':
			d.pos++
			d.newLine()
		case isBlank(c):
			if c == 0 && d.beginsCollectd() {
				return d.decodeCollectd()
			}
			d.pos++
		case c == '#':
			d.skipLine()
		case c == '{' || c == '[':
			if d.decodeJSON() {
				return true
			}
		case d.midLine: // what follows a JSON text on its line
			if d.decodeLine() {
				return true
			}
		case IsCBOR(d.buf[d.pos:]):
			if d.decodeCBOR() {
				return true
			}
		case c == byteOrderMark[0] && bytes.HasPrefix(d.buf[d.pos:], []byte(byteOrderMark)):
			d.pos += len(byteOrderMark)
			d.midLine = d.lines
		default:
			if d.decodeLine() {
				return true
			}
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

// IsCBOR reports whether b, which is not empty, begins with a CBOR array, map or
// self-description.
func IsCBOR(b []byte) bool {
	return b[0] >= 0x80 && b[0] <= 0xbf || b[0] == selfDescription[0] && bytes.HasPrefix(b, []byte(selfDescription))
}

// selfDescription is the tag that tells CBOR from anything else (RFC 8949,
// section 3.4.6).
const selfDescription = "\xd9\xd9\xf7"

// byteOrderMark is what some editors and shells begin a UTF-8 text with.
const byteOrderMark = "\xef\xbb\xbf"

// isBlank reports whether c may stand between messages; firmware written in C
// likes to send the NUL behind its strings.
func isBlank(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' || c == 0 }

func (d *Decoder) newLine() {
	d.line++
	d.lineAt = d.pos
	d.midLine = false
}

func (d *Decoder) skipLine() {
	if i := bytes.IndexByte(d.buf[d.pos:], '\n'); i >= 0 {
		d.pos += i
	} else {
		d.pos = len(d.buf)
	}
}

// end returns where the message at pos may reach to. The end of a line is looked
// for once, however many texts stand on it.
func (d *Decoder) end() int {
	if !d.lines {
		return len(d.buf)
	}
	if d.pos > d.lineEnd {
		d.lineEnd = len(d.buf)
		if i := bytes.IndexByte(d.buf[d.pos:], '\n'); i >= 0 {
			d.lineEnd = d.pos + i
		}
	}
	return d.lineEnd
}

// advance moves to pos. In text it counts the lines that it passes; a CBOR item
// has none, and what stands behind it begins a line.
func (d *Decoder) advance(f Format, pos int) {
	if f.binary() {
		d.pos, d.lineAt = pos, pos
		return
	}
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

// fail records why the message at pos, where its Raw begins, cannot be read. Lines are counted from
// pos, so that the cost is that of the message, not of the payload.
func (d *Decoder) fail(f Format, at int, msg string) {
	e := &SyntaxError{Format: f, Line: d.line, Byte: at + 1, At: max(at-d.pos, 0) + 1, Msg: msg}
	if !f.binary() {
		passed := d.buf[d.pos:at]
		if i := bytes.LastIndexByte(passed, '\n'); i >= 0 {
			e.Line += bytes.Count(passed, []byte{'\n'})
			e.Byte = len(passed) - i
		} else {
			e.Byte = at - d.lineAt + 1
		}
	}
	d.begin(f)
	d.err = e
}

// begin notes the format and the place of the message at pos.
func (d *Decoder) begin(f Format) {
	d.msg.Format, d.msg.Line = f, d.line
}

// addField appends a reading to the message and reports whether there was room.
func (d *Decoder) addField(metric []byte, v Value) bool {
	if len(d.msg.Fields) >= maxFields {
		return false
	}
	d.msg.Fields = append(d.msg.Fields, Field{Metric: metric, Value: v})
	return true
}

// cutName shortens a name that is too long for a metric to the shortest that is
// still too long. One long name may be part of thousands of readings; without
// the cut each of them would hold a copy of it.
func cutName(b []byte) []byte { return b[:min(len(b), device.MaxMetricLen+1)] }

// keep copies b into the scratch space, where it lives as long as the message.
func (d *Decoder) keep(b []byte) []byte {
	at := len(d.scratch)
	d.scratch = append(d.scratch, b...)
	return d.since(at)
}

// since returns what has been put into the scratch space from at on. It stays
// what it is when the scratch space grows.
func (d *Decoder) since(at int) []byte { return d.scratch[at:len(d.scratch):len(d.scratch)] }
