package block

import "math/bits"

const (
	// coarseBits and fineBits are how many bits below the highest one are
	// modelled, as the shape says: fine pays where residuals cluster.
	coarseBits = 4
	fineBits   = 8
	// classSteps is how many classes of the previous residual are told apart.
	classSteps = 16
	maxClass   = 64
)

// shape says which residuals a column has, so that nothing is spent on those
// that it has not.
type shape struct {
	lo, hi      int  // smallest and largest class of the residuals but 0; hi 0: there are none
	base        int  // class from which the context tells classSteps classes apart
	zero        bool // there is a 0
	fine        bool // fineBits are modelled
	plus, minus bool // there are positive, negative residuals
}

// class is the number of bits of the magnitude.
func class(r int64) int { return bits.Len64(magnitude(r)) }

func magnitude(r int64) uint64 {
	if r < 0 {
		return -uint64(r)
	}
	return uint64(r)
}

// residuals is the model of a column of small numbers: for each whether it is
// 0, its sign, its class and the bits below the highest one.
type residuals struct {
	shape
	depth    int // of the tree of classes
	mantBits int
	zeroP    [2 * classSteps]prob
	signP    [2 * classSteps]prob
	// classP holds a tree of 1<<depth probabilities for each context.
	classP [classSteps << 7]prob
	mantP  [(maxClass + 1) << fineBits]prob
}

func (m *residuals) begin(s shape) {
	m.shape = s
	m.depth = bits.Len(uint(s.hi - s.lo))
	reset(m.zeroP[:])
	reset(m.signP[:])
	reset(m.classP[:classSteps<<m.depth])
	m.mantBits = coarseBits
	if s.fine {
		m.mantBits = fineBits
	}
	reset(m.mantP[s.lo<<m.mantBits : (s.hi+1)<<m.mantBits])
}

// context is what is known of the residual before.
type context struct {
	step int // of its class, 0 to classSteps-1
	sign int // 0 for 0 and above, 1 below
}

func (c context) index() int { return c.step<<1 | c.sign }

// after returns the context after a residual of class k.
func (m *residuals) after(neg, k int) context {
	return context{step: min(max(k-m.base+1, 1), classSteps-1), sign: neg}
}

func (m *residuals) encode(e *rangeEncoder, rs []int64) {
	var c context
	if m.hi == 0 {
		return
	}
	for _, r := range rs {
		i := c.index()
		if m.zero {
			z := uint32(0)
			if r != 0 {
				z = 1
			}
			e.bit(&m.zeroP[i], z)
			if r == 0 {
				c = context{}
				continue
			}
		}
		neg := 0
		if r < 0 {
			neg = 1
		}
		if m.plus && m.minus {
			e.bit(&m.signP[i], uint32(neg))
		}
		u := magnitude(r)
		k := bits.Len64(u)
		e.tree(m.classP[c.step<<m.depth:], uint32(k-m.lo), m.depth)
		low := k - 1
		top := min(low, m.mantBits)
		e.tree(m.mantP[k<<m.mantBits:], uint32(u>>(low-top))&(1<<top-1), top)
		e.raw(u, low-top)
		c = m.after(neg, k)
	}
}

func (m *residuals) decode(d *rangeDecoder, rs []int64) {
	var c context
	if m.hi == 0 {
		clear(rs)
		return
	}
	for j := range rs {
		i := c.index()
		if m.zero && d.bit(&m.zeroP[i]) == 0 {
			rs[j] = 0
			c = context{}
			continue
		}
		neg := 0
		if m.minus {
			neg = 1
			if m.plus {
				neg = int(d.bit(&m.signP[i]))
			}
		}
		k := min(m.lo+int(d.tree(m.classP[c.step<<m.depth:], m.depth)), m.hi)
		low := k - 1
		top := min(low, m.mantBits)
		u := 1<<top | uint64(d.tree(m.mantP[k<<m.mantBits:], top))
		u = u<<(low-top) | d.raw(low-top)
		c = m.after(neg, k)
		rs[j] = int64(u^-uint64(neg)) + int64(neg)
	}
}
