package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/rows"
)

// difficult are readings of every kind, and what is hard to write down, as they
// are exported in format.
func difficult(t *testing.T, format rows.Format) string {
	t.Helper()
	var rs []device.Stored
	add := func(metric device.Metric, v device.Value, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		n := len(rs)
		rs = append(rs, device.Stored{Offset: uint64(n + 1), Reading: device.Reading{
			Device: device.ID(fmt.Sprintf("d:%d", n%3)), Metric: metric, Time: 1_764_000_000_000_000 + device.Time(n*1001), Value: v,
		}})
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 21, 21.5, 1e21, 5e-324, -math.MaxFloat64, 0.1, 93.72200000000001, 1 << 60} {
		v, err := device.Float(f)
		add("f", v, err)
	}
	for _, i := range []int64{0, -1, math.MaxInt64, math.MinInt64, 1<<53 + 1} {
		add("cpu.usage{cpu=cpu0,host=a b}", device.Int(i), nil)
	}
	add("b", device.Bool(true), nil)
	add("b", device.Bool(false), nil)
	for _, s := range []string{"", "21", "true", "a \"b\", c", "x\n\r\ny\\", "나루 é", " \t\x00", strings.Repeat("\"", device.MaxTextLen)} {
		v, err := device.Text(s)
		add(`"text", ü`, v, err)
	}
	old := device.Stored{Offset: uint64(len(rs) + 1), Reading: device.Reading{Device: "old", Metric: "m", Time: -1, Value: device.Int(1)}}
	rs = append(rs, old)
	e := rows.NewEncoder(format)
	out := e.Begin(nil)
	for i := range rs {
		var ok bool
		if out, ok = e.Append(out, &rs[i]); !ok {
			t.Fatalf("%v does not carry %+v", format, rs[i])
		}
	}
	return string(out)
}

// write writes a file of the test, packed where its name says so.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if strings.HasSuffix(name, ".gz") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, err := z.Write([]byte(text))
		if closeErr := z.Close(); err != nil || closeErr != nil {
			t.Fatal(err, closeErr)
		}
		text = b.String()
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// must runs a command line that must end well.
func must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	code, stdout, stderr := command(t, nil, args...)
	if code != 0 {
		t.Fatalf("naru %q: exit code %d:\n%s%s", args, code, stdout, stderr)
	}
	return stdout, stderr
}

// What is exported and imported again is the same to the bit, in every format,
// from the folder and from the gateway.
func TestExportImport(t *testing.T) {
	t.Parallel()
	for _, format := range []rows.Format{rows.CSV, rows.NDJSON, rows.Line} {
		t.Run(format.String(), func(t *testing.T) {
			t.Parallel()
			name := format.String()
			want := difficult(t, format)
			folder, served := filepath.Join(t.TempDir(), "new"), t.TempDir()

			stdout, _ := must(t, "import", "--data", folder, write(t, "x."+name+".gz", want))
			n := len(slices.Collect(strings.Lines(difficult(t, rows.NDJSON))))
			if !strings.HasPrefix(stdout, fmt.Sprintf("imported %d readings in ", n)) {
				t.Errorf("summary %q, want %d readings", stdout, n)
			}
			out := filepath.Join(t.TempDir(), "out.gz")
			if stdout, stderr := must(t, "export", "--data", folder, "--quiet", "--format", name, "--output", out); stdout+stderr != "" {
				t.Errorf("--quiet: %q %q", stdout, stderr)
			}
			if got := unpack(t, out); got != want {
				t.Errorf("from the folder:\n%s\nwant\n%s", got, want)
			}

			g := startGateway(t, served)
			must(t, "import", "--data", served, write(t, "plain", want)) // the gateway has the folder
			for _, place := range [][]string{{"--data", served}, {"--url", g.url("/")}} {
				got, stderr := must(t, append([]string{"export", "--format", name}, place...)...)
				if got != want {
					t.Errorf("from the gateway, %q:\n%s\nwant\n%s", place, got, want)
				}
				if !strings.HasPrefix(stderr, fmt.Sprintf("exported %d readings in ", n)) {
					t.Errorf("summary %q", stderr)
				}
			}
			if got := g.count(t, ""); got != n {
				t.Errorf("the gateway has %d readings, want %d", got, n)
			}
		})
	}
}

func unpack(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestExportSelects(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	must(t, "import", "--data", folder, write(t, "x.csv",
		"device,metric,unix_s,value\na,t,1764000000,1\na,h,1764000001,2\nb,t,1764000002,3\nb,t,1764000003,\"x\"\n"))
	g := startGateway(t, t.TempDir())
	must(t, "import", "--url", g.url("/"), write(t, "y.csv",
		"time,device,t,h\n1764000000,a,1,\n1764000001,a,,2\n1764000002,b,3,\n1764000003,b,\"x\",\n"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "1,a,t,1764000000000,1\n2,a,h,1764000001000,2\n3,b,t,1764000002000,3\n4,b,t,1764000003000,\"x\"\n"},
		{[]string{"--device", "b*", "--metric", "t"}, "3,b,t,1764000002000,3\n4,b,t,1764000003000,\"x\"\n"},
		{[]string{"--from", "2025-11-24T16:00:01Z", "--to", "1764000003000"}, "2,a,h,1764000001000,2\n3,b,t,1764000002000,3\n"},
		{[]string{"--device", "nobody"}, ""},
	} {
		for _, place := range [][]string{{"--data", folder}, {"--url", g.url("")}} {
			got, _ := must(t, append(append([]string{"export"}, place...), c.args...)...)
			if want := device.CSVHeader + c.want; got != want {
				t.Errorf("%q from %q:\n%s\nwant\n%s", c.args, place, got, want)
			}
		}
	}
}

// Rows that cannot be taken are told, counted, and cost nothing else.
func TestImportRefuses(t *testing.T) {
	t.Parallel()
	var many strings.Builder
	many.WriteString("device,metric,unix_s,value\n")
	for i := range 30 {
		fmt.Fprintf(&many, "d,m,%d,%d\nd,m,x,1\n", i, i)
	}
	g := startGateway(t, t.TempDir())
	for _, c := range []struct {
		name   string
		args   []string
		file   string
		text   string
		taken  int
		told   int // lines on stderr that begin with "line "
		stderr []string
	}{
		{"a few", nil, "x.csv", "device,metric,unix_s,value\nd,m,1,NaN\nd,m,2,2\n d d,m,3,3\n", 1, 2, []string{
			"line 2: NaN is not a finite number\n", "line 4: invalid device id", "naru: 2 rows were refused: 1 device, 1 value\n",
		}},
		{"many", nil, "x.csv.gz", many.String(), 30, toldRefusals, []string{"line 3: time \"x\"", "line 41: ", "naru: 30 rows were refused: 30 time\n"}},
		{"no header", nil, "x.csv", "d,m,1,2\n", 0, 0, []string{"there is no column time"}},
		{"no device", nil, "x.ndjson", `{"temp":1}`, 0, 1, []string{"line 1: it names no device; --device names one for all such rows\n"}},
		{"gzip that breaks off", nil, "x.lp", packedHead("m,device=d v=1 1764000000\n", 12), 0, 0, []string{"naru: "}},
	} {
		folder := filepath.Join(t.TempDir(), "data")
		for _, place := range [][]string{{"--data", folder}, {"--url", g.url("/")}} {
			args := append(append([]string{"import"}, place...), c.args...)
			code, stdout, stderr := command(t, nil, append(args, write(t, c.file, c.text))...)
			if code != 1 || !strings.HasPrefix(stdout, fmt.Sprintf("imported %d readings", c.taken)) {
				t.Errorf("%s, %q: exit code %d, want 1: %s", c.name, place, code, stdout)
			}
			told := 0
			for line := range strings.Lines(stderr) {
				if strings.HasPrefix(line, "line ") {
					told++
				}
			}
			if told != c.told {
				t.Errorf("%s, %q: %d lines are told, want %d:\n%s", c.name, place, told, c.told, stderr)
			}
			for _, want := range c.stderr {
				if !strings.Contains(stderr, want) {
					t.Errorf("%s, %q: want %q:\n%s", c.name, place, want, stderr)
				}
			}
		}
	}
}

// packedHead returns the first n bytes of s packed.
func packedHead(s string, n int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()[:n]
}

func TestImportFromInput(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	for _, in := range []string{"climate,device=a temp=1 1764000000", "\n{\"device\":\"a\",\"temp\":1,\"time\":1764000001}\n", "time,temp\n1764000002,1\n"} {
		root := newRootCommand(nil)
		var out bytes.Buffer
		root.SetIn(strings.NewReader(in))
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs([]string{"import", "--data", folder, "--device", "b", "-"})
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Errorf("%q: %v: %s", in, err, &out)
		}
	}
	want := "1,a,climate.temp,1764000000000,1.0\n2,a,temp,1764000001000,1\n3,b,temp,1764000002000,1\n"
	if got, _ := must(t, "export", "--data", folder); got != device.CSVHeader+want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// An import beside devices obeys the gateway's limits, and ends with it.
func TestImportIntoGateway(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data, "--max-series", "2")
	code, stdout, stderr := command(t, nil, "import", "--data", data, write(t, "x.csv", "time,device,a,b,c\n1764000000,d,1,2,3\n"))
	if code != 1 || !strings.HasPrefix(stdout, "imported 2 readings") || !strings.Contains(stderr, `line 2: metric "c" is new, and there are 2 series already`) {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}

	if taken, refused := g.metric(t, "naru_imported_readings_total", ""), g.metric(t, "naru_import_refused_total", ""); taken != 2 || refused != 1 {
		t.Errorf("counted %v taken and %v refused, want 2 and 1", taken, refused)
	}

	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url("/api/v1/import?format=line"), body)
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 1)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		answered <- fmt.Sprint(resp.StatusCode, " ", string(b), err)
	}()
	for i := range 5000 { // more than a batch, so that the first is appended
		if _, err := fmt.Fprintf(rest, "a,device=d value=%d %d\n", i, 1764000001+i); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the first batch", func() bool { return g.count(t, "") > 2 })
	g.stop(t)
	if got := <-answered; !strings.HasPrefix(got, "503 ") || !strings.Contains(got, `"error":"the gateway is stopping"`) {
		t.Errorf("answered %s", got)
	}
	_ = rest.Close()
	out, _ := must(t, "export", "--data", data, "--metric", "a")
	if n := strings.Count(out, "\n"); n < 4096 {
		t.Errorf("%d lines, want at least the first batch", n)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	empty, missing := t.TempDir(), filepath.Join(t.TempDir(), "missing")
	file := write(t, "x.csv", "device,metric,unix_s,value\nd,m,1,1\n")
	locked := t.TempDir()
	startGateway(t, locked)
	if err := os.Remove(filepath.Join(locked, addressFile)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"export", "--data", missing}, 1, "there are no readings in " + missing},
		{[]string{"export", "--data", empty}, 1, "there are no readings in " + empty},
		{[]string{"export", "--data", locked}, 1, "data folder is in use by another process"},
		{[]string{"export", "--url", "http://127.0.0.1:1/"}, 1, "refused"},
		{[]string{"import", "--url", "127.0.0.1:1", file}, 2, "url: want something like"},
		{[]string{"import", filepath.Join(missing, "x.csv")}, 1, "no such file"},
		{[]string{"import", "--data", empty, missing}, 1, "no such file"},
		{[]string{"import", "--data", empty, empty}, 1, "is a folder"},
		{[]string{"import", "--format", "xml", file}, 2, "format: want csv, ndjson or line"},
		{[]string{"import", "--device", "a b", file}, 2, "invalid device id"},
		{[]string{"import", "--precision", "min", file}, 2, "precision: want s, ms, us or ns"},
		{[]string{"import"}, 2, "want one file"},
		{[]string{"import", file, file}, 2, "want one file"},
		{[]string{"export", "x"}, 2, "x"},
		{[]string{"export", "--format", "xml"}, 2, "format: want csv, ndjson or line"},
		{[]string{"export", "--from", "soon"}, 2, "from: want RFC 3339"},
		{[]string{"export", "--to", "-1"}, 1, ""},
		{[]string{"export", "--device", "\x01"}, 2, "control character"},
		{[]string{"export", "--config", missing}, 2, missing},
	} {
		// Without a folder of its own a command would look at the one beside the test.
		environ := []string{"NARU_HTTP=127.0.0.1:1"}
		code, stdout, stderr := command(t, environ, c.args...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q\nstdout: %s\nstderr: %s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	code, _, stderr := command(t, []string{"NARU_HTTP=127.0.0.1:1"}, "import", file)
	if want := "no gateway answers at http://127.0.0.1:1/, and there are no readings in naru-data; name one with --url or --data"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("exit code %d, want 1 and %q: %s", code, want, stderr)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v were left behind", entries, err)
	}
}

// An export that breaks off leaves no file, and does not harm the one that is
// there.
func TestExportBreaksOff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer func(w http.ResponseWriter)
		want   string
	}{
		{"broken off", func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, `{"offset":1,"device":"d","metric":"m","time":1,"value":1}`+"\n")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "the answer broke off"},
		{"something else", func(w http.ResponseWriter) { _, _ = io.WriteString(w, "hello\n") }, "the gateway sent something else than a reading: line 1"},
		{"an error", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, `{"error":"the store cannot be read"}`)
		}, "500 Internal Server Error: the store cannot be read"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/count") {
				_, _ = io.WriteString(w, `{"count":2}`)
				return
			}
			c.answer(w)
		}))
		dir := t.TempDir()
		out := filepath.Join(dir, "out.csv")
		if err := os.WriteFile(out, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := command(t, nil, "export", "--url", s.URL, "-o", out)
		s.Close()
		if code != 1 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, want 1 and %q: %s%s", c.name, code, c.want, stdout, stderr)
		}
		entries, err := os.ReadDir(dir)
		if b, readErr := os.ReadFile(out); err != nil || readErr != nil || string(b) != "before" || len(entries) != 1 {
			t.Errorf("%s: %q, %v are left, %v, %v", c.name, b, entries, err, readErr)
		}
	}
}

// What line protocol has no place for is left out and told.
func TestExportLeavesOut(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	must(t, "import", "--data", folder, write(t, "x.csv", "time,device,#a,b\n1764000000,d,1,2\n"))
	code, stdout, stderr := command(t, nil, "export", "--data", folder, "--format", "line")
	if code != 1 || stdout != "# precision: ns\nb,device=d value=2i 1764000000000000000\n" || !strings.Contains(stderr, "1 readings were left out") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// Interrupted, an import keeps what it has taken.
func TestImportInterrupted(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	in, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for i := range 5000 {
			_, _ = fmt.Fprintf(w, "a,device=d value=%d %d\n", i, 1764000001+i)
		}
		cancel()
		_ = w.CloseWithError(io.ErrUnexpectedEOF)
	}()
	root := newRootCommand(nil)
	var out bytes.Buffer
	root.SetIn(in)
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs([]string{"import", "--data", folder, "-"})
	if err := root.ExecuteContext(ctx); err == nil {
		t.Errorf("no error: %s", &out)
	}
	got, _ := must(t, "export", "--data", folder)
	var n int
	if _, err := fmt.Sscanf(out.String(), "imported %d readings", &n); err != nil || n < 1 || n != strings.Count(got, "\n")-1 {
		t.Errorf("%d lines are there: %v: %s", strings.Count(got, "\n"), err, &out)
	}
}
