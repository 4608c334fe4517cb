package block

import (
	"encoding/binary"
	"fmt"

	"github.com/naru-telemetry/naru/device"
)

// Encoder holds the memory that encoding needs; it is reused by the next block.
// The zero Encoder is ready. It may be used by one goroutine at a time.
type Encoder struct {
	column  columnEncoder
	groups  grouping
	head    []byte
	payload []byte
	lengths []int // of the columns in payload, in their order
	marked  int   // sum of lengths
	numbers []int64
	offsets [][]uint64
}

// Append appends a block of these readings to dst. The series are those of one
// device, in ascending order of their ids; each has at least one reading.
func Append(dst []byte, series []Series, e *Encoder) ([]byte, error) {
	if err := check(series); err != nil {
		return dst, err
	}
	e.begin()
	lowest, highest := uint64(1<<64-1), uint64(0)
	for i := range series {
		e.groups.add(series[i].Times)
		for _, o := range series[i].Offsets {
			lowest, highest = min(lowest, o), max(highest, o)
		}
	}
	if highest > maxOffset {
		return dst, fmt.Errorf("%w: offset %d", ErrInvalid, highest)
	}
	e.offsets = e.offsets[:0]
	for i := range series {
		e.offsets = append(e.offsets, series[i].Offsets)
	}
	e.groups.unite(&e.column, e.offsets)
	for i := range series {
		e.groups.low(i, series[i].Offsets)
	}
	clear(e.offsets) // the caller's
	h := e.times(lowest)
	for i := range series {
		e.payload = e.mark(e.column.values(e.payload, series[i].Values))
		if rest, any := e.groups.beside(i, series[i].Offsets); any {
			e.payload = e.column.integers(e.payload, rest)
		}
		e.mark(e.payload)
	}
	e.head = append(e.head[:0], byte(contentReadings))
	e.head = binary.AppendVarint(e.head, h.MinTime)
	e.head = binary.AppendUvarint(e.head, uint64(h.MaxTime)-uint64(h.MinTime))
	e.head = binary.AppendUvarint(e.head, lowest)
	e.head = binary.AppendUvarint(e.head, highest-lowest)
	e.directory(&h, 2, func(i int) uint32 { return series[i].ID })
	return e.seal(dst), nil
}

// AppendRollups appends a block of these rollups to dst. The series are those
// of one device, in ascending order of their ids; each has at least one bucket.
func AppendRollups(dst []byte, series []Rollup, e *Encoder) ([]byte, error) {
	if err := checkRollups(series); err != nil {
		return dst, err
	}
	e.begin()
	for i := range series {
		e.groups.add(series[i].Starts)
	}
	e.groups.unite(&e.column, nil)
	h := e.times(0)
	for i := range series {
		e.payload = e.mark(e.column.rollups(e.payload, &series[i]))
	}
	e.head = append(e.head[:0], byte(contentRollups))
	e.head = binary.AppendVarint(e.head, h.MinTime)
	e.head = binary.AppendUvarint(e.head, uint64(h.MaxTime)-uint64(h.MinTime))
	e.directory(&h, 1, func(i int) uint32 { return series[i].ID })
	return e.seal(dst), nil
}

func (e *Encoder) begin() {
	e.groups.reset()
	e.payload, e.lengths, e.marked = e.payload[:0], e.lengths[:0], 0
}

// mark notes that a column of the payload ends here.
func (e *Encoder) mark(payload []byte) []byte {
	e.lengths = append(e.lengths, len(payload)-e.marked)
	e.marked = len(payload)
	return payload
}

// times writes the time columns, each with the smallest offset of each row,
// and returns the bounds of all.
func (e *Encoder) times(lowest uint64) (h Header) {
	for i := range e.groups.columns {
		c := &e.groups.columns[i]
		first, last := c.times[0], c.times[len(c.times)-1]
		if i == 0 {
			h.MinTime, h.MaxTime = first, last
		}
		h.MinTime, h.MaxTime = min(h.MinTime, first), max(h.MaxTime, last)
	}
	for i := range e.groups.columns {
		c := &e.groups.columns[i]
		e.numbers = sized(e.numbers, len(c.times))
		for j, t := range c.times {
			e.numbers[j] = t - h.MinTime
		}
		if c.subset {
			e.payload = e.column.integers(e.payload, c.rows)
		} else {
			e.payload = e.column.integers(e.payload, e.numbers)
		}
		e.mark(e.payload)
		if len(c.offsets) > 0 {
			c.settle(lowest)
			for j, o := range c.offsets {
				e.numbers[j] = o - int64(lowest)
			}
			e.payload = e.column.integers(e.payload, e.numbers)
		}
		e.mark(e.payload)
	}
	return h
}

// directory writes the part of the header that says what the columns are. Each
// series has this many columns in the payload.
func (e *Encoder) directory(h *Header, each int, id func(i int) uint32) {
	e.head = binary.AppendUvarint(e.head, uint64(len(e.groups.columns)))
	next := 0
	length := func() {
		e.head = binary.AppendUvarint(e.head, uint64(e.lengths[next]))
		next++
	}
	for i := range e.groups.columns {
		c := &e.groups.columns[i]
		n := uint64(len(c.times)) << 1
		if c.subset {
			n++
		}
		e.head = binary.AppendUvarint(e.head, n)
		e.head = binary.AppendUvarint(e.head, uint64(c.times[0])-uint64(h.MinTime))
		e.head = binary.AppendUvarint(e.head, uint64(h.MaxTime)-uint64(c.times[len(c.times)-1]))
		length()
		if each == 2 {
			length()
		} else {
			next++
		}
	}
	e.head = binary.AppendUvarint(e.head, uint64(len(e.groups.column)))
	last, column := uint64(0), 0
	for i, c := range e.groups.column {
		step := uint64(id(i)) - last
		last += step + 1
		if c == column {
			e.head = binary.AppendUvarint(e.head, step<<1)
		} else {
			e.head = binary.AppendUvarint(e.head, step<<1|1)
			e.head = binary.AppendUvarint(e.head, uint64(c))
			column = c
		}
		for range each {
			length()
		}
	}
}

func (e *Encoder) seal(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, version, 0, 0, 0, 0)
	dst = append(dst, e.head...)
	dst = append(dst, e.payload...)
	putChecksum(dst[at:])
	for i := range e.groups.columns {
		e.groups.columns[i].times = nil // the caller's
	}
	return dst
}

func check(series []Series) error {
	total, next := 0, uint64(0)
	for i := range series {
		s := &series[i]
		if len(s.Offsets) != len(s.Times) || len(s.Values) != len(s.Times) {
			return fmt.Errorf("%w: series %d has %d times, %d offsets, %d values", ErrInvalid, s.ID, len(s.Times), len(s.Offsets), len(s.Values))
		}
		if err := checkTimes(s.ID, next, s.Times); err != nil {
			return err
		}
		next = uint64(s.ID) + 1
		total += len(s.Times)
		text := 0
		for j := range s.Values {
			switch s.Values[j].Kind() {
			case device.KindFloat, device.KindInt, device.KindBool:
			case device.KindText:
				text += len(s.Values[j].Text())
			default:
				return fmt.Errorf("%w: series %d has a value without a kind", ErrInvalid, s.ID)
			}
		}
		if text > MaxText {
			return fmt.Errorf("%w: series %d has %d bytes of text, at most %d", ErrTooLarge, s.ID, text, MaxText)
		}
	}
	return checkTotal(total)
}

func checkTotal(total int) error {
	if total == 0 {
		return fmt.Errorf("%w: none", ErrInvalid)
	}
	if total > MaxReadings {
		return fmt.Errorf("%w: %d readings, at most %d", ErrTooLarge, total, MaxReadings)
	}
	return nil
}

// checkTimes checks the times of the series, whose id is next or more.
func checkTimes(id uint32, next uint64, ts []int64) error {
	if uint64(id) < next {
		return fmt.Errorf("%w: series %d is out of order", ErrInvalid, id)
	}
	if len(ts) == 0 {
		return fmt.Errorf("%w: series %d has none", ErrInvalid, id)
	}
	for i, t := range ts[1:] {
		if t <= ts[i] {
			return fmt.Errorf("%w: time %d of series %d is not above the one before", ErrInvalid, i+1, id)
		}
	}
	return nil
}
