package block

import (
	"fmt"
	"slices"
)

// Decoder decodes the series of one block after the other and holds the memory
// that this needs. The zero Decoder is ready for Open. It may be used by one
// goroutine at a time.
type Decoder struct {
	header  Header
	column  columnDecoder
	columns []decodedTimes // of header.columns
	numbers []int64
}

// decodedTimes are the columns that are there already for the next series that
// shares them.
type decodedTimes struct {
	times []int64
	rows  []int64 // of column 0, of a subset
	// offsets are the base of each row's, less the smallest of the block.
	offsets                []int64
	haveTimes, haveOffsets bool
	// counts are the readings in each row of the series before the one of index
	// counted; none before counted is 0.
	counts  []int64
	counted int
}

// Part says what of a series is wanted.
type Part uint8

// The parts of a series; a reader that leaves one out does not pay for it.
const (
	Times Part = 1 << iota
	Offsets
	Values
	All = Times | Offsets | Values
)

// Open makes b the block that Decode reads, and returns its header. Both are
// good until the next Open; b must not change before.
func (d *Decoder) Open(b []byte) (*Header, error) {
	if err := d.header.Parse(b); err != nil {
		return nil, err
	}
	d.columns = slices.Grow(d.columns[:0], len(d.header.columns))[:len(d.header.columns)]
	for i := range d.columns {
		c := &d.columns[i]
		c.haveTimes, c.haveOffsets, c.counted = false, false, 0
	}
	return &d.header, nil
}

// Decode decodes the wanted parts of the ith series into s, whose memory it
// reuses; parts that are not wanted have length 0. Any order of series works, an
// ascending one is the fastest for offsets.
func (d *Decoder) Decode(i int, want Part, s *Series) error {
	h := &d.header.Series[i]
	s.ID, s.Times, s.Offsets, s.Values = h.ID, s.Times[:0], s.Offsets[:0], s.Values[:0]
	if d.header.Rollups {
		return fmt.Errorf("%w: rollups where readings are wanted", ErrDamaged)
	}
	if want&Times != 0 {
		t, err := d.times(h.column)
		if err != nil {
			return err
		}
		s.Times = append(s.Times, t.times...)
	}
	if want&Offsets != 0 {
		if err := d.offsets(i, s); err != nil {
			return err
		}
	}
	if want&Values != 0 {
		s.Values = slices.Grow(s.Values, h.Count)[:h.Count]
		if !d.column.values(h.values, s.Values) {
			s.Values = s.Values[:0]
			return fmt.Errorf("%w: values of series %d", ErrDamaged, h.ID)
		}
	}
	return nil
}

// DecodeRollups decodes the ith series into s, whose memory it reuses.
func (d *Decoder) DecodeRollups(i int, s *Rollup) error {
	h := &d.header.Series[i]
	s.ID = h.ID
	if !d.header.Rollups {
		return fmt.Errorf("%w: readings where rollups are wanted", ErrDamaged)
	}
	t, err := d.times(h.column)
	if err != nil {
		return err
	}
	s.Starts = append(s.Starts[:0], t.times...)
	if !d.column.rollups(h.values, h.Count, s) {
		return fmt.Errorf("%w: rollups of series %d", ErrDamaged, h.ID)
	}
	return nil
}

// times returns the decoded times of a column, and its rows if it is a subset.
func (d *Decoder) times(i int) (*decodedTimes, error) {
	h, c := &d.header.columns[i], &d.columns[i]
	if c.haveTimes {
		return c, nil
	}
	c.times = sized(c.times, h.count)
	if h.subset {
		parent, err := d.times(0)
		if err != nil {
			return nil, err
		}
		c.rows = sized(c.rows, h.count)
		if !d.column.integers(h.times, c.rows) || !pick(c.times, parent.times, c.rows) {
			return nil, fmt.Errorf("%w: time column %d", ErrDamaged, i)
		}
	} else {
		if !d.column.integers(h.times, c.times) {
			return nil, fmt.Errorf("%w: time column %d", ErrDamaged, i)
		}
		for j := range c.times {
			c.times[j] += d.header.MinTime
		}
	}
	ascending := true
	for j, t := range c.times[1:] {
		ascending = ascending && t > c.times[j]
	}
	if !ascending || c.times[0] != h.min || c.times[h.count-1] != h.max {
		return nil, fmt.Errorf("%w: times of column %d", ErrDamaged, i)
	}
	c.haveTimes = true
	return c, nil
}

// pick sets dst to these rows of src, and reports whether there are all.
func pick(dst, src, rows []int64) bool {
	for i, k := range rows {
		if uint64(k) >= uint64(len(src)) {
			return false
		}
		dst[i] = src[k]
	}
	return true
}

// offsets appends the offsets of the ith series to s.
func (d *Decoder) offsets(i int, s *Series) error {
	h := &d.header.Series[i]
	damaged := func() error { return fmt.Errorf("%w: offsets of series %d", ErrDamaged, h.ID) }
	d.numbers = sized(d.numbers, h.Count)
	rest := d.numbers
	if len(h.offsets) == 0 {
		clear(rest)
	} else if !d.column.integers(h.offsets, rest) {
		return damaged()
	}
	c, rows, err := d.base(i)
	if err != nil {
		return err
	}
	offsets, err := d.rowOffsets(c)
	if err != nil {
		return err
	}
	counts, err := d.rowCounts(c, i)
	if err != nil {
		return err
	}
	s.Offsets = slices.Grow(s.Offsets, h.Count)
	lowest, highest := d.header.MinOffset, d.header.MaxOffset
	for j, r := range rest {
		k := int64(j)
		if rows != nil {
			k = rows[j]
		}
		o := lowest + uint64(offsets[k]+counts[k]+r)
		if o < lowest || o > highest {
			s.Offsets = s.Offsets[:0]
			return damaged()
		}
		s.Offsets = append(s.Offsets, o)
	}
	return nil
}

// base returns the column that holds the rows of the ith series, and which rows
// these are; nil: all.
func (d *Decoder) base(i int) (column int, rows []int64, err error) {
	column = d.header.Series[i].column
	if !d.header.columns[column].subset {
		return column, nil, nil
	}
	t, err := d.times(column)
	if err != nil {
		return 0, nil, err
	}
	return 0, t.rows, nil
}

// rowCounts returns how many readings of the series before the ith one are in
// each row of a column.
func (d *Decoder) rowCounts(column, i int) ([]int64, error) {
	c := &d.columns[column]
	if c.counted == 0 || c.counted > i {
		c.counts, c.counted = sized(c.counts, d.header.columns[column].count), 0
		clear(c.counts)
	}
	for j := max(c.counted, d.header.columns[column].first); j < i; j++ {
		s := &d.header.Series[j]
		if s.column != column && (column != 0 || !d.header.columns[s.column].subset) {
			continue
		}
		_, rows, err := d.base(j)
		if err != nil {
			c.counted = 0
			return nil, err
		}
		if rows == nil {
			for k := range c.counts {
				c.counts[k]++
			}
		}
		for _, k := range rows {
			c.counts[k]++
		}
	}
	c.counted = i
	return c.counts, nil
}

// rowOffsets returns the base of the offsets of each row of a time column, less
// the smallest offset of the block.
func (d *Decoder) rowOffsets(i int) ([]int64, error) {
	h, c := &d.header.columns[i], &d.columns[i]
	if !c.haveOffsets {
		c.offsets = sized(c.offsets, h.count)
		if !d.column.integers(h.offsets, c.offsets) {
			return nil, fmt.Errorf("%w: offsets of time column %d", ErrDamaged, i)
		}
		c.haveOffsets = true
	}
	return c.offsets, nil
}
