package wire

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const testNow = device.Time(1_764_000_000_000_000)

func TestTimeAt(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string // a JSON number
		unit Unit
		want device.Time
	}{
		{"now", "0", Ago, testNow},
		{"seconds ago", "90", Ago, testNow - 90e6},
		{"seconds ago with a minus", "-90", Ago, testNow - 90e6},
		{"a fraction of a second ago", "0.25", Ago, testNow - 250e3},
		{"a fraction of a second ago with a minus", "-0.25", Ago, testNow - 250e3},
		{"more than a second ago with a minus", "-1.75", Ago, testNow - 1750e3},
		{"the longest ago", "268435455", Ago, testNow - 268_435_455e6},
		{"the longest ago with a minus", "-268435455", Ago, testNow - 268_435_455e6},
		{"before 1970", "-268435456", Ago, 0},
		{"the least", "-9223372036854775808", Ago, 0},
		{"the first second", "268435456", Second, 268_435_456e6},
		{"seconds", "1764000000", Second, 1_764_000_000e6},
		{"seconds with a fraction", "1764000000.123456789", Second, 1_764_000_000_123_456},
		{"digits beyond the ninth", "1764000000.1234567899999999999", Second, 1_764_000_000_123_456},
		{"the last second", "99999999999", Second, 99_999_999_999e6},
		{"the first millisecond", "100000000000", Milli, 100_000_000_000e3},
		{"milliseconds", "1764000000123", Milli, 1_764_000_000_123e3},
		{"milliseconds with a fraction", "1764000000123.4567", Milli, 1_764_000_000_123_456},
		{"the last millisecond", "99999999999999", Milli, 99_999_999_999_999e3},
		{"the first microsecond", "100000000000000", Micro, 100_000_000_000_000},
		{"microseconds", "1764000000123456", Micro, 1_764_000_000_123_456},
		{"microseconds with a fraction", "1764000000123456.9", Micro, 1_764_000_000_123_456},
		{"the last microsecond", "99999999999999999", Micro, 99_999_999_999_999_999},
		{"the first nanosecond", "100000000000000000", Nano, 100_000_000_000_000},
		{"nanoseconds", "1764000000123456789", Nano, 1_764_000_000_123_456},
		{"the last nanosecond", "9223372036854775807", Nano, 9_223_372_036_854_775},
		{"an exponent", "1.764e9", Second, 1_764_000_000e6},
		{"an exponent and microseconds", "1.764000000123456e9", Second, 1_764_000_000_123_456},
		{"an exponent and milliseconds", "1.7640000001234E+12", Milli, 1_764_000_000_123_400},
		{"an exponent ago", "-5e-1", Ago, testNow - 500e3},
		{"minus zero", "-0", Ago, testNow},
	} {
		t.Run(c.name, func(t *testing.T) {
			at, ok := timeOfText([]byte(c.in))
			if !ok {
				t.Fatalf("%s is no time", c.in)
			}
			if at.Unit() != c.unit || at.At(testNow) != c.want {
				t.Errorf("%s: unit %d, moment %d; want %d, %d", c.in, at.Unit(), at.At(testNow), c.unit, c.want)
			}
		})
	}
	for _, in := range []string{"1e99", "-1e99", "9223372036854775808", "1e999"} {
		if at, ok := timeOfText([]byte(in)); ok {
			t.Errorf("%s is taken for %v", in, at)
		}
	}
}

// A number counted in a unit that is said is what it says, however small.
func TestTimeAs(t *testing.T) {
	for _, c := range []struct {
		in   string
		unit string
		want device.Time
	}{
		{"0", "", testNow},
		{"90", "s", 90e6},
		{"1764000000", "s", 1_764_000_000e6},
		{"1764000000", "ms", 1_764_000e6},
		{"1764000000123", "ms", 1_764_000_000_123e3},
		{"1764000000123456", "u", 1_764_000_000_123_456},
		{"1764000000123456", "us", 1_764_000_000_123_456},
		{"1764000000123456", "\u00b5", 1_764_000_000_123_456},
		{"1764000000123456", "\u03bc", 1_764_000_000_123_456},
		{"1764000000123456789", "n", 1_764_000_000_123_456},
		{"1764000000123456789", "ns", 1_764_000_000_123_456},
		{"29400000", "m", 1_764_000_000e6},
		{"490000", "h", 1_764_000_000e6},
		{"-1", "h", -3600e6},
		{"-1", "ns", -1},
		{"9223372036854775807", "h", 0},
		{"2026-11-23T10:00:00Z", "h", 1_795_428_000e6},
	} {
		at, ok := ParseTime([]byte(c.in))
		unit, known := ParsePrecision(c.unit)
		if !ok || !known {
			t.Fatalf("%q in %q: time %v, unit %v", c.in, c.unit, ok, known)
		}
		if got := at.As(unit).At(testNow); got != c.want {
			t.Errorf("%s in %q: %d, want %d", c.in, c.unit, got, c.want)
		}
	}
	if at := (Time{}).As(Hour); at.Set {
		t.Error("no time becomes one")
	}
	for _, s := range []string{"S", "d", "sec", " s", "0", "\xb5"} {
		if _, ok := ParsePrecision(s); ok {
			t.Errorf("%q is taken", s)
		}
	}
}

func TestTimeIn(t *testing.T) {
	for _, c := range []struct {
		in   string
		unit Unit
		want device.Time
		ok   bool
	}{
		{"0", Second, 0, true},
		{"1.5", Second, 1_500_000, true},
		{"-1.5", Second, -1_500_000, true},
		{"9223372036.854775", Second, 9_223_372_036_854_775, true},
		{"9223372036.854776", Second, 0, false},
		{"9223372037", Second, 0, false},
		{"-9223372037", Second, 0, false},
		{"1764000000", Milli, 1_764_000_000_000, true},
		{"-0.001", Milli, -1, true},
		{"9223372036854.7759", Milli, 9_223_372_036_854_775, true},
		{"9223372036855", Milli, 0, false},
		{"12.9", Micro, 12, true},
		{"9223372036854775", Micro, 9_223_372_036_854_775, true},
		{"9223372036854776", Micro, 0, false},
		{"1999", Nano, 1, true},
		{"-1", Nano, -1, true},
		{"9223372036854775807", Nano, 9_223_372_036_854_775, true},
		{"-9223372036854775000", Nano, -9_223_372_036_854_775, true},
		{"-9223372036854775807", Nano, 0, false},
		{"1970-01-01T00:00:01.5Z", Second, 1_500_000, true},
		{"29400000", Minute, 1_764_000_000_000_000, true},
		{"1.5", Minute, 90_000_000, true},
		{"153722867", Minute, 9_223_372_020_000_000, true},
		{"153722868", Minute, 0, false},
		{"490000", Hour, 1_764_000_000_000_000, true},
		{"-0.5", Hour, -1_800_000_000, true},
		{"2562047", Hour, 9_223_369_200_000_000, true},
		{"2562048", Hour, 0, false},
		{"-9223372036854775808", Hour, 0, false},
	} {
		at, ok := ParseTime([]byte(c.in))
		if !ok {
			t.Errorf("%s is no time", c.in)
		}
		if got, ok := at.In(c.unit); ok != c.ok || ok && got != c.want {
			t.Errorf("%s in unit %d: %d %v, want %d %v", c.in, c.unit, got, ok, c.want, c.ok)
		}
	}
	for _, in := range []string{"", "+1", "x", "1x", "1.2.3", "1e", "-", ".", "0x10", "1_0", "inf", "2026-11-23"} {
		if at, ok := ParseTime([]byte(in)); ok {
			t.Errorf("%q is taken for %v", in, at)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Value
	}{
		{"21", intValue(21)},
		{"+21", intValue(21)},
		{"-9223372036854775808", intValue(math.MinInt64)},
		{"9223372036854775807", intValue(math.MaxInt64)},
		{"9223372036854775808", floatValue(9223372036854775808)},
		{"21.0", floatValue(21)},
		{"21.", floatValue(21)},
		{".5", floatValue(0.5)},
		{"-0", floatValue(math.Copysign(0, -1))},
		{"-0.0", floatValue(math.Copysign(0, -1))},
		{"+0", intValue(0)},
		{"5e-324", floatValue(5e-324)},
		{"1E3", floatValue(1000)},
		{"1e999", floatValue(math.Inf(1))},
		{"-1e999", floatValue(math.Inf(-1))},
	} {
		if got, ok := ParseNumber([]byte(c.in)); !ok || got.Kind != c.want.Kind || got.Bits != c.want.Bits {
			t.Errorf("%s: %v %v, want %v", c.in, got, ok, c.want)
		}
	}
	for _, in := range []string{"", "+", "-", ".", "-.", "e5", "1e", "1e+", "1.2.3", "1,2", "0x1p3", "1_000", "inf", "NaN", "1 ", "++1"} {
		if v, ok := ParseNumber([]byte(in)); ok {
			t.Errorf("%q is taken for %v", in, v)
		}
	}
}

func TestTimeAdd(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"1764000000", "0.5", "1764000000.5"},
		{"1764000000.75", "0.5", "1764000001.25"},
		{"1764000000.25", "-0.5", "1763999999.75"},
		{"-1.5", "-1.5", "-3"},
		{"9223372036854775807", "1", "9223372036854775807"},
		{"9223372036854775807.5", "0.5", "9223372036854775807"},
		{"-9223372036854775808", "-1", "-9223372036854775808"},
	} {
		a, _ := timeOfText([]byte(c.a))
		b, _ := timeOfText([]byte(c.b))
		if got := string(a.add(b).append(nil)); got != c.want {
			t.Errorf("%s + %s = %s, want %s", c.a, c.b, got, c.want)
		}
	}
}

// A fraction of a unit comes back through a float64 to the microsecond.
func TestTimeOfFloat(t *testing.T) {
	for us := int64(1_764_000_000_000_000); us < 1_764_000_000_003_000; us++ {
		for _, f := range []float64{float64(us) / 1e6, float64(us) / 1e3, float64(us)} {
			at, ok := timeOfFloat(f)
			if got := at.At(testNow); !ok || got != device.Time(us) {
				t.Fatalf("%f: %d, want %d", f, got, us)
			}
		}
	}
}

func TestTimeOfRFC3339(t *testing.T) {
	for _, c := range []struct {
		in   string
		want device.Time
	}{
		{"2026-11-23T10:00:00Z", 1_795_428_000e6},
		{"2026-11-23T10:00:00.123Z", 1_795_428_000_123e3},
		{"2026-11-23t10:00:00.123456789z", 1_795_428_000_123_456},
		{"2026-11-23 10:00:00.1Z", 1_795_428_000_100e3},
		{"2026-11-23T11:30:00+01:30", 1_795_428_000e6},
		{"2026-11-23T00:00:00-10:00", 1_795_428_000e6},
		{"2026-11-23T10:00:00-00:00", 1_795_428_000e6},
		{"2024-02-29T00:00:00Z", 1_709_164_800e6},
		{"2000-02-29T23:59:59Z", 951_868_799e6},
		{"2016-12-31T23:59:60Z", 1_483_228_800e6},
		// A clock that was not set must not be taken for seconds ago.
		{"1970-01-01T00:00:12Z", 12e6},
		{"1969-12-31T23:59:59.75Z", -250e3},
		{"0000-01-01T00:00:00Z", -62_167_219_200e6},
		{"9999-12-31T23:59:59Z", 253_402_300_799e6},
	} {
		at, ok := timeOfRFC3339([]byte(c.in))
		if got := at.At(testNow); !ok || got != c.want {
			t.Errorf("%s: %d %v, want %d", c.in, got, ok, c.want)
		}
	}
	for _, in := range []string{
		"", "2026-11-23", "2026-11-23T10:00:00", "2026-11-23T10:00Z", "2026-13-01T00:00:00Z", "2026-00-01T00:00:00Z",
		"2026-11-31T00:00:00Z", "2026-11-00T00:00:00Z", "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z",
		"2026-11-23T24:00:00Z", "2026-11-23T10:60:00Z", "2026-11-23T10:00:61Z", "2026-11-23T10:00:00.Z",
		"2026-11-23T10:00:00.5", "2026-11-23T10:00:00+0100", "2026-11-23T10:00:00+24:00", "2026-11-23T10:00:00+01:60",
		"2026-11-23T10:00:00ZZ", "2026-11-23_10:00:00Z", "2O26-11-23T10:00:00Z", "+026-11-23T10:00:00Z",
		"2026-11-23T10:00:00+-1:00", strings.Repeat("9", 40),
	} {
		if at, ok := timeOfRFC3339([]byte(in)); ok {
			t.Errorf("%q is taken for %v", in, at)
		}
	}
}

// isLenient reports whether package time takes s for more than RFC 3339 allows:
// a comma, an hour of one digit, an offset of more than 23:59.
func isLenient(s string) bool {
	zone := s[len(s)-5:]
	return strings.Contains(s, ",") || s[12] == ':' || s[len(s)-1] != 'Z' && (zone[:2] > "23" || zone[3:] > "59")
}

// FuzzRFC3339 compares with package time, which does not take a small t or z, a
// space for the T, and leap seconds.
func FuzzRFC3339(f *testing.F) {
	f.Add("2026-11-23T10:00:00.123Z")
	f.Add("2016-12-31 23:59:60+01:00")
	f.Add("0000-02-29T00:00:00-23:59")
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := timeOfRFC3339([]byte(s))
		var std time.Time
		err := std.UnmarshalText([]byte(s))
		switch {
		case ok && err != nil && !strings.ContainsAny(s, "tz ") && !strings.Contains(s, ":60"):
			t.Fatalf("%q is read, package time: %v", s, err)
		case !ok && err == nil && !isLenient(s):
			t.Fatalf("%q is not read, package time: %v", s, std)
		case ok && err == nil:
			if got := at.At(0); got != device.TimeOf(std) {
				t.Fatalf("%q: %d, package time: %d", s, got, device.TimeOf(std))
			}
		}
	})
}
