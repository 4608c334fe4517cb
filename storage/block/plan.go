package block

import (
	"math"
	"math/bits"
	"slices"
)

// smallColumn is below how many numbers a rough estimate of their size is good
// enough.
const smallColumn = 64

// planner finds the plan of a column that takes the fewest bits. Its buffers
// are reused.
type planner struct {
	steps  []int64 // distances from number to number, in units
	best   []int64 // residuals of the best plan so far
	try    []int64
	gaps   []int64
	sorted []int64
	rank   []int32
	sample []int64
	counts [2 * classSteps][2 * classSteps]uint32
}

// plan returns the plan for xs and an estimate of its size. The residuals
// are in pl.best and pl.gaps until the next call.
func (pl *planner) plan(xs []int64) (integers, int64) {
	p := integers{mode: modeConstant, unit: 1}
	pl.best, pl.gaps = pl.best[:0], pl.gaps[:0]
	if len(xs) == 0 {
		return p, 0
	}
	p.first = xs[0]
	pl.steps = slices.Grow(pl.steps[:0], len(xs))
	var g uint64
	for i, x := range xs[1:] {
		d := x - xs[i]
		pl.steps = append(pl.steps, d)
		if g != 1 {
			g = gcd(g, magnitude(d))
		}
	}
	if g == 0 {
		return p, 16 * bit
	}
	if g > 1 && g < 1<<63 {
		p.unit = int64(g)
		for i := range pl.steps {
			pl.steps[i] /= p.unit
		}
	}
	best := p
	size := int64(math.MaxInt64)
	for m := modeDirect; m < modes; m++ {
		q := p
		q.mode = m
		b, ok := pl.attempt(&q, xs)
		if ok && b < size {
			best, size = q, b
			pl.best, pl.try = pl.try, pl.best
		}
	}
	if best.mode < modeRank {
		pl.gaps = pl.gaps[:0]
	}
	return best, size
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// attempt fills pl.try with the residuals of the plan's mode and estimates
// their size.
func (pl *planner) attempt(p *integers, xs []int64) (int64, bool) {
	rs := slices.Grow(pl.try[:0], len(xs))
	extra := int64(0)
	switch p.mode {
	case modeConstant:
		return 0, false
	case modeDirect:
		var y int64
		for _, d := range pl.steps {
			y += d
			rs = append(rs, y)
		}
	case modeDelta:
		rs = append(rs, pl.steps...)
	case modeDelta2:
		var last int64
		for _, d := range pl.steps {
			rs = append(rs, d-last)
			last = d
		}
	case modeRank, modeRankDelta:
		if p.mode == modeRank {
			pl.rankOf(xs, p.unit)
		}
		if len(pl.rank) == 0 {
			return 0, false
		}
		p.first, p.ranks = pl.sorted[0], len(pl.gaps)
		extra = rankHead + pl.estimate(pl.gaps, &p.gaps)
		rs = pl.appendRanks(rs, p)
	}
	if p.mode == modeDirect || p.mode == modeDelta || p.mode == modeRank {
		p.centre = pl.median(rs)
		for i := range rs {
			rs[i] -= p.centre
		}
	}
	pl.try = rs
	return extra + columnHead + pl.estimate(rs, &p.shape), true
}

// appendRanks appends the indices, or the distances between them with the first
// one as the centre.
func (pl *planner) appendRanks(rs []int64, p *integers) []int64 {
	if p.mode == modeRankDelta {
		p.centre = int64(pl.rank[0])
	}
	last := pl.rank[0]
	for _, k := range pl.rank {
		if p.mode == modeRank {
			rs = append(rs, int64(k))
		} else {
			rs = append(rs, int64(k-last))
			last = k
		}
	}
	return rs
}

// median is that of a sample; what it is taken for need not be exact.
func (pl *planner) median(rs []int64) int64 {
	if pl.draw(rs); len(pl.sample) == 0 {
		return 0
	}
	return pl.sample[len(pl.sample)/2]
}

// distinct reports whether a column has too many distinct numbers for ranks, as
// far as a sample tells: a third of 4096 leave hardly a sample without two alike.
func (pl *planner) distinct(xs []int64) bool {
	if len(xs) < sampleSize {
		return false
	}
	pl.draw(xs)
	for i, x := range pl.sample[1:] {
		if x == pl.sample[i] {
			return false
		}
	}
	return true
}

// draw fills pl.sample with a sorted sample.
func (pl *planner) draw(xs []int64) {
	stride := len(xs)/sampleSize + 1
	pl.sample = pl.sample[:0]
	for i := stride / 2; i < len(xs); i += stride {
		pl.sample = append(pl.sample, xs[i])
	}
	slices.Sort(pl.sample)
}

// rankOf fills pl.sorted, pl.gaps and pl.rank if there are few enough distinct
// numbers for ranks to pay.
func (pl *planner) rankOf(xs []int64, unit int64) {
	pl.rank, pl.gaps = pl.rank[:0], pl.gaps[:0]
	if len(xs) < 16 || pl.distinct(xs) {
		return
	}
	pl.sorted = append(pl.sorted[:0], xs...)
	slices.Sort(pl.sorted)
	pl.sorted = slices.Compact(pl.sorted)
	n := len(pl.sorted)
	span := pl.sorted[n-1] - pl.sorted[0]
	if span <= 0 { // overflow: the unit does not divide the gaps
		return
	}
	if n > len(xs)/3 || span/unit == int64(n-1) {
		return
	}
	for i := range n - 1 {
		pl.gaps = append(pl.gaps, (pl.sorted[i+1]-pl.sorted[i])/unit-1)
	}
	pl.rank = slices.Grow(pl.rank, len(xs))
	for _, x := range xs {
		k, _ := slices.BinarySearch(pl.sorted, x)
		pl.rank = append(pl.rank, int32(k))
	}
}

// estimate finds the shape of the residuals and how many bits they take, by
// the entropy of each class given the one before.
func (pl *planner) estimate(rs []int64, s *shape) int64 {
	var hist [maxClass + 1]uint32
	*s = shape{}
	total := int64(0)
	for _, r := range rs {
		k := class(r)
		hist[k]++
		if r > 0 {
			s.plus = true
		} else if r < 0 {
			s.minus = true
		}
	}
	s.zero = hist[0] > 0
	for k := maxClass; k >= 1; k-- {
		if hist[k] > 0 {
			s.lo = k
			s.hi = max(s.hi, k)
			total += int64(hist[k]) * int64(k-1) * bit
		}
	}
	if s.hi == 0 {
		return 0
	}
	s.base = s.window(&hist)
	if len(rs) < smallColumn {
		return total + 3*bit*int64(len(rs))
	}
	return total + pl.entropy(rs, s.base)
}

// entropy estimates what the classes and signs of the residuals take.
func (pl *planner) entropy(rs []int64, base int) (total int64) {
	pl.counts = [2 * classSteps][2 * classSteps]uint32{}
	prev := 0
	for _, r := range rs {
		k := class(r)
		if k > 0 {
			k = min(max(k-base+1, 1), classSteps-1) << 1
			if r < 0 {
				k++
			}
		}
		pl.counts[prev][k]++
		prev = k
	}
	for i := range pl.counts {
		sum := uint32(0)
		for _, n := range pl.counts[i] {
			if n > 0 {
				sum += n
				total += learning - nlogn(n)
			}
		}
		total += nlogn(sum)
	}
	return total
}

// bit is the unit of estimates: 1/1024 of a bit. They are integers, so that the
// same readings give the same bytes on every machine.
const (
	bit = 1 << 10
	// learning is what a context costs until it knows a residual's class.
	learning = 5 * bit / 2
	// columnHead and rankHead are what the head of a column takes, and what that
	// of the distinct numbers adds.
	columnHead = 64 * bit
	rankHead   = 48 * bit
)

// logs holds log2(1 + i/256) in units of bit.
var logs = func() (t [256]int64) {
	for i := range t {
		t[i] = int64(math.Round(bit * math.Log2(1+float64(i)/256)))
	}
	return t
}()

// nlogn returns n·log2(n).
func nlogn(n uint32) int64 {
	if n < 2 {
		return 0
	}
	k := bits.Len32(n) - 1
	return int64(n) * (int64(k)*bit + logs[n<<(31-k)>>23&0xff])
}

// window returns the class from which classSteps-1 classes hold the most
// residuals.
func (s *shape) window(hist *[maxClass + 1]uint32) int {
	base, most := s.lo, uint32(0)
	if s.hi-s.lo < classSteps-1 {
		return base
	}
	for b := s.lo; b+classSteps-2 <= s.hi; b++ {
		sum := uint32(0)
		for _, n := range hist[b : b+classSteps-1] {
			sum += n
		}
		if sum > most {
			base, most = b, sum
		}
	}
	return base
}
