package wire

import "bytes"

// pairScanner walks over key=value or key:value, parted by blanks, commas,
// semicolons or ampersands.
type pairScanner struct {
	line    []byte
	pos     int
	between byte // = or :, what the first pair has
}

func isPairSeparator(c byte) bool {
	return c == ' ' || c == '\t' || c == ',' || c == ';' || c == '&'
}

// next returns a pair and the place of its key. ok is false at the end of the
// line, and where there is no pair; then pos is not the end.
func (p *pairScanner) next() (key, value []byte, at int, ok bool) {
	p.separator()
	at = p.pos
	rest := p.line[at:]
	i := bytes.IndexAny(rest, "=: \t,;&\"{}[]\\")
	if i <= 0 || rest[i] != '=' && rest[i] != ':' || p.between != 0 && rest[i] != p.between {
		return nil, nil, at, false
	}
	p.between = rest[i]
	key, rest = rest[:i], rest[i+1:]
	quotes := 0
	if len(rest) > 0 && rest[0] == '"' {
		end := bytes.IndexByte(rest[1:], '"')
		if end < 0 {
			return nil, nil, at, false
		}
		value, quotes = rest[1:1+end], 2
	} else {
		end := bytes.IndexAny(rest, " \t,;&=\"{}[]\\")
		if end < 0 {
			end = len(rest)
		}
		value = rest[:end]
	}
	end := at + len(key) + 1 + len(value) + quotes
	if !hasLetter(key) || len(value) == 0 || end < len(p.line) && !isPairSeparator(p.line[end]) || isLineInteger(value) {
		return nil, nil, at, false
	}
	p.pos = end
	return key, value, at, true
}

// separator passes blanks and at most one mark among them. What ends the line
// may be one.
func (p *pairScanner) separator() {
	marked := p.pos == 0
	for p.pos < len(p.line) && isPairSeparator(p.line[p.pos]) {
		if c := p.line[p.pos]; c != ' ' && c != '\t' {
			if marked {
				return
			}
			marked = true
		}
		p.pos++
	}
}

// isLineInteger tells an integer of line protocol, 40i: a line with one was
// meant as such.
func isLineInteger(b []byte) bool {
	last := len(b) - 1
	if b[last] != 'i' && b[last] != 'u' {
		return false
	}
	_, ok := parseInt(b[:last])
	return ok
}

// isPairs tells pairs of which one at least has a number or a boolean; behind a
// colon nothing else may stand.
func isPairs(line []byte) bool {
	p := pairScanner{line: line}
	found := false
	for {
		key, value, _, ok := p.next()
		if !ok {
			return found && p.pos == len(line)
		}
		_, isScalar := scalar(value)
		if !isScalar && p.between == ':' {
			return false
		}
		found = found || isScalar && !isReservedPair(key)
	}
}

// arePairs reports whether the line at pos is of pairs parted by blanks, though
// it could be read as line protocol: its measurement would hold an equals sign,
// as in temp=21.5 hum=40.
func (d *Decoder) arePairs() bool {
	if !d.Accept.Has(FormatPairs) || d.midLine {
		return false
	}
	line := d.textLine()
	return bytes.IndexByte(line, ',') < 0 && isPairs(line)
}

// isReservedPair reports whether a pair says something about the message.
func isReservedPair(key []byte) bool {
	switch string(key) {
	case "time", "seq", "ack", "token":
		return true
	}
	return deviceRank(key) > 0
}

// scanPairs reads a line of pairs. The names of line protocol's reserved tags,
// and time, mean the same.
func (d *Decoder) scanPairs(line []byte) (int, string) {
	p := pairScanner{line: line}
	d.tags = d.tags[:0]
	rank := 0
	for {
		key, value, at, ok := p.next()
		if !ok && p.pos < len(line) {
			return at, "want key=value, and decimals with a point"
		}
		if !ok {
			break
		}
		if msg := d.reservedPair(key, value); msg != "" {
			return at, msg
		}
		if r := deviceRank(key); r > rank {
			rank = r
			d.msg.Device = d.named(value)
		}
		switch {
		case deviceRank(key) > 0:
			if !d.addTag(key, value, at) {
				return at, "more than 64 names of the device"
			}
		case isReservedPair(key):
		case !d.addField(cutName(key), pairValue(value)):
			return at, "more than 4096 pairs"
		}
	}
	for _, t := range d.tags { // what could have named the device and does not
		if deviceRank(t.key) != rank {
			d.addField(t.key, pairValue(t.value))
		}
	}
	return 0, ""
}

func pairValue(b []byte) Value {
	if v, ok := scalar(b); ok {
		return v
	}
	return textValue(b)
}

// reservedPair takes a pair that is about the message, or says what is wrong
// with it.
func (d *Decoder) reservedPair(key, value []byte) string {
	m := &d.msg
	switch string(key) {
	case "time":
		var ok bool
		if m.Time, ok = ParseTime(value); !ok {
			return "time must be a number (seconds, milli-, micro- or nanoseconds since 1970, or seconds ago) or like 2026-11-23T10:00:00Z"
		}
	case "seq":
		n, ok := parseInt(value)
		if !ok || n < 0 {
			return "seq must be an integer, not negative"
		}
		m.Seq, m.HasSeq = uint64(n), true
	case "ack":
		v, ok := parseBool(value)
		if !ok {
			return "ack must be 1, 0, true or false"
		}
		m.Ack = v
	case "token":
		m.Token = value
	}
	return ""
}
