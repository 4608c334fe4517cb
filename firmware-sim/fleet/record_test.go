package fleet

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// readAll returns the records of a file, one string each, and the errors among
// them.
func readAll(t testing.TB, in io.Reader) []string {
	t.Helper()
	r, err := newRecordReader(in)
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for {
		rec, err := r.next()
		var line *LineError
		switch {
		case errors.Is(err, io.EOF):
			return out
		case errors.As(err, &line):
			out = append(out, line.Error())
		case err != nil:
			return append(out, "end: "+err.Error())
		default:
			v, err := rec.value.Admit()
			if err != nil {
				t.Fatalf("line %d: %v", rec.line, err)
			}
			out = append(out, fmt.Sprintf("%d %s %s %d %v %v", rec.line, rec.device, rec.metric, rec.at, v.Kind(), v))
		}
	}
}

const header = "device,metric,unix_ms,value\n"

func TestRecords(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		want       []string
	}{
		{"empty file", "", []string{"empty file"}},
		{"header only", header, nil},
		{"no header", "d,m,1764000000000,1\n", []string{`line 1: the header has no column "device"; want device,metric,unix_ms,value`}},
		{"a line", header + "d,m,1764000000000,1.5\n", []string{"2 d m 1764000000000000 float 1.5"}},
		{"no newline at the end", header + "d,m,1764000000000,1.5", []string{"2 d m 1764000000000000 float 1.5"}},
		{"line ends of Windows, and a mark of order", "\ufeff" + strings.ReplaceAll(header+"d,m,1764000000000,on\n", "\n", "\r\n"), []string{"2 d m 1764000000000000 text on"}},
		{"empty lines", header + "\n\nd,m,1764000000000,1\n", []string{"4 d m 1764000000000000 int 1"}},
		{
			"columns in another order, and others", "offset,value,time,metric,device\n7,1,1764000000000.25,m,d\n",
			[]string{"2 d m 1764000000000250 int 1"},
		},
		{
			"quotes", header + `"d","a,b",1764000000000,"say ""no""` + "\nagain\"\nd,m,1764000000000,1\n",
			[]string{"3 d a,b 1764000000000000 text say \"no\"\nagain", "4 d m 1764000000000000 int 1"},
		},
		{
			"a quote that is not closed", header + "d,m,1764000000000,\"x\nd,m,1764000000000,2\nd,m,1764000000000,3\n",
			[]string{"line 2: a quote is not closed", "3 d m 1764000000000000 int 2", "4 d m 1764000000000000 int 3"},
		},
		{
			"quotes in the wrong place", header + "d,m,1764000000000,a\"b\"\nd,m,1764000000000,\"a\"b\n",
			[]string{"line 2: a quote within an unquoted cell", "line 3: something follows a closing quote"},
		},
		{
			"errors name the line, and the rest is read", header + "d,m\nd d,m,1764000000000,1\nd,,1764000000000,1\nd,m,yesterday,1\n" +
				"d,m,1764000000000.1234,1\nd,m,1764000000000,1e999\nd,m,1764000000000,2\n",
			[]string{
				"line 2: 2 columns, want 3 or more",
				`line 3: invalid device id "d d": byte 2 is none of A-Z a-z 0-9 . _ : -`,
				"line 4: invalid metric: 0 bytes, want 1 to 128",
				`line 5: time "yesterday" is not in Unix milliseconds`,
				`line 6: time "1764000000000.1234" is not in Unix milliseconds`,
				`line 7: value "1e999" is beyond a 64-bit float`,
				"8 d m 1764000000000000 int 2",
			},
		},
		{
			"a line that is too long", header + "d,m,1764000000000," + strings.Repeat("x", 3*maxRecord) + "\nd,m,1764000000000,1\n",
			[]string{"line 2: longer than 65536 bytes", "3 d m 1764000000000000 int 1"},
		},
		{
			"a text that is too long", header + "d,m,1764000000000," + strings.Repeat("x", device.MaxTextLen+1) + "\n",
			[]string{"line 2: invalid value: text of 1025 bytes, at most 1024"},
		},
		{"a text that is not UTF-8", header + "d,m,1764000000000,\xff\n", []string{"line 2: invalid value: text is not UTF-8"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, readAll(t, strings.NewReader(tt.file))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			var zipped bytes.Buffer
			w := gzip.NewWriter(&zipped)
			if _, err := w.Write([]byte(tt.file)); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, readAll(t, &zipped)); diff != "" {
				t.Errorf("compressed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDamagedGzip(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte(header + strings.Repeat("d,m,1764000000000,1\n", 10)))
	_ = w.Close()
	got := readAll(t, bytes.NewReader(zipped.Bytes()[:zipped.Len()-4]))
	if n := len(got); n == 0 || got[n-1] != "end: unexpected EOF" {
		t.Errorf("got %q", got)
	}
}

func TestValues(t *testing.T) {
	t.Parallel()
	tests := map[string]wire.Value{
		"0": integer(0), "-12": integer(-12), "007": integer(7), "9223372036854775807": integer(math.MaxInt64),
		"-9223372036854775808": integer(math.MinInt64), "9223372036854775808": float(9223372036854775808),
		"552.0": float(552), "-0.0": float(math.Copysign(0, -1)), ".5": float(0.5), "5.": float(5),
		"6.0360000000000005": float(6.0360000000000005), "1e3": float(1000), "1.5E-3": float(0.0015), "5e-324": float(5e-324),
		"true": truth(true), "false": truth(false), "True": text("True"), "t": text("t"),
		"": text(""), "n/a": text("n/a"), "NaN": text("NaN"), "-inf": text("-inf"), "+5": text("+5"), "0x10": text("0x10"),
		"1_000": text("1_000"), "-": text("-"), ".": text("."), "1e": text("1e"), "1e+": text("1e+"), "12 ": text("12 "), "1.2.3": text("1.2.3"),
	}
	for in, want := range tests {
		got, err := parseValue([]byte(in))
		if err != nil || !sameValue(got, want) {
			t.Errorf("%q: %v %x %q, error %v", in, got.Kind, got.Bits, got.Text, err)
		}
	}
}

// FuzzRecords holds that no file panics, that what is read keeps to the bounds
// of the domain, and that a number is the one that strconv reads.
func FuzzRecords(f *testing.F) {
	f.Add([]byte(header + "d,m,1764000000000,1.5\n"))
	f.Add([]byte(header + "\"d\",\"m,\"\"\",1764000000000.5,\"a\nb\"\nd,m,1,\"\n"))
	f.Add([]byte("value,unix_ms,metric,device\r\n-1e5,1,m,d\r\n\r\n"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := newRecordReader(bytes.NewReader(file))
		if err != nil {
			return
		}
		for n := 0; ; n++ {
			rec, err := r.next()
			var line *LineError
			switch {
			case errors.As(err, &line):
				if line.Line < 1 || line.Line > bytes.Count(file, []byte{'\n'})+1 && file[0] != 0x1f {
					t.Fatalf("error in line %d", line.Line)
				}
				continue
			case err != nil:
				return
			}
			if device.CheckID(rec.device) != nil || device.CheckMetric(rec.metric) != nil || rec.at < 0 {
				t.Fatalf("line %d: device %q, metric %q, time %d", rec.line, rec.device, rec.metric, rec.at)
			}
			v, err := rec.value.Admit()
			if err != nil {
				t.Fatalf("line %d: %v", rec.line, err)
			}
			if v.Kind() == device.KindFloat || v.Kind() == device.KindInt {
				again, err := parseValue(v.AppendJSON(nil))
				if err != nil || v.Kind() == device.KindInt && again.Bits != uint64(v.Int()) {
					t.Fatalf("line %d: %v is read again as %v", rec.line, v, again)
				}
				if x, err := strconv.ParseFloat(v.String(), 64); err != nil || v.Kind() == device.KindFloat && math.Float64bits(x) != math.Float64bits(v.Float()) {
					t.Fatalf("line %d: %v is no number", rec.line, v)
				}
			}
		}
	})
}
