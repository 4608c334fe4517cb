package api

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

func TestParseTime(t *testing.T) {
	at := device.TimeOf(now)
	for _, c := range []struct {
		in   string
		want device.Time
	}{
		{"", 0},
		{"now", at},
		{"1764000000123", 1_764_000_000_123_000},
		{"1764000000123.456", 1_764_000_000_123_456},
		{"1.764e12", 1_764_000_000_000_000},
		{"0", 1}, // the epoch is not "open"
		{"-1500", -1_500_000},
		{"2025-11-24T16:00:00Z", at},
		{"2025-11-24T16:00:00.000001Z", at + 1},
		{"2025-11-24T17:00:00+01:00", at},
		{"2025-11-24T17:00:00 01:00", at}, // a plus sign that was not escaped
		{"2025-11-24T15:30:00-00:30", at},
		{"1970-01-01T00:00:00Z", 1},
		{"-24h", at - 24*3_600_000_000},
		{"-1h30m", at - 5_400_000_000},
		{"-1.5s", at - 1_500_000},
		{"-0s", at},
		{"-7d", at - 7*24*3_600_000_000},
		{"-0.5d", at - 12*3_600_000_000},
		{"-2w", at - 14*24*3_600_000_000},
	} {
		if got, err := ParseTime(c.in, now); err != nil || got != c.want {
			t.Errorf("ParseTime(%q) = %d, %v; want %d", c.in, got, err, c.want)
		}
	}
	for _, in := range []string{
		"soon", "24h", "+24h", "1d", "--24h", "-+1h", "-", "-d", "-xd", "-1x",
		"NaN", "Inf", "-Inf", "1e300", "9223372036854775807", "-infd", "-nand", "-1e9d", "-40000w", "-9999999h",
		"2025-11-24", "2025-11-24T16:00:00", "2025-13-24T16:00:00Z", "16:00", "T", ":", "\x00", "1_000",
	} {
		if got, err := ParseTime(in, now); !errors.Is(err, errTime) {
			t.Errorf("ParseTime(%q) = %d, %v; want an error", in, got, err)
		}
	}
}

func TestParseQuery(t *testing.T) {
	r := &http.Request{URL: &url.URL{RawQuery: "device=a&device=b*&metric=x&from=1000&to=2000&limit=5&order=desc"}}
	q, err := parseQuery(r, now)
	if err != nil {
		t.Fatal(err)
	}
	if q.From != 1_000_000 || q.To != 2_000_000 || q.Limit != 5 || !q.Desc {
		t.Errorf("%+v", q)
	}
	if !q.Selector.Match("a", "x") || !q.Selector.Match("bc", "x") || q.Selector.Match("c", "x") || q.Selector.Match("a", "y") {
		t.Errorf("selector %+v", q.Selector)
	}
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"", "now", "1764000000123.5", "-24h", "-7d", "2025-11-24T16:00:00+01:00", "-1e9w", "NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTime(s, now)
		switch {
		case err != nil && got != 0:
			t.Fatalf("%q: %d with %v", s, got, err)
		case err == nil && s != "" && got == 0:
			t.Fatalf("%q means open", s)
		case err == nil && len(s) > 0 && s[0] == '-' && got > device.TimeOf(now.Add(time.Microsecond)):
			t.Fatalf("%q lies ahead: %d", s, got)
		}
	})
}
