package block

// # The entropy coder
//
// An adaptive binary range coder. Its decisions are bits, each coded with a
// probability that follows the bits coded before it in the same context; see
// doc.go for the arithmetic.

const (
	// probMin keeps every interval at 1/256 of its parent or more, so that one
	// byte is enough to bring the range back above rangeMin.
	probMin  = 1 << 8
	probMax  = 1<<16 - probMin
	probHalf = 1 << 15

	rangeMin = 1 << 24
	// rawBits is how many bits without a model are coded at once.
	rawBits = 16

	// rateSteps is how often a context has to be met until it adapts at the
	// slowest rate.
	rateSteps = 63
)

// prob is an adaptive probability: that of a 0 bit in units of 1/65536 above
// the low 8 bits, and in those how often it has been met, up to rateSteps.
type prob uint32

const probStart prob = probHalf << 8

// rates holds, by how often a context has been met, the share of the distance
// to the new bit by which its probability moves, in units of 1/65536:
// 65536 / (n + 1.6), rounded down.
var rates = func() (t [rateSteps + 1]int32) {
	for n := range t {
		t[n] = int32(655360 / (10*n + 16))
	}
	return t
}()

// seen returns the probability after the bit that mask stands for: all ones
// for 0, zero for 1.
func (p prob) seen(mask uint32) prob {
	n := uint32(p) & 0xff
	at := int32(p >> 8)
	target := int32(mask&(probMax-probMin)) + probMin
	at += (target - at) * rates[n&rateSteps] >> 16
	if n < rateSteps {
		n++
	}
	return prob(uint32(at)<<8 | n)
}

func reset(ps []prob) {
	for i := range ps {
		ps[i] = probStart
	}
}

// rangeEncoder appends one column's decisions to out.
type rangeEncoder struct {
	out   []byte
	start int // of the column in out
	low   uint32
	width uint32
}

func (e *rangeEncoder) begin(dst []byte) {
	*e = rangeEncoder{out: dst, start: len(dst), width: 1<<32 - 1}
}

// add moves the low end of the interval up and carries into what is written.
func (e *rangeEncoder) add(n uint32) {
	e.low += n
	if e.low >= n {
		return
	}
	for i := len(e.out) - 1; i >= e.start; i-- {
		e.out[i]++
		if e.out[i] != 0 {
			return
		}
	}
}

func (e *rangeEncoder) shift() {
	e.out = append(e.out, byte(e.low>>24))
	e.low <<= 8
	e.width <<= 8
}

func (e *rangeEncoder) bit(p *prob, bit uint32) {
	bound := uint32(uint64(e.width) * uint64(*p>>8) >> 16)
	if bit == 0 {
		e.width = bound
	} else {
		e.add(bound)
		e.width -= bound
	}
	*p = p.seen(bit - 1)
	if e.width < rangeMin {
		e.shift()
	}
}

// tree codes the depth low bits of v, the highest first, each in the context of
// those above it. ps holds 1<<depth probabilities.
func (e *rangeEncoder) tree(ps []prob, v uint32, depth int) {
	node := uint32(1)
	for i := depth - 1; i >= 0; i-- {
		b := v >> i & 1
		e.bit(&ps[node], b)
		node = node<<1 | b
	}
}

// raw codes the n low bits of v, all values alike.
func (e *rangeEncoder) raw(v uint64, n int) {
	for n > 0 {
		k := min(n, rawBits)
		n -= k
		e.width >>= k
		e.add(uint32(v>>n) & (1<<k - 1) * e.width)
		for e.width < rangeMin {
			e.shift()
		}
	}
}

// end writes the shortest number inside the interval. The decoder reads zeros
// after the end, so zeros at the end are not written.
func (e *rangeEncoder) end() []byte {
	for k := 24; k >= 0; k -= 8 {
		mask := uint32(1)<<k - 1
		if up := -e.low & mask; up < e.width {
			e.add(up)
			break
		}
	}
	for range 4 {
		e.shift()
	}
	for len(e.out) > e.start && e.out[len(e.out)-1] == 0 {
		e.out = e.out[:len(e.out)-1]
	}
	return e.out
}

// rangeDecoder reads one column's decisions from in. Any input decodes to
// something; what it decodes to has to be checked.
type rangeDecoder struct {
	in    []byte
	at    int
	code  uint32
	width uint32
}

func (d *rangeDecoder) begin(in []byte) {
	*d = rangeDecoder{in: in, width: 1<<32 - 1}
	for range 4 {
		d.code = d.code<<8 | d.next()
	}
}

func (d *rangeDecoder) next() (b uint32) {
	if d.at < len(d.in) {
		b = uint32(d.in[d.at])
	}
	d.at++
	return b
}

// bit decodes without a branch on the bit, which nobody can predict.
func (d *rangeDecoder) bit(p *prob) uint32 {
	bound := uint32(uint64(d.width) * uint64(*p>>8) >> 16)
	diff := uint64(d.code) - uint64(bound)
	mask := uint32(diff >> 32)
	rest := d.width - bound
	d.width = rest + mask&(bound-rest)
	d.code = uint32(diff) + mask&bound
	*p = p.seen(mask)
	if d.width < rangeMin {
		d.width <<= 8
		d.code = d.code<<8 | d.next()
	}
	return mask + 1
}

func (d *rangeDecoder) tree(ps []prob, depth int) uint32 {
	node := uint32(1)
	for range depth {
		node = node<<1 | d.bit(&ps[node])
	}
	return node - 1<<depth
}

func (d *rangeDecoder) raw(n int) (v uint64) {
	for n > 0 {
		k := min(n, rawBits)
		n -= k
		d.width >>= k
		q := min(d.code/d.width, 1<<k-1)
		d.code -= q * d.width
		for d.width < rangeMin {
			d.width <<= 8
			d.code = d.code<<8 | d.next()
		}
		v = v<<k | uint64(q)
	}
	return v
}
