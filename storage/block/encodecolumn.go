package block

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
)

// The codec id of a column: one bit for each kind of value in it, and the form
// of its floats.
const (
	codecFloat = 1 << (device.KindFloat - 1)
	codecInt   = 1 << (device.KindInt - 1)
	codecBool  = 1 << (device.KindBool - 1)
	codecText  = 1 << (device.KindText - 1)
	codecKinds = codecFloat | codecInt | codecBool | codecText
	codecForm  = 4 // shift
)

// task is a planned column of integers that waits for the entropy coder.
type task struct {
	plan     integers
	rs, gaps []int64
	size     int64 // estimated, in units of bit
}

// columnEncoder writes one column: first the heads of its parts, then their
// residuals.
type columnEncoder struct {
	planner planner
	model   residuals
	rc      rangeEncoder
	tasks   []task
	used    int // of tasks
	discard []byte
	texts   textEncoder

	forms  []candidate
	floats []float64
	ints   []int64
	beside []int64
	kinds  []int64
	trials [2][2]task // mantissas and distances of the best form so far, and of the one tried
	rollup [2]rollupTrial
}

// add plans a part of the column and writes its head.
func (c *columnEncoder) add(dst []byte, xs []int64) []byte {
	t := c.slot()
	c.planInto(t, xs)
	return c.head(dst, t)
}

const (
	// refineFrom is how many numbers a column needs, and how many bits each of
	// them, until modelling more bits is tried.
	refineFrom     = 64
	refineFromBits = 5
	// refineTry is how many numbers it is tried on.
	refineTry = 2048
)

// head writes the head of a planned part, after the last decision of its plan.
func (c *columnEncoder) head(dst []byte, t *task) []byte {
	if n := len(t.rs); n >= refineFrom && t.size > int64(n)*refineFromBits*bit {
		rs := t.rs[:min(n, refineTry)]
		coarse := c.measure(&t.plan.shape, rs)
		t.plan.shape.fine = true
		if c.measure(&t.plan.shape, rs) >= coarse {
			t.plan.shape.fine = false
		}
	}
	return t.plan.appendHead(dst)
}

// measure returns how many bytes the residuals take.
func (c *columnEncoder) measure(s *shape, rs []int64) int {
	c.rc.begin(c.discard[:0])
	c.model.begin(*s)
	c.model.encode(&c.rc, rs)
	c.discard = c.rc.end()
	return len(c.discard)
}

func (c *columnEncoder) slot() *task {
	if c.used == len(c.tasks) {
		c.tasks = append(c.tasks, task{})
	}
	c.used++
	return &c.tasks[c.used-1]
}

func (c *columnEncoder) planInto(t *task, xs []int64) {
	t.plan, t.size = c.planner.plan(xs)
	t.rs, c.planner.best = c.planner.best, t.rs
	t.gaps, c.planner.gaps = c.planner.gaps, t.gaps
}

// finish codes the residuals of all parts.
func (c *columnEncoder) finish(dst []byte) []byte {
	c.rc.begin(dst)
	for i := range c.tasks[:c.used] {
		t := &c.tasks[i]
		t.plan.encode(&c.rc, &c.model, t.rs, t.gaps)
	}
	c.texts.encode(&c.rc)
	c.used = 0
	return c.rc.end()
}

// integers appends a column of int64 of its own.
func (c *columnEncoder) integers(dst []byte, xs []int64) []byte {
	return c.finish(c.add(dst, xs))
}

// values appends a column of values of any kinds.
func (c *columnEncoder) values(dst []byte, vs []device.Value) []byte {
	c.kinds = sized(c.kinds, len(vs))
	var codec byte
	for i := range vs {
		k := vs[i].Kind()
		codec |= 1 << (k - 1)
		c.kinds[i] = int64(k)
	}
	at := len(dst)
	dst = append(dst, codec)
	if codec&(codec-1) != 0 {
		dst = c.add(dst, c.kinds)
	}
	if codec&codecFloat != 0 {
		c.floats = slices.Grow(c.floats[:0], len(vs))
		for i := range vs {
			if vs[i].Kind() == device.KindFloat {
				c.floats = append(c.floats, vs[i].Float())
			}
		}
		var f form
		dst, f = c.addFloats(dst, c.floats)
		dst[at] |= byte(f) << codecForm
	}
	if codec&codecInt != 0 {
		dst = c.add(dst, c.collect(vs, device.KindInt))
	}
	if codec&codecBool != 0 {
		dst = c.add(dst, c.collect(vs, device.KindBool))
	}
	if codec&codecText != 0 {
		dst = c.addTexts(dst, vs)
	}
	return c.finish(dst)
}

// collect returns the integers, or the booleans as 0 and 1, among the values.
func (c *columnEncoder) collect(vs []device.Value, k device.Kind) []int64 {
	c.ints = slices.Grow(c.ints[:0], len(vs))
	for i := range vs {
		switch {
		case vs[i].Kind() != k:
		case k == device.KindInt:
			c.ints = append(c.ints, vs[i].Int())
		case vs[i].Bool():
			c.ints = append(c.ints, 1)
		default:
			c.ints = append(c.ints, 0)
		}
	}
	return c.ints
}

// addFloats adds the parts of a column of floats in the form that takes the
// fewest bits.
func (c *columnEncoder) addFloats(dst []byte, fs []float64) ([]byte, form) {
	c.forms = candidates(c.forms, fs)
	best := int64(math.MaxInt64)
	var chosen candidate
	for _, f := range c.forms {
		size := c.trial(&c.trials[1], f, fs)
		if size < best {
			best, chosen = size, f
			c.trials[0], c.trials[1] = c.trials[1], c.trials[0]
		}
	}
	parts := 1
	if chosen.form != formBits {
		dst = append(dst, byte(chosen.exponent))
		parts = 2
	}
	for i := range parts {
		t := c.slot()
		*t, c.trials[0][i] = c.trials[0][i], *t
		dst = c.head(dst, t)
	}
	return dst, chosen.form
}

func (c *columnEncoder) trial(ts *[2]task, f candidate, fs []float64) int64 {
	p := decimals{form: f.form, exponent: f.exponent}
	c.ints = slices.Grow(c.ints[:0], len(fs))
	c.beside = slices.Grow(c.beside[:0], len(fs))
	if f.form == formBits {
		for _, x := range fs {
			c.ints = append(c.ints, ordinal(x))
		}
		c.planInto(&ts[0], c.ints)
		return ts[0].size
	}
	for _, x := range fs {
		m := mantissa(x, p.exponent)
		c.ints = append(c.ints, m)
		c.beside = append(c.beside, p.distance(x, m))
	}
	c.planInto(&ts[0], c.ints)
	c.planInto(&ts[1], c.beside)
	return ts[0].size + ts[1].size
}

func (c *columnEncoder) addTexts(dst []byte, vs []device.Value) []byte {
	c.texts.collect(vs)
	dst = binary.AppendUvarint(dst, uint64(len(c.texts.dict)))
	dst = c.add(dst, c.texts.index)
	dst = c.add(dst, c.texts.shared)
	return c.add(dst, c.texts.lengths)
}
