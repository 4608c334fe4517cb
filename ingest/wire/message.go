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
	FormatStatsD
	FormatGraphite
	FormatTopic
	FormatTasmota
	FormatZigbee2MQTT
	FormatTeleplot
	FormatPairs
	FormatCSV
	FormatSyslog
	FormatRTL433
	FormatShelly
	FormatESPHome
	FormatCollectd
	FormatGzip

	lastFormat = FormatGzip
)

// binary reports whether the format is not text and so has no lines.
func (f Format) binary() bool {
	return f == FormatCBOR || f == FormatSenMLCBOR || f == FormatESPHome || f == FormatCollectd || f == FormatGzip
}

// String returns the format's name as it stands in labels, in settings and in
// the inspector.
func (f Format) String() string {
	if f == 0 || f > lastFormat {
		return "unknown"
	}
	return [...]string{
		FormatLine: "line", FormatJSON: "json", FormatSenML: "senml", FormatCBOR: "cbor", FormatSenMLCBOR: "senml-cbor",
		FormatStatsD: "statsd", FormatGraphite: "graphite", FormatTopic: "topic", FormatTasmota: "tasmota",
		FormatZigbee2MQTT: "zigbee2mqtt", FormatTeleplot: "teleplot", FormatPairs: "kv", FormatCSV: "csv",
		FormatSyslog: "syslog", FormatRTL433: "rtl_433", FormatShelly: "shelly", FormatESPHome: "esphome",
		FormatCollectd: "collectd", FormatGzip: "gzip",
	}[f]
}

// Message is one line, object or record as the device sent it: decoded, not yet
// trusted. All slices point into the payload or into the decoder and are valid
// until its next call.
type Message struct {
	Format Format
	Device []byte // empty when the message names none
	Token  []byte // credential on plain transports; never logged
	Time   Time
	Seq    uint64 // below 2^63; 0 unless HasSeq
	HasSeq bool
	Ack    bool // the device asks for an answer
	// Outcome is that of a command; the zero Outcome is none.
	Outcome device.Outcome
	Fields  []Field
	Line    int // of the payload, from 1, where the message begins; 0 in CBOR
	// Raw is the text or the item the message was read from.
	Raw []byte
}

// Field is one reading of a message: its metric and value. A metric longer than
// device.MaxMetricLen may be cut, though never to what would be admitted.
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
	Fault  Fault
	Line   int // from 1; the lines of CBOR items do not count
	Byte   int // from 1, within the line; within the payload in a binary format
	At     int // from 1, counted from the beginning of the message's Raw, and maybe behind it; 0 where there is none
	Msg    string
}

// Fault is the kind of a SyntaxError.
type Fault uint8

// The faults.
const (
	Malformed Fault = iota
	Oversized       // unpacked, the payload exceeds its bound
	Encrypted       // the payload is sealed or signed with a key that is not known here
)

func (e *SyntaxError) Error() string {
	if e.Format.binary() {
		return fmt.Sprintf("byte %d: %s", e.Byte, e.Msg)
	}
	return fmt.Sprintf("line %d, byte %d: %s", e.Line, e.Byte, e.Msg)
}

// maxFields bounds the readings of one message, so that a payload cannot make
// the decoder hold far more than its own size.
const maxFields = 4096

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
	case device.KindText:
	}
	if err := device.CheckText(v.Text); err != nil {
		return device.Value{}, err
	}
	return device.Text(string(v.Text))
}
