package wire

import (
	"bytes"
	"math"
	"unicode/utf8"
)

// dialects are those that are told by the shape of a line, in the order in which
// they are tried. No line has the shape of two but for what the later ones say
// of themselves.
var dialects = [...]struct {
	format Format
	fits   func(line []byte) bool
}{
	{FormatSyslog, isSyslog},
	{FormatTopic, isTopic},
	{FormatStatsD, isStatsD},
	{FormatTeleplot, isTeleplot},
	{FormatGraphite, isGraphite},
	{FormatPairs, isPairs},
	{FormatCSV, isCSV},
}

// decodeDialect reads the line, or the datagram, at pos in the dialect whose
// shape it has. One that has none is refused for what scanLine has found in it.
// It reports false where it has only unpacked the payload.
func (d *Decoder) decodeDialect(at int, msg string) bool {
	f := d.binaryDialect()
	line := d.textLine()
	if f == 0 && !d.midLine {
		f = d.lineDialect(line)
	}
	if f == 0 {
		if f = d.Accept.only(); msg != "" || !isLineDialect(f) {
			d.refuseUnknown(at, msg)
			return true
		}
	}
	d.scratch = d.scratch[:0]
	d.msg = Message{Format: f, Line: d.line, Fields: d.msg.Fields[:0]}
	switch f { //nolint:exhaustive // The others are of lines.
	case FormatGzip:
		return d.unpack()
	case FormatESPHome:
		d.decodeESPHome()
		return true
	case FormatCollectd:
		return d.decodeCollectd()
	}
	start := d.pos
	at, msg, skipped := d.scanDialect(f, line)
	if msg != "" {
		d.refuseLine(d.msg.Format, start+at, msg)
		return true
	}
	if d.array.open { // more messages follow on the line
		d.msg.Raw = d.buf[start : d.series.pos-1]
		d.pos = d.series.pos
		return true
	}
	d.msg.Raw = line
	d.pos = start + len(line)
	d.skipLine()
	return !skipped
}

// refuseUnknown refuses a line that is of no dialect.
func (d *Decoder) refuseUnknown(at int, msg string) {
	if msg == "" {
		at, msg = d.pos, "this is none of what is taken here: "+d.Accept.String()
	}
	d.refuseLine(FormatLine, at, msg)
	if !d.Accept.Has(FormatLine) {
		d.begin(d.Accept.only())
		d.err.Format = d.msg.Format
	}
}

// binaryDialect tells the dialects that a datagram as a whole may be of.
func (d *Decoder) binaryDialect() Format {
	if d.lines || d.pos != 0 {
		return 0
	}
	switch b := d.buf; {
	case isGzip(b) && d.Accept.Has(FormatGzip):
		return FormatGzip
	case isESPHome(b) && d.Accept.Has(FormatESPHome):
		return FormatESPHome
	case isSealedCollectd(b) && d.Accept.Has(FormatCollectd):
		return FormatCollectd
	}
	return 0
}

// lineDialect tells the dialect of a line; 0 for none.
func (d *Decoder) lineDialect(line []byte) Format {
	for i := range dialects {
		c := &dialects[i]
		if d.carries(c.format) && c.fits(line) {
			return c.format
		}
	}
	return 0
}

// carries reports whether lines of the dialect f may hold what is taken.
func (d *Decoder) carries(f Format) bool {
	switch f { //nolint:exhaustive // The others carry themselves only.
	case FormatSyslog:
		return d.Accept.Has(f) || d.Accept.Has(FormatRTL433) || d.Accept.Has(FormatTasmota)
	case FormatTopic:
		return d.Accept.Has(f) || d.Accept.Has(FormatTasmota) || d.Accept.Has(FormatZigbee2MQTT)
	}
	return d.Accept.Has(f)
}

func isLineDialect(f Format) bool {
	for i := range dialects {
		if dialects[i].format == f {
			return true
		}
	}
	return false
}

// scanDialect reads a line of the dialect f into the message. On failure it
// returns the place in the line and what is wrong there; skipped says that the
// line is no message by itself.
func (d *Decoder) scanDialect(f Format, line []byte) (at int, msg string, skipped bool) {
	switch f { //nolint:exhaustive // The others are not of lines.
	case FormatSyslog:
		at, msg = d.scanSyslog(line)
	case FormatTopic:
		at, msg = d.scanTopic(line, 0)
	case FormatStatsD:
		if d.resetsGauge(line) {
			return 0, "", true
		}
		at, msg = d.scanStatsD(line)
	case FormatTeleplot:
		at, msg = d.scanTeleplot(line)
	case FormatGraphite:
		at, msg = d.scanGraphite(line)
	case FormatPairs:
		at, msg = d.scanPairs(line)
	case FormatCSV:
		at, msg = d.scanCSV(line)
	}
	return at, msg, false
}

// textLine returns the line at pos without what ends it.
func (d *Decoder) textLine() []byte {
	line := d.buf[d.pos:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	return bytes.TrimRight(line, " \t\r\x00")
}

// number reads a number as ParseNumber does, and the names of what is none: a
// sensor that fails sends nan, and is told that it is not taken.
func number(b []byte) (Value, bool) {
	if v, ok := ParseNumber(b); ok {
		return v, true
	}
	word := b
	if len(word) > 0 && (word[0] == '-' || word[0] == '+') {
		word = word[1:]
	}
	switch {
	case foldEqual(word, "nan"):
		return floatValue(math.NaN()), true
	case foldEqual(word, "inf"), foldEqual(word, "infinity"):
		return floatValue(math.Inf(1)), true
	}
	return Value{}, false
}

// scalar reads a number or a boolean.
func scalar(b []byte) (Value, bool) {
	if v, ok := number(b); ok {
		return v, true
	}
	switch {
	case foldEqual(b, "true"):
		return boolValue(true), true
	case foldEqual(b, "false"):
		return boolValue(false), true
	}
	return Value{}, false
}

// foldEqual compares with a word in small letters.
func foldEqual(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if c|0x20 != word[i] {
			return false
		}
	}
	return true
}

// hasLetter reports whether b has a letter, ASCII or not: a name has.
func hasLetter(b []byte) bool {
	for _, c := range b {
		if c|0x20 >= 'a' && c|0x20 <= 'z' || c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// isIDByte reports whether c may stand in a device id.
func isIDByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c-'0' <= 9 || c == '.' || c == '_' || c == ':' || c == '-'
}

// named makes a device id of a name that was given for people: each character
// that an id cannot have becomes a hyphen.
func (d *Decoder) named(name []byte) []byte {
	clean := true
	for _, c := range name {
		clean = clean && isIDByte(c)
	}
	if clean {
		return name
	}
	at := len(d.scratch)
	for i := 0; i < len(name); {
		c, n := name[i], 1
		if !isIDByte(c) {
			c = '-'
			_, n = utf8.DecodeRune(name[i:])
		}
		d.scratch = append(d.scratch, c)
		i += n
	}
	return d.since(at)
}

// place takes the first part of a dotted path for the device unless the tags
// have named one, and returns the metric, with the tags behind it.
func (d *Decoder) place(path, suffix []byte) []byte {
	if i := bytes.IndexByte(path, '.'); len(d.msg.Device) == 0 && i > 0 && i < len(path)-1 {
		d.msg.Device, path = d.named(path[:i]), path[i+1:]
	}
	if len(suffix) == 0 {
		return cutName(path)
	}
	at := len(d.scratch)
	d.scratch = append(append(d.scratch, cutName(path)...), cutName(suffix)...)
	return cutName(d.since(at))
}

// addTag keeps a tag for takeTags and reports whether there was room.
func (d *Decoder) addTag(key, value []byte, at int) bool {
	if len(d.tags) == maxTags {
		return false
	}
	d.tags = append(d.tags, tag{key, value, at})
	return true
}
