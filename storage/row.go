package storage

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/naru-telemetry/naru/device"
)

// # Rows of a log batch
//
// A row is a tag byte, and then what the tag says is there:
//
//	tag & 0x80 = 0   uv  index of the series in the dictionary;
//	                     set: the index of the previous row plus one
//	tag & 0x10 = 0   zz  time − time of the previous row, in milliseconds when
//	                     tag & 0x20, else in microseconds; set: the same time
//	tag & 0x40 = 0   zz  received − received of the previous row; set: the same
//	value                by the form, tag & 0x0f
//
// Before the first row the index is −1 and the times are the header's bases.
//
// Forms: 0 float64, 8 bytes little-endian. 1–7 float64 as a decimal: zz
// mantissa, divided by 10^(form−1). 8 the same with the exponent in a byte
// before the mantissa. 9 float64 that a float32 represents, 4 bytes. 10 integer
// (zz). 11 false. 12 true. 13 text: uv length, bytes. A decimal is written
// only when the division gives every bit of the float back; powers of ten up to
// 10^22 and the mantissas used are exact, so the quotient is the same on every
// machine.
const (
	formRaw     = 0
	formDecimal = 1
	formWide    = 8
	formFloat32 = 9
	formInt     = 10
	formFalse   = 11
	formTrue    = 12
	formText    = 13

	tagForm         = 0x0f
	tagSameTime     = 0x10
	tagMillis       = 0x20
	tagSameReceived = 0x40
	tagNextSeries   = 0x80
)

const (
	// maxMantissa keeps a decimal shorter than the 8 raw bytes.
	maxMantissa = 1 << 47
	// hintRaw marks a series whose last float had no short decimal; only
	// exponents below rawTries are tried for the next one.
	hintRaw  = 0xff
	rawTries = 8
)

var pow10 = [...]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// builder collects the rows of the batch that is being filled. Its rows and
// dictionary ids only ever grow, so that a copy of the slice headers is a
// snapshot of the rows so far.
type builder struct {
	batch
	prevIndex    int
	prevTime     device.Time
	prevReceived device.Time
}

// start empties the builder for a batch that begins at offset first.
func (b *builder) start(first uint64, r *device.Reading) {
	*b = builder{
		batch: batch{
			first:    first,
			time:     span{r.Time, r.Time, r.Time},
			received: span{r.Received, r.Received, r.Received},
		},
		prevIndex:    -1,
		prevTime:     r.Time,
		prevReceived: r.Received,
	}
}

// full reports whether the batch should be sealed before another row.
func (b *builder) full() bool {
	return b.count >= maxBatchReadings || len(b.rows) >= sealBytes
}

// addSeries gives a series that is not yet in the batch its index.
func (b *builder) addSeries(id uint32, prev uint64) int {
	b.dict = append(b.dict, dictEntry{id: id, prev: prev})
	return len(b.dict) - 1
}

// add appends a row for the series with this index. hint belongs to the series
// and remembers which decimal exponent its values had.
func (b *builder) add(index int, r *device.Reading, hint *uint8) {
	b.count++
	b.dict[index].rows++
	b.time.min, b.time.max = min(b.time.min, r.Time), max(b.time.max, r.Time)
	b.received.min, b.received.max = min(b.received.min, r.Received), max(b.received.max, r.Received)

	at := len(b.rows)
	rows := append(b.rows, 0)
	tag := byte(0)
	if index == b.prevIndex+1 {
		tag |= tagNextSeries
	} else {
		rows = binary.AppendUvarint(rows, uint64(index))
	}
	if r.Time == b.prevTime {
		tag |= tagSameTime
	} else {
		d := int64(r.Time) - int64(b.prevTime)
		if d%1000 == 0 {
			tag |= tagMillis
			d /= 1000
		}
		rows = binary.AppendUvarint(rows, zigzag(d))
	}
	if r.Received == b.prevReceived {
		tag |= tagSameReceived
	} else {
		rows = binary.AppendUvarint(rows, zigzag(int64(r.Received)-int64(b.prevReceived)))
	}
	var form byte
	rows, form = appendValue(rows, r.Value, hint)
	rows[at] = tag | form
	b.rows = rows
	b.prevIndex, b.prevTime, b.prevReceived = index, r.Time, r.Received
}

func appendValue(dst []byte, v device.Value, hint *uint8) (out []byte, form byte) {
	switch v.Kind() {
	case device.KindFloat:
		return appendFloat(dst, v.Float(), hint)
	case device.KindInt:
		return binary.AppendUvarint(dst, zigzag(v.Int())), formInt
	case device.KindBool:
		if v.Bool() {
			return dst, formTrue
		}
		return dst, formFalse
	case device.KindText:
		dst = binary.AppendUvarint(dst, uint64(len(v.Text())))
		return append(dst, v.Text()...), formText
	}
	panic("storage: a value without a kind passed the check of Append")
}

func appendFloat(dst []byte, f float64, hint *uint8) (out []byte, form byte) {
	m, e, ok := decimal(f, hint)
	// A mantissa of up to 27 bits takes at most the 4 bytes of a float32.
	if short := ok && m > -1<<27 && m < 1<<27; !short {
		if f32 := float32(f); math.Float64bits(float64(f32)) == math.Float64bits(f) {
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(f32)), formFloat32
		}
	}
	switch {
	case !ok:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(f)), formRaw
	case e < formWide-formDecimal:
		return binary.AppendUvarint(dst, zigzag(m)), formDecimal + e
	}
	return binary.AppendUvarint(append(dst, e), zigzag(m)), formWide
}

// decimal returns m and e with m / 10^e == f, bit for bit, if there are such
// with a mantissa that is worth it.
func decimal(f float64, hint *uint8) (m int64, e uint8, ok bool) {
	tries := uint8(len(pow10))
	if *hint == hintRaw {
		tries = rawTries
	} else if m, ok = mantissa(f, *hint); ok {
		return m, *hint, true
	}
	for e = range tries {
		if m, ok = mantissa(f, e); ok {
			*hint = e
			return m, e, true
		}
		if math.Abs(f)*pow10[e] >= maxMantissa {
			break
		}
	}
	*hint = hintRaw
	return 0, 0, false
}

func mantissa(f float64, e uint8) (int64, bool) {
	t := f * pow10[e]
	if !(math.Abs(t) < maxMantissa) {
		return 0, false
	}
	m := int64(t + math.Copysign(0.5, t))
	return m, math.Float64bits(float64(m)/pow10[e]) == math.Float64bits(f)
}

// rowReader walks over the rows of a batch whose rows are unpacked.
type rowReader struct {
	rows   []byte
	offset uint64 // of the next row
	left   int
	size   int // of the dictionary
	// row is what next decoded last; its value is left out where skip says so.
	row row
}

// row is a reading whose series is still an index into the dictionary.
type row struct {
	offset         uint64
	index          int
	time, received device.Time
	value          device.Value
}

func (b *batch) reader() rowReader {
	return rowReader{
		rows: b.rows, offset: b.first, left: b.count, size: len(b.dict),
		row: row{index: -1, time: b.time.base, received: b.received.base},
	}
}

// next decodes one row into r.row and reports whether there was one. want says
// by index which series need their value; nil: all.
func (r *rowReader) next(want []bool) (bool, error) {
	if r.left == 0 {
		if len(r.rows) != 0 {
			return false, fmt.Errorf("%w: %d bytes after the last row", errDamaged, len(r.rows))
		}
		return false, nil
	}
	if len(r.rows) == 0 {
		return false, fmt.Errorf("%w: rows end early", errDamaged)
	}
	tag := r.rows[0]
	v := varints{buf: r.rows[1:]}
	if tag&tagNextSeries != 0 {
		r.row.index++
	} else {
		r.row.index = int(min(v.short(), maxSeries))
	}
	if tag&tagSameTime == 0 {
		d := unzigzag(v.short())
		if tag&tagMillis != 0 {
			d *= 1000
		}
		r.row.time += device.Time(d)
	}
	if tag&tagSameReceived == 0 {
		r.row.received += device.Time(unzigzag(v.short()))
	}
	if v.bad || r.row.index >= r.size {
		return false, fmt.Errorf("%w: row %d", errDamaged, r.offset)
	}
	if !v.value(&r.row.value, tag&tagForm, want == nil || want[r.row.index]) {
		return false, fmt.Errorf("%w: value of row %d", errDamaged, r.offset)
	}
	r.rows = v.buf
	r.row.offset = r.offset
	r.offset++
	r.left--
	return true, nil
}

// short is uvarint with a fast way for one byte.
func (r *varints) short() uint64 {
	if len(r.buf) > 0 && r.buf[0] < 0x80 {
		v := r.buf[0]
		r.buf = r.buf[1:]
		return uint64(v)
	}
	return r.uvarint()
}

// value decodes a value of this form into v and reports whether it is sound.
// A text that is not wanted is passed over, without a copy.
func (r *varints) value(v *device.Value, form byte, wanted bool) bool {
	switch form {
	case formRaw:
		if len(r.buf) < 8 {
			return false
		}
		return r.float(v, math.Float64frombits(binary.LittleEndian.Uint64(r.buf)), 8)
	case formWide:
		if len(r.buf) == 0 || int(r.buf[0]) >= len(pow10) {
			return false
		}
		e := r.buf[0]
		r.buf = r.buf[1:]
		return r.float(v, float64(unzigzag(r.short()))/pow10[e], 0)
	case formFloat32:
		if len(r.buf) < 4 {
			return false
		}
		return r.float(v, float64(math.Float32frombits(binary.LittleEndian.Uint32(r.buf))), 4)
	case formInt:
		*v = device.Int(unzigzag(r.short()))
	case formFalse, formTrue:
		*v = device.Bool(form == formTrue)
	case formText:
		return r.text(v, wanted)
	default:
		if form >= formWide {
			return false
		}
		return r.float(v, float64(unzigzag(r.short()))/pow10[form-formDecimal], 0)
	}
	return !r.bad
}

// float takes f, for which n bytes are consumed, as the value.
func (r *varints) float(v *device.Value, f float64, n int) bool {
	val, err := device.Float(f)
	if err != nil || r.bad {
		return false
	}
	*v, r.buf = val, r.buf[n:]
	return true
}

func (r *varints) text(v *device.Value, wanted bool) bool {
	n := r.short()
	if r.bad || n > device.MaxTextLen || n > uint64(len(r.buf)) {
		return false
	}
	if wanted {
		val, err := device.Text(string(r.buf[:n]))
		if err != nil {
			return false
		}
		*v = val
	}
	r.buf = r.buf[n:]
	return true
}
