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
		switch l := senmlLabel(int64(key.value.Bits)); l {
		case senmlBaseVersion, senmlBaseName, senmlBaseTime, senmlBaseValue, senmlBaseSum,
			senmlName, senmlValue, senmlText, senmlBool, senmlSum, senmlTime, senmlData:
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
}

func (b *senmlBase) reset() { *b = senmlBase{name: b.name[:0]} }

// senmlRecord is one record before the base is applied.
type senmlRecord struct {
	name  []byte
	time  Time
	value Value
	sum   Value
}

// record reads a SenML record into the decoder's message.
func (r *objectReader) record() bool {
	var rec senmlRecord
	for {
		key := r.tk.next()
		switch key.kind {
		case tokenEnd:
			r.resolve(&rec)
			return true
		case tokenError:
			return false
		case tokenText, tokenNumber:
		default:
			r.complain("a SenML label must be a text or an integer")
			if !skipValue(r.tk, key) {
				return false
			}
		}
		t := r.tk.next()
		if t.kind == tokenError {
			return false
		}
		r.senmlField(&rec, senmlLabelOf(key), t)
		if !skipValue(r.tk, t) {
			return false
		}
	}
}

func (r *objectReader) senmlField(rec *senmlRecord, label senmlLabel, t token) {
	base := &r.d.senml
	want := ""
	number := t.kind == tokenNumber
	switch label {
	case senmlBaseVersion:
		if !number || floatOf(t.value) > senmlVersion {
			want = "a SenML version above 10 is not known"
		}
	case senmlBaseName:
		if t.kind != tokenText {
			want = "the base name must be a text"
			break
		}
		base.name = append(base.name[:0], t.text...)
	case senmlName:
		if t.kind != tokenText {
			want = "the name must be a text"
			break
		}
		rec.name = t.text
	case senmlBaseTime, senmlTime:
		at, ok := timeOf(t)
		switch {
		case !ok:
			want = "a time must be a number"
		case label == senmlTime:
			rec.time = at
		default:
			base.time = at
		}
	case senmlText:
		if t.kind != tokenText {
			want = "vs must be a text"
			break
		}
		rec.value = textValue(t.text)
	case senmlBool:
		if t.kind != tokenBool {
			want = "vb must be a boolean"
			break
		}
		rec.value = t.value
	case senmlValue, senmlSum, senmlBaseValue, senmlBaseSum:
		if !number {
			want = "v, s, bv and bs must be numbers"
			break
		}
		*r.senmlNumber(rec, label) = t.value
	case senmlData:
		want = "data values (vd) are not kept"
	case senmlMustKnow:
		want = "a field whose name ends with _ must be understood and is not"
	}
	if want != "" {
		r.complain(want)
	}
}

// senmlNumber returns where the number of this label belongs.
func (r *objectReader) senmlNumber(rec *senmlRecord, label senmlLabel) *Value {
	switch label {
	case senmlSum:
		return &rec.sum
	case senmlBaseValue:
		return &r.d.senml.value
	case senmlBaseSum:
		return &r.d.senml.sum
	}
	return &rec.value
}

// resolve applies the base to the record (RFC 8428, section 4.6) and parts the
// name into device and metric.
func (r *objectReader) resolve(rec *senmlRecord) {
	d := r.d
	base := &d.senml
	at := len(d.scratch)
	d.scratch = append(append(d.scratch, base.name...), rec.name...)
	name := d.scratch[at:len(d.scratch):len(d.scratch)]
	metric := name
	i := bytes.LastIndexByte(name, '/')
	if i < 0 {
		i = bytes.LastIndexByte(name, ':')
	}
	if i >= 0 {
		d.msg.Device, metric = name[:i], name[i+1:]
	}
	d.msg.Time = base.time.add(rec.time)
	if rec.value.Kind == 0 || rec.value.Kind == device.KindFloat || rec.value.Kind == device.KindInt {
		rec.value = sumOf(rec.value, base.value)
	}
	if rec.value.Kind != 0 {
		d.addField(metric, rec.value)
	}
	if sum := sumOf(rec.sum, base.sum); sum.Kind != 0 {
		d.addField(append(d.keep(metric), ".sum"...), sum)
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
