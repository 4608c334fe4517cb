package wire

import (
	"bytes"
	"unicode/utf8"
)

// scanValue reads a field's value: a quoted text, a boolean or a number.
func (d *Decoder) scanValue(s *lineScanner) (Value, string) {
	if s.pos >= s.end {
		return Value{}, "a field value is missing"
	}
	if s.buf[s.pos] == '"' {
		return s.quoted(d)
	}
	start := s.pos
	for s.pos < s.end && s.buf[s.pos] != ',' && s.buf[s.pos] != ' ' && s.buf[s.pos] != '\n' && s.buf[s.pos] != '\r' {
		s.pos++
	}
	raw := s.buf[start:s.pos]
	if len(raw) == 0 {
		return Value{}, "a field value is missing"
	}
	switch c := raw[0]; {
	case c == '-' || c == '.' || c-'0' <= 9:
		return numberValue(raw)
	case c == 't' || c == 'T' || c == 'f' || c == 'F':
		if v, ok := parseBool(raw); ok {
			return boolValue(v), ""
		}
	}
	return Value{}, "a field value is neither number nor boolean; texts want double quotes"
}

// parseBool reads the booleans of line protocol, and 1 and 0.
func parseBool(b []byte) (v, ok bool) {
	switch string(b) {
	case "t", "T", "true", "True", "TRUE", "1":
		return true, true
	case "f", "F", "false", "False", "FALSE", "0":
		return false, true
	}
	return false, false
}

// numberValue reads 21.5, 40i or 40u.
func numberValue(raw []byte) (Value, string) {
	last := len(raw) - 1
	if raw[last] == 'i' || raw[last] == 'u' {
		n, ok := parseInt(raw[:last])
		if !ok || raw[last] == 'u' && raw[0] == '-' {
			return Value{}, "an integer is malformed or exceeds 64 bits with sign"
		}
		return intValue(n), ""
	}
	f, ok := parseFloat(raw)
	if !ok || bytes.ContainsAny(raw, "_xXpPnN") { // strconv knows more notations than the protocol
		return Value{}, "a number is malformed or out of range"
	}
	return floatValue(f), ""
}

// quoted reads a text in double quotes, with \" \\ \n \r \t resolved.
func (s *lineScanner) quoted(d *Decoder) (Value, string) {
	s.pos++
	start, at := s.pos, len(d.scratch)
	copied := false
	for ; s.pos < s.end; s.pos++ {
		switch s.buf[s.pos] {
		case '"':
			text := s.buf[start:s.pos:s.pos]
			if copied {
				d.scratch = append(d.scratch, text...)
				text = d.since(at)
			}
			s.pos++
			if !utf8.Valid(text) {
				return Value{}, "a text is not UTF-8"
			}
			return textValue(text), ""
		case '\\':
			if s.pos+1 >= s.end {
				continue
			}
			c := unescaped(s.buf[s.pos+1])
			if c == 0 {
				continue
			}
			d.scratch = append(append(d.scratch, s.buf[start:s.pos]...), c)
			copied = true
			s.pos++
			start = s.pos + 1
		}
	}
	return Value{}, "a text lacks its closing quote"
}

func unescaped(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}
