package wire

import (
	"bytes"
	"strings"
)

// Frame parts a stream: it returns how many bytes at the beginning of buf are
// whole messages, which then make one payload for a Decoder with lines. 0 means
// that more bytes are needed. CBOR items come one at a time, text as all the
// lines there are. An error means that the stream cannot be followed any
// further.
func Frame(buf []byte) (int, error) {
	skip := 0
	for skip < len(buf) && isBlank(buf[skip]) {
		skip++
	}
	if skip == len(buf) {
		return skip, nil
	}
	if rest := buf[skip:]; len(rest) < len(selfDescription) && strings.HasPrefix(selfDescription, string(rest)) {
		return skip, nil
	}
	if IsCBOR(buf[skip:]) {
		n, err := itemLen(buf[skip:])
		if n == 0 {
			return skip, err
		}
		return skip + n, nil
	}
	// Lines up to the last newline, but not over the beginning of a CBOR item.
	end := 0
	for at := skip; at < len(buf) && !IsCBOR(buf[at:]); {
		i := bytes.IndexByte(buf[at:], '\n')
		if i < 0 {
			break
		}
		end = at + i + 1
		for at = end; at < len(buf) && isBlank(buf[at]); {
			at++
		}
	}
	return end, nil
}

// itemLen returns the length of the CBOR item that b begins with, 0 when b ends
// too early.
func itemLen(b []byte) (int, error) {
	var c cborTokens
	c.reset(b, 0, nil)
	if c.skip(c.next()) {
		return c.pos, nil
	}
	if c.short {
		return 0, nil
	}
	return 0, &SyntaxError{Format: FormatCBOR, Line: 1, Byte: c.at + 1, Msg: c.msg}
}
