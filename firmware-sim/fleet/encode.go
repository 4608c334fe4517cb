package fleet

import (
	"bytes"
	"math"
	"strconv"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// message is what a device sends at once: readings of one moment, and one seq.
type message struct {
	format wire.Format
	device device.ID
	at     device.Time // 0: the device has no clock
	fields []wire.Field
	seq    uint64
	hasSeq bool
	ack    bool
	token  string // empty: the message proves nothing
	// outcome is what came of a command; zero for none.
	outcome device.Outcome
}

// carriesMore reports whether the format has a place for more than readings: seq,
// ack, token and outcome.
func carriesMore(f wire.Format) bool {
	return f == wire.FormatLine || f == wire.FormatJSON || f == wire.FormatCBOR
}

// appendPayload appends m as one datagram, or as the next piece of a stream.
func appendPayload(dst []byte, m *message, stream bool) []byte {
	text := true
	switch m.format { //nolint:exhaustive // JSON stands for those that devices do not send
	case wire.FormatLine:
		dst = appendLines(dst, m)
	case wire.FormatStatsD:
		dst = appendStatsD(dst, m, stream)
	case wire.FormatSenML:
		dst = append(appendSenML(dst, m), '\n')
	case wire.FormatCBOR, wire.FormatSenMLCBOR:
		dst, text = appendBinary(dst, m), false
	default:
		w := m.wire()
		dst = append(wire.AppendJSON(dst, &w), '\n')
	}
	if text && !stream {
		dst = dst[:len(dst)-1]
	}
	return dst
}

func appendBinary(dst []byte, m *message) []byte {
	if m.format == wire.FormatSenMLCBOR {
		return appendSenMLCBOR(dst, m)
	}
	w := m.wire()
	return wire.AppendCBOR(dst, &w)
}

// wire returns the message as wire's encoders take it.
func (m *message) wire() wire.Message {
	w := wire.Message{
		Device: []byte(m.device), Token: []byte(m.token), Seq: m.seq, HasSeq: m.hasSeq, Ack: m.ack,
		Outcome: m.outcome, Fields: m.fields,
	}
	if m.at != 0 {
		w.Time = wire.Time{Int: int64(m.at), Set: true}
		if m.at%1000 == 0 {
			w.Time.Int /= 1000
		}
	}
	return w
}

// appendLines appends m as line protocol, one line for each run of metrics with
// the same measurement, with the time in nanoseconds as InfluxDB's clients send
// it. Every line ends with a newline.
func appendLines(dst []byte, m *message) []byte {
	for i := 0; i < len(m.fields); {
		measurement, _ := cutMetric(m.fields[i].Metric)
		dst = appendEscaped(dst, measurement, false)
		dst = append(dst, ",device="...)
		dst = append(dst, m.device...) // an ID holds nothing that line protocol escapes
		if m.hasSeq {
			dst = append(dst, ",seq="...)
			dst = strconv.AppendUint(dst, m.seq, 10)
		}
		if m.ack {
			dst = append(dst, ",ack=1"...)
		}
		if m.token != "" {
			dst = append(dst, ",token="...)
			dst = appendEscaped(dst, []byte(m.token), true)
		}
		if m.outcome.Command != 0 {
			dst = append(dst, ",outcome="...)
			dst = appendEscaped(dst, []byte(m.outcome.String()), true)
		}
		sep := byte(' ')
		for ; i < len(m.fields); i++ {
			next, field := cutMetric(m.fields[i].Metric)
			if !bytes.Equal(next, measurement) {
				break
			}
			dst = append(dst, sep)
			dst = appendEscaped(dst, field, true)
			dst = append(dst, '=')
			dst = appendLineValue(dst, m.fields[i].Value)
			sep = ','
		}
		if m.at != 0 {
			dst = append(dst, ' ')
			dst = strconv.AppendInt(dst, int64(m.at)*1000, 10)
		}
		dst = append(dst, '\n')
	}
	return dst
}

var valueField = []byte("value")

// cutMetric parts a metric into measurement and field.
func cutMetric(metric []byte) (measurement, field []byte) {
	measurement, field, dotted := bytes.Cut(metric, []byte{'.'})
	if !dotted {
		field = valueField
	}
	return measurement, field
}

// appendEscaped appends the name of a measurement, or that of a field, which
// escapes the equals sign too.
func appendEscaped(dst, name []byte, isField bool) []byte {
	for _, c := range name {
		if c == ',' || c == ' ' || c == '=' && isField {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}

func appendLineValue(dst []byte, v wire.Value) []byte {
	switch v.Kind {
	case device.KindInt:
		return append(strconv.AppendInt(dst, int64(v.Bits), 10), 'i')
	case device.KindBool:
		return strconv.AppendBool(dst, v.Bits != 0)
	case device.KindText:
		dst = append(dst, '"')
		for _, c := range v.Text {
			if c == '"' || c == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, c)
		}
		return append(dst, '"')
	case device.KindFloat:
	}
	return device.AppendFloat(dst, math.Float64frombits(v.Bits))
}

// lineCarries reports whether line protocol gives the field back as it is:
// metrics without tags or backslashes whose parts are both there, and texts on
// one line.
func lineCarries(f wire.Field) bool {
	measurement, field := cutMetric(f.Metric)
	switch {
	case len(measurement) == 0 || len(field) == 0,
		bytes.ContainsAny(f.Metric, "\\{}:\""),
		strings.IndexByte("#[ =,", measurement[0]) >= 0,
		len(measurement) < len(f.Metric) && bytes.Equal(field, valueField):
		return false
	}
	return !bytes.ContainsFunc(f.Value.Text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// objectCarries reports whether a JSON object or CBOR map gives the field back
// as it is: its name is not one that the contract reserves.
func objectCarries(f wire.Field) bool {
	switch string(f.Metric) {
	case "device", "time", "seq", "ack", "token", "outcome":
		return false
	}
	return true
}

// sameMeasurement returns how many of the first fields are of one measurement.
func sameMeasurement(fields []wire.Field) int {
	first, _ := cutMetric(fields[0].Metric)
	for i := range fields {
		if m, _ := cutMetric(fields[i].Metric); !bytes.Equal(m, first) {
			return i
		}
	}
	return len(fields)
}
