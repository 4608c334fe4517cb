package block

import "encoding/binary"

// mode is how the numbers of a column become residuals.
type mode uint8

const (
	modeConstant  mode = iota // all alike
	modeDirect                // distance from the first
	modeDelta                 // distance from the one before
	modeDelta2                // distance from a straight line through the two before
	modeRank                  // index into the sorted distinct numbers
	modeRankDelta             // distance from the index before

	modes = 6

	headMode  = 0x07
	headZero  = 0x08
	headPlus  = 0x10
	headMinus = 0x20
	headUnit  = 0x40
	headFine  = 0x80
)

// integers is the plan of one column of int64. All arithmetic is modulo 2^64,
// so that no column overflows.
type integers struct {
	mode   mode
	shape  shape // of the residuals
	first  int64 // the first number; with a rank: the smallest one
	unit   int64 // greatest common divisor of all distances
	centre int64 // is subtracted from every residual
	ranks  int   // distinct numbers less one
	gaps   shape // of the distances between them, less one
}

func (p *integers) appendHead(dst []byte) []byte {
	if p.mode == modeConstant {
		return binary.AppendVarint(append(dst, 0), p.first)
	}
	b := byte(p.mode) | p.shape.flags()
	if p.unit != 1 {
		b |= headUnit
	}
	dst = binary.AppendVarint(append(dst, b), p.first)
	if p.unit != 1 {
		dst = binary.AppendUvarint(dst, uint64(p.unit))
	}
	dst = p.shape.append(binary.AppendVarint(dst, p.centre))
	if p.mode >= modeRank {
		dst = binary.AppendUvarint(dst, uint64(p.ranks))
		dst = p.gaps.append(append(dst, p.gaps.flags()))
	}
	return dst
}

func (p *integers) parseHead(r *reader) {
	b := r.byte()
	*p = integers{mode: mode(b & headMode), first: r.varint(), unit: 1}
	if p.mode == modeConstant {
		r.check(b == 0)
		return
	}
	r.check(p.mode < modes)
	if b&headUnit != 0 {
		p.unit = int64(r.uvarint())
	}
	p.centre = r.varint()
	p.shape.parse(r, b)
	if p.mode >= modeRank {
		p.ranks = r.count(MaxReadings)
		p.gaps.parse(r, r.byte())
	}
}

func (s *shape) flags() (b byte) {
	if s.zero {
		b |= headZero
	}
	if s.plus {
		b |= headPlus
	}
	if s.minus {
		b |= headMinus
	}
	if s.fine {
		b |= headFine
	}
	return b
}

func (s *shape) append(dst []byte) []byte {
	if s.hi == 0 {
		return dst
	}
	dst = append(dst, byte(s.lo))
	if s.hi-s.lo >= classSteps-1 {
		return append(dst, 0x80|byte(s.hi-s.lo), byte(s.base))
	}
	return append(dst, byte(s.hi-s.lo))
}

func (s *shape) parse(r *reader, flags byte) {
	s.zero, s.plus = flags&headZero != 0, flags&headPlus != 0
	s.minus, s.fine = flags&headMinus != 0, flags&headFine != 0
	if !s.plus && !s.minus {
		return
	}
	s.lo = int(r.byte())
	span := r.byte()
	s.hi = s.lo + int(span&0x7f)
	s.base = s.lo
	if span&0x80 != 0 {
		s.base = int(r.byte())
	}
	r.check(s.lo >= 1 && s.hi <= maxClass && s.base <= maxClass)
	if r.bad {
		*s = shape{}
	}
}

// encode codes what the head does not say. rs are the residuals of the plan.
func (p *integers) encode(e *rangeEncoder, m *residuals, rs, gaps []int64) {
	if p.mode == modeConstant {
		return
	}
	if p.mode >= modeRank {
		m.begin(p.gaps)
		m.encode(e, gaps)
	}
	m.begin(p.shape)
	m.encode(e, rs)
}

// decode decodes the numbers into xs. dict is scratch for the distinct numbers.
func (p *integers) decode(d *rangeDecoder, m *residuals, xs []int64, dict []int64) {
	if p.mode == modeConstant || len(xs) == 0 {
		for i := range xs {
			xs[i] = p.first
		}
		return
	}
	if p.mode >= modeRank {
		m.begin(p.gaps)
		m.decode(d, dict[:p.ranks])
		p.unrank(xs, dict[:p.ranks+1], d, m)
		return
	}
	m.begin(p.shape)
	m.decode(d, xs[1:])
	xs[0] = p.first
	x, centre := p.first, p.centre*p.unit
	switch p.mode {
	case modeConstant, modeRank, modeRankDelta: // done above
	case modeDirect:
		for i, r := range xs[1:] {
			xs[i+1] = x + centre + r*p.unit
		}
	case modeDelta:
		for i, r := range xs[1:] {
			x += centre + r*p.unit
			xs[i+1] = x
		}
	case modeDelta2:
		step := centre
		for i, r := range xs[1:] {
			step += r * p.unit
			x += step
			xs[i+1] = x
		}
	}
}

// unrank turns the gaps in dict into the distinct numbers and decodes the
// indices into xs.
func (p *integers) unrank(xs, dict []int64, d *rangeDecoder, m *residuals) {
	x := p.first
	for i := range dict {
		gap := dict[i]
		dict[i] = x
		x += (gap + 1) * p.unit
	}
	m.begin(p.shape)
	m.decode(d, xs)
	at, last := p.centre, int64(len(dict)-1)
	for i, r := range xs {
		k := p.centre + r
		if p.mode == modeRankDelta {
			at += r
			k = at
		}
		xs[i] = dict[max(0, min(k, last))]
	}
}
