package wire

import "strconv"

// ParseNumber reads a decimal number as tables hold it, with or without a sign:
// an integer where it has neither fraction nor exponent and fits, else a float,
// which is an infinity for what exceeds one. As in JSON, -0 is a float.
func ParseNumber(b []byte) (Value, bool) {
	whole, ok := scanDecimal(b)
	if !ok {
		return Value{}, false
	}
	if b[0] == '+' {
		b = b[1:]
	}
	if n, ok := parseInt(b); ok && whole && (n != 0 || b[0] != '-') {
		return intValue(n), true
	}
	f, _ := parseFloat(b)
	return floatValue(f), true
}

// scanDecimal reports whether b is a sign or none, digits with or without a
// point among them, and an exponent or none; and whether it is digits only.
func scanDecimal(b []byte) (whole, ok bool) {
	i := 0
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		i++
	}
	digits := 0
	whole = true
	for ; i < len(b); i++ {
		if b[i]-'0' <= 9 {
			digits++
		} else if b[i] == '.' && whole {
			whole = false
		} else {
			break
		}
	}
	if digits == 0 {
		return false, false
	}
	if i == len(b) {
		return whole, true
	}
	if b[i]|0x20 != 'e' {
		return false, false
	}
	i++
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		i++
	}
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return false, i > start && i == len(b)
}

// parseInt reads a decimal integer without leading plus; false when it is none
// or does not fit.
func parseInt(b []byte) (int64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) > maxInt64Digits {
		for len(b) > maxInt64Digits && b[0] == '0' {
			b = b[1:]
		}
	}
	if len(b) == 0 || len(b) > maxInt64Digits {
		return 0, false
	}
	var n uint64 // has room for 19 digits of any value
	for _, c := range b {
		c -= '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	switch {
	case neg && n <= 1<<63:
		return -int64(n), true
	case !neg && n < 1<<63:
		return int64(n), true
	}
	return 0, false
}

const maxInt64Digits = 19

// parseFloat reads a number in strconv's decimal or hexadecimal notation. Out of
// range it gives an infinity and false, malformed it gives 0 and false.
func parseFloat(b []byte) (float64, bool) {
	if f, ok := exactFloat(b); ok {
		return f, true
	}
	f, err := strconv.ParseFloat(string(b), 64)
	return f, err == nil
}

// maxExactDigits is how many decimal digits always fit the 53 bits of a
// float64's mantissa.
const maxExactDigits = 15

var powersOfTen = [maxExactDigits + 1]float64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
}

// exactFloat reads a decimal number without exponent of at most 15 digits, as
// nearly all sensors send: digits and divisor are exact, so that the one
// division rounds as IEEE 754 wants it. It reports false for any other notation.
func exactFloat(b []byte) (float64, bool) {
	neg := len(b) > 0 && b[0] == '-'
	if neg {
		b = b[1:]
	}
	if len(b) > maxExactDigits+1 {
		return 0, false
	}
	var n uint64
	digits, point := 0, -1
	for _, c := range b {
		switch {
		case c-'0' <= 9:
			n = n*10 + uint64(c-'0')
			digits++
		case c == '.' && point < 0:
			point = digits
		default:
			return 0, false
		}
	}
	if digits == 0 || digits > maxExactDigits {
		return 0, false
	}
	f := float64(n)
	if point >= 0 {
		f /= powersOfTen[digits-point]
	}
	if neg {
		f = -f
	}
	return f, true
}
