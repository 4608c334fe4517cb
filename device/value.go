package device

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// MaxTextLen bounds a text value, in bytes.
const MaxTextLen = 1024

// Kind tells which of the four types a Value has.
type Kind uint8

// The kinds of a Value. The numbers are part of the storage format.
const (
	KindFloat Kind = 1 // float64, never NaN or infinite
	KindInt   Kind = 2 // int64
	KindBool  Kind = 3
	KindText  Kind = 4 // UTF-8, at most MaxTextLen bytes
)

// String returns the kind's name: float, int, bool or text.
func (k Kind) String() string {
	switch k {
	case KindFloat:
		return "float"
	case KindInt:
		return "int"
	case KindBool:
		return "bool"
	case KindText:
		return "text"
	}
	return "none"
}

// Value is a number (float64 or int64), a boolean or a text. The zero Value has
// no kind and belongs to no reading. Values are comparable; two floats are
// equal when their bits are.
type Value struct {
	kind Kind
	bits uint64
	text string
}

// Float returns f as a value; NaN and the infinities are refused.
func Float(f float64) (Value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Value{}, fmt.Errorf("%w value: %v is not a finite number", ErrInvalid, f)
	}
	return Value{kind: KindFloat, bits: math.Float64bits(f)}, nil
}

// Int returns i as a value.
func Int(i int64) Value { return Value{kind: KindInt, bits: uint64(i)} }

// Bool returns b as a value.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, bits: 1}
	}
	return Value{kind: KindBool}
}

// Text returns s as a value; more than MaxTextLen bytes or bytes that are not
// UTF-8 are refused.
func Text(s string) (Value, error) {
	if err := CheckText(s); err != nil {
		return Value{}, err
	}
	return Value{kind: KindText, text: s}, nil
}

// CheckText reports whether b may be a text value, without keeping it.
func CheckText[T ~string | ~[]byte](b T) error {
	if len(b) > MaxTextLen {
		return fmt.Errorf("%w value: text of %d bytes, at most %d", ErrInvalid, len(b), MaxTextLen)
	}
	if !utf8.ValidString(string(b)) {
		return fmt.Errorf("%w value: text is not UTF-8", ErrInvalid)
	}
	return nil
}

// Kind returns the value's type.
func (v Value) Kind() Kind { return v.kind }

// Bits returns what tells apart the values of one kind but text: the bits of the
// float64 or int64, or 0 and 1.
func (v Value) Bits() uint64 { return v.bits }

// FromBits returns the value of this kind, which is not text, that Bits belong to.
func FromBits(k Kind, bits uint64) Value { return Value{kind: k, bits: bits} }

// Number returns the value as a float64, true as 1; false says that it is a text.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case KindFloat:
		return v.Float(), true
	case KindInt:
		return float64(v.Int()), true
	case KindBool:
		return float64(v.bits), true
	case KindText:
	}
	return 0, false
}

// Float returns the number of a KindFloat value.
func (v Value) Float() float64 { return math.Float64frombits(v.bits) }

// Int returns the number of a KindInt value.
func (v Value) Int() int64 { return int64(v.bits) }

// Bool returns the truth of a KindBool value.
func (v Value) Bool() bool { return v.bits != 0 }

// Text returns the text of a KindText value.
func (v Value) Text() string { return v.text }

// AppendJSON appends the value as a JSON number, boolean or string. Floats have
// the fewest digits that give the same float64 back.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.kind {
	case KindFloat:
		return AppendFloat(dst, v.Float())
	case KindInt:
		return strconv.AppendInt(dst, v.Int(), 10)
	case KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case KindText:
		return AppendJSONString(dst, v.text)
	}
	return append(dst, "null"...)
}

// AppendExact appends the value like AppendJSON, except that a float which would
// read as an integer keeps a fraction: 21.0. So the kind can be told again.
func (v Value) AppendExact(dst []byte) []byte {
	start := len(dst)
	dst = v.AppendJSON(dst)
	if v.kind == KindFloat && !bytes.ContainsAny(dst[start:], ".e") {
		dst = append(dst, ".0"...)
	}
	return dst
}

// String returns the value as a person would write it; text is unquoted.
func (v Value) String() string {
	if v.kind == KindText {
		return v.text
	}
	return string(v.AppendJSON(nil))
}

// AppendFloat appends a finite f in the form of ECMAScript: the fewest digits
// that give the same float64 back, with an exponent only below 1e-6 and from
// 1e21 on.
func AppendFloat(dst []byte, f float64) []byte {
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	dst = strconv.AppendFloat(dst, f, format, -1, 64)
	if n := len(dst); format == 'e' && n >= 4 && dst[n-4] == 'e' && dst[n-2] == '0' {
		dst[n-2] = dst[n-1] // e-09 to e-9
		dst = dst[:n-1]
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string (RFC 8259). s is valid UTF-8;
// control characters, quotes and backslashes are escaped, and <, > and & too,
// so that the result may stand in a script element.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\t':
			dst = append(dst, '\\', 't')
		case '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
