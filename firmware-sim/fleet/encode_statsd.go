package fleet

import (
	"bytes"
	"math"
	"strconv"

	"github.com/naru-telemetry/naru/device"
)

// appendStatsD appends m as StatsD, a line for each reading: device.metric:21.5|g.
// Numbers are gauges, a boolean is one of 0 or 1, and a text is the member of a set.
// As StatsD takes a sign for a change, a gauge below zero is set to zero first, but
// not in a stream, where no line bears on the next. StatsD has no place for time,
// seq, ack, token and outcome.
func appendStatsD(dst []byte, m *message, stream bool) []byte {
	for _, f := range m.fields {
		start := len(dst)
		dst = append(dst, m.device...)
		dst = append(dst, '.')
		dst = append(dst, bytes.Map(statsdRune, f.Metric)...)
		dst = append(dst, ':')
		name := dst[start:len(dst):len(dst)]
		switch f.Value.Kind {
		case device.KindText:
			dst = append(dst, bytes.Map(statsdRune, f.Value.Text)...)
			dst = append(dst, "|s\n"...)
			continue
		case device.KindBool:
			dst = append(dst, byte('0'+f.Value.Bits&1))
		case device.KindInt:
			if int64(f.Value.Bits) < 0 && !stream {
				dst = append(append(dst, "0|g\n"...), name...)
			}
			dst = strconv.AppendInt(dst, int64(f.Value.Bits), 10)
		case device.KindFloat:
			x := math.Float64frombits(f.Value.Bits)
			if x < 0 && !stream {
				dst = append(append(dst, "0|g\n"...), name...)
			}
			dst = device.AppendFloat(dst, x)
		}
		dst = append(dst, "|g\n"...)
	}
	return dst
}

// statsdRune puts an underscore where StatsD's own signs would stand.
func statsdRune(r rune) rune {
	switch r {
	case ':', '|', '@', '#', ',', '\n', '\r':
		return '_'
	}
	return r
}
