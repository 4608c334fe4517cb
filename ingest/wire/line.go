package wire

import (
	"bytes"

	"github.com/naru-telemetry/naru/device"
)

type tag struct {
	key, value []byte
	at         int // place of the value in the payload
}

// maxTags bounds the tags of one line; more would not fit a metric anyway.
const maxTags = 64

// lineScanner walks over one line of line protocol. The escapes and character
// sets are those of InfluxDB's line-protocol/v2 decoder, against which the
// package is fuzzed.
type lineScanner struct {
	buf []byte
	pos int
	end int
}

// Classes of bytes that end an unquoted token.
const (
	stopMeasurement = 1 << iota // , space and control characters
	stopKey                     // these and =
	stopName                    // the same, where = must not be escaped
)

var lineStops = func() (t [256]uint8) {
	for c := range 0x20 {
		t[c] = stopMeasurement | stopKey | stopName
	}
	for _, c := range []byte{0x7f, ',', ' '} {
		t[c] = stopMeasurement | stopKey | stopName
	}
	t['='] = stopKey | stopName
	return t
}()

// token reads up to a byte of class stop. The result has its escapes resolved,
// in scratch if there were any.
func (s *lineScanner) token(d *Decoder, stop uint8) []byte {
	start := s.pos
	for s.pos < s.end {
		c := s.buf[s.pos]
		if c == '\\' {
			return s.escapedToken(d, start, stop)
		}
		if lineStops[c]&stop != 0 {
			break
		}
		s.pos++
	}
	return s.buf[start:s.pos:s.pos]
}

func (s *lineScanner) escapedToken(d *Decoder, start int, stop uint8) []byte {
	at := len(d.scratch)
	d.scratch = append(d.scratch, s.buf[start:s.pos]...)
	for s.pos < s.end {
		c := s.buf[s.pos]
		if c == '\\' && s.pos+1 < s.end {
			next := s.buf[s.pos+1]
			if next == ',' || next == ' ' || next == '=' && stop == stopKey {
				d.scratch = append(d.scratch, next)
				s.pos += 2
				continue
			}
		} else if lineStops[c]&stop != 0 {
			break
		}
		d.scratch = append(d.scratch, c)
		s.pos++
	}
	return d.since(at)
}

// decodeLine reads the line at pos and moves behind it. A quoted text may hold
// newlines in a datagram. A line that is not line protocol may be of a dialect.
// It reports false where it has only unpacked the payload.
func (d *Decoder) decodeLine() bool {
	start := d.pos
	if !d.Accept.Has(FormatLine) {
		return d.decodeDialect(0, "")
	}
	s := lineScanner{buf: d.buf, pos: start, end: d.end()}
	d.begin(FormatLine)
	at, msg := d.scanLine(&s)
	if msg != "" {
		return d.decodeDialect(at, msg)
	}
	d.msg.Raw = d.buf[start:s.pos]
	d.advance(FormatLine, s.pos)
	d.skipLine()
	return true
}

// refuseLine refuses the line at pos for what scanLine has found at the place.
func (d *Decoder) refuseLine(f Format, at int, msg string) {
	start := d.pos
	d.fail(f, at, msg)
	d.skipLine()
	d.msg.Raw = bytes.TrimSuffix(d.buf[start:d.pos], []byte{'\r'})
}

// scanLine reads measurement, tags, fields and time. On failure it returns the
// place and what is wrong there.
func (d *Decoder) scanLine(s *lineScanner) (int, string) {
	at := s.pos
	measurement := s.token(d, stopName)
	if s.pos < s.end && s.buf[s.pos] == '=' {
		if d.arePairs() {
			return at, "a measurement name is missing"
		}
		s.pos = at
		measurement = s.token(d, stopMeasurement)
	}
	if len(measurement) == 0 {
		return at, "a measurement name is missing"
	}
	at, msg := d.scanTags(s)
	suffix, tagAt, tagMsg := d.takeTags() // of a broken line too: seq and ack say whom to tell
	if msg == "" {
		at, msg = tagAt, tagMsg
	}
	if msg != "" {
		return at, msg
	}
	measurement, suffix = cutName(measurement), cutName(suffix)
	for s.pos < s.end && s.buf[s.pos] == ' ' {
		s.pos++
	}
	for {
		if at, msg := d.scanField(s, measurement, suffix); msg != "" {
			return at, msg
		}
		if s.pos >= s.end || s.buf[s.pos] != ',' {
			break
		}
		s.pos++
	}
	return d.scanTime(s)
}

// scanTags reads ,key=value up to the space before the fields.
func (d *Decoder) scanTags(s *lineScanner) (int, string) {
	d.tags = d.tags[:0]
	for s.pos < s.end && s.buf[s.pos] == ',' {
		s.pos++
		at := s.pos
		key := s.token(d, stopKey)
		if len(key) == 0 || s.pos >= s.end || s.buf[s.pos] != '=' {
			return at, "a tag must be key=value" + commaHint(key)
		}
		s.pos++
		at = s.pos
		value := s.token(d, stopKey)
		if len(value) == 0 {
			return at, "a tag value is missing"
		}
		if len(d.tags) == maxTags {
			return at, "more than 64 tags"
		}
		d.tags = append(d.tags, tag{key, value, at})
	}
	if s.atEnd() {
		return s.pos, "fields are missing: want measurement[,tag=value] field=value [time]"
	}
	if s.buf[s.pos] != ' ' {
		return s.pos, "want a comma or a space before the fields"
	}
	return 0, ""
}

// takeTags takes the reserved tags out and returns the others as {k=v,k=v},
// sorted by key; empty when there are none. The other results are the place of a
// reserved tag that is wrong, and why it is.
func (d *Decoder) takeTags() ([]byte, int, string) {
	rest := d.tags[:0]
	rank := 0
	for _, t := range d.tags {
		switch string(t.key) {
		case "seq":
			n, ok := parseInt(t.value)
			if !ok || n < 0 {
				return nil, t.at, "the tag seq must be an integer, not negative"
			}
			d.msg.Seq, d.msg.HasSeq = uint64(n), true
			continue
		case "ack":
			v, ok := parseBool(t.value)
			if !ok {
				return nil, t.at, "the tag ack must be 1, 0, true or false"
			}
			d.msg.Ack = v
			continue
		case "token":
			d.msg.Token = t.value
			continue
		case "outcome":
			if o, ok := device.ParseOutcome(t.value); ok {
				d.msg.Outcome = o
				continue
			}
		case "device", "host", "id":
			if r := deviceRank(t.key); r > rank {
				rank = r
				d.msg.Device = t.value
			}
		}
		// Insertion keeps equal keys in their order; lines have few tags.
		i := len(rest)
		rest = append(rest, t)
		for ; i > 0 && bytes.Compare(rest[i-1].key, t.key) > 0; i-- {
			rest[i] = rest[i-1]
		}
		rest[i] = t
	}
	return d.joinTags(rest, rank), 0, ""
}

// joinTags returns the tags as {k=v,k=v}, without those of the rank that names
// the device.
func (d *Decoder) joinTags(tags []tag, rank int) []byte {
	at := len(d.scratch)
	for _, t := range tags {
		if rank > 0 && deviceRank(t.key) == rank {
			continue
		}
		sep := byte(',')
		if len(d.scratch) == at {
			sep = '{'
		}
		d.scratch = append(append(d.scratch, sep), t.key...)
		d.scratch = append(append(d.scratch, '='), t.value...)
	}
	if len(d.scratch) == at {
		return nil
	}
	d.scratch = append(d.scratch, '}')
	return d.since(at)
}

// deviceRank orders the tags that may name the device; 0 for any other.
func deviceRank(key []byte) int {
	switch string(key) {
	case "device":
		return 3
	case "host":
		return 2
	case "id":
		return 1
	}
	return 0
}

// commaHint explains the commonest mistake, temp=21,5: what should be a key is
// the rest of a number.
func commaHint(key []byte) string {
	if len(key) == 0 || len(bytes.Trim(key, "0123456789")) > 0 {
		return ""
	}
	return "; decimals want a point, not a comma"
}

// scanField reads one key=value and appends its reading.
func (d *Decoder) scanField(s *lineScanner, measurement, suffix []byte) (int, string) {
	at := s.pos
	key := s.token(d, stopKey)
	if len(key) == 0 || s.pos >= s.end || s.buf[s.pos] != '=' {
		return at, "a field must be key=value" + commaHint(key)
	}
	s.pos++
	at = s.pos
	v, msg := d.scanValue(s)
	if msg != "" {
		return at, msg
	}
	if s.pos < s.end && lineStops[s.buf[s.pos]] == 0 {
		return s.pos, "want a comma, a space or the end of the line after a field"
	}
	name := measurement
	isValue := string(key) == "value"
	if !isValue || len(suffix) > 0 {
		start := len(d.scratch)
		d.scratch = append(d.scratch, measurement...)
		if !isValue {
			d.scratch = append(d.scratch, '.')
			d.scratch = append(d.scratch, key...)
		}
		d.scratch = append(d.scratch, suffix...)
		name = cutName(d.since(start))
	}
	if !d.addField(name, v) {
		return at, "more than 4096 fields"
	}
	return 0, ""
}

// scanTime reads the optional time and demands the end of the line.
func (d *Decoder) scanTime(s *lineScanner) (int, string) {
	s.spaces()
	start := s.pos
	for s.pos < s.end && (s.buf[s.pos] == '-' || s.buf[s.pos] >= '0' && s.buf[s.pos] <= '9') {
		s.pos++
	}
	if s.pos > start {
		n, ok := parseInt(s.buf[start:s.pos])
		if !ok {
			return start, "a time must be an integer of at most 64 bits"
		}
		d.msg.Time = Time{Int: n, Set: true}
		end := s.pos
		s.spaces()
		if !s.atEnd() {
			return s.pos, "unexpected text after the time"
		}
		s.pos = end
		return 0, ""
	}
	if !s.atEnd() {
		return s.pos, "unexpected text after the fields; a time is an integer"
	}
	return 0, ""
}

func (s *lineScanner) spaces() {
	for s.pos < s.end && s.buf[s.pos] == ' ' {
		s.pos++
	}
}

func (s *lineScanner) atEnd() bool {
	if s.pos >= s.end || s.buf[s.pos] == '\n' {
		return true
	}
	return s.buf[s.pos] == '\r' && (s.pos+1 >= s.end || s.buf[s.pos+1] == '\n')
}
