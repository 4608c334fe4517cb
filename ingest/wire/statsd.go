package wire

import "bytes"

// statsdLine is a StatsD line parted at its bars.
type statsdLine struct {
	name, values, kind, rest []byte
}

// splitStatsD parts name:value|type|… .
func splitStatsD(line []byte) (s statsdLine, ok bool) {
	colon := bytes.IndexByte(line, ':')
	bar := bytes.IndexByte(line, '|')
	if colon <= 0 || bar < colon {
		return s, false
	}
	s.name, s.values = line[:colon], line[colon+1:bar]
	s.kind, s.rest, _ = bytes.Cut(line[bar+1:], []byte{'|'})
	return s, true
}

// isStatsD tells name:value|type with a type that StatsD or DogStatsD has. What
// Teleplot writes with the type g it shares with StatsD; two numbers before it,
// a time and a value, are Teleplot's.
func isStatsD(line []byte) bool {
	s, ok := splitStatsD(line)
	if !ok || len(s.values) == 0 {
		return false
	}
	switch string(s.kind) {
	case "c", "m", "ms", "h", "d", "s":
		return true
	case "g":
		return bytes.IndexByte(s.values, ':') < 0 && bytes.IndexByte(s.values, ';') < 0 &&
			!bytes.Contains(s.values, unitMark)
	}
	return false
}

// resetsGauge reports whether the line sets a gauge to zero only so that the
// next may set it below: a sign means a change in StatsD, so this is how
// ESPHome and the client libraries write a negative value. Lines of a stream do
// not bear on each other.
func (d *Decoder) resetsGauge(line []byte) bool {
	if d.lines || !bytes.HasSuffix(line, []byte(":0|g")) {
		return false
	}
	name := line[:len(line)-len("0|g")]
	next := bytes.TrimPrefix(d.buf[d.pos+len(line):], []byte{'\r'})
	next = bytes.TrimPrefix(next, []byte{'\n'})
	return bytes.HasPrefix(next, name) && len(next) > len(name) && next[len(name)] == '-'
}

// scanStatsD reads name:value|type|@rate|#tag:value,…|T<time>.
func (d *Decoder) scanStatsD(line []byte) (int, string) {
	s, ok := splitStatsD(line)
	if !ok || len(s.name) == 0 {
		return 0, "want name:value|type"
	}
	d.tags = d.tags[:0]
	name, inName, _ := bytes.Cut(s.name, []byte{','})
	if at, msg := d.statsdTags(inName, '=', len(name)+1); msg != "" {
		return at, msg
	}
	rate := 1.0
	for at, rest := len(line)-len(s.rest), s.rest; len(rest) > 0; {
		var part []byte
		part, rest, _ = bytes.Cut(rest, []byte{'|'})
		if msg := d.statsdPart(part, at, &rate); msg != "" {
			return at, msg
		}
		at += len(part) + 1
	}
	suffix, at, msg := d.takeTags()
	if msg != "" {
		return at, msg
	}
	return d.statsdValues(&s, d.place(name, suffix), rate)
}

// statsdPart reads what may follow the type. Parts that bear on neither value
// nor name, such as the container, are passed over.
func (d *Decoder) statsdPart(part []byte, at int, rate *float64) string {
	if len(part) == 0 {
		return ""
	}
	switch part[0] {
	case '@':
		f, ok := parseFloat(part[1:])
		if !ok || !(f > 0 && f <= 1) {
			return "a sample rate is more than 0 and at most 1"
		}
		*rate = f
	case '#':
		_, msg := d.statsdTags(part[1:], ':', at+1)
		return msg
	case 'T':
		t, ok := timeOfText(part[1:])
		if !ok {
			return "a time must be seconds since 1970"
		}
		d.msg.Time = t
	}
	return ""
}

// statsdTags keeps tags parted by commas; one without a value is true.
func (d *Decoder) statsdTags(list []byte, between byte, at int) (int, string) {
	for len(list) > 0 {
		var t []byte
		t, list, _ = bytes.Cut(list, []byte{','})
		key, value, ok := bytes.Cut(t, []byte{between})
		if !ok {
			value = trueText
		}
		if len(key) > 0 && len(value) > 0 && !d.addTag(key, value, at) {
			return at, "more than 64 tags"
		}
		at += len(t) + 1
	}
	return 0, ""
}

var trueText = []byte("true")

// statsdValues adds a reading for each value of the line.
func (d *Decoder) statsdValues(s *statsdLine, metric []byte, rate float64) (int, string) {
	at := len(s.name) + 1
	if string(s.kind) == "s" { // a set counts what differs; here the member is the reading
		v, ok := ParseNumber(s.values)
		if !ok {
			v = textValue(s.values)
		}
		d.addField(metric, v)
		return 0, ""
	}
	for values := s.values; ; {
		word, rest, more := bytes.Cut(values, []byte{':'})
		v, ok := number(word)
		switch {
		case !ok:
			return at, "the value of a " + statsdKind(s.kind) + " must be a number"
		case string(s.kind) == "g" && word[0] == '+':
			return at, "a gauge that changes by +n is no reading, since its former value is not kept; send the value itself"
		case rate != 1 && (string(s.kind) == "c" || string(s.kind) == "m"):
			v = floatValue(floatOf(v) / rate)
		}
		if !d.addField(metric, v) {
			return at, "more than 4096 values"
		}
		if !more {
			return 0, ""
		}
		at += len(word) + 1
		values = rest
	}
}

func statsdKind(kind []byte) string {
	switch string(kind) {
	case "c", "m":
		return "counter"
	case "g":
		return "gauge"
	case "ms":
		return "timer"
	}
	return "histogram"
}
