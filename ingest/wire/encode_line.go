package wire

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/naru-telemetry/naru/device"
)

// AppendLine appends m as line protocol without a newline at the end. A metric
// becomes measurement, field and tags where they can be told again: the field
// follows the first dot, the tags stand in braces. Neighbours of one measurement
// and the same tags share a line. Seq stands on every line, so that a retransmission
// is recognised as a whole, and ack and an outcome on the last, so that one answer covers all.
// m.Time must be whole. AppendLine does not check m: line protocol cannot carry
// a metric that begins with #, {, [ or a byte order mark or ends with a
// backslash.
func AppendLine(dst []byte, m *Message) []byte {
	for rest := m.Fields; len(rest) > 0; {
		name := lineNameOf(rest[0].Metric)
		n := 1
		for n < len(rest) && lineNameOf(rest[n].Metric).sharesLine(name) {
			n++
		}
		if len(rest) < len(m.Fields) {
			dst = append(dst, '\n')
		}
		dst = appendLineHead(dst, m, name, n == len(rest))
		for i, f := range rest[:n] {
			dst = append(dst, " ,"[min(i, 1)])
			if field := lineNameOf(f.Metric).field; len(field) > 0 {
				dst = append(appendEscaped(dst, field, keySpecials), '=')
			} else {
				dst = append(dst, "value="...)
			}
			if f.Value.Kind == device.KindText {
				dst = appendQuoted(dst, f.Value.Text)
			} else {
				dst = appendNumber(dst, f.Value, "i")
			}
		}
		if m.Time.Set {
			dst = strconv.AppendInt(append(dst, ' '), m.Time.Int, 10)
		}
		rest = rest[n:]
	}
	return dst
}

// LineCarries reports whether line protocol can carry the metric, see AppendLine.
func LineCarries[T ~string | ~[]byte](metric T) bool {
	return len(metric) > 0 && strings.IndexByte("#{[", metric[0]) < 0 && metric[len(metric)-1] != '\\' &&
		!strings.HasPrefix(string(metric), byteOrderMark)
}

// The bytes that a backslash protects in the parts of a line.
const (
	measurementSpecials = ", "
	keySpecials         = ",= "
)

// appendLineHead appends everything before the fields.
func appendLineHead(dst []byte, m *Message, name lineName, last bool) []byte {
	dst = appendEscaped(dst, name.measurement, measurementSpecials)
	if len(m.Device) > 0 {
		dst = appendTag(dst, "device", m.Device)
	}
	if len(m.Token) > 0 {
		dst = appendTag(dst, "token", m.Token)
	}
	if m.HasSeq {
		dst = strconv.AppendUint(append(dst, ",seq="...), m.Seq, 10)
	}
	if last && m.Ack {
		dst = append(dst, ",ack=1"...)
	}
	if last && m.Outcome.Command != 0 {
		dst = appendTag(dst, "outcome", []byte(m.Outcome.String()))
	}
	for tags := name.tags; len(tags) > 0; {
		var key, value []byte
		key, value, tags = cutTag(tags)
		dst = appendTag(dst, key, value)
	}
	return dst
}

func appendTag[T string | []byte](dst []byte, key T, value []byte) []byte {
	dst = appendEscaped(append(dst, ','), key, keySpecials)
	return appendEscaped(append(dst, '='), value, keySpecials)
}

// lineName is a metric as line protocol carries it.
type lineName struct {
	measurement []byte
	field       []byte // empty: the field is named value
	tags        []byte // k=v,k=v
}

func (n lineName) sharesLine(o lineName) bool {
	return bytes.Equal(n.measurement, o.measurement) && bytes.Equal(n.tags, o.tags)
}

// lineNameOf parts a metric so that decoding puts the same metric together
// again. Where that is not sure, the whole metric is a measurement with the
// field value.
func lineNameOf(metric []byte) lineName {
	whole := lineName{measurement: metric}
	n := whole
	if i := bytes.IndexByte(metric, '{'); i > 0 && metric[len(metric)-1] == '}' {
		n.measurement, n.tags = metric[:i], metric[i+1:len(metric)-1]
		if !areCanonicalTags(n.tags) {
			return whole
		}
	}
	if measurement, field, ok := bytes.Cut(n.measurement, []byte{'.'}); ok {
		n.measurement, n.field = measurement, field
		if isOpenEnded(field) || string(field) == "value" {
			return whole
		}
	}
	if isOpenEnded(n.measurement) {
		return whole
	}
	return n
}

// isOpenEnded reports whether b cannot be a part of a line: it is empty or would
// take the separator behind it for escaped.
func isOpenEnded(b []byte) bool { return len(b) == 0 || b[len(b)-1] == '\\' }

// areCanonicalTags reports whether tags are k=v,k=v as the decoder writes them:
// sorted, and none that it would take out.
func areCanonicalTags(tags []byte) bool {
	if len(tags) == 0 || tags[len(tags)-1] == ',' {
		return false
	}
	var before []byte
	for len(tags) > 0 {
		var key, value []byte
		key, value, tags = cutTag(tags)
		if isOpenEnded(key) || isOpenEnded(value) || bytes.Compare(before, key) > 0 {
			return false
		}
		switch string(key) {
		case "device", "host", "id", "seq", "ack", "token", "outcome":
			return false
		}
		before = key
	}
	return true
}

// cutTag parts the first k=v from the tags behind it.
func cutTag(tags []byte) (key, value, rest []byte) {
	pair, rest, _ := bytes.Cut(tags, []byte{','})
	key, value, _ = bytes.Cut(pair, []byte{'='})
	return key, value, rest
}

func appendEscaped[T string | []byte](dst []byte, s T, specials string) []byte {
	for i := range len(s) {
		if strings.IndexByte(specials, s[i]) >= 0 {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}

func appendQuoted(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
