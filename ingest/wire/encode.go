package wire

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/naru-telemetry/naru/device"
)

// AppendAck appends the answer to a message whose readings are durable:
// {"ack":7}, or {"ack":null} when the device asked for an answer without a seq.
func AppendAck(dst []byte, seq uint64, hasSeq bool) []byte {
	dst = append(dst, `{"ack":`...)
	if !hasSeq {
		return append(dst, "null}"...)
	}
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, '}')
}

// AppendRefusal appends the answer to a message that was refused, in whole or in
// part: {"error":"syntax","seq":7}
func AppendRefusal(dst []byte, reason string, seq uint64, hasSeq bool) []byte {
	dst = append(dst, `{"error":`...)
	dst = device.AppendJSONString(dst, reason)
	if hasSeq {
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, seq, 10)
	}
	return append(dst, '}')
}

// AppendCommand appends to an answer, which dst ends with, what the device is to
// do: {"ack":7,"command":{"id":3,"device":"gh1","name":"relay","value":true}}
func AppendCommand(dst []byte, c *device.Command) []byte {
	dst = append(dst[:len(dst)-1], `,"command":`...)
	return append(c.AppendJSON(dst), '}')
}

// AppendJSON appends m as one plain JSON object without a newline. The metric
// names become member names as they are, so that none may be a reserved one. It
// does not check m.
func AppendJSON(dst []byte, m *Message) []byte {
	dst = append(dst, '{')
	if len(m.Device) > 0 {
		dst = append(dst, `"device":`...)
		dst = device.AppendJSONString(dst, string(m.Device))
		dst = append(dst, ',')
	}
	if m.Time.Set {
		dst = append(dst, `"time":`...)
		dst = m.Time.append(dst)
		dst = append(dst, ',')
	}
	if m.HasSeq {
		dst = append(dst, `"seq":`...)
		dst = strconv.AppendUint(dst, m.Seq, 10)
		dst = append(dst, ',')
	}
	if m.Ack {
		dst = append(dst, `"ack":true,`...)
	}
	if m.Outcome.Command != 0 {
		dst = append(dst, `"outcome":`...)
		dst = device.AppendJSONString(dst, m.Outcome.String())
		dst = append(dst, ',')
	}
	if len(m.Token) > 0 {
		dst = append(dst, `"token":`...)
		dst = device.AppendJSONString(dst, string(m.Token))
		dst = append(dst, ',')
	}
	for _, f := range m.Fields {
		dst = device.AppendJSONString(dst, string(f.Metric))
		dst = append(dst, ':')
		if f.Value.Kind == device.KindText {
			dst = device.AppendJSONString(dst, string(f.Value.Text))
		} else {
			dst = appendNumber(dst, f.Value, "")
		}
		dst = append(dst, ',')
	}
	if dst[len(dst)-1] == ',' {
		dst = dst[:len(dst)-1]
	}
	return append(dst, '}')
}

// appendNumber appends a number or boolean so that its kind can be told again:
// integers with the suffix, and in JSON whole floats with a fraction.
func appendNumber(dst []byte, v Value, intSuffix string) []byte {
	if v.Kind == device.KindBool {
		return strconv.AppendBool(dst, v.Bits != 0)
	}
	if v.Kind == device.KindInt {
		dst = strconv.AppendInt(dst, int64(v.Bits), 10)
		return append(dst, intSuffix...)
	}
	f := math.Float64frombits(v.Bits)
	start := len(dst)
	dst = device.AppendFloat(dst, f)
	if intSuffix == "" && f == math.Trunc(f) && !strings.ContainsAny(string(dst[start:]), ".e") {
		dst = append(dst, '.', '0')
	}
	return dst
}

// append writes the time as a decimal number.
func (t Time) append(dst []byte) []byte {
	whole, frac := t.Int, int64(t.Frac)
	if whole < 0 && frac > 0 {
		whole, frac = whole+1, 1e9-frac
		if whole == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, whole, 10)
	if frac == 0 {
		return dst
	}
	dst = append(dst, '.')
	for scale := int64(1e8); frac > 0; scale /= 10 {
		dst = append(dst, byte('0'+frac/scale))
		frac %= scale
	}
	return dst
}

// AppendCBOR appends m as one plain CBOR map in preferred serialization
// (RFC 8949, section 4.1) except that floats always take 64 bits. A fractional
// time is written as a float, which carries microseconds. No metric may be a
// reserved name. It does not check m.
func AppendCBOR(dst []byte, m *Message) []byte {
	pairs := len(m.Fields)
	for _, present := range []bool{len(m.Device) > 0, m.Time.Set, m.HasSeq, m.Ack, m.Outcome.Command != 0, len(m.Token) > 0} {
		if present {
			pairs++
		}
	}
	dst = appendHead(dst, 5, uint64(pairs))
	if len(m.Device) > 0 {
		dst = appendCBORText(appendCBORText(dst, "device"), string(m.Device))
	}
	if m.Time.Set {
		dst = appendCBORText(dst, "time")
		if m.Time.Frac == 0 {
			dst = appendCBORValue(dst, intValue(m.Time.Int))
		} else {
			dst = appendCBORValue(dst, floatValue(float64(m.Time.Int)+float64(m.Time.Frac)/1e9))
		}
	}
	if m.HasSeq {
		dst = appendHead(appendCBORText(dst, "seq"), 0, m.Seq)
	}
	if m.Ack {
		dst = appendCBORValue(appendCBORText(dst, "ack"), boolValue(true))
	}
	if m.Outcome.Command != 0 {
		dst = appendCBORText(appendCBORText(dst, "outcome"), m.Outcome.String())
	}
	if len(m.Token) > 0 {
		dst = appendCBORText(appendCBORText(dst, "token"), string(m.Token))
	}
	for _, f := range m.Fields {
		dst = appendCBORValue(appendCBORText(dst, string(f.Metric)), f.Value)
	}
	return dst
}

func appendCBORValue(dst []byte, v Value) []byte {
	switch v.Kind {
	case device.KindText:
		return appendCBORText(dst, string(v.Text))
	case device.KindBool:
		return append(dst, 0xf4+byte(v.Bits&1))
	case device.KindInt:
		if n := int64(v.Bits); n < 0 {
			return appendHead(dst, 1, uint64(-1-n))
		}
		return appendHead(dst, 0, v.Bits)
	case device.KindFloat:
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xfb), v.Bits)
}

func appendCBORText(dst []byte, s string) []byte {
	return append(appendHead(dst, 3, uint64(len(s))), s...)
}

func appendHead(dst []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, major|27), n)
}
