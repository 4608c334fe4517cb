package push

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestParseCursor(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Cursor
		err  string
	}{
		{"k3v9-1842", Cursor{"k3v9", 1842}, ""},
		{"a-0", Cursor{"a", 0}, ""},
		{"7-18446744073709551615", Cursor{"7", math.MaxUint64}, ""},
		{strings.Repeat("z", maxStoreLen) + "-1", Cursor{strings.Repeat("z", maxStoreLen), 1}, ""},
		{"", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"k3v9", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"-5", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"K3V9-5", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"k3 v9-5", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"k3v9é-5", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{strings.Repeat("z", maxStoreLen+1) + "-1", Cursor{}, "malformed cursor: want <store>-<offset>"},
		{"k3v9-", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-x", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9--1", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-+1", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-1 ", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-1_0", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-0x1", Cursor{}, "malformed cursor: the offset is no number"},
		{"k3v9-18446744073709551616", Cursor{}, "malformed cursor: the offset is no number"},
	} {
		got, err := ParseCursor(c.in)
		if c.err == "" {
			if err != nil || got != c.want || got.String() != c.in {
				t.Errorf("ParseCursor(%q) = %v, %v; want %v", c.in, got, err, c.want)
			}
			continue
		}
		if !errors.Is(err, ErrCursor) || err.Error() != c.err || got != (Cursor{}) {
			t.Errorf("ParseCursor(%q) = %v, %v; want error %q", c.in, got, err, c.err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	for _, s := range []string{"k3v9-1842", "a-0", "", "-", "k3v9-007", "k3v9-18446744073709551616", "\xff-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrCursor) || c != (Cursor{}) {
				t.Fatalf("ParseCursor(%q) = %v, %v", s, c, err)
			}
			return
		}
		again, err := ParseCursor(c.String())
		if err != nil || again != c {
			t.Fatalf("%q gives %v, but %q gives %v, %v", s, c, c.String(), again, err)
		}
	})
}
