package block

import "slices"

// grouping finds which series have the same times.
type grouping struct {
	columns []timeColumn
	column  []int // of each series
	seen    map[columnKey]int
	union   []int64
	scratch []int64
	part    [2]task
}

// timeColumn is a column of times that is written once.
type timeColumn struct {
	times []int64
	// rows are the rows of column 0 that hold these times, if subset.
	rows    []int64
	subset  bool
	offsets []int64 // of each row, the base of those of its readings
	counts  []int64 // of each row, the readings of the series so far
	series  int     // that have this column
}

// columnKey is the same for equal columns and seldom for others.
type columnKey struct {
	n           int
	first, last int64
	sum         uint64
}

func keyOf(ts []int64) columnKey {
	k := columnKey{n: len(ts), first: ts[0], last: ts[len(ts)-1]}
	for _, t := range ts {
		k.sum = k.sum*0x9e3779b97f4a7c15 + uint64(t)
	}
	return k
}

// reset forgets everything but the memory.
func (g *grouping) reset() {
	if g.seen == nil {
		g.seen = make(map[columnKey]int)
	}
	clear(g.seen)
	g.columns, g.column = g.columns[:0], g.column[:0]
}

// add finds or makes the column for the times of the next series.
func (g *grouping) add(ts []int64) {
	k := keyOf(ts)
	i, ok := g.seen[k]
	if !ok || !slices.Equal(g.columns[i].times, ts) {
		i = len(g.columns)
		if !ok {
			g.seen[k] = i
		}
		g.push(ts)
	}
	g.columns[i].series++
	g.column = append(g.column, i)
}

// push adds a column, in the memory of one that was there before.
func (g *grouping) push(ts []int64) {
	n := len(g.columns)
	g.columns = slices.Grow(g.columns, 1)[:n+1]
	c := &g.columns[n]
	*c = timeColumn{times: ts, rows: c.rows[:0], offsets: c.offsets[:0], counts: c.counts[:0]}
}

// unionHead is what another time column takes in the header.
const unionHead = 64 * bit

// offsetGain is what an offset takes that does not follow from others.
const offsetGain = 6 * bit

// unite puts the union of all columns in front and makes those subsets of it
// for which that pays, if it does for all together.
func (g *grouping) unite(c *columnEncoder, series [][]uint64) {
	if len(g.columns) < 2 {
		return
	}
	g.union = g.union[:0]
	for i := range g.columns {
		g.union = append(g.union, g.columns[i].times...)
	}
	total := len(g.union)
	slices.Sort(g.union)
	g.union = slices.Compact(g.union)
	if len(g.union) > total-total/8 {
		return
	}
	g.push(g.union)
	g.swap()
	each := g.packetGain(series, total)
	c.planInto(&g.part[0], g.union)
	gain := -g.part[0].size - unionHead
	for i := range g.columns[1:] {
		col := &g.columns[i+1]
		c.planInto(&g.part[0], col.times)
		c.planInto(&g.part[1], col.rows)
		d := g.part[0].size - g.part[1].size + each*int64(len(col.rows))
		if col.subset = d > 0; col.subset {
			gain += d
		}
	}
	if gain <= 0 {
		for i := range g.columns {
			g.columns[i].subset = false
		}
		g.swap()
		g.columns = g.columns[:len(g.columns)-1]
	}
}

// swap exchanges the first and the last column.
func (g *grouping) swap() {
	last := len(g.columns) - 1
	g.columns[0], g.columns[last] = g.columns[last], g.columns[0]
	for i, k := range g.column {
		switch k {
		case 0:
			g.column[i] = last
		case last:
			g.column[i] = 0
		}
	}
}

// packetGain makes all columns subsets of the first one and estimates what that
// saves in the offsets of each reading: much where the readings of a row came
// one after the other, as those of a packet do.
func (g *grouping) packetGain(series [][]uint64, total int) int64 {
	for i := range g.columns[1:] {
		g.columns[i+1].subset = true
		g.place(&g.columns[i+1])
	}
	if len(series) == 0 {
		return 0
	}
	readings, expected := 0, 0
	for i, offsets := range series {
		g.low(i, offsets)
	}
	g.columns[0].settle(0)
	for i, offsets := range series {
		rest, _ := g.beside(i, offsets)
		readings += len(rest)
		for _, r := range rest {
			if r == 0 {
				expected++
			}
		}
	}
	g.columns[0].offsets = g.columns[0].offsets[:0]
	if expected < readings/4*3 {
		return 0
	}
	return offsetGain * int64(total-len(g.union)) / int64(total)
}

// place finds the rows of the union that hold the column's times.
func (g *grouping) place(col *timeColumn) {
	col.rows = slices.Grow(col.rows[:0], len(col.times))
	if len(col.times)*16 < len(g.union) {
		for _, t := range col.times {
			k, _ := slices.BinarySearch(g.union, t)
			col.rows = append(col.rows, int64(k))
		}
		return
	}
	k := int64(0)
	for _, t := range col.times {
		for g.union[k] != t {
			k++
		}
		col.rows = append(col.rows, k)
	}
}

// base returns the column that holds the rows of the ith series, and which rows
// these are; nil: all.
func (g *grouping) base(i int) (c *timeColumn, rows []int64) {
	if c = &g.columns[g.column[i]]; c.subset {
		return &g.columns[0], c.rows
	}
	return c, nil
}

// low lowers the base of each row to what the ith series' offsets ask for: a
// reading is expected after those of the series before it. It is called for each
// series in order.
func (g *grouping) low(i int, offsets []uint64) {
	c, rows := g.base(i)
	if len(c.offsets) == 0 {
		c.offsets, c.counts = sized(c.offsets, len(c.times)), sized(c.counts, len(c.times))
		clear(c.counts)
	}
	for j, o := range offsets {
		k := int64(j)
		if rows != nil {
			k = rows[j]
		}
		at := int64(o) - c.counts[k]
		if c.counts[k] == 0 || at < c.offsets[k] {
			c.offsets[k] = at
		}
		c.counts[k]++
	}
}

// settle gives the rows that no series has the base of the row before, and
// begins to count anew.
func (c *timeColumn) settle(lowest uint64) {
	last := int64(lowest)
	for k := range c.offsets {
		if c.counts[k] == 0 {
			c.offsets[k] = last
		}
		last = c.offsets[k]
	}
	clear(c.counts)
}

// beside returns how far the ith series' offsets lie above where they are
// expected, and whether any does. It is called for each series in order.
func (g *grouping) beside(i int, offsets []uint64) ([]int64, bool) {
	g.scratch = sized(g.scratch, len(offsets))
	c, rows := g.base(i)
	var all int64
	for j, o := range offsets {
		k := int64(j)
		if rows != nil {
			k = rows[j]
		}
		rest := int64(o) - c.offsets[k] - c.counts[k]
		c.counts[k]++
		g.scratch[j] = rest
		all |= rest
	}
	return g.scratch, all != 0
}
