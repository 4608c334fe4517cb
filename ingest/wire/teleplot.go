package wire

import "bytes"

// unitMark stands between a value and its unit.
var unitMark = []byte("§")

// teleplotLine is name:body§unit|flags.
type teleplotLine struct {
	name, body []byte
	at         int // where body begins in the line
	text, xy   bool
}

func splitTeleplot(line []byte) (p teleplotLine, ok bool) {
	skip := 0
	if len(line) > 0 && line[0] == '>' { // as the serial monitor has it
		skip = 1
	}
	name, body, ok := bytes.Cut(line[skip:], []byte{':'})
	if !ok || !hasLetter(name) || bytes.ContainsAny(name, " \t,;|=\"{}[]()<>") {
		return p, false
	}
	p.name, p.at = name, skip+len(name)+1
	body, flags, _ := bytes.Cut(body, []byte{'|'})
	for len(flags) > 0 {
		var f []byte
		f, flags, _ = bytes.Cut(flags, []byte{','})
		switch string(f) {
		case "t":
			p.text = true
		case "xy":
			p.xy = true
		case "g", "np", "clr", "":
		default:
			return p, false
		}
	}
	p.body, _, _ = bytes.Cut(body, unitMark)
	return p, true
}

// isTeleplot tells name:value, with a time, a unit or flags, and many of them
// parted by semicolons. All values are numbers unless the flag t says that they
// are texts. Line protocol has a space and an equals sign.
func isTeleplot(line []byte) bool {
	if isShape3D(line) {
		return true
	}
	p, ok := splitTeleplot(line)
	if !ok || len(p.body) == 0 {
		return false
	}
	for rest := p.body; len(rest) > 0; {
		var part []byte
		part, rest, _ = bytes.Cut(rest, []byte{';'})
		if _, msg := p.parse(part); msg != "" {
			return false
		}
	}
	return true
}

// isShape3D tells a body that Teleplot draws.
func isShape3D(line []byte) bool { return bytes.HasPrefix(line, []byte("3D|")) }

// teleplotValue is one part between semicolons.
type teleplotValue struct {
	at   Time
	x, y Value // y has a kind with the flag xy only
}

// parse reads value, time:value, x:y or x:y:time.
func (p *teleplotLine) parse(part []byte) (v teleplotValue, msg string) {
	first, rest, more := bytes.Cut(part, []byte{':'})
	n, isNumber := number(first)
	switch {
	case p.text && more && isNumber:
		v.at, v.x = teleplotTime(first), textValue(rest)
		return v, ""
	case p.text:
		v.x = textValue(part)
		return v, ""
	case !isNumber:
		return v, "want a number, or the flag |t behind a text"
	case !more && p.xy:
		return v, "want x:y"
	case !more:
		v.x = n
		return v, ""
	}
	second, last, timed := bytes.Cut(rest, []byte{':'})
	m, ok := number(second)
	switch {
	case !ok, timed && !p.xy:
		return v, "want name:value or name:time:value"
	case !p.xy:
		v.at, v.x = teleplotTime(first), m
		return v, ""
	case timed:
		if _, ok := number(last); !ok {
			return v, "want x:y:time"
		}
		v.at = teleplotTime(last)
	}
	v.x, v.y = n, m
	return v, ""
}

// teleplotTime reads milliseconds since 1970. A device that counts them from its
// own start tells nothing.
func teleplotTime(b []byte) Time {
	t, ok := timeOfText(b)
	if !ok || t.Unit() != Milli {
		return Time{}
	}
	return t
}

// seriesState is the place in a line or datagram that holds many messages.
type seriesState struct {
	pos, end int // of what is not read yet
	line     int // where the line ends
	teleplot teleplotLine
	collectd collectdState
}

// scanTeleplot reads the first value of a line; the others follow as messages
// of their own, since each may have its own time.
func (d *Decoder) scanTeleplot(line []byte) (int, string) {
	if isShape3D(line) {
		return 0, "a 3D shape is no reading"
	}
	p, ok := splitTeleplot(line)
	if !ok {
		return 0, "want name:value, with §unit and |flags if any"
	}
	s := &d.series
	s.teleplot = p
	s.pos, s.end, s.line = d.pos+p.at, d.pos+p.at+len(p.body), d.pos+len(line)
	part := d.teleplotPart()
	if msg := d.teleplotMessage(part); msg != "" {
		return p.at, msg
	}
	d.array = arrayState{open: s.pos < s.end, dialect: FormatTeleplot}
	return 0, ""
}

// teleplotPart takes the next part between semicolons.
func (d *Decoder) teleplotPart() []byte {
	s := &d.series
	part, _, _ := bytes.Cut(d.buf[s.pos:s.end], []byte{';'})
	s.pos += len(part) + 1
	return part
}

// nextTeleplot reads the next value of the line. It reports false behind the
// last.
func (d *Decoder) nextTeleplot() bool {
	s := &d.series
	if s.pos >= s.end {
		d.array = arrayState{}
		d.pos = s.line
		return false
	}
	d.pos = s.pos
	d.begin(FormatTeleplot)
	part := d.teleplotPart()
	if msg := d.teleplotMessage(part); msg != "" {
		d.fail(FormatTeleplot, d.pos, msg)
	}
	d.msg.Raw = part
	return true
}

func (d *Decoder) teleplotMessage(part []byte) string {
	p := &d.series.teleplot
	v, msg := p.parse(part)
	if msg != "" {
		return msg
	}
	d.msg.Time = v.at
	if v.y.Kind == 0 {
		d.addField(cutName(p.name), v.x)
		return ""
	}
	for i, value := range []Value{v.x, v.y} {
		at := len(d.scratch)
		d.scratch = append(append(d.scratch, cutName(p.name)...), '.', "xy"[i])
		d.addField(cutName(d.since(at)), value)
	}
	return ""
}
