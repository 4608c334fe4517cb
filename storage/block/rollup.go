package block

import (
	"fmt"
	"math"
	"slices"
)

// rollupParts are the parts of a column of rollups, in their order.
const (
	rollupCounts = iota
	rollupMin    // numbers of the smallest values: mantissas, or ordinals with formBits
	rollupSpread // how far the numbers of the largest lie above them
	rollupSum    // the sum's number, less what rollupGuess says if it has a decimal
	rollupMinBeside
	rollupMaxBeside
	rollupSumBeside
	rollupParts
)

// rollupSumBits in the form byte tells that the sums have no decimals.
const rollupSumBits = 0x80

// rollupGuess is what the mantissa of a sum is told apart from: that of as many
// values half way between the smallest and the largest.
func rollupGuess(count, low, spread int64) int64 {
	return (count * (2*low + spread)) >> 1
}

// rollupTrial is a column of rollups in one form.
type rollupTrial struct {
	form      candidate
	sumBits   bool
	size      int64
	parts     [rollupParts]task
	alternate [2]task
}

// has reports whether a column in this form has the part.
func rollupHas(part int, fm form, sumBits bool) bool {
	switch part {
	case rollupMinBeside, rollupMaxBeside:
		return fm != formBits
	case rollupSumBeside:
		return !sumBits
	}
	return true
}

// rollups appends a column of rollups.
func (c *columnEncoder) rollups(dst []byte, s *Rollup) []byte {
	c.floats = append(append(c.floats[:0], s.Min...), s.Max...)
	c.forms = candidates(c.forms, c.floats)
	best, try := &c.rollup[0], &c.rollup[1]
	best.size = math.MaxInt64
	for _, f := range c.forms {
		try.form = f
		c.tryRollup(try, s)
		if try.size < best.size {
			best, try = try, best
		}
	}
	b := byte(best.form.form)
	if best.sumBits {
		b |= rollupSumBits
	}
	dst = append(dst, b, byte(best.form.exponent))
	for i := range rollupParts {
		if rollupHas(i, best.form.form, best.sumBits) {
			t := c.slot()
			*t, best.parts[i] = best.parts[i], *t
			dst = c.head(dst, t)
		}
	}
	return c.finish(dst)
}

// tryRollup plans all parts in the form of t.
func (c *columnEncoder) tryRollup(t *rollupTrial, s *Rollup) {
	n := len(s.Starts)
	p := decimals{form: t.form.form, exponent: t.form.exponent}
	number := func(f float64) int64 {
		if p.form == formBits {
			return ordinal(f)
		}
		return mantissa(f, p.exponent)
	}
	t.size = 0
	part := func(i int, of func(j int) int64) {
		c.ints = sized(c.ints, n)
		for j := range c.ints {
			c.ints[j] = of(j)
		}
		c.planInto(&t.parts[i], c.ints)
		t.size += t.parts[i].size
	}
	part(rollupCounts, func(j int) int64 { return s.Counts[j] })
	part(rollupMin, func(j int) int64 { return number(s.Min[j]) })
	part(rollupSpread, func(j int) int64 { return number(s.Max[j]) - number(s.Min[j]) })
	c.planSums(t, s)
	if p.form == formBits {
		return
	}
	part(rollupMinBeside, func(j int) int64 { return p.distance(s.Min[j], number(s.Min[j])) })
	part(rollupMaxBeside, func(j int) int64 { return p.distance(s.Max[j], number(s.Max[j])) })
}

// planSums plans the sums as bits and, if the form has decimals, as decimals,
// and keeps what is smaller.
func (c *columnEncoder) planSums(t *rollupTrial, s *Rollup) {
	c.ints = sized(c.ints, len(s.Sum))
	for j, f := range s.Sum {
		c.ints[j] = ordinal(f)
	}
	c.planInto(&t.parts[rollupSum], c.ints)
	t.sumBits = true
	if t.form.form != formBits {
		p := decimals{form: formDecimal, exponent: t.form.exponent}
		c.beside = sized(c.beside, len(s.Sum))
		for j, f := range s.Sum {
			low, m := mantissa(s.Min[j], p.exponent), mantissa(f, p.exponent)
			c.ints[j] = m - rollupGuess(s.Counts[j], low, mantissa(s.Max[j], p.exponent)-low)
			c.beside[j] = p.distance(f, m)
		}
		c.planInto(&t.alternate[0], c.ints)
		c.planInto(&t.alternate[1], c.beside)
		if t.alternate[0].size+t.alternate[1].size < t.parts[rollupSum].size {
			t.sumBits = false
			t.parts[rollupSum], t.alternate[0] = t.alternate[0], t.parts[rollupSum]
			t.parts[rollupSumBeside], t.alternate[1] = t.alternate[1], t.parts[rollupSumBeside]
			t.size += t.parts[rollupSumBeside].size
		}
	}
	t.size += t.parts[rollupSum].size
}

// rollups decodes a column of n rollups into s and reports whether it is sound.
func (c *columnDecoder) rollups(b []byte, n int, s *Rollup) bool {
	r := reader{buf: b}
	b0 := r.byte()
	p := decimals{form: form(b0 &^ rollupSumBits), exponent: int(r.byte())}
	sumBits := b0&rollupSumBits != 0
	r.check(p.form < forms && p.exponent <= maxExponent && (p.form != formBits || sumBits))
	var heads [rollupParts]integers
	for i := range heads {
		if rollupHas(i, p.form, sumBits) {
			heads[i].parseHead(&r)
		}
	}
	if r.bad {
		return false
	}
	c.rc.begin(r.buf)
	for i := range heads { // what is not there is 0
		c.rollup[i] = sized(c.rollup[i], n)
		if !c.part(&heads[i], c.rollup[i]) {
			return false
		}
	}
	s.Counts = append(s.Counts[:0], c.rollup[rollupCounts]...)
	s.Min, s.Max, s.Sum = slices.Grow(s.Min[:0], n)[:n], slices.Grow(s.Max[:0], n)[:n], slices.Grow(s.Sum[:0], n)[:n]
	sum := decimals{form: formDecimal, exponent: p.exponent}
	if sumBits {
		sum.form = formBits
	}
	finite := true
	for i := range n {
		low, spread, total := c.rollup[rollupMin][i], c.rollup[rollupSpread][i], c.rollup[rollupSum][i]
		if !sumBits {
			total += rollupGuess(s.Counts[i], low, spread)
		}
		s.Min[i] = p.float(low, c.rollup[rollupMinBeside][i])
		s.Max[i] = p.float(low+spread, c.rollup[rollupMaxBeside][i])
		s.Sum[i] = sum.float(total, c.rollup[rollupSumBeside][i])
		finite = finite && isFinite(s.Min[i]) && isFinite(s.Max[i]) && isFinite(s.Sum[i])
	}
	return finite
}

func isFinite(f float64) bool { return f-f == 0 }

func checkRollups(series []Rollup) error {
	total, next := 0, uint64(0)
	for i := range series {
		s := &series[i]
		n := len(s.Starts)
		if len(s.Min) != n || len(s.Max) != n || len(s.Sum) != n || len(s.Counts) != n {
			return fmt.Errorf("%w: columns of series %d differ in length", ErrInvalid, s.ID)
		}
		if err := checkTimes(s.ID, next, s.Starts); err != nil {
			return err
		}
		next = uint64(s.ID) + 1
		total += n
		for j := range n {
			if !isFinite(s.Min[j]) || !isFinite(s.Max[j]) || !isFinite(s.Sum[j]) {
				return fmt.Errorf("%w: bucket %d of series %d is not finite", ErrInvalid, j, s.ID)
			}
		}
	}
	return checkTotal(total)
}
