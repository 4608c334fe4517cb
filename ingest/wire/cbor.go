package wire

import (
	"encoding/binary"
	"math"
	"strconv"
)

// cborTokens walks over one CBOR data item (RFC 8949). It accepts the encodings
// of the RFC's section 3, definite and indefinite; tags other than those of fractions are
// looked through.
type cborTokens struct {
	buf     []byte
	pos     int
	at      int
	msg     string
	short   bool    // the error is that the item goes on behind buf
	scratch *[]byte // takes texts of indefinite length; nil: they are passed over
	depth   int
	open    [maxDepth]cborContainer
}

type cborContainer struct {
	isMap bool
	// left counts items to come, keys and values each; -1 in indefinite length.
	left int
	odd  bool // in a map: a value is due
}

const cborBreak = 0xff

func (c *cborTokens) reset(buf []byte, pos int, scratch *[]byte) {
	*c = cborTokens{buf: buf, pos: pos, scratch: scratch}
}

func (c *cborTokens) where() (int, string) { return c.at, c.msg }
func (c *cborTokens) behind() int          { return c.pos }

func (c *cborTokens) skip(t token) bool {
	if t.kind == tokenObject || t.kind == tokenArray {
		for until := c.depth - 1; c.depth > until; {
			if t = c.next(); t.kind == tokenError {
				return false
			}
		}
	}
	return t.kind != tokenError
}

func (c *cborTokens) fail(msg string) token {
	c.msg = msg
	return token{kind: tokenError}
}

func (c *cborTokens) tooShort() token {
	c.short = true
	return c.fail("the CBOR item ends too early")
}

func (c *cborTokens) next() token {
	if c.msg != "" {
		return token{kind: tokenError}
	}
	c.at = c.pos
	if c.depth > 0 {
		top := &c.open[c.depth-1]
		switch {
		case top.left == 0:
			c.depth--
			return token{kind: tokenEnd}
		case top.left > 0:
			top.left--
		case c.pos < len(c.buf) && c.buf[c.pos] == cborBreak:
			if top.odd {
				return c.fail("a map ends after a key")
			}
			c.pos++
			c.depth--
			return token{kind: tokenEnd}
		}
		top.odd = !top.odd && top.isMap
	}
	return c.item()
}

// head reads the major type, the additional information and the argument of the
// item at pos.
func (c *cborTokens) head() (major, info byte, arg uint64, ok bool) {
	if c.pos >= len(c.buf) {
		c.tooShort()
		return 0, 0, 0, false
	}
	major, info = c.buf[c.pos]>>5, c.buf[c.pos]&31
	c.pos++
	switch {
	case info < 24:
		return major, info, uint64(info), true
	case info <= 27:
		n := 1 << (info - 24)
		if len(c.buf)-c.pos < n {
			c.tooShort()
			return 0, 0, 0, false
		}
		var b [8]byte
		copy(b[8-n:], c.buf[c.pos:c.pos+n])
		c.pos += n
		return major, info, binary.BigEndian.Uint64(b[:]), true
	case info < 31, major < 2, major == 6:
		c.fail("reserved additional information")
		return 0, 0, 0, false
	}
	return major, info, 0, true
}

// The tags that are not just looked through.
const (
	cborDecimalFraction = 4
	cborBigfloat        = 5
)

func (c *cborTokens) item() token {
	fraction := uint64(0)
	for {
		content := c.pos
		major, info, arg, ok := c.head()
		switch {
		case !ok:
			return token{kind: tokenError}
		case major == 6:
			fraction = 0
			if arg == cborDecimalFraction || arg == cborBigfloat {
				fraction = arg
			}
			continue
		case fraction != 0:
			c.pos = content
			return c.fraction(fraction)
		}
		switch major {
		case 0, 1:
			return cborInteger(major, arg)
		case 2, 3:
			return c.str(major, info, arg)
		case 4, 5:
			return c.container(major == 5, info == 31, arg)
		}
		return c.simple(info, arg)
	}
}

// cborInteger returns an integer as int64 where it fits, else as float64, like
// one in JSON.
func cborInteger(major byte, arg uint64) token {
	var v Value
	switch {
	case arg > math.MaxInt64 && major == 1:
		v = floatValue(-1 - float64(arg))
	case arg > math.MaxInt64:
		v = floatValue(float64(arg))
	case major == 1:
		v = intValue(-1 - int64(arg))
	default:
		v = intValue(int64(arg))
	}
	return token{kind: tokenNumber, value: v}
}

func (c *cborTokens) container(isMap, indefinite bool, arg uint64) token {
	if c.depth == maxDepth {
		return c.fail("nested more than 16 deep")
	}
	left, kind := -1, tokenArray
	if isMap {
		kind = tokenObject
	}
	if !indefinite {
		// An item takes a byte at least, so that left stays below len(buf).
		rest := uint64(len(c.buf) - c.pos)
		if isMap {
			rest /= 2
		}
		if arg > rest {
			return c.tooShort()
		}
		left = int(arg)
		if isMap {
			left *= 2
		}
	}
	c.open[c.depth] = cborContainer{isMap: isMap, left: left}
	c.depth++
	return token{kind: kind}
}

func (c *cborTokens) str(major, info byte, arg uint64) token {
	kind := tokenText
	if major == 2 {
		kind = tokenOther
	}
	if info != 31 {
		b, ok := c.bytes(arg)
		if !ok {
			return token{kind: tokenError}
		}
		return token{kind: kind, text: b}
	}
	var out []byte
	if c.scratch != nil {
		out = *c.scratch
	}
	at := len(out)
	for {
		if c.pos < len(c.buf) && c.buf[c.pos] == cborBreak {
			c.pos++
			if c.scratch != nil {
				*c.scratch = out
			}
			return token{kind: kind, text: out[at:len(out):len(out)]}
		}
		m, i, n, ok := c.head()
		if !ok {
			return token{kind: tokenError}
		}
		if m != major || i == 31 {
			return c.fail("a chunk of a string is no string")
		}
		b, ok := c.bytes(n)
		if !ok {
			return token{kind: tokenError}
		}
		if c.scratch != nil {
			out = append(out, b...)
		}
	}
}

func (c *cborTokens) bytes(n uint64) ([]byte, bool) {
	if n > uint64(len(c.buf)-c.pos) {
		c.tooShort()
		return nil, false
	}
	b := c.buf[c.pos : c.pos+int(n) : c.pos+int(n)]
	c.pos += int(n)
	return b, true
}

func (c *cborTokens) simple(info byte, arg uint64) token {
	switch info {
	case 20, 21:
		return token{kind: tokenBool, value: boolValue(info == 21)}
	case 22, 23: // null, undefined
		return token{kind: tokenNull}
	case 25:
		return token{kind: tokenNumber, value: floatValue(halfFloat(uint16(arg)))}
	case 26:
		return token{kind: tokenNumber, value: floatValue(float64(math.Float32frombits(uint32(arg))))}
	case 27:
		return token{kind: tokenNumber, value: floatValue(math.Float64frombits(arg))}
	case 31:
		return c.fail("a break stands outside a container of indefinite length")
	case 24:
		if arg < 32 {
			return c.fail("a simple value is malformed")
		}
	}
	return token{kind: tokenOther}
}

// halfFloat widens an IEEE 754 binary16 number (RFC 8949, appendix D).
func halfFloat(h uint16) float64 {
	exp, mant := int(h>>10&31), float64(h&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(mant, -24)
	case 31:
		f = math.Inf(1)
		if mant != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(mant+1024, exp-25)
	}
	if h&0x8000 != 0 {
		f = -f
	}
	return f
}

// fraction reads the content of tag 4 or 5, [exponent, mantissa]. Anything else
// under such a tag is well-formed but no reading.
func (c *cborTokens) fraction(tag uint64) token {
	at, content := c.at, c.pos
	exponent, mantissa, ok := c.fractionParts()
	switch {
	case ok && tag == cborBigfloat:
		const beyond = 5000 // any mantissa of 64 bits is then 0 or an infinity
		e := int(max(-beyond, min(exponent, beyond)))
		return token{kind: tokenNumber, value: floatValue(math.Ldexp(float64(mantissa), e))}
	case ok:
		var digits [48]byte
		text := append(strconv.AppendInt(digits[:0], mantissa, 10), 'e')
		f, _ := parseFloat(strconv.AppendInt(text, exponent, 10)) // an infinity when out of range
		return token{kind: tokenNumber, value: floatValue(f)}
	case c.msg != "":
		return token{kind: tokenError}
	}
	c.pos = content
	if !c.skip(c.item()) {
		return token{kind: tokenError}
	}
	c.at = at
	return token{kind: tokenOther}
}

func (c *cborTokens) fractionParts() (exponent, mantissa int64, ok bool) {
	major, info, n, ok := c.head()
	if !ok || major != 4 || info != 2 || n != 2 {
		return 0, 0, false
	}
	var parts [2]int64
	for i := range parts {
		major, _, n, ok := c.head()
		if !ok || major > 1 || n > math.MaxInt64 {
			return 0, 0, false
		}
		parts[i] = int64(n)
		if major == 1 {
			parts[i] = -1 - int64(n)
		}
	}
	return parts[0], parts[1], true
}
