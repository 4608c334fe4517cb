package live

import (
	"bufio"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/push"
)

func TestTechnique(t *testing.T) {
	for _, c := range []struct {
		header http.Header
		query  string
		want   Technique
	}{
		{http.Header{}, "", Polling},
		{http.Header{"Accept": {"*/*"}}, "wait=0", Polling},
		{http.Header{"Accept": {"application/json"}}, "wait=1", LongPolling},
		{http.Header{}, "wait=25s", LongPolling},
		{http.Header{"Accept": {"text/event-stream"}}, "wait=25s", ServerSentEvents},
		{http.Header{"Accept": {"text/html, Text/Event-Stream;q=0.9"}}, "", ServerSentEvents},
		{http.Header{"Accept": {"text/plain", "application/x-ndjson"}}, "", Stream},
		{http.Header{"Accept": {"text/event-streams"}}, "", Polling},
		{http.Header{"Upgrade": {"WebSocket"}, "Accept": {"text/event-stream"}}, "", WebSocket},
		{http.Header{"Upgrade": {"h2c"}}, "", Polling},
		{http.Header{"Accept": {"*/*"}}, "callback=f", JSONP},
		{http.Header{"Accept": {"text/html"}}, "iframe=f", Iframe},
		{http.Header{"Accept": {"*/*"}}, "iframe=f", Polling},
	} {
		r := &http.Request{Header: c.header, URL: &url.URL{RawQuery: c.query}}
		if got, err := every.parse(r); err != nil || got.technique != c.want {
			t.Errorf("%v ?%s: %v, %v; want %v", c.header, c.query, got.technique, err, c.want)
		}
	}
}

// every has all techniques switched on.
var every = New(Config{JSONP: true, Iframe: true})

func TestWaitParameter(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "25s": 25 * time.Second, "25": 25 * time.Second, "1.5": 1500 * time.Millisecond,
		"200ms": 200 * time.Millisecond, "1h": maxWait, "99999": maxWait,
	} {
		if got, err := wait(in); err != nil || got != want {
			t.Errorf("wait(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"-1", "x", "NaN", "1e9", "25 s"} {
		if got, err := wait(in); err == nil {
			t.Errorf("wait(%q) = %v, want an error", in, got)
		}
	}
}

// open starts a stream and gives the lines that it brings, with their times.
func open(t *testing.T, g *gateway, h http.Header, query string) (lines <-chan line, end func()) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://gateway/api/v1/live?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h
	start := time.Now()
	resp, err := g.client.Do(r) //nolint:bodyclose // closed by end
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}
	for name, value := range want {
		if got := resp.Header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
	out := make(chan line, 100)
	go func() {
		defer close(out)
		s := bufio.NewScanner(resp.Body)
		for s.Scan() {
			out <- line{time.Since(start), s.Text()}
		}
	}()
	return out, func() { _ = resp.Body.Close() }
}

type line struct {
	After time.Duration
	Text  string
}

func taken(lines <-chan line) (got []line) {
	synctest.Wait()
	for {
		select {
		case l := <-lines:
			got = append(got, l)
		default:
			return got
		}
	}
}

const reading1 = `{"offset":1,"device":"a","metric":"x","time":1.5,"value":0}`

// The bytes of a stream, with its heartbeat and the resumption of a browser.
func TestServerSentEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		lines, end := open(t, g, kind{ServerSentEvents}.header(), "device=a")
		defer end()
		synctest.Wait()
		g.publish("a/x")
		got := taken(lines)
		<-time.After(14 * time.Second)
		g.publish("b/x", "b/x") // silence, but the id moves
		<-time.After(17 * time.Second)
		got = append(got, taken(lines)...)
		want := []line{
			{0, "retry: 2000"},
			{0, ""},
			{0, "id: s-1"},
			{0, `data: {"type":"readings","cursor":"s-1","readings":[` + reading1 + `]}`},
			{0, ""},
			{heartbeat, ":"},
			{heartbeat, "id: s-3"},
			{heartbeat, ""},
			{2 * heartbeat, ":"},
			{2 * heartbeat, "id: s-3"},
			{2 * heartbeat, ""},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error("(-want +got):\n", d)
		}
		g.publish("a/x")
		h := kind{ServerSentEvents}.header()
		h.Set("Last-Event-ID", "s-3")
		again, end := open(t, g, h, "device=a&after=s-0") // a browser repeats its address
		defer end()
		synctest.Wait()
		want = []line{
			{0, "retry: 2000"},
			{0, ""},
			{0, "id: s-4"},
			{0, `data: {"type":"readings","cursor":"s-4","readings":[` + strings.ReplaceAll(reading1, `:1,`, `:4,`) + `]}`},
			{0, ""},
		}
		if d := cmp.Diff(want, taken(again)); d != "" {
			t.Error("again (-want +got):\n", d)
		}
	})
}

func TestNDJSONStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		lines, end := open(t, g, kind{Stream}.header(), "last=1")
		defer end()
		synctest.Wait()
		g.publish("a/x")
		<-time.After(16 * time.Second)
		want := []line{
			{0, `{"type":"readings","cursor":"s-0","readings":[]}`},
			{0, `{"type":"readings","cursor":"s-1","readings":[` + reading1 + `]}`},
			{heartbeat, ""},
		}
		if d := cmp.Diff(want, taken(lines)); d != "" {
			t.Error("(-want +got):\n", d)
		}
	})
}

func TestPollingAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		g.publish("a/x", "b/x")
		for _, c := range []struct {
			query   string
			publish string // after a second
			want    string
			took    time.Duration
		}{
			{"", "", "readings s-2", 0},
			{"after=s-2", "", "readings s-2", 0},
			{"after=s-1", "", "readings s-2: 2", 0},
			{"after=s-0&device=a", "", "readings s-2: 1", 0},
			{"after=s-1&device=a", "", "readings s-2", 0}, // empty, but the cursor moves
			{"after=s-1&wait=10s", "", "readings s-2: 2", 0},
			{"after=s-2&wait=10s", "", "readings s-2", 10 * time.Second},
			{"after=s-2&wait=10s&device=a", "b/x", "readings s-3", 10 * time.Second},
			{"after=s-3&wait=10s&device=a", "a/x", "readings s-4: 4", time.Second},
			{"wait=10s", "", "readings s-4", 0},
			{"after=s-4&wait=10s", "a/x", "readings s-5: 5", time.Second},
			{"after=s-5&wait=10m", "", "readings s-5", maxWait},
			{"after=s-9&wait=10s", "", "reset s-5 unknown cursor", 0},
			{"last=1&limit=1", "", "readings s-3: 3", 0},
			{"last=1&limit=1&after=s-3", "", "readings s-4: 4", 0},
		} {
			start := time.Now()
			if c.publish != "" {
				time.AfterFunc(time.Second, func() { g.publish(c.publish) })
			}
			resp, body := g.get(http.Header{}, c.query)
			m, err := parseMessage([]byte(body))
			if err != nil || m.String() != c.want || !strings.HasSuffix(body, "}\n") || resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("?%s: %s %v, want %s", c.query, body, err, c.want)
			}
			if took := time.Since(start); took != c.took {
				t.Errorf("?%s took %v, want %v", c.query, took, c.took)
			}
		}
	})
}

// A feed that is closed answers polls to the end, and at once.
func TestPollingAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		g.publish("a/x", "a/x")
		start := time.Now()
		time.AfterFunc(time.Second, g.feed.Close)
		for _, c := range []struct{ query, want string }{
			{"after=s-2&wait=20s", "readings s-2"},
			{"after=s-0&limit=1", "readings s-1: 1"},
			{"after=s-1", "readings s-2: 2"},
			{"after=s-2&wait=20s", "readings s-2"},
		} {
			_, body := g.get(http.Header{}, c.query)
			if m, err := parseMessage([]byte(body)); err != nil || m.String() != c.want {
				t.Errorf("?%s: %s %v, want %s", c.query, body, err, c.want)
			}
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// A long poll whose viewer has left is ended.
func TestPollingViewerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		conn, err := g.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET /api/v1/live?after=s-0&wait=50s HTTP/1.1\r\nHost: gateway\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now, _ := g.handler.Viewers(LongPolling); now != 1 {
			t.Errorf("%d viewers", now)
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if now, _ := g.handler.Viewers(LongPolling); now != 0 {
			t.Errorf("%d viewers are left", now)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("device=a&metric=b*&after=s-1&last=2&limit=3&wait=25s", "text/event-stream", "s-2")
	f.Add("wait=", "", "")
	f.Add("callback=a.b", "", "")
	f.Add("iframe=a(", "text/html", "")
	f.Add("%zz", ",;,", "-")
	f.Fuzz(func(t *testing.T, query, accept, id string) {
		r := &http.Request{
			Header: http.Header{"Accept": {accept}, "Last-Event-Id": {id}},
			URL:    &url.URL{RawQuery: query},
		}
		got, err := every.parse(r)
		if err == nil && got.name != "" && !scriptName.MatchString(got.name) {
			t.Fatalf("?%s: %+v", query, got)
		}
		o := got.options
		if err == nil && (got.wait < 0 || got.wait > maxWait || o.Last < 0 || o.Last > push.MaxLast || o.Limit < 0 || o.Limit > push.MaxLimit) {
			t.Fatalf("?%s: %+v", query, got)
		}
	})
}
