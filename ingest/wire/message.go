package wire

import (
	"fmt"
	"math"

	"github.com/naru-telemetry/naru/device"
)

// Format is the notation of a message.
type Format uint8

// The formats that a Decoder tells apart.
const (
	FormatLine Format = iota + 1
	FormatJSON
	FormatSenML
	FormatCBOR
	FormatSenMLCBOR
)

// String returns the format's name as it stands in labels and in the inspector.
func (f Format) String() string {
	switch f {
	case FormatLine:
		return "line"
	case FormatJSON:
		return "json"
	case FormatSenML:
		return "senml"
	case FormatCBOR:
		return "cbor"
	case FormatSenMLCBOR:
		return "senml-cbor"
	}
	return "unknown"
}

// Message is one line, object or record as the device sent it: decoded, not yet
// trusted. All slices point into the payload or into the decoder and are valid
// until its next call.
type Message struct {
	Format Format
	Device []byte // empty when the message names none
	Token  []byte // credential on plain transports; never logged
	Time   Time
	Seq    uint64
	HasSeq bool
	Ack    bool // the device asks for an answer
	Fields []Field
	// Raw is the text or the item the message was read from.
	Raw []byte
}

// Field is one reading of a message: its metric and value.
type Field struct {
	Metric []byte
	Value  Value
}

// Value is a number, boolean or text from a device. Floats may be NaN or
// infinite and texts of any length.
type Value struct {
	Kind device.Kind
	Bits uint64 // float64 bits, int64, or 0 and 1 for a boolean
	Text []byte
}

func floatValue(f float64) Value { return Value{Kind: device.KindFloat, Bits: math.Float64bits(f)} }
func intValue(i int64) Value     { return Value{Kind: device.KindInt, Bits: uint64(i)} }
func textValue(b []byte) Value   { return Value{Kind: device.KindText, Text: b} }

func boolValue(b bool) Value {
	v := Value{Kind: device.KindBool}
	if b {
		v.Bits = 1
	}
	return v
}

// SyntaxError says where a payload is not what its format demands.
type SyntaxError struct {
	Format Format
	Line   int // from 1; counts lines of text, 1 in CBOR
	Byte   int // from 1, within the line; within the payload in CBOR
	Msg    string
}

func (e *SyntaxError) Error() string {
	if e.Format == FormatCBOR || e.Format == FormatSenMLCBOR {
		return fmt.Sprintf("byte %d: %s", e.Byte, e.Msg)
	}
	return fmt.Sprintf("line %d, byte %d: %s", e.Line, e.Byte, e.Msg)
}

// maxFields bounds the readings of one message, so that a payload cannot make
// the decoder hold far more than its own size.
const maxFields = 4096

// Unit is how a device counts time.
type Unit uint8

// The units, told by the size of the number.
const (
	Ago    Unit = iota // seconds before now
	Second             // seconds since the Unix epoch, and so on
	Milli
	Micro
	Nano
)

// Time is a moment as the device wrote it: Int plus Frac billionths.
type Time struct {
	Int  int64
	Frac int32 // 0 to 999,999,999; counts upwards from Int also when Int is negative
	Set  bool
}

// Bounds between the units: numbers of up to 11 digits are seconds, up to 14
// milliseconds, up to 17 microseconds. Below 2^28 they are relative (RFC 8428,
// section 4.5.3).
const (
	relativeBelow = 1 << 28
	maxSeconds    = 100_000_000_000
	maxMillis     = 100_000_000_000_000
	maxMicros     = 100_000_000_000_000_000
)

// Unit tells the unit by the size.
func (t Time) Unit() Unit {
	switch {
	case t.Int < relativeBelow:
		return Ago
	case t.Int < maxSeconds:
		return Second
	case t.Int < maxMillis:
		return Milli
	case t.Int < maxMicros:
		return Micro
	}
	return Nano
}

// At returns the moment, given the present one; fractions of a microsecond are
// cut. A relative time counts back from now whatever its sign, since SenML
// writes the past with a minus and everybody else without.
func (t Time) At(now device.Time) device.Time {
	switch t.Unit() {
	case Ago:
		ago := t.Int*1e6 + int64(t.Frac)/1000
		if t.Int <= -relativeBelow {
			return 0 // before 1970: a clock that is wrong
		}
		return now - device.Time(max(ago, -ago))
	case Second:
		return device.Time(t.Int*1e6 + int64(t.Frac)/1000)
	case Milli:
		return device.Time(t.Int*1000 + int64(t.Frac)/1_000_000)
	case Micro:
		return device.Time(t.Int)
	}
	return device.Time(t.Int / 1000)
}

// add returns the sum of two times, as SenML's base time wants it.
func (t Time) add(u Time) Time {
	s := Time{Int: t.Int + u.Int, Frac: t.Frac + u.Frac, Set: t.Set || u.Set}
	if s.Frac >= 1e9 {
		s.Frac -= 1e9
		s.Int++
	}
	return s
}

// timeOfFloat is for times that arrive as binary floats; it rounds to
// microseconds, the most that a float64 of the present day carries.
func timeOfFloat(f float64) (Time, bool) {
	if math.IsNaN(f) || math.Abs(f) >= 1<<62 {
		return Time{}, false
	}
	whole := math.Floor(f)
	frac := int32(math.Round((f-whole)*1e6)) * 1000
	t := Time{Int: int64(whole), Set: true}
	return t.add(Time{Frac: frac}), true
}

// timeOfText reads a decimal number without exponent exactly and any other
// number as a float.
func timeOfText(b []byte) (Time, bool) {
	i, neg := 0, false
	if len(b) > 0 && b[0] == '-' {
		i, neg = 1, true
	}
	var n int64
	start := i
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if n > math.MaxInt64/10-1 {
			return Time{}, false
		}
		n = n*10 + int64(b[i]-'0')
	}
	if i == start {
		return Time{}, false
	}
	var frac, scale int32 = 0, 1e8
	if i < len(b) && b[i] == '.' {
		for i++; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
			frac += int32(b[i]-'0') * scale
			scale /= 10
		}
	}
	if i < len(b) {
		f, ok := parseFloat(b)
		if !ok {
			return Time{}, false
		}
		return timeOfFloat(f)
	}
	t := Time{Int: n, Frac: frac, Set: true}
	if neg {
		t.Int = -n
		if frac > 0 {
			t.Int, t.Frac = t.Int-1, 1e9-frac
		}
	}
	return t, true
}

// ValueOf returns a domain value in the form that a message carries.
func ValueOf(v device.Value) Value {
	switch v.Kind() {
	case device.KindFloat:
		return floatValue(v.Float())
	case device.KindInt:
		return intValue(v.Int())
	case device.KindBool:
		return boolValue(v.Bool())
	case device.KindText:
		return textValue([]byte(v.Text()))
	}
	return Value{}
}

// Admit returns the domain value, or an error wrapping device.ErrInvalid for
// NaN, the infinities, texts that are too long or not UTF-8. It copies the text.
func (v Value) Admit() (device.Value, error) {
	switch v.Kind {
	case device.KindFloat:
		return device.Float(math.Float64frombits(v.Bits))
	case device.KindInt:
		return device.Int(int64(v.Bits)), nil
	case device.KindBool:
		return device.Bool(v.Bits != 0), nil
	}
	if err := device.CheckText(v.Text); err != nil {
		return device.Value{}, err
	}
	return device.Text(string(v.Text))
}
