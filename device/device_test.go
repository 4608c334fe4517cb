package device_test

import (
	"encoding/json"
	"errors"
	"math"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

func TestParseID(t *testing.T) {
	good := []string{"a", "gh1", "greenhouse-1", "urn:dev:ow:10e2073a01080063", "ip-192.168.1.20", "A_b.C", strings.Repeat("x", 64)}
	for _, s := range good {
		if id, err := device.ParseID(s); err != nil || string(id) != s {
			t.Errorf("ParseID(%q) = %q, %v", s, id, err)
		}
	}
	bad := map[string]string{
		"":                      "0 bytes",
		strings.Repeat("x", 65): "65 bytes",
		"a b":                   "byte 2",
		"gh/1":                  "byte 3",
		"é":                     "byte 1",
		"a\n":                   "byte 2",
	}
	for s, want := range bad {
		_, err := device.ParseID(s)
		if !errors.Is(err, device.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseID(%q): %v, want it to say %q", s, err, want)
		}
	}
}

func TestParseMetric(t *testing.T) {
	good := []string{"t", "air.temperature", "cpu.usage{cpu=cpu0}", "Außentemperatur", "a b", strings.Repeat("m", 128)}
	for _, s := range good {
		if m, err := device.ParseMetric(s); err != nil || string(m) != s {
			t.Errorf("ParseMetric(%q) = %q, %v", s, m, err)
		}
	}
	bad := map[string]string{
		"":                       "0 bytes",
		strings.Repeat("m", 129): "129 bytes",
		"a\x00b":                 "byte 2 is a control character",
		"a\x7f":                  "byte 2 is a control character",
		"a\xff":                  "not UTF-8",
	}
	for s, want := range bad {
		_, err := device.ParseMetric(s)
		if !errors.Is(err, device.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseMetric(%q): %v, want it to say %q", s, err, want)
		}
	}
}

func float(f float64) device.Value {
	v, err := device.Float(f)
	if err != nil {
		panic(err)
	}
	return v
}

func text(s string) device.Value {
	v, err := device.Text(s)
	if err != nil {
		panic(err)
	}
	return v
}

func TestValueJSON(t *testing.T) {
	for want, v := range map[string]device.Value{
		"21.5":                    float(21.5),
		"21":                      float(21),
		"-0":                      float(math.Copysign(0, -1)),
		"0.1":                     float(0.1),
		"1e-7":                    float(1e-7),
		"0.000001":                float(1e-6),
		"100000000000000000000":   float(1e20),
		"1e+21":                   float(1e21),
		"5e-324":                  float(math.SmallestNonzeroFloat64),
		"1.7976931348623157e+308": float(math.MaxFloat64),
		"-9223372036854775808":    device.Int(math.MinInt64),
		"9007199254740993":        device.Int(1<<53 + 1),
		"true":                    device.Bool(true),
		"false":                   device.Bool(false),
		`"open"`:                  text("open"),
		`"a\"b\\c\n\t\r\u0001"`:   text("a\"b\\c\n\t\r\x01"),
		`"\u003cb\u003e\u0026"`:   text("<b>&"),
		`"나루"`:                    text("나루"),
	} {
		if got := string(v.AppendJSON(nil)); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestValueRefuses(t *testing.T) {
	for _, f := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if _, err := device.Float(f); !errors.Is(err, device.ErrInvalid) {
			t.Errorf("Float(%v): %v", f, err)
		}
	}
	for _, s := range []string{strings.Repeat("x", 1025), "\xff"} {
		if _, err := device.Text(s); !errors.Is(err, device.ErrInvalid) {
			t.Errorf("Text of %d bytes: %v", len(s), err)
		}
	}
	if _, err := device.Text(strings.Repeat("x", 1024)); err != nil {
		t.Error(err)
	}
}

func TestReadingJSON(t *testing.T) {
	s := device.Stored{Offset: 1841, Reading: device.Reading{
		Device: "greenhouse-1", Metric: "air.temperature", Time: 1764000000123000, Value: float(21.5),
	}}
	want := `{"offset":1841,"device":"greenhouse-1","metric":"air.temperature","time":1764000000123,"value":21.5}`
	if got := string(s.AppendJSON(nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// In their exact forms all kinds can be told apart.
func TestExact(t *testing.T) {
	float := func(f float64) device.Value {
		v, err := device.Float(f)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	text := func(s string) device.Value {
		v, err := device.Text(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		value                      device.Value
		json, exact, csv, exactCSV string
	}{
		{device.Int(21), "21", "21", "21", "21"},
		{float(21), "21", "21.0", "21", "21.0"},
		{float(21.5), "21.5", "21.5", "21.5", "21.5"},
		{float(math.Copysign(0, -1)), "-0", "-0.0", "-0", "-0.0"},
		{float(1e20), "100000000000000000000", "100000000000000000000.0", "100000000000000000000", "100000000000000000000.0"},
		{float(1e21), "1e+21", "1e+21", "1e+21", "1e+21"},
		{float(5e-324), "5e-324", "5e-324", "5e-324", "5e-324"},
		{device.Bool(true), "true", "true", "true", "true"},
		{text("true"), `"true"`, `"true"`, "true", `"true"`},
		{text(""), `""`, `""`, "", `""`},
		{text("a \"b\",\r\n"), `"a \"b\",\r\n"`, `"a \"b\",\r\n"`, "\"a \"\"b\"\",\r\n\"", "\"a \"\"b\"\",\r\n\""},
	} {
		s := device.Stored{Offset: 7, Reading: device.Reading{Device: "d", Metric: `m,"n"`, Time: 1_500, Value: c.value}}
		head := `{"offset":7,"device":"d","metric":"m,\"n\"","time":1.5,"value":`
		table := `7,d,"m,""n""",1.5,`
		for _, form := range []struct{ got, want string }{
			{string(s.AppendJSON(nil)), head + c.json + "}"},
			{string(s.AppendExactJSON(nil)), head + c.exact + "}"},
			{string(s.AppendCSV(nil)), table + c.csv + "\n"},
			{string(s.AppendExactCSV(nil)), table + c.exactCSV + "\n"},
		} {
			if form.got != form.want {
				t.Errorf("got %s, want %s", form.got, form.want)
			}
		}
	}
}

func TestTimeMillis(t *testing.T) {
	for in, want := range map[device.Time]string{
		0:                "0",
		1764000000123000: "1764000000123",
		1764000000123456: "1764000000123.456",
		1764000000123400: "1764000000123.4",
		1764000000123001: "1764000000123.001",
		-1:               "-0.001",
		-1500:            "-1.5",
	} {
		if got := string(in.AppendMillis(nil)); got != want {
			t.Errorf("%d: %s, want %s", in, got, want)
		}
	}
	at := time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC)
	if got := device.TimeOf(at).Std(); !got.Equal(at) {
		t.Errorf("TimeOf(%v).Std() = %v", at, got)
	}
	if got := device.TimeOf(at).Add(time.Second).Sub(device.TimeOf(at)); got != time.Second {
		t.Errorf("Add and Sub: %v", got)
	}
}

func selector(t *testing.T, devices, metrics []string) device.Selector {
	t.Helper()
	s, err := device.NewSelector(devices, metrics)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSelectorMatch(t *testing.T) {
	for _, c := range []struct {
		devices, metrics []string
		device, metric   string
		want             bool
	}{
		{nil, nil, "gh1", "temp", true},
		{[]string{"*"}, []string{"*"}, "gh1", "temp", true},
		{[]string{"gh1"}, nil, "gh1", "temp", true},
		{[]string{"gh1"}, nil, "gh10", "temp", false},
		{[]string{"gh*"}, nil, "gh10", "temp", true},
		{[]string{"gh?"}, nil, "gh1", "temp", true},
		{[]string{"gh?"}, nil, "gh10", "temp", false},
		{[]string{"a", "b*"}, []string{"*temp*"}, "bb", "air.temperature", true},
		{[]string{"a", "b*"}, []string{"*temp*"}, "c", "air.temperature", false},
		{[]string{"a"}, []string{"hum"}, "a", "temp", false},
		{nil, []string{"cpu.*{cpu=cpu?}"}, "pi", "cpu.usage{cpu=cpu0}", true},
		{nil, []string{"*a*b*c"}, "pi", "xxaxxbxxbxxc", true},
		{nil, []string{"*a*b*c"}, "pi", "xxaxxcxxbxx", false},
		{[]string{"**"}, nil, "anything", "temp", true},
		{[]string{""}, []string{""}, "anything", "temp", true},
		{nil, []string{"temp?"}, "pi", "tempä", true},
		{nil, []string{"*?"}, "pi", "ä", true},
		{nil, []string{"??"}, "pi", "ä", false},
	} {
		s := selector(t, c.devices, c.metrics)
		if got := s.Match(device.ID(c.device), device.Metric(c.metric)); got != c.want {
			t.Errorf("%q %q on %s %s: %v", c.devices, c.metrics, c.device, c.metric, got)
		}
	}
}

func TestSelectorForm(t *testing.T) {
	a := selector(t, []string{"b", "a", "b"}, []string{"m"})
	b := selector(t, []string{"a", "b"}, []string{"m"})
	if a.Key() != b.Key() {
		t.Error("equal selectors have different keys")
	}
	if selector(t, []string{"a"}, nil).Key() == selector(t, nil, []string{"a"}).Key() {
		t.Error("different selectors have one key")
	}
	if ids, exact := b.Devices(); !exact || len(ids) != 2 {
		t.Errorf("Devices() = %v, %v", ids, exact)
	}
	if _, exact := selector(t, []string{"a*"}, nil).Devices(); exact {
		t.Error("a pattern counts as exact")
	}
	if !(device.Selector{}).All() || b.All() {
		t.Error("All")
	}
	many := make([]string, device.MaxPatterns+1)
	for i := range many {
		many[i] = "x"
	}
	for name, patterns := range map[string][]string{
		"65": many, "control character": {"a\x00b"}, "129 bytes": {strings.Repeat("x", 129)},
	} {
		if _, err := device.NewSelector(patterns, nil); !errors.Is(err, device.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQueryCovers(t *testing.T) {
	for _, c := range []struct {
		from, to, at device.Time
		want         bool
	}{
		{0, 0, 5, true}, {5, 0, 5, true}, {6, 0, 5, false}, {0, 5, 5, false}, {0, 6, 5, true},
	} {
		q := device.Query{From: c.from, To: c.to}
		if got := q.Covers(c.at); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func FuzzAppendJSONString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c\n", "\x00\x1f\x7f", "나루 <script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var got string
		if err := json.Unmarshal(device.AppendJSONString(nil, s), &got); err != nil || got != s {
			t.Errorf("%q came back as %q, %v", s, got, err)
		}
	})
}

// FuzzGlob holds the matcher against path.Match, which knows more notations and
// gives the slash a meaning; patterns and names with either are left out.
func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("***", "")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		ascii := func(s string) bool {
			return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 || strings.ContainsRune(`[]\/`, r) })
		}
		if pattern == "" || len(pattern) > device.MaxPatternLen || !ascii(pattern) || !ascii(name) {
			return
		}
		want, err := path.Match(pattern, name)
		if err != nil {
			return
		}
		s := selector(t, []string{pattern}, nil)
		if got := s.MatchDevice(device.ID(name)); got != want {
			t.Errorf("%q on %q: %v, path.Match says %v", pattern, name, got, want)
		}
	})
}

func BenchmarkReadingJSON(b *testing.B) {
	s := device.Stored{Offset: 1841, Reading: device.Reading{
		Device: "greenhouse-1", Metric: "air.temperature", Time: 1764000000123000, Value: float(21.57),
	}}
	var buf []byte
	for b.Loop() {
		buf = s.AppendJSON(buf[:0])
	}
}
