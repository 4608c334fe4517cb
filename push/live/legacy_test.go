package live

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

func TestScriptNames(t *testing.T) {
	g := loopback(t, Config{})
	for _, c := range []struct {
		name   string // in the query
		status int
	}{
		{"f", 200},
		{"$", 200},
		{"_a.b$9", 200},
		{"a" + strings.Repeat("x", 63), 200},
		{"a" + strings.Repeat("x", 64), 400},
		{"", 400},
		{"9a", 400},
		{"a%28", 400},
		{"a;alert%281%29", 400},
		{"a%0a", 400},
		{"%C3%A4", 400},
	} {
		for query, h := range map[string]http.Header{"after=s-0&callback=": {}, "iframe=": {"Accept": {"text/html"}}} {
			if c.status == 200 && h != nil && len(h) > 0 {
				continue // endless
			}
			resp, body := g.get(h, query+c.name)
			if resp.StatusCode != c.status || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s%s: %s %s, want %d", query, c.name, resp.Status, body, c.status)
			}
		}
	}
	resp, body := g.get(http.Header{}, "after=s-0&callback=f")
	if want := "/**/f({\"type\":\"readings\",\"cursor\":\"s-0\",\"readings\":[]});\n"; body != want {
		t.Errorf("%s %q, want %q", resp.Status, body, want)
	}
}

// They are off unless somebody has switched them on, each by itself.
func TestLegacyIsOff(t *testing.T) {
	jsonp, frame := http.Header{}, http.Header{"Accept": {"text/html"}}
	for _, c := range []struct {
		cfg    Config // the test's gateway has the contrary
		query  string
		header http.Header
		status int
	}{
		{Config{JSONP: true, Iframe: true}, "after=s-0&callback=f", jsonp, 400},
		{Config{JSONP: true, Iframe: true}, "iframe=f", frame, 400},
		{Config{Iframe: true}, "after=s-0&callback=f", jsonp, 200},
		{Config{Iframe: true}, "iframe=f", frame, 400},
		{Config{JSONP: true}, "after=s-0&callback=f", jsonp, 400},
	} {
		g := loopback(t, c.cfg)
		if resp, body := g.get(c.header, c.query); resp.StatusCode != c.status || c.status == 400 && !strings.Contains(body, "this technique is off") {
			t.Errorf("%+v ?%s: %s %s, want %d", c.cfg, c.query, resp.Status, body, c.status)
		}
	}
}

func TestAppendScript(t *testing.T) {
	for in, want := range map[string]string{
		``:                           ``,
		`{"a":1}`:                    `{"a":1}`,
		`"</script><!--"`:            `"\u003c/script>\u003c!--"`,
		"\"a\u2028b\u2029c\u2027ä\"": "\"a\\u2028b\\u2029c\u2027ä\"",
	} {
		if got := string(appendScript(nil, []byte(in))); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A reading cannot leave the script that carries it.
func TestScriptIsClosed(t *testing.T) {
	g := loopback(t, Config{})
	text, err := device.Text("</script><script>alert(1)//\u2028")
	if err != nil {
		t.Fatal(err)
	}
	g.feed.Publish(g.log.Append(device.Reading{Device: "a", Metric: "</script>", Value: text}))
	resp, body := g.get(http.Header{}, "after=s-0&callback=f")
	if strings.ContainsAny(body, "<\u2028") || resp.StatusCode != http.StatusOK {
		t.Errorf("%s %q", resp.Status, body)
	}
}

func TestNegotiation(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{}, "websocket socketio sse stream longpoll poll"},
		{Config{JSONP: true}, "websocket socketio sse stream longpoll poll jsonp"},
		{Config{Iframe: true}, "websocket socketio sse stream longpoll poll iframe"},
	} {
		g := loopback(t, Config{})
		cfg := c.cfg
		cfg.Feed = g.feed
		var names []string
		for _, o := range New(cfg).offers() {
			names = append(names, o.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%+v: %s, want %s", c.cfg, got, c.want)
		}
	}
}

func TestNegotiationTellsTheTime(t *testing.T) {
	g := loopback(t, Config{})
	begin := time.Now().UnixMilli()
	w := httptest.NewRecorder()
	New(Config{Feed: g.feed}).Negotiation().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/live/techniques", nil))
	var got struct {
		Time       int64
		Cursor     string
		Techniques []struct{ Name string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Time < begin || got.Time > time.Now().UnixMilli() {
		t.Errorf("the time is %d, asked for at %d", got.Time, begin)
	}
	if got.Cursor != g.feed.Head().String() || len(got.Techniques) == 0 || got.Techniques[0].Name != WebSocket.String() {
		t.Errorf("%s", w.Body)
	}
}
