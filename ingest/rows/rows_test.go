package rows

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

const testNow = device.Time(1_764_000_000_000_000)

// outcome reads in to its end and writes down what came of it: a line for each
// reading and each refusal, in the order of either.
func outcome(r io.Reader, cfg Config) string {
	cfg.Now = testNow
	d := NewDecoder(r, cfg)
	var took, refused strings.Builder
	for {
		b, err := d.Next()
		if errors.Is(err, io.EOF) {
			return took.String() + refused.String()
		}
		if err != nil {
			return took.String() + refused.String() + "end: " + err.Error() + "\n"
		}
		for i, r := range b.Readings {
			fmt.Fprintf(&took, "%s %s %d %s %s", r.Device, r.Metric, r.Time, r.Value.Kind(), r.Value.AppendExact(nil))
			if b.Offsets[i] > 0 {
				fmt.Fprintf(&took, " @%d", b.Offsets[i])
			}
			took.WriteByte('\n')
		}
		for _, r := range b.Refused {
			fmt.Fprintf(&refused, "line %d %s: %s\n", r.Line, r.Reason, r.Err)
		}
	}
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	for _, c := range []struct {
		name string
		cfg  Config
		in   string
		want string
	}{
		{
			"csv, as we export it",
			Config{Format: CSV},
			"offset,device,metric,time,value\n" +
				"1,gh1,air.temperature,1764000000123.456,21.5\n2,gh1,n,12,21\n3,gh1,f,-0.5,21.0\n4,gh1,b,0,true\n5,gh1,t,1,\"tr\"\"ue\"\n6,gh1,\"a{k=\"\"v,w\"\"}\",1,\"x\n\ny\"\n7,gh1,z,1,-0.0\n",
			"gh1 air.temperature 1764000000123456 float 21.5 @1\ngh1 n 12000 int 21 @2\ngh1 f -500 float 21.0 @3\ngh1 b 0 bool true @4\n" +
				"gh1 t 1000 text \"tr\\\"ue\" @5\ngh1 a{k=\"v,w\"} 1000 text \"x\\n\\ny\" @6\ngh1 z 1000 float -0.0 @7\n",
		},
		{
			"csv, other columns and order",
			Config{Format: CSV},
			"\ufeffValue, unix_ms ,unit,METRIC,Device\r\n1e1,1309478401000,C,a b,d\r\n\r\n x ,2,,m, e \r\n",
			"d a b 1309478401000000 float 10.0\ne m 2000 text \" x \"\n",
		},
		{
			"csv, units",
			Config{Format: CSV, Device: "d"},
			"metric,time,value\na,1764000000,1\na,1764000000123,1\na,1764000000123456,1\na,1764000000123456789,1\na,2026-11-23T10:00:00.5+01:00,1\na,12,1\n",
			"d a 1764000000000000 int 1\nd a 1764000000123000 int 1\nd a 1764000000123456 int 1\nd a 1764000000123456 int 1\nd a 1795424400500000 int 1\n" +
				"line 7 time: time 12: its unit cannot be told by its size; name the column unix_s, unix_ms, unix_us or unix_ns\n",
		},
		{"csv, a unit said", Config{Format: CSV, Device: "d", Unit: wire.Second}, "metric,time,value\na,12.5,1\n", "d a 12500000 int 1\n"},
		{
			"csv, wide",
			Config{Format: CSV},
			"time,temp,device,,door\n1764000000,21.5,d,9,open\n1764000001,,d,,\"\"\n1764000002,nan,d,,shut\n",
			"d temp 1764000000000000 float 21.5\nd door 1764000000000000 text \"open\"\nd door 1764000001000000 text \"\"\nd door 1764000002000000 text \"shut\"\n" +
				"line 4 value: temp: nan is not a finite number\n",
		},
		{
			"csv, all in quotes",
			Config{Format: CSV, Device: "d"},
			"\"unix_s\",\"a\",\"b\"\n\"1\",\"2\",\"x\"\n\"3\",\"\",\"TRUE\"\n",
			"d a 1000000 int 2\nd b 1000000 text \"x\"\nd b 3000000 bool true\n",
		},
		{
			"csv, broken rows",
			Config{Format: CSV},
			"device,metric,unix_s,value\nd,m,1\nd,m,1,2,3\nd,m,x,1\nd,m,,1\nd,m,1,\nd,m,1,NaN\nd,m,1,-Infinity\nd,m,1,1e999\nd é,m,1,1\nd,,1,1\n,m,1,1\nd,m,9e9,7\nd,m,1e10,7\nd,m,1," + strings.Repeat("y", 1025) + "\nd,m,1,\xff\nd,m,1,\"a\"b\nd,m,1,\"open\nd,m,2,\"b\"\nd,m,3,9\n",
			"d m 9000000000000000 int 7\nd m 2000000 text \"b\"\nd m 3000000 int 9\n" +
				"line 2 syntax: 3 columns, the header has 4\nline 3 syntax: 5 columns, the header has 4\n" +
				"line 4 time: time \"x\" is neither a number nor like 2026-11-23T10:00:00Z\nline 5 time: the time is missing\n" +
				"line 6 value: the value is missing\nline 7 value: NaN is not a finite number\nline 8 value: -Infinity is not a finite number\n" +
				"line 9 value: invalid value: +Inf is not a finite number\n" +
				"line 10 device: invalid device id \"d é\": byte 2 is none of A-Z a-z 0-9 . _ : -\nline 11 metric: invalid metric: 0 bytes, want 1 to 128\n" +
				"line 12 device: invalid device id: 0 bytes, want 1 to 64\nline 14 time: time 1e10 lies outside of the years 1677 to 2262\n" +
				"line 15 value: invalid value: text of 1025 bytes, at most 1024\nline 16 value: invalid value: text is not UTF-8\n" +
				"line 17 syntax: column 4: text behind the closing quote\nline 18 syntax: column 4: text behind the closing quote\n",
		},
		{
			"csv, a quote that nothing closes",
			Config{Format: CSV},
			"device,metric,unix_s,value\nd,m,1,\"" + strings.Repeat("\nd,m,2,3", 3),
			"d m 2000000 int 3\nd m 2000000 int 3\nd m 2000000 int 3\nline 2 syntax: column 4: the closing quote is missing\n",
		},
		{
			"csv, a quote that is closed too far away",
			Config{Format: CSV},
			"device,metric,unix_s,value\nd,m,1,\"" + strings.Repeat("\n", maxContinued+1) + "\"\nd,m,2,3",
			"d m 2000000 int 3\nline 2 syntax: column 4: the closing quote is missing\n" + fmt.Sprintf("line %d syntax: column 1: the closing quote is missing\n", maxContinued+3),
		},
		{
			"csv, long lines",
			Config{Format: CSV},
			"device,metric,unix_s,value\n" + long + long + "\nd,m,2,3\n" + long + long,
			"d m 2000000 int 3\nline 2 too_long: the line has more than 262144 bytes\nline 4 too_long: the line has more than 262144 bytes\n",
		},
		{
			"ndjson of the contract",
			Config{Format: NDJSON},
			`{"offset":7,"device":"gh1","metric":"t","time":12.5,"value":21.0}` + "\n" +
				`{"value":"a\u0000\n\"é","time":-1,"metric":"t\"","device":"d","unit":"C"}` + "\n\n" +
				`{"device":"d","metric":"m","time":"1970-01-01T00:00:12Z","value":false}` + "\n",
			"gh1 t 12500 float 21.0 @7\nd t\" -1000 text \"a\\u0000\\n\\\"é\"\nd m 12000000 bool false\n",
		},
		{
			"ndjson of devices",
			Config{Format: NDJSON, Device: "x"},
			`{"device":"d","time":1309478401,"temp":21.5,"BME280":{"p":1013}}` + "\n" +
				`[{"temp":1},{"temp":2,"time":60}]` + "\n" + `[{"bn":"y/","bt":1309478401,"n":"a","v":1},{"n":"b","vs":"z"}]` + "\n",
			"d temp 1309478401000000 float 21.5\nd BME280.p 1309478401000000 int 1013\nx temp 1764000000000000 int 1\nx temp 1763999940000000 int 2\n" +
				"y a 1309478401000000 int 1\ny b 1309478401000000 text \"z\"\n",
		},
		{
			"ndjson, broken rows",
			Config{Format: NDJSON},
			`{"device":"d","metric":"m","time":1,"value":null}` + "\n" + `{"device":"d","metric":"m","value":1}` + "\n" +
				`{"metric":"m","time":1,"value":1}` + "\n" + "climate,device=d temp=1\n" + `{"device":"d","metric":"m","time":1,"value":1` + "\n" +
				`{"device":"d"}` + "\n" + `{"device":"d","metric":"m","time":1e300,"value":1}` + "\n" + `{"device":"d","metric":"m","time":1e14,"value":1}` + "\n" +
				`{"device":"d","metric":"m","time":1,"value":1} x` + "\n" + `{"device":"d","a":1,"time":-300000000}` + "\n",
			"d m 1000 int 1\n" +
				"line 1 value: it names a metric and has no value\nline 2 time: the time is missing\nline 3 device: it names no device; --device names one for all such rows\n" +
				"line 4 syntax: want an object that begins with {\nline 5 syntax: byte 46: the JSON text ends too early\nline 6 empty: there is no reading in it\n" +
				"line 7 syntax: byte 35: time must be a number (seconds, milli-, micro- or nanoseconds since 1970, or seconds ago) or a text like 2026-11-23T10:00:00Z\n" +
				"line 8 time: " + timeText + "\nline 9 syntax: want an object that begins with {\nline 10 time: " + timeText + "\n",
		},
		{
			"line protocol",
			Config{Format: Line},
			"climate,device=gh1,room=a temp=21,hum=40i,s=\"a\\\"b\",ok=t 1309478401000000000\r\n\n# precision: ns\nm,host=d value=1 12000\n# precision: s\nm,id=d value=1 12\n#precision: x\nm,id=d value=1 13\n",
			"gh1 climate.temp{room=a} 1309478401000000 float 21.0\ngh1 climate.hum{room=a} 1309478401000000 int 40\ngh1 climate.s{room=a} 1309478401000000 text \"a\\\"b\"\n" +
				"gh1 climate.ok{room=a} 1309478401000000 bool true\nd m 12 float 1.0\nd m 12000000 float 1.0\nd m 13000000 float 1.0\n",
		},
		{
			"line protocol, broken rows",
			Config{Format: Line},
			"m,device=d v=1,w=1e400 5\nm v=1\nm,device=d v=\n{\"a\":1}\nm,device=d v=\"open\nm,device=d v=2",
			"d m.v 1764000000000000 float 2.0\n" +
				"line 1 syntax: byte 18: a number is malformed or out of range\nline 2 device: it names no device; --device names one for all such rows\n" +
				"line 3 syntax: byte 14: a field value is missing\nline 4 syntax: want line protocol, not json\nline 5 syntax: byte 14: a text lacks its closing quote\n",
		},
		{"nothing", Config{Format: CSV}, "", ""},
		{"a header alone", Config{Format: CSV}, "device,metric,time,value", ""},
		{"no header", Config{Format: CSV}, "d,m,1,2\n", "end: line 1: there is no column time (or unix_s, unix_ms, unix_us, unix_ns); want the names of the columns, parted by commas: device, metric, time, value, or time and one for each metric\n"},
		{"a header without device", Config{Format: CSV}, "metric,time,value\n", "end: line 1: there is no column device; --device names one for all rows\n"},
		{"a header without metric", Config{Format: CSV}, "device,time,value\n", "end: line 1: there is a column value, and no column metric\n"},
		{"a header without value", Config{Format: CSV}, "device,time,metric\n", "end: line 1: there is a column metric, and no column value\n"},
		{"a header without anything", Config{Format: CSV}, "device,time\n", "end: line 1: there is no column of a metric\n"},
		{"a header with two times", Config{Format: CSV}, "device,time,unix_ms,a\n", "end: line 1: columns 2 and 3 both tell the same; leave out unix_ms\n"},
		{"a header with a metric twice", Config{Format: CSV}, "device,time,a,a\n", "end: line 1: columns 3 and 4 are both named \"a\"\n"},
		{"a header with a bad metric", Config{Format: CSV}, "device,time,a\x01\n", "end: line 1: column 3: invalid metric \"a\\x01\": byte 2 is a control character\n"},
		{"a header with an open quote", Config{Format: CSV}, "device,\"time\n", "end: line 1: column 2: the closing quote is missing\n"},
		{"a header without end", Config{Format: CSV}, long + long, "end: line 1: want the names of columns, parted by commas\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, outcome(strings.NewReader(c.in), c.cfg)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.want, outcome(iotest.OneByteReader(strings.NewReader(c.in)), c.cfg)); diff != "" && len(c.in) < maxLine {
				t.Errorf("byte by byte (-want +got):\n%s", diff)
			}
		})
	}
}

// What the reader has delivered before it failed counts, but for the line that
// the failure cut.
func TestDecoderReaderFails(t *testing.T) {
	t.Parallel()
	r := io.MultiReader(strings.NewReader("device,metric,unix_s,value\nd,m,1,2\nd,m,1,23"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if got, want := outcome(r, Config{Format: CSV}), "d m 1000000 int 2\nend: unexpected EOF\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := outcome(stuck{}, Config{Format: Line}), "end: "+io.ErrNoProgress.Error()+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

func TestAdmit(t *testing.T) {
	t.Parallel()
	asked := 0
	got := outcome(strings.NewReader("device,metric,unix_s,value\nd,a,1,1\nd,b,1,1\nd,a,2,1\nd,b,2,1\n"), Config{
		Format: CSV,
		Admit: func(s device.Series) error {
			asked++
			if s.Metric == "b" {
				return fmt.Errorf("enough")
			}
			return nil
		},
	})
	if want := "d a 1000000 int 1\nd a 2000000 int 1\nline 3 limit: enough\nline 5 limit: enough\n"; got != want || asked != 3 {
		t.Errorf("asked %d times, want 3; got\n%swant\n%s", asked, got, want)
	}
}

// More names than are kept come out all the same.
func TestManyNames(t *testing.T) {
	t.Parallel()
	var in strings.Builder
	in.WriteString("device,metric,unix_s,value\n")
	for i := range maxKnown + 10 {
		fmt.Fprintf(&in, "d%d,m,1,%d\n", i, i)
	}
	d := NewDecoder(strings.NewReader(in.String()), Config{Format: CSV})
	n := 0
	for {
		b, err := d.Next()
		if err != nil {
			break
		}
		for _, r := range b.Readings {
			if string(r.Device) != fmt.Sprintf("d%d", n) || r.Value.Int() != int64(n) {
				t.Fatalf("reading %d is %+v", n, r)
			}
			n++
		}
	}
	if n != maxKnown+10 {
		t.Errorf("%d readings, want %d", n, maxKnown+10)
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, head string
		byName     Format
		byHead     Format
	}{
		{"a.csv", "device,metric,unix_ms,value\n", CSV, CSV},
		{"a.CSV.gz", "\"Time\",\"temp\"\r\n", CSV, CSV},
		{"a.jsonl", "\n {\"device\":", NDJSON, NDJSON},
		{"a.ndjson.gz", "\ufeff[{", NDJSON, NDJSON},
		{"a.lp", "climate,device=a temp=1", Line, Line},
		{"a.line.gz", "# precision: ns\nm v=1", Line, Line},
		{"a.txt", "time,temp", 0, CSV},
		{"-", "m,time=a v=1", 0, Line},
		{"csv", "", 0, Line},
	} {
		if got := FormatOfName(c.name); got != c.byName {
			t.Errorf("name %q: %v, want %v", c.name, got, c.byName)
		}
		if got := FormatOf([]byte(c.head)); got != c.byHead {
			t.Errorf("head %q: %v, want %v", c.head, got, c.byHead)
		}
	}
	for _, f := range []Format{CSV, NDJSON, Line} {
		if got, err := ParseFormat(f.String()); got != f || err != nil {
			t.Errorf("ParseFormat(%q) = %v, %v", f.String(), got, err)
		}
	}
	if f, err := ParseFormat("xml"); err == nil {
		t.Errorf("xml is taken for %v", f)
	}
}

// stored are readings of every kind, and all that is hard to write down.
func stored(t testing.TB) []device.Stored {
	t.Helper()
	var out []device.Stored
	add := func(metric device.Metric, at device.Time, v device.Value, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, device.Stored{Offset: uint64(len(out)*7 + 1), Reading: device.Reading{
			Device: device.ID([]string{"gh1", "a.b:c_d-E9"}[len(out)%2]), Metric: metric, Time: at, Value: v,
		}})
	}
	for _, f := range []float64{
		0, math.Copysign(0, -1), 1, -1, 21, 21.5, 1e21, 1e20, -1e20, 1e-7, 5e-324, -5e-324, 2.2250738585072014e-308, math.MaxFloat64, -math.MaxFloat64,
		0.1, 1.0 / 3, 1 << 53, 1<<53 + 2, float64(float32(5.827)), 93.72200000000001,
	} {
		v, err := device.Float(f)
		add("air.temperature", testNow, v, err)
	}
	for _, i := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, 1 << 53, 9_007_199_254_740_993} {
		add("n", testNow+1, device.Int(i), nil)
	}
	add("door", testNow, device.Bool(true), nil)
	add("door", testNow, device.Bool(false), nil)
	for _, s := range []string{
		"", " ", "21", "-0", "21.0", "true", "NaN", "plain", `"`, `""`, `a "b", c`, "a\nb", "a\r\nb\r", "\n", "\\", `\n`, "<d>&", "日本 나루 é", "\x00\x01\t\x7f", strings.Repeat("\"\n", 512),
	} {
		v, err := device.Text(s)
		add("note", testNow, v, err)
	}
	for _, m := range []device.Metric{
		"cpu.usage{cpu=cpu0}", "a{k=v,l=w}", "a.b{k}", "a.b{host=x}", `a,"b" c=d`, " a ", "ü.value", "a.", ".a", "a.b.c", "'", "a'b\\c", "a=b", "time", "value", "device",
		device.Metric(strings.Repeat("m", 128)),
	} {
		add(m, testNow, device.Int(1), nil)
	}
	for _, at := range []device.Time{0, 1, -1, 999, 1000, -1500, 12_000_000, -62_135_596_800, testNow + 123_456, 9_223_372_036_854_775, -9_223_372_036_854_775} {
		add("at", at, device.Int(int64(at)), nil)
	}
	return out
}

// decodeAll reads in to its end and wants nothing refused.
func decodeAll(t *testing.T, in string, f Format) []device.Stored {
	t.Helper()
	d := NewDecoder(strings.NewReader(in), Config{Format: f, Now: testNow})
	var out []device.Stored
	for {
		b, err := d.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.Refused {
			t.Errorf("%v: line %d: %s", f, r.Line, r.Err)
		}
		for i, r := range b.Readings {
			out = append(out, device.Stored{Offset: b.Offsets[i], Reading: r})
		}
	}
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{CSV, NDJSON, Line} {
		want := stored(t)
		e := NewEncoder(f)
		text := e.Begin(nil)
		for i := range want {
			var ok bool
			if text, ok = e.Append(text, &want[i]); !ok {
				t.Errorf("%v does not carry %+v", f, want[i])
			}
			if f == Line {
				want[i].Offset = 0 // it has no place for one
			}
		}
		got := decodeAll(t, string(text), f)
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(device.Value{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", f, diff)
		}
		if guess := FormatOf(text); guess != f {
			t.Errorf("%v is taken for %v", f, guess)
		}
	}
}

func TestEncoderCannotCarry(t *testing.T) {
	t.Parallel()
	for _, r := range []device.Reading{
		{Device: "d", Metric: "#a", Value: device.Int(1)},
		{Device: "d", Metric: "{a", Value: device.Int(1)},
		{Device: "d", Metric: "[a", Value: device.Int(1)},
		{Device: "d", Metric: `a\`, Value: device.Int(1)},
		{Device: "d", Metric: "\ufeffa", Value: device.Int(1)},
		{Device: "d", Metric: "a", Time: math.MaxInt64, Value: device.Int(1)},
	} {
		s := device.Stored{Reading: r}
		if text, ok := NewEncoder(Line).Append(nil, &s); ok || len(text) > 0 {
			t.Errorf("%+v is written as %q", r, text)
		}
		for _, f := range []Format{CSV, NDJSON} {
			if _, ok := NewEncoder(f).Append(nil, &s); !ok {
				t.Errorf("%v does not carry %+v", f, r)
			}
		}
	}
}
