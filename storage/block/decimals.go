package block

import (
	"math"
)

// form is how a column of floats becomes one of integers.
type form uint8

const (
	formBits    form = iota // the bits of the float, in the order of the floats
	formDecimal             // a decimal, and how many floats beside it
	formShort               // the same among the float32

	forms       = 3
	maxExponent = 22 // 10^22 is the last power of ten that a float64 holds
	// maxMantissa bounds mantissas to those that a float64 holds.
	maxMantissa = 1 << 53
	// nearUlps is how far beside a decimal a computed number is taken for it.
	nearUlps = 16
	// sampleSize is how many numbers of a column are looked at to judge the others.
	sampleSize = 128
)

var pow10 = [maxExponent + 1]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// ordinal numbers the floats in ascending order, with -0 just below 0.
func ordinal(f float64) int64 {
	b := int64(math.Float64bits(f))
	return b ^ b>>63&math.MaxInt64
}

func fromOrdinal(n int64) float64 {
	return math.Float64frombits(uint64(n ^ n>>63&math.MaxInt64))
}

// ordinal32 does the same for the float32 that f is.
func ordinal32(f float64) int64 {
	b := int32(math.Float32bits(float32(f)))
	return int64(b ^ b>>31&math.MaxInt32)
}

func fromOrdinal32(n int64) float64 {
	b := int32(n)
	return float64(math.Float32frombits(uint32(b ^ b>>31&math.MaxInt32)))
}

// mantissa returns the integer next to f·10^e, within what a float64 holds.
func mantissa(f float64, e int) int64 {
	t := float64(f * pow10[e]) // never fused: the same everywhere
	t += math.Copysign(0.5, t)
	if !(t < maxMantissa) {
		return maxMantissa
	}
	if t <= -maxMantissa {
		return -maxMantissa
	}
	return int64(t)
}

// decimals is the plan of a column of floats.
type decimals struct {
	form     form
	exponent int
	mants    integers
	beside   integers // unused with formBits
}

// beside is the distance of f from its decimal, in floats of the form.
func (p *decimals) distance(f float64, m int64) int64 {
	d := float64(m) / pow10[p.exponent]
	if p.form == formShort {
		return ordinal32(f) - ordinal32(d)
	}
	return ordinal(f) - ordinal(d)
}

// float gives back the float of a mantissa and the distance.
func (p *decimals) float(m, beside int64) float64 {
	if p.form == formBits {
		return fromOrdinal(m)
	}
	d := float64(m) / pow10[p.exponent]
	if p.form == formDecimal {
		if beside == 0 {
			return d
		}
		return fromOrdinal(ordinal(d) + beside)
	}
	return fromOrdinal32(ordinal32(d) + beside)
}

// candidate is a form that may suit a column.
type candidate struct {
	form     form
	exponent int
}

// candidates looks at a sample of the column and returns the forms worth
// trying. The form of bits is always among them unless decimals are short.
func candidates(dst []candidate, fs []float64) []candidate {
	short := true
	for _, f := range fs {
		if float64(float32(f)) != f {
			short = false
			break
		}
	}
	var wide, narrow [maxExponent + 1]int
	stride := len(fs)/sampleSize + 1
	n := 0
	for i := 0; i < len(fs); i += stride {
		n++
		wide[exponentOf(fs[i], formDecimal)]++
		if short {
			narrow[exponentOf(fs[i], formShort)]++
		}
	}
	dst = quantiles(dst[:0], formDecimal, &wide, n)
	digits := dst[len(dst)-1].exponent
	if short && digits > 6 {
		dst = quantiles(dst[:0], formShort, &narrow, n)
		digits = dst[len(dst)-1].exponent
	}
	if digits > 9 {
		dst = append(dst, candidate{form: formBits})
	}
	return dst
}

// exponentOf returns the smallest exponent with which f is near a decimal.
func exponentOf(f float64, fm form) int {
	p := decimals{form: fm}
	limit := int64(nearUlps)
	if fm == formShort {
		limit = 1
	}
	for e := range maxExponent {
		p.exponent = e
		m := mantissa(f, e)
		if d := p.distance(f, m); d >= -limit && d <= limit {
			return e
		}
		if m >= maxMantissa || m <= -maxMantissa {
			break
		}
	}
	return maxExponent
}

// quantiles adds the exponent that suits nearly all and the one that suits all.
func quantiles(dst []candidate, fm form, hist *[maxExponent + 1]int, n int) []candidate {
	sum, most := 0, -1
	for e, c := range hist {
		sum += c
		if most < 0 && sum*20 >= n*19 {
			most = e
		}
		if sum == n {
			dst = append(dst, candidate{fm, most})
			if e != most {
				dst = append(dst, candidate{fm, e})
			}
			break
		}
	}
	return dst
}
