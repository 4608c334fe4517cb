package wire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonTokens walks over a JSON text (RFC 8259, strict).
type jsonTokens struct {
	buf     []byte
	pos     int
	at      int
	msg     string
	scratch *[]byte // takes texts with escapes
	depth   int
	open    [maxDepth]byte // { or [
	state   jsonState
}

// jsonState is what the grammar allows next.
type jsonState uint8

const (
	jsonValue jsonState = iota
	jsonFirstKey
	jsonFirstElement
	jsonMember // after a key: a colon and a value
	jsonRest   // after a value: a comma or the end of the container
)

func (j *jsonTokens) reset(buf []byte, pos int, scratch *[]byte) {
	*j = jsonTokens{buf: buf, pos: pos, scratch: scratch}
}

func (j *jsonTokens) where() (int, string) { return j.at, j.msg }
func (j *jsonTokens) behind() int          { return j.pos }

func (j *jsonTokens) skip(t token) bool {
	if t.kind == tokenObject || t.kind == tokenArray {
		for until := j.depth - 1; j.depth > until; {
			if t = j.next(); t.kind == tokenError {
				return false
			}
		}
	}
	return t.kind != tokenError
}

// fail ends the walk. At the end of the input its end is what is wrong.
func (j *jsonTokens) fail(at int, msg string) token {
	j.at, j.msg = at, msg
	if at >= len(j.buf) {
		j.at, j.msg = len(j.buf), "the JSON text ends too early"
	}
	return token{kind: tokenError}
}

func (j *jsonTokens) space() {
	for j.pos < len(j.buf) {
		switch j.buf[j.pos] {
		case ' ', '\t', '\n', '\r':
			j.pos++
		default:
			return
		}
	}
}

func (j *jsonTokens) peek() byte {
	if j.pos < len(j.buf) {
		return j.buf[j.pos]
	}
	return 0
}

func (j *jsonTokens) next() token {
	if j.msg != "" {
		return token{kind: tokenError}
	}
	j.space()
	j.at = j.pos
	if j.pos >= len(j.buf) {
		return j.fail(j.pos, "")
	}
	switch j.state {
	case jsonValue:
	case jsonFirstKey, jsonFirstElement:
		if c := j.peek(); c == '}' && j.state == jsonFirstKey || c == ']' && j.state == jsonFirstElement {
			return j.close()
		}
	case jsonMember:
		if j.peek() != ':' {
			return j.fail(j.pos, "want a colon after the member name")
		}
		j.pos++
		j.space()
	case jsonRest:
		container := j.open[j.depth-1]
		switch c := j.peek(); {
		case c == '}' && container == '{' || c == ']' && container == '[':
			return j.close()
		case c != ',':
			return j.fail(j.pos, "want a comma or the closing bracket")
		}
		j.pos++
		j.space()
		if container == '{' {
			return j.key()
		}
	}
	if j.state == jsonFirstKey {
		return j.key()
	}
	j.at = j.pos
	return j.value()
}

func (j *jsonTokens) close() token {
	j.pos++
	j.depth--
	j.state = jsonRest
	return token{kind: tokenEnd}
}

func (j *jsonTokens) key() token {
	j.at = j.pos
	if j.peek() != '"' {
		return j.fail(j.pos, "want a member name in double quotes")
	}
	t := j.text()
	j.state = jsonMember
	return t
}

func (j *jsonTokens) value() token {
	j.state = jsonRest
	switch c := j.peek(); c {
	case '{', '[':
		if j.depth == maxDepth {
			return j.fail(j.pos, "nested more than 16 deep")
		}
		j.open[j.depth] = c
		j.depth++
		j.pos++
		if c == '{' {
			j.state = jsonFirstKey
			return token{kind: tokenObject}
		}
		j.state = jsonFirstElement
		return token{kind: tokenArray}
	case '"':
		return j.text()
	case 't':
		return j.literal("true", token{kind: tokenBool, value: boolValue(true)})
	case 'f':
		return j.literal("false", token{kind: tokenBool, value: boolValue(false)})
	case 'n':
		return j.literal("null", token{kind: tokenNull})
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return j.number()
	}
	return j.fail(j.pos, "want a value")
}

func (j *jsonTokens) literal(word string, t token) token {
	if !bytes.HasPrefix(j.buf[j.pos:], []byte(word)) {
		return j.fail(j.pos, "want true, false, null, a number, a text in double quotes, an object or an array")
	}
	j.pos += len(word)
	return t
}

// number reads an integer as int64 where it fits and everything else as float64,
// which is an infinity for what exceeds it.
func (j *jsonTokens) number() token {
	start := j.pos
	if j.peek() == '-' {
		j.pos++
	}
	intStart := j.pos
	if !j.digits() || j.buf[intStart] == '0' && j.pos > intStart+1 {
		return j.fail(start, "a number is malformed")
	}
	whole := true
	if j.peek() == '.' {
		whole = false
		j.pos++
		if !j.digits() {
			return j.fail(start, "a number is malformed")
		}
	}
	if c := j.peek(); c == 'e' || c == 'E' {
		whole = false
		j.pos++
		if c := j.peek(); c == '+' || c == '-' {
			j.pos++
		}
		if !j.digits() {
			return j.fail(start, "a number is malformed")
		}
	}
	raw := j.buf[start:j.pos]
	if whole && string(raw) != "-0" {
		if n, ok := parseInt(raw); ok {
			return token{kind: tokenNumber, text: raw, value: intValue(n)}
		}
	}
	f, _ := parseFloat(raw) // an infinity when out of range
	return token{kind: tokenNumber, text: raw, value: floatValue(f)}
}

func (j *jsonTokens) digits() bool {
	start := j.pos
	for j.pos < len(j.buf) && j.buf[j.pos] >= '0' && j.buf[j.pos] <= '9' {
		j.pos++
	}
	return j.pos > start
}

// maxMalformed bounds how far is looked for the end of a malformed element. An
// object of a device is smaller; without a bound a payload of nothing but
// malformed elements would be searched to its end for each of them.
const maxMalformed = 4096

// resume takes the walk up again behind the malformed element of the outermost
// array that began at start. The element's end is where its brackets are even,
// texts aside. It reports false when there is no such end, as with a text that
// lacks its quote.
func (j *jsonTokens) resume(start int) bool {
	var open [maxDepth]byte
	depth, inText := 0, false
	for i := start; i < min(len(j.buf), start+maxMalformed); i++ {
		c := j.buf[i]
		switch {
		case inText && c == '\\':
			i++
		case inText && c < 0x20:
			return false
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			if depth == maxDepth {
				return false
			}
			open[depth] = c + 2 // both close two bytes after they open
			depth++
		case c == '}' || c == ']':
			if depth == 0 || open[depth-1] != c {
				return false
			}
			if depth--; depth == 0 {
				j.pos, j.msg, j.depth, j.state = i+1, "", 1, jsonRest
				return true
			}
		}
	}
	return false
}

// text reads a string. Without escapes it is a part of the payload.
func (j *jsonTokens) text() token {
	j.pos++
	start := j.pos
	for j.pos < len(j.buf) {
		switch c := j.buf[j.pos]; {
		case c == '"':
			j.pos++
			return token{kind: tokenText, text: j.buf[start : j.pos-1 : j.pos-1]}
		case c == '\\':
			return j.escapedText(start)
		case c < 0x20:
			return j.fail(j.pos, "a control character stands in a text")
		}
		j.pos++
	}
	return j.fail(start-1, "a text lacks its closing quote")
}

func (j *jsonTokens) escapedText(start int) token {
	out := *j.scratch
	at := len(out)
	out = append(out, j.buf[start:j.pos]...)
	for j.pos < len(j.buf) {
		c := j.buf[j.pos]
		switch {
		case c == '"':
			j.pos++
			*j.scratch = out
			return token{kind: tokenText, text: out[at:len(out):len(out)]}
		case c < 0x20:
			return j.fail(j.pos, "a control character stands in a text")
		case c != '\\':
			out = append(out, c)
			j.pos++
		default:
			r, n := jsonEscape(j.buf[j.pos:])
			if n == 0 {
				return j.fail(j.pos, "an escape in a text is malformed")
			}
			out = utf8.AppendRune(out, r)
			j.pos += n
		}
	}
	return j.fail(start-1, "a text lacks its closing quote")
}

// jsonEscape resolves the escape at the beginning of b and returns its length,
// 0 if it is malformed. A surrogate without its other half becomes U+FFFD.
func jsonEscape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		r, ok := hex4(b[2:])
		if !ok {
			return 0, 0
		}
		if utf16.IsSurrogate(r) {
			if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
				if low, ok := hex4(b[8:]); ok {
					if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
						return pair, 12
					}
				}
			}
			return utf8.RuneError, 6
		}
		return r, 6
	}
	return 0, 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
