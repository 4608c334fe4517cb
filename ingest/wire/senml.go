package wire

import (
	"bytes"
	"math"

	"github.com/naru-telemetry/naru/device"
)

// senmlLabel is a field of a SenML record by its CBOR number (RFC 8428, table 4).
type senmlLabel int64

const (
	senmlBaseVersion senmlLabel = -1
	senmlBaseName    senmlLabel = -2
	senmlBaseTime    senmlLabel = -3
	senmlBaseValue   senmlLabel = -5
	senmlBaseSum     senmlLabel = -6
	senmlName        senmlLabel = 0
	senmlValue       senmlLabel = 2
	senmlText        senmlLabel = 3
	senmlBool        senmlLabel = 4
	senmlSum         senmlLabel = 5
	senmlTime        senmlLabel = 6
	senmlData        senmlLabel = 8
	// senmlOther is any field that does not bear on name, time or value: units,
	// update times, extensions.
	senmlOther senmlLabel = 1
	// senmlMustKnow is an extension whose name ends with an underscore; a record
	// with one must not be used by who does not know it (section 4.4).
	senmlMustKnow senmlLabel = 1000
)

// senmlVersion is the highest version that RFC 8428 defines.
const senmlVersion = 10

func senmlLabelOf(key token) senmlLabel {
	if key.kind == tokenNumber {
		if key.value.Kind != device.KindInt {
			return senmlOther
		}
		if l := senmlLabel(int64(key.value.Bits)); l >= senmlBaseSum && l <= senmlData {
			return l
		}
		return senmlOther
	}
	switch string(key.text) {
	case "bver":
		return senmlBaseVersion
	case "bn":
		return senmlBaseName
	case "bt":
		return senmlBaseTime
	case "bv":
		return senmlBaseValue
	case "bs":
		return senmlBaseSum
	case "n":
		return senmlName
	case "v":
		return senmlValue
	case "vs":
		return senmlText
	case "vb":
		return senmlBool
	case "s":
		return senmlSum
	case "t":
		return senmlTime
	case "vd":
		return senmlData
	}
	if bytes.HasSuffix(key.text, []byte{'_'}) {
		return senmlMustKnow
	}
	return senmlOther
}

// senmlBase is what a pack's records inherit from those before them.
type senmlBase struct {
	name  []byte
	time  Time
	value Value // no kind: none
	sum   Value
	// wrong tells by its bit, 1<<-label, which base fields were not understood.
	// Records that inherit from them are refused rather than misattributed.
	wrong uint8
}

// maxBaseName is what a base name is cut to. With any more bytes than these, a
// device and a metric at their bounds and what parts them, no name is valid.
// Without the cut each record would hold a copy of the long name.
const maxBaseName = device.MaxIDLen + 1 + device.MaxMetricLen + 1

func (b *senmlBase) reset() { *b = senmlBase{name: b.name[:0]} }

// senmlRecord is one record before the base is applied.
type senmlRecord struct {
	name  []byte
	time  Time
	value Value
	sum   Value
	bases bool // it carries base fields
}

// record reads a SenML record into the decoder's message.
func (r *objectReader) record() bool {
	var rec senmlRecord
	for {
		key := r.tk.next()
		if key.kind == tokenEnd {
			r.resolve(&rec)
			return true
		}
		if key.kind != tokenText && key.kind != tokenNumber && key.kind != tokenError {
			r.complain("a SenML label must be a text or an integer")
		}
		if !r.tk.skip(key) {
			return false
		}
		t := r.tk.next()
		if t.kind == tokenError {
			return false
		}
		r.senmlField(&rec, senmlLabelOf(key), t)
		if !r.tk.skip(t) {
			return false
		}
	}
}

// senmlField takes one field of a record. What it takes of a wrong one does not
// matter, since the record is refused.
func (r *objectReader) senmlField(rec *senmlRecord, label senmlLabel, t token) {
	want, ok := "", true
	switch label {
	case senmlBaseVersion, senmlBaseName, senmlBaseTime, senmlBaseValue, senmlBaseSum:
		rec.bases = true
		bit := uint8(1) << -label
		r.d.senml.wrong &^= bit
		if want = r.d.senml.set(label, t); want != "" {
			r.d.senml.wrong |= bit
			ok = false
		}
	case senmlName:
		rec.name, ok, want = t.text, t.kind == tokenText, "the name must be a text"
	case senmlTime:
		rec.time, ok = timeOf(t)
		want = "a time must be a number"
	case senmlText:
		rec.value, ok, want = textValue(t.text), t.kind == tokenText, "vs must be a text"
	case senmlBool:
		rec.value, ok, want = t.value, t.kind == tokenBool, "vb must be a boolean"
	case senmlValue:
		rec.value, ok, want = t.value, t.kind == tokenNumber, "v and s must be numbers"
	case senmlSum:
		rec.sum, ok, want = t.value, t.kind == tokenNumber, "v and s must be numbers"
	case senmlData:
		ok, want = false, "data values (vd) are not kept"
	case senmlMustKnow:
		ok, want = false, "a field whose name ends with _ must be understood and is not"
	case senmlOther:
	}
	if !ok {
		r.complain(want)
	}
}

// set takes a base field, or says what is wrong with it.
func (b *senmlBase) set(label senmlLabel, t token) string {
	number := t.kind == tokenNumber
	switch {
	case label == senmlBaseVersion:
		if !number || floatOf(t.value) > senmlVersion {
			return "a SenML version above 10 is not known"
		}
	case label == senmlBaseName:
		if t.kind != tokenText {
			return "the base name must be a text"
		}
		b.name = append(b.name[:0], t.text[:min(len(t.text), maxBaseName)]...)
	case label == senmlBaseTime:
		at, ok := timeOf(t)
		if !ok {
			return "the base time must be a number"
		}
		b.time = at
	case !number:
		return "bv and bs must be numbers"
	case label == senmlBaseSum:
		b.sum = t.value
	default:
		b.value = t.value
	}
	return ""
}

// resolve applies the base to the record (RFC 8428, section 4.6) and parts the
// name into device and metric. A record of nothing but base fields is no
// reading.
func (r *objectReader) resolve(rec *senmlRecord) {
	d := r.d
	base := &d.senml
	if base.wrong != 0 {
		r.complain("a base field of a record before is wrong")
	}
	value := rec.value
	if value.Kind != device.KindBool && value.Kind != device.KindText {
		value = sumOf(value, base.value)
	}
	sum := sumOf(rec.sum, base.sum)
	if rec.name == nil && rec.value.Kind == 0 && rec.sum.Kind == 0 && rec.bases {
		return
	}
	if value.Kind == 0 && sum.Kind == 0 {
		r.complain("a record has neither a value nor a sum")
	}
	at := len(d.scratch)
	d.scratch = append(append(d.scratch, base.name...), rec.name...)
	name := d.since(at)
	metric := name
	i := bytes.LastIndexByte(name, '/')
	if i < 0 {
		i = bytes.LastIndexByte(name, ':')
	}
	if i >= 0 {
		d.msg.Device, metric = name[:i], name[i+1:]
	}
	d.msg.Time = base.time.add(rec.time)
	if value.Kind != 0 {
		d.addField(metric, value)
	}
	if sum.Kind != 0 {
		at := len(d.scratch)
		d.scratch = append(append(d.scratch, metric...), ".sum"...)
		d.addField(d.since(at), sum)
	}
}

// sumOf adds two numbers of which either may be absent. Integers stay integers
// unless the sum exceeds 64 bits.
func sumOf(a, b Value) Value {
	switch {
	case a.Kind == 0:
		return b
	case b.Kind == 0:
		return a
	}
	if a.Kind == device.KindInt && b.Kind == device.KindInt {
		x, y := int64(a.Bits), int64(b.Bits)
		if s := x + y; (s > x) == (y > 0) {
			return intValue(s)
		}
	}
	return floatValue(floatOf(a) + floatOf(b))
}

func floatOf(v Value) float64 {
	if v.Kind == device.KindInt {
		return float64(int64(v.Bits))
	}
	return math.Float64frombits(v.Bits)
}
