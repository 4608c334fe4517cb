package block

import "github.com/naru-telemetry/naru/device"

// columnDecoder reads one column.
type columnDecoder struct {
	model  residuals
	rc     rangeDecoder
	dict   []int64
	ints   []int64
	beside []int64
	kinds  []int64
	heads  heads
	texts  textDecoder
	rollup [rollupParts][]int64
}

// integers decodes a column of its own into xs and reports whether it is sound.
func (c *columnDecoder) integers(b []byte, xs []int64) bool {
	r := reader{buf: b}
	var p integers
	p.parseHead(&r)
	if r.bad {
		return false
	}
	c.rc.begin(r.buf)
	return c.part(&p, xs)
}

// part decodes the next part of a column and reports whether it is sound.
func (c *columnDecoder) part(p *integers, xs []int64) bool {
	if p.ranks > len(xs) {
		return false
	}
	if p.ranks >= len(c.dict) {
		c.dict = make([]int64, p.ranks+1)
	}
	p.decode(&c.rc, &c.model, xs, c.dict)
	return true
}

// heads are the heads of all parts of a column of values.
type heads struct {
	codec byte
	kinds integers
	float decimals
	int   integers
	bool  integers
	text  textHead
}

func (h *heads) parse(r *reader, n int) {
	b := r.byte()
	h.codec = b & codecKinds
	h.float.form = form(b >> codecForm)
	r.check(h.codec != 0 && h.float.form < forms && (h.codec&codecFloat != 0 || h.float.form == 0))
	if h.mixed() {
		h.kinds.parseHead(r)
	}
	if h.codec&codecFloat != 0 {
		if h.float.form != formBits {
			h.float.exponent = int(r.byte())
			r.check(h.float.exponent <= maxExponent)
		}
		h.float.mants.parseHead(r)
		if h.float.form != formBits {
			h.float.beside.parseHead(r)
		}
	}
	if h.codec&codecInt != 0 {
		h.int.parseHead(r)
	}
	if h.codec&codecBool != 0 {
		h.bool.parseHead(r)
	}
	if h.codec&codecText != 0 {
		h.text.parse(r, n)
	}
}

func (h *heads) mixed() bool { return h.codec&(h.codec-1) != 0 }

// values decodes a column of values into vs and reports whether it is sound.
func (c *columnDecoder) values(b []byte, vs []device.Value) bool {
	r := reader{buf: b}
	h := &c.heads
	*h = heads{}
	h.parse(&r, len(vs))
	if r.bad {
		return false
	}
	c.rc.begin(r.buf)
	count, ok := c.countKinds(h, len(vs))
	if ok && h.codec&codecFloat != 0 {
		ok = c.floats(h, vs, count[device.KindFloat])
	}
	if ok && h.codec&codecInt != 0 {
		ok = c.whole(h, &h.int, vs, count[device.KindInt], device.KindInt)
	}
	if ok && h.codec&codecBool != 0 {
		ok = c.whole(h, &h.bool, vs, count[device.KindBool], device.KindBool)
	}
	if ok && h.codec&codecText != 0 {
		ok = c.textValues(h, vs, count[device.KindText])
	}
	return ok
}

// countKinds decodes the kinds of n values and counts each.
func (c *columnDecoder) countKinds(h *heads, n int) (count [device.KindText + 1]int, ok bool) {
	if !h.mixed() {
		for k := range count {
			count[k] = n
		}
		return count, true
	}
	c.kinds = sized(c.kinds, n)
	if !c.part(&h.kinds, c.kinds) {
		return count, false
	}
	for _, k := range c.kinds {
		if k < 1 || k > int64(device.KindText) || h.codec>>(k-1)&1 == 0 {
			return count, false
		}
		count[k]++
	}
	return count, true
}

// is reports whether the ith value has kind k, one of those of the column.
func (c *columnDecoder) is(h *heads, i int, k device.Kind) bool {
	return !h.mixed() || c.kinds[i] == int64(k)
}

// whole decodes the n values that are integers or booleans.
func (c *columnDecoder) whole(h *heads, p *integers, vs []device.Value, n int, k device.Kind) bool {
	c.ints = sized(c.ints, n)
	if !c.part(p, c.ints) {
		return false
	}
	next := 0
	for i := range vs {
		if !c.is(h, i, k) {
			continue
		}
		if k == device.KindInt {
			vs[i] = device.Int(c.ints[next])
		} else {
			vs[i] = device.Bool(c.ints[next] != 0)
		}
		next++
	}
	return true
}

func (c *columnDecoder) floats(h *heads, vs []device.Value, n int) bool {
	c.ints = sized(c.ints, n)
	if !c.part(&h.float.mants, c.ints) {
		return false
	}
	c.beside = sized(c.beside, n)
	if !c.part(&h.float.beside, c.beside) { // all 0 where the form has none
		return false
	}
	next := 0
	for i := range vs {
		if !c.is(h, i, device.KindFloat) {
			continue
		}
		v, err := device.Float(h.float.float(c.ints[next], c.beside[next]))
		if err != nil {
			return false
		}
		vs[i] = v
		next++
	}
	return true
}

// sized returns a slice of n numbers with arbitrary contents, in s if it fits.
func sized(s []int64, n int) []int64 {
	if cap(s) < n {
		return make([]int64, n)
	}
	return s[:n]
}
