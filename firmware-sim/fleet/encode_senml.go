package fleet

import (
	"bytes"
	"math"
	"strconv"

	"github.com/fxamacker/cbor/v2"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// appendSenML appends m as a pack of SenML in JSON (RFC 8428): the device is the
// base name, up to a slash, and the base time is in seconds. SenML has no place for
// seq, ack, token and outcome.
func appendSenML(dst []byte, m *message) []byte {
	dst = append(dst, `[{"bn":`...)
	dst = device.AppendJSONString(dst, string(m.device)+"/")
	if m.at != 0 {
		dst = append(dst, `,"bt":`...)
		dst = appendSeconds(dst, m.at)
	}
	for i, f := range m.fields {
		if i > 0 {
			dst = append(dst, "},{"...)
		} else {
			dst = append(dst, ',')
		}
		dst = append(dst, `"n":`...)
		dst = device.AppendJSONString(dst, string(f.Metric))
		switch f.Value.Kind {
		case device.KindText:
			dst = append(dst, `,"vs":`...)
			dst = device.AppendJSONString(dst, string(f.Value.Text))
		case device.KindBool:
			dst = append(dst, `,"vb":`...)
			dst = strconv.AppendBool(dst, f.Value.Bits != 0)
		case device.KindInt:
			dst = append(dst, `,"v":`...)
			dst = strconv.AppendInt(dst, int64(f.Value.Bits), 10)
		case device.KindFloat:
			dst = append(dst, `,"v":`...)
			dst = appendDecimal(dst, f.Value)
		}
	}
	return append(dst, "}]"...)
}

// appendDecimal appends a float so that it is not taken for an integer.
func appendDecimal(dst []byte, v wire.Value) []byte {
	start := len(dst)
	dst = device.AppendFloat(dst, math.Float64frombits(v.Bits))
	if !bytes.ContainsAny(dst[start:], ".e") {
		dst = append(dst, '.', '0')
	}
	return dst
}

// appendSeconds appends a time in seconds since 1970.
func appendSeconds(dst []byte, t device.Time) []byte {
	dst = strconv.AppendInt(dst, int64(t/1_000_000), 10)
	dst = append(dst, '.')
	for digit := device.Time(100_000); digit > 0; digit /= 10 {
		dst = append(dst, byte('0'+t/digit%10))
	}
	return dst
}

// Labels of SenML in CBOR (RFC 8428, section 6).
const (
	senmlBaseTime = -3
	senmlBaseName = -2
	senmlName     = 0
	senmlNumber   = 2
	senmlText     = 3
	senmlBool     = 4
)

// appendSenMLCBOR appends m as a pack of SenML in CBOR.
func appendSenMLCBOR(dst []byte, m *message) []byte {
	pack := make([]map[int]any, max(len(m.fields), 1))
	for i := range pack {
		pack[i] = map[int]any{}
	}
	pack[0][senmlBaseName] = string(m.device) + "/"
	if m.at != 0 {
		pack[0][senmlBaseTime] = float64(m.at) / 1e6
	}
	for i, f := range m.fields {
		pack[i][senmlName] = string(f.Metric)
		switch f.Value.Kind {
		case device.KindText:
			pack[i][senmlText] = string(f.Value.Text)
		case device.KindBool:
			pack[i][senmlBool] = f.Value.Bits != 0
		case device.KindInt:
			pack[i][senmlNumber] = int64(f.Value.Bits)
		case device.KindFloat:
			pack[i][senmlNumber] = math.Float64frombits(f.Value.Bits)
		}
	}
	b, err := cbor.Marshal(pack)
	if err != nil {
		return dst // no value of a sensor is beyond CBOR
	}
	return append(dst, b...)
}
