package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"
)

// watching is a naru watch that runs.
type watching struct {
	stdout, stderr outputBuffer
	cancel         context.CancelFunc
	code           chan int
}

func startWatch(t *testing.T, environ []string, args ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &watching{cancel: cancel, code: make(chan int, 1)}
	go func() { w.code <- run(ctx, append([]string{"watch"}, args...), environ, &w.stdout, &w.stderr) }()
	t.Cleanup(cancel)
	return w
}

// stop interrupts the command and returns the lines it printed.
func (w *watching) stop(t *testing.T) []string {
	t.Helper()
	w.cancel()
	if code := <-w.code; code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, &w.stderr)
	}
	return strings.Split(strings.TrimSuffix(w.stdout.String(), "\n"), "\n")
}

func (w *watching) waitLines(t *testing.T, n int) {
	t.Helper()
	eventually(t, "lines", func() bool { return strings.Count(w.stdout.String(), "\n") >= n })
}

func TestWatch(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	sendTo(t, "udp", g.UDP, "climate,device=gh1 temp=20.5,hum=40i 1764000000000")
	eventually(t, "the readings", func() bool { return g.metric(t, "naru_readings_total", "") == 2 })

	lines := startWatch(t, nil, "--url", g.url("/"))
	asJSON := startWatch(t, nil, "--url", g.url(""), "--json", "--device", "gh*", "--metric", "*.temp")
	lines.waitLines(t, 2)
	asJSON.waitLines(t, 1)
	sendTo(t, "udp", g.UDP, "climate,device=gh1 temp=21.5,hum=41i 1764000001000")
	sendTo(t, "udp", g.UDP, `{"device":"other","state":"a\u001b[2Jb","time":1764000002000}`)
	lines.waitLines(t, 5)
	asJSON.waitLines(t, 2)

	// The connection is taken up where it broke, and nothing comes twice.
	g.stop(t)
	again := startGateway(t, data, "--http", g.HTTP, "--udp", g.UDP)
	sendTo(t, "udp", again.UDP, "climate,device=gh1 temp=22.5 1764000003000")
	lines.waitLines(t, 6)
	asJSON.waitLines(t, 3)

	at := func(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000") }
	got := lines.stop(t)
	want := map[string]bool{
		at(1764000000000) + "  gh1  climate.temp  20.5":     true,
		at(1764000000000) + "  gh1  climate.hum  40":        true,
		at(1764000001000) + "  gh1  climate.temp  21.5":     true,
		at(1764000001000) + "  gh1  climate.hum  41":        true,
		at(1764000002000) + `  other  state  "a\u001b[2Jb"`: true,
		at(1764000003000) + "  gh1  climate.temp  22.5":     true,
	}
	for _, line := range got {
		if !want[line] {
			t.Errorf("unexpected line, or one that came twice: %q", line)
		}
		delete(want, line)
	}
	for line := range want {
		t.Errorf("missing line %q", line)
	}
	if !strings.Contains(lines.stderr.String(), "connection lost") {
		t.Errorf("the broken connection was not told of:\n%s", &lines.stderr)
	}
	var values []float64
	for _, line := range asJSON.stop(t) {
		var r struct {
			Metric string
			Value  float64
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil || r.Metric != "climate.temp" {
			t.Errorf("%v: %q", err, line)
		}
		values = append(values, r.Value)
	}
	if fmt.Sprint(values) != "[20.5 21.5 22.5]" {
		t.Errorf("values %v, want 20.5, 21.5 and 22.5", values)
	}
}

func TestWatchRefused(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"error":"the access token is missing or wrong"}`)
	}))
	defer server.Close()
	for _, c := range []struct {
		environ, args []string
		authorization string
	}{
		{nil, []string{"--url", server.URL}, ""},
		{nil, []string{"--url", server.URL, "--token", "abc"}, "Bearer abc"},
		{nil, []string{"--url", server.URL + "/?token=def"}, "Bearer def"},
		{[]string{"NARU_TOKEN=ghi"}, []string{"--url", server.URL}, "Bearer ghi"},
		{[]string{"NARU_TOKEN=ghi"}, []string{"--url", server.URL, "--token", "abc"}, "Bearer abc"},
	} {
		code, stdout, stderr := command(t, c.environ, append([]string{"watch"}, c.args...)...)
		if code != 1 || stdout != "" || !strings.Contains(stderr, "401") || !strings.Contains(stderr, "token is missing or wrong") {
			t.Errorf("%q: exit code %d, want 1 and the gateway's words:\n%s%s", c.args, code, stdout, stderr)
		}
		if got := <-asked; got != c.authorization {
			t.Errorf("%q: Authorization %q, want %q", c.args, got, c.authorization)
		}
	}
}

// A server that is no gateway gives a clear error, and the next attempt comes
// after a pause.
func TestWatchOfSomethingElse(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "<html>\n")
	}))
	defer server.Close()
	w := startWatch(t, nil, "--url", server.URL)
	eventually(t, "the error", func() bool { return strings.Contains(w.stderr.String(), "something else than a message") })
	w.stop(t)
}

var escape = regexp.MustCompile("\x1b\\[[0-9]*[A-Za-z]|\r")

// TestTable draws a table onto terminals of several sizes.
func TestTable(t *testing.T) {
	t.Parallel()
	now := time.Now()
	filled := func() *tableView {
		v := &tableView{rows: map[[2]string]*tableRow{}}
		for i := range 30 {
			r := liveReading{
				Device: fmt.Sprintf("device-%02d", i%10), Metric: fmt.Sprintf("metric-%d", i/10),
				Time: float64(now.Add(-time.Duration(i) * time.Minute).UnixMilli()), Value: json.RawMessage(fmt.Sprintf(`"v\u001b%d"`, i)),
			}
			r.Value = append(r.Value, 0x1b, '[', '2', 'J') // as a hostile gateway might
			if err := v.show(nil, r); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	for _, c := range []struct {
		width, height, lines int
		foot                 string
	}{
		{200, 50, 32, "30 series, 30 readings"},
		{120, 24, 23, "30 series, 30 readings, 9 series below; narrow with --device and --metric"},
		{80, 33, 32, "30 series, 30 readings"},
		{20, 5, 4, "30 series, 30 readi"},
		{40, 3, 2, "30 series, 30 readings, 30 series below"},
		{1, 1, 2, ""},
	} {
		v := filled()
		text := v.drawLocked(c.width, c.height, now)
		lines := strings.Split(escape.ReplaceAllString(text, ""), "\n")
		lines = lines[:len(lines)-1] // where the cursor stays
		if len(lines) != c.lines || v.lines != c.lines {
			t.Errorf("%d×%d: %d lines, noted as %d, want %d", c.width, c.height, len(lines), v.lines, c.lines)
		}
		if foot := lines[len(lines)-1]; foot != c.foot {
			t.Errorf("%d×%d: foot %q, want %q", c.width, c.height, foot, c.foot)
		}
		for _, line := range lines {
			if len([]rune(line)) >= max(c.width, 1) {
				t.Errorf("%d×%d: the line is too long: %q", c.width, c.height, line)
			}
		}
		if strings.Contains(text, "\x1b[2J") {
			t.Errorf("%d×%d: a value steers the terminal: %q", c.width, c.height, text)
		}
		if next := v.drawLocked(c.width, c.height, now); !strings.HasPrefix(next, fmt.Sprintf("\x1b[%dA", c.lines)) {
			t.Errorf("%d×%d: the second drawing does not begin over the first: %q", c.width, c.height, next[:10])
		}
	}
	v := filled()
	v.status = "connection lost"
	if text := v.drawLocked(80, 24, now); !strings.Contains(text, "connection lost") || strings.Contains(text, "30 readings") {
		t.Errorf("the status is not shown: %q", text)
	}
}

// A terminal that does not know its size is taken for the usual one.
func TestTableWithoutSize(t *testing.T) {
	t.Parallel()
	for _, size := range []func() (int, int, error){
		func() (int, int, error) { return 0, 0, nil },
		func() (int, int, error) { return 0, 0, io.ErrUnexpectedEOF },
	} {
		var out strings.Builder
		v := &tableView{w: &out, size: size, rows: map[[2]string]*tableRow{}}
		if err := v.show(nil, liveReading{Device: "gh1", Metric: "temp", Value: json.RawMessage("21.5")}); err != nil {
			t.Fatal(err)
		}
		if err := v.flush(); err != nil || !strings.Contains(out.String(), "21.5") {
			t.Errorf("%v: %q", err, out.String())
		}
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "ahead", 0: "now", 1999 * time.Millisecond: "now", 2 * time.Second: "2 s", 119 * time.Second: "119 s",
		2 * time.Minute: "2 min", 119 * time.Minute: "119 min", 2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}
