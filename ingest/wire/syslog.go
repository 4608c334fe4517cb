package wire

import "bytes"

// isSyslog tells the priority of RFC 5424 and RFC 3164, <165>. As a measurement
// it would be followed by a comma or by a field; here a time or a name follows.
func isSyslog(line []byte) bool {
	end := bytes.IndexByte(line[:min(len(line), 5)], '>')
	if end < 2 || line[0] != '<' {
		return false
	}
	for _, c := range line[1:end] {
		if c-'0' > 9 {
			return false
		}
	}
	return true
}

// syslogLine is what matters of a log line: who wrote it, when, and the place of
// the text.
type syslogLine struct {
	host, app []byte
	at        Time
	text      int
}

// splitSyslog parts <165>1 time host app procid msgid - text, or, as it was
// before RFC 5424, <134>host text with or without Jan  2 10:00:00 before the
// host.
func splitSyslog(line []byte) (s syslogLine, ok bool) {
	pos := bytes.IndexByte(line, '>') + 1
	word := func() []byte {
		w, _, _ := bytes.Cut(line[pos:], []byte{' '})
		pos = min(pos+len(w)+1, len(line))
		return w
	}
	rest, is5424 := bytes.CutPrefix(line[pos:], []byte("1 "))
	if !is5424 {
		const stamp = len("Jan  2 10:00:00 ")
		if len(rest) > stamp && rest[3] == ' ' && rest[9] == ':' && rest[12] == ':' {
			pos += stamp
		}
		s.host = word()
		s.text = pos
		return s, len(s.host) > 0
	}
	pos += 2
	s.at, _ = timeOfRFC3339(word())
	s.host, s.app = word(), word()
	word()
	word()
	if pos += structuredData(line[pos:]); pos > len(line) {
		return s, false
	}
	for pos < len(line) && line[pos] == ' ' {
		pos++
	}
	s.text = pos
	return s, true
}

// structuredData returns the length of - or [id name="value"]… .
func structuredData(b []byte) int {
	if len(b) == 0 || b[0] != '[' {
		return 1
	}
	inText := false
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '\\':
			i++
		case b[i] == '"':
			inText = !inText
		case b[i] == ']' && !inText && (i+1 == len(b) || b[i+1] != '['):
			return i + 1
		}
	}
	return len(b) + 1
}

// scanSyslog reads the object in a log line: one of rtl_433, one that Tasmota
// logs behind its topic, or any other. A line without an object is no reading.
func (d *Decoder) scanSyslog(line []byte) (int, string) {
	s, ok := splitSyslog(line)
	if !ok {
		return 0, "want <priority>1 time host app procid msgid - text"
	}
	d.msg.Time = s.at
	text := bytes.TrimSuffix(line[s.text:], []byte(" (retained)"))
	line = line[:s.text+len(text)]
	if string(s.app) == "rtl_433" {
		d.begin(FormatRTL433)
		if len(text) == 0 || text[0] != '{' {
			return s.text, "want an object behind the header"
		}
		return d.scanObject(line, s.text, shapeRTL433, s.host)
	}
	if i := bytes.Index(text, []byte(" = ")); i > 0 {
		begin := s.text + bytes.LastIndexByte(text[:i], ' ') + 1
		if topic := line[begin : s.text+i]; bytes.IndexByte(topic, '/') > 0 {
			return d.scanTopic(line, begin)
		}
		if at := s.text + i + 3; line[at] == '{' {
			d.begin(FormatTasmota)
			return d.scanObject(line, at, shapeTasmota, s.host)
		}
	}
	if len(text) > 0 && text[0] == '{' {
		return d.scanObject(line, s.text, shapePlain, s.host)
	}
	return 0, ""
}
