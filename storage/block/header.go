package block

import (
	"encoding/binary"
	"fmt"
)

// Header is what a block tells without decoding its columns. Its memory is
// reused by the next Parse.
type Header struct {
	// Rollups tells that the block holds rollups; if not, it holds readings.
	Rollups bool
	// Count is how many readings or rollups there are, of all series.
	Count int
	// MinTime and MaxTime are the smallest and the largest time.
	MinTime, MaxTime int64
	// MinOffset and MaxOffset are the smallest and the largest offset; 0 for rollups.
	MinOffset, MaxOffset uint64
	// Series are in ascending order of their ids.
	Series []SeriesHeader

	columns []timeHeader
}

// SeriesHeader is what a block tells of one series without decoding it.
type SeriesHeader struct {
	ID               uint32
	Count            int
	MinTime, MaxTime int64
	// Bytes is how many of the block's are for this series alone.
	Bytes int

	column          int // its time column
	values, offsets []byte

	valuesLen, offsetsLen int
}

// timeHeader is a column of times that one or more series share.
type timeHeader struct {
	count    int
	min, max int64
	// subset tells that the column holds rows of column 0.
	subset         bool
	times, offsets []byte
	// first is the index of the first series that may have its rows here.
	first int

	timesLen, offsetsLen int
}

// Find returns the index of the series with this id, and whether there is one.
func (h *Header) Find(id uint32) (int, bool) {
	lo, hi := 0, len(h.Series)
	for lo < hi {
		if mid := (lo + hi) / 2; h.Series[mid].ID < id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(h.Series) && h.Series[lo].ID == id
}

// Parse reads the header of block b, after it has checked the sum over all of
// b. The header refers to b.
func Parse(b []byte) (Header, error) {
	var h Header
	err := h.Parse(b)
	return h, err
}

// Parse is like the function Parse, and reuses the memory of h.
func (h *Header) Parse(b []byte) error {
	*h = Header{Series: h.Series[:0], columns: h.columns[:0]}
	if len(b) < prefix+1 {
		return fmt.Errorf("%w: %d bytes", ErrDamaged, len(b))
	}
	if b[0] != version {
		return fmt.Errorf("%w: unknown version %d", ErrDamaged, b[0])
	}
	if binary.LittleEndian.Uint32(b[1:]) != checksum(b) {
		return fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	r := reader{buf: b[prefix:]}
	c := content(r.byte())
	r.check(c == contentReadings || c == contentRollups)
	h.Rollups = c == contentRollups
	h.MinTime = r.varint()
	h.MaxTime = int64(uint64(h.MinTime) + r.uvarint())
	if !h.Rollups {
		h.MinOffset = r.uvarint()
		h.MaxOffset = h.MinOffset + r.uvarint()
	}
	r.check(h.MaxTime >= h.MinTime && h.MaxOffset >= h.MinOffset && h.MaxOffset <= maxOffset)
	h.parseColumns(&r)
	h.parseSeries(&r)
	h.cut(&r)
	if r.bad || len(r.buf) != 0 {
		*h = Header{Series: h.Series[:0], columns: h.columns[:0]}
		return fmt.Errorf("%w: header", ErrDamaged)
	}
	return nil
}

func (h *Header) parseColumns(r *reader) {
	total := 0
	for i := range r.count(MaxReadings) {
		n := r.count(2*MaxReadings + 1)
		c := timeHeader{count: n >> 1, subset: n&1 == 1}
		c.min = int64(uint64(h.MinTime) + r.uvarint())
		c.max = int64(uint64(h.MaxTime) - r.uvarint())
		c.timesLen = r.count(len(r.buf))
		if !h.Rollups {
			c.offsetsLen = r.count(len(r.buf))
		}
		total += c.count
		// Column 0 may be no series' own; all others are, so that the sum over
		// the series bounds them.
		r.check(c.count > 0 && c.min >= h.MinTime && c.max <= h.MaxTime && c.min <= c.max &&
			total <= 2*MaxReadings && (!c.subset || i > 0 && c.count <= h.columns[0].count))
		if r.bad {
			return
		}
		h.columns = append(h.columns, c)
	}
}

func (h *Header) parseSeries(r *reader) {
	id, column := uint64(0), 0
	for i := range r.count(MaxReadings) {
		n := r.uvarint()
		id += n >> 1
		if i > 0 {
			id++
		}
		if n&1 == 1 {
			column = r.count(len(h.columns))
		}
		r.check(id < 1<<32 && n>>1 < 1<<32 && column < len(h.columns))
		if r.bad {
			return
		}
		c := &h.columns[column]
		if column > 0 && c.first == 0 {
			c.first = i
		}
		s := SeriesHeader{ID: uint32(id), Count: c.count, MinTime: c.min, MaxTime: c.max, column: column}
		s.valuesLen = r.count(len(r.buf))
		if !h.Rollups {
			s.offsetsLen = r.count(len(r.buf))
		}
		s.Bytes = s.valuesLen + s.offsetsLen
		h.Count += s.Count
		r.check(h.Count <= MaxReadings)
		h.Series = append(h.Series, s)
	}
	r.check(len(h.Series) > 0)
}

// cut takes the columns from the payload.
func (h *Header) cut(r *reader) {
	for i := range h.columns {
		c := &h.columns[i]
		c.times = r.take(c.timesLen)
		c.offsets = r.take(c.offsetsLen)
	}
	for i := range h.Series {
		s := &h.Series[i]
		s.values = r.take(s.valuesLen)
		s.offsets = r.take(s.offsetsLen)
	}
}
