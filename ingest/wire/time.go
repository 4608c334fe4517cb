package wire

import (
	"bytes"
	"math"

	"github.com/naru-telemetry/naru/device"
)

// Unit is how a device counts time.
type Unit uint8

// The units, told by the size of the number.
const (
	Ago    Unit = iota // seconds before now
	Second             // seconds since the Unix epoch, and so on
	Milli
	Micro
	Nano
	Minute // these two are never told by the size
	Hour
)

// ParsePrecision reads the unit of times as InfluxDB's clients name it: n or ns,
// u, µ or us, ms, s, m, h. Empty is Ago, which leaves it to the size.
func ParsePrecision(s string) (Unit, bool) {
	switch s {
	case "":
		return Ago, true
	case "n", "ns":
		return Nano, true
	case "u", "\u00b5", "\u03bc", "us": // the micro sign, and the letter mu
		return Micro, true
	case "ms":
		return Milli, true
	case "s":
		return Second, true
	case "m":
		return Minute, true
	case "h":
		return Hour, true
	}
	return 0, false
}

// Time is a moment as the device wrote it: Int plus Frac billionths.
type Time struct {
	Int  int64
	Frac int32 // 0 to 999,999,999; counts upwards from Int also when Int is negative
	Set  bool
	Text bool // it was a text (RFC 3339), and Int are seconds whatever their size
}

// Bounds between the units: numbers of up to 11 digits are seconds, up to 14
// milliseconds, up to 17 microseconds. Below 2^28 they are relative (RFC 8428,
// section 4.5.3).
const (
	relativeBelow = 1 << 28
	maxSeconds    = 100_000_000_000
	maxMillis     = 100_000_000_000_000
	maxMicros     = 100_000_000_000_000_000
)

// Unit tells the unit by the size.
func (t Time) Unit() Unit {
	switch {
	case t.Text:
		return Second
	case t.Int < relativeBelow:
		return Ago
	case t.Int < maxSeconds:
		return Second
	case t.Int < maxMillis:
		return Milli
	case t.Int < maxMicros:
		return Micro
	}
	return Nano
}

// At returns the moment, given the present one; fractions of a microsecond are
// cut. A relative time counts back from now whatever its sign, since SenML
// writes the past with a minus and everybody else without.
func (t Time) At(now device.Time) device.Time {
	switch t.Unit() {
	case Ago:
		if t.Int <= -relativeBelow {
			return 0 // before 1970: a clock that is wrong
		}
		ago := t.Int*1e6 + int64(t.Frac)/1000
		return now - device.Time(max(ago, -ago))
	case Second:
		return device.Time(t.Int*1e6 + int64(t.Frac)/1000)
	case Milli:
		return device.Time(t.Int*1000 + int64(t.Frac)/1_000_000)
	case Micro:
		return device.Time(t.Int)
	case Nano, Minute, Hour:
	}
	return device.Time(t.Int / 1000)
}

// As returns the moment with the number counted in u, whatever its size, if u is
// not Ago and it was not a text. One outside of the years 1677 to 2262 becomes the
// epoch, which no clock shows.
func (t Time) As(u Unit) Time {
	if u == Ago || t.Text || !t.Set {
		return t
	}
	at, ok := t.In(u)
	if !ok {
		at = 0
	}
	seconds := floorDiv(int64(at), 1_000_000)
	return Time{Int: seconds, Frac: int32(int64(at)-seconds*1_000_000) * 1000, Set: true, Text: true}
}

// maxMicros64 is how far a moment may be from 1970 so that its nanoseconds fit
// 64 bits: the years 1677 to 2262.
const maxMicros64 = math.MaxInt64 / 1000

// In returns the moment with the number counted in u, which is not Ago, since
// 1970; false outside of the years 1677 to 2262. Fractions of a microsecond are
// cut.
func (t Time) In(u Unit) (device.Time, bool) {
	micros, frac := int64(1), int64(0) // of one of the unit
	n := t.Int
	switch u {
	case Second:
		micros, frac = 1_000_000, int64(t.Frac)/1000
	case Milli:
		micros, frac = 1000, int64(t.Frac)/1_000_000
	case Minute:
		micros, frac = 60_000_000, int64(t.Frac)*60/1000
	case Hour:
		micros, frac = 3_600_000_000, int64(t.Frac)*3600/1000
	case Nano:
		n = floorDiv(n, 1000)
	case Micro, Ago:
	}
	if most := maxMicros64/micros + 1; n > most || n < -most {
		return 0, false
	}
	n = n*micros + frac
	return device.Time(n), n <= maxMicros64 && n >= -maxMicros64
}

// ParseTime reads a number or a text of RFC 3339.
func ParseTime(b []byte) (Time, bool) {
	if t, ok := timeOfRFC3339(b); ok {
		return t, true
	}
	if _, ok := scanDecimal(b); !ok || b[0] == '+' {
		return Time{}, false
	}
	return timeOfText(b)
}

// add returns the sum of two times, as SenML's base time wants it. Beyond 64
// bits it stays at the end of the range, which no clock shows.
func (t Time) add(u Time) Time {
	s := Time{Int: t.Int + u.Int, Frac: t.Frac + u.Frac, Set: t.Set || u.Set}
	if (s.Int > t.Int) != (u.Int > 0) && u.Int != 0 {
		s.Int, s.Frac = math.MinInt64, 0
		if u.Int > 0 {
			s.Int = math.MaxInt64
		}
	}
	if s.Frac >= 1e9 {
		s.Frac -= 1e9
		if s.Int < math.MaxInt64 {
			s.Int++
		}
	}
	return s
}

// timeOfFloat is for times that arrive as binary floats. It rounds to
// microseconds, so that the digits that a float64 of the present day cannot
// carry do not shift the moment into the microsecond before.
func timeOfFloat(f float64) (Time, bool) {
	if math.IsNaN(f) || math.Abs(f) >= 1<<62 {
		return Time{}, false
	}
	whole := math.Floor(f)
	t := Time{Int: int64(whole), Set: true}
	steps := 1.0 // microseconds in one of the unit
	switch t.Unit() {
	case Ago, Second:
		steps = 1e6
	case Milli:
		steps = 1e3
	case Micro, Nano, Minute, Hour:
	}
	frac := int32(math.Round((f-whole)*steps) * (1e9 / steps))
	return t.add(Time{Frac: frac}), true
}

// timeOfText reads a JSON number: exactly, when it has no exponent and its whole
// part fits.
func timeOfText(b []byte) (Time, bool) {
	whole, fraction, _ := bytes.Cut(b, []byte{'.'})
	n, ok := parseInt(whole)
	if !ok || bytes.ContainsAny(fraction, "eE") {
		f, ok := parseFloat(b)
		if !ok {
			return Time{}, false
		}
		return timeOfFloat(f)
	}
	t := Time{Int: n, Frac: billionths(fraction), Set: true}
	if t.Frac > 0 && whole[0] == '-' {
		t.Int, t.Frac = t.Int-1, 1e9-t.Frac
	}
	return t, t.Int <= n
}

// billionths reads the digits behind a decimal point; those behind the ninth do
// not count.
func billionths(digits []byte) int32 {
	var frac, scale int32 = 0, 1e8
	for _, c := range digits[:min(len(digits), 9)] {
		frac += int32(c-'0') * scale
		scale /= 10
	}
	return frac
}

// timeOfRFC3339 reads a moment such as 2026-11-23T10:00:00.123Z or, with its
// distance from UTC, 2026-11-23T11:00:00+01:00. A space or a small t may part
// date and time, and a leap second is the second after it.
func timeOfRFC3339(b []byte) (Time, bool) {
	const clock = len("2026-11-23T10:00:00")
	if len(b) <= clock || b[4] != '-' || b[7] != '-' || b[13] != ':' || b[16] != ':' ||
		b[10] != 'T' && b[10] != 't' && b[10] != ' ' {
		return Time{}, false
	}
	year, month, day := decimal(b[:4]), decimal(b[5:7]), decimal(b[8:10])
	hour, minute, second := decimal(b[11:13]), decimal(b[14:16]), decimal(b[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || day > daysOf(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return Time{}, false
	}
	fraction, zone := splitFraction(b[clock:])
	offset, ok := zoneOffset(zone)
	if !ok {
		return Time{}, false
	}
	seconds := daysSince1970(year, month, day)*86400 + hour*3600 + minute*60 + second - offset
	return Time{Int: seconds, Frac: billionths(fraction), Set: true, Text: true}, true
}

// splitFraction parts .123Z into 123 and Z. A point without digits stays with
// the zone, where it is an error.
func splitFraction(b []byte) (fraction, zone []byte) {
	if b[0] != '.' {
		return nil, b
	}
	i := 1
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	if i == 1 {
		return nil, b
	}
	return b[1:i], b[i:]
}

// zoneOffset reads Z or +hh:mm and returns the seconds by which local time is
// ahead of UTC.
func zoneOffset(b []byte) (int64, bool) {
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return 0, true
	}
	if len(b) != len("+01:00") || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	hours, minutes := decimal(b[1:3]), decimal(b[4:6])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	offset := hours*3600 + minutes*60
	if b[0] == '-' {
		offset = -offset
	}
	return offset, true
}

// decimal reads up to 18 digits; -1 when a byte is none.
func decimal(b []byte) int64 {
	var n int64
	for _, c := range b {
		c -= '0'
		if c > 9 {
			return -1
		}
		n = n*10 + int64(c)
	}
	return n
}

func daysOf(year, month int64) int64 {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysSince1970 counts the days of the Gregorian calendar, year 0 or later. With
// March as the first month the leap day comes last, and the lengths of the
// months follow a straight line.
func daysSince1970(year, month, day int64) int64 {
	const daysTo1970 = 719468 // from 1 March of year 0
	if month <= 2 {
		year--
		month += 12
	}
	day += (153*(month-3)+2)/5 - 1
	return year*365 + floorDiv(year, 4) - floorDiv(year, 100) + floorDiv(year, 400) + day - daysTo1970
}

// floorDiv rounds down also below zero, where January of year 0 belongs.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
