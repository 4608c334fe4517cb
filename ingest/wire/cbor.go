package wire

import (
	"encoding/binary"
	"math"
)

// cborTokens walks over one CBOR data item (RFC 8949). It accepts the encodings
// of the RFC's section 3, definite and indefinite; tags are looked through.
type cborTokens struct {
	buf     []byte
	pos     int
	at      int
	msg     string
	short   bool // the error is that the item goes on behind buf
	scratch *[]byte
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
// item at pos; tags in front are passed over, except that fraction tells of a
// decimal fraction.
func (c *cborTokens) head() (major, info byte, arg uint64, fraction, ok bool) {
	for {
		if c.pos >= len(c.buf) {
			c.tooShort()
			return 0, 0, 0, false, false
		}
		major, info = c.buf[c.pos]>>5, c.buf[c.pos]&31
		c.pos++
		arg = uint64(info)
		switch {
		case info >= 24 && info <= 27:
			n := 1 << (info - 24)
			if len(c.buf)-c.pos < n {
				c.tooShort()
				return 0, 0, 0, false, false
			}
			var b [8]byte
			copy(b[8-n:], c.buf[c.pos:c.pos+n])
			arg = binary.BigEndian.Uint64(b[:])
			c.pos += n
		case info >= 28 && info <= 30, info == 31 && (major < 2 || major == 6):
			c.fail("reserved additional information")
			return 0, 0, 0, false, false
		}
		if major != 6 {
			return major, info, arg, fraction, true
		}
		fraction = arg == 4
	}
}

func (c *cborTokens) item() token {
	major, info, arg, fraction, ok := c.head()
	if !ok {
		return token{kind: tokenError}
	}
	if fraction {
		return c.decimalFraction(major, arg)
	}
	switch major {
	case 0:
		if arg > math.MaxInt64 {
			return c.fail("an integer exceeds 64 bits with sign")
		}
		return token{kind: tokenNumber, value: intValue(int64(arg))}
	case 1:
		if arg > math.MaxInt64 {
			return c.fail("an integer exceeds 64 bits with sign")
		}
		return token{kind: tokenNumber, value: intValue(-1 - int64(arg))}
	case 2, 3:
		return c.str(major, info, arg)
	case 4, 5:
		return c.container(major == 5, info == 31, arg)
	}
	return c.simple(info, arg)
}

func (c *cborTokens) container(isMap, indefinite bool, arg uint64) token {
	if c.depth == maxDepth {
		return c.fail("nested more than 16 deep")
	}
	left := -1
	if !indefinite {
		if arg > uint64(math.MaxInt32) {
			return c.fail("a container of more than 2^31 items")
		}
		left = int(arg)
		if isMap {
			left *= 2
		}
	}
	c.open[c.depth] = cborContainer{isMap: isMap, left: left}
	c.depth++
	if isMap {
		return token{kind: tokenObject}
	}
	return token{kind: tokenArray}
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
	at := len(*c.scratch)
	for {
		if c.pos < len(c.buf) && c.buf[c.pos] == cborBreak {
			c.pos++
			out := *c.scratch
			return token{kind: kind, text: out[at:len(out):len(out)]}
		}
		m, i, n, tagged, ok := c.head()
		if !ok {
			return token{kind: tokenError}
		}
		if m != major || i == 31 || tagged {
			return c.fail("a chunk of a string is no string")
		}
		b, ok := c.bytes(n)
		if !ok {
			return token{kind: tokenError}
		}
		*c.scratch = append(*c.scratch, b...)
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

// decimalFraction reads tag 4, [exponent, mantissa].
func (c *cborTokens) decimalFraction(major byte, arg uint64) token {
	if major != 4 || arg != 2 {
		return c.fail("a decimal fraction must be [exponent, mantissa]")
	}
	var parts [2]int64
	for i := range parts {
		m, _, n, tagged, ok := c.head()
		switch {
		case !ok:
			return token{kind: tokenError}
		case m > 1 || tagged || n > math.MaxInt64:
			return c.fail("a decimal fraction must hold two integers of 64 bits")
		}
		parts[i] = int64(n)
		if m == 1 {
			parts[i] = -1 - int64(n)
		}
	}
	if parts[0] < -400 || parts[0] > 400 {
		return c.fail("the exponent of a decimal fraction is out of range")
	}
	digits := appendScientific(nil, parts[1], parts[0])
	f, ok := parseFloat(digits)
	if !ok {
		return c.fail("a decimal fraction is out of range")
	}
	return token{kind: tokenNumber, value: floatValue(f)}
}
