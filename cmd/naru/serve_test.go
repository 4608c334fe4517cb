package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

// message is a message of the live endpoint, its readings as they came.
type message struct {
	Type     string            `json:"type"`
	Cursor   string            `json:"cursor"`
	Readings []json.RawMessage `json:"readings"`
}

// technique watches g after the cursor until it has seen so many readings.
type technique func(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error)

// gather calls next for messages until there are so many readings and, as they come,
// messages of a gap.
func gather(want int, next func() ([]byte, error)) ([]string, error) {
	var seen []string
	for len(seen) < want {
		b, err := next()
		if err != nil {
			return seen, fmt.Errorf("after %d readings: %w", len(seen), err)
		}
		if len(strings.TrimSpace(string(b))) == 0 {
			continue // a sign of life
		}
		var m message
		if err := json.Unmarshal(b, &m); err != nil {
			return seen, fmt.Errorf("%w: %s", err, b)
		}
		if m.Type == "gap" {
			seen = append(seen, string(bytes.TrimSpace(b)))
			continue
		}
		if m.Type != "readings" || m.Cursor == "" {
			return seen, fmt.Errorf("unexpected message %s", b)
		}
		for _, r := range m.Readings {
			seen = append(seen, string(r))
		}
	}
	return seen, nil
}

func liveURL(a addresses, query url.Values, more ...string) string {
	q := url.Values{}
	maps.Copy(q, query)
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return a.url("/api/v1/live?" + q.Encode())
}

// openLive makes a live request and returns its lines.
func openLive(ctx context.Context, url, accept string) (*http.Response, *bufio.Reader, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", accept)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	return resp, bufio.NewReader(resp.Body), nil
}

func byWebSocket(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error) {
	c, _, err := websocket.Dial(ctx, liveURL(g, query, "after", after), nil) //nolint:bodyclose // the library's own
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close(websocket.StatusNormalClosure, "") }()
	c.SetReadLimit(-1) // the gateway is trusted here
	return gather(want, func() ([]byte, error) {
		_, b, err := c.Read(ctx)
		return b, err
	})
}

func bySSE(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error) {
	v, err := openSSE(ctx, g, query.Encode(), after)
	if err != nil {
		return nil, err
	}
	defer v.close()
	return gather(want, v.next)
}

func byStream(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error) {
	resp, lines, err := openLive(ctx, liveURL(g, query, "after", after), "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	return gather(want, func() ([]byte, error) { return lines.ReadBytes('\n') })
}

// byPolling returns polling with the wait, which may be none.
func byPolling(wait string) technique {
	return func(ctx context.Context, g addresses, query url.Values, after string, want int) ([]string, error) {
		return gather(want, func() ([]byte, error) {
			resp, body, err := openLive(ctx, liveURL(g, query, "after", after, "wait", wait), "*/*")
			if err != nil {
				return nil, err
			}
			defer func() { _ = resp.Body.Close() }()
			b, err := body.ReadBytes('\n')
			if err != nil {
				return nil, err
			}
			var m message
			if err := json.Unmarshal(b, &m); err != nil {
				return nil, err
			}
			after = m.Cursor
			return b, nil
		})
	}
}

var everyTechnique = map[string]technique{
	"websocket": byWebSocket,
	"sse":       bySSE,
	"stream":    byStream,
	"longpoll":  byPolling("25s"),
	"poll":      byPolling(""),
}

// presentCursor asks for where the log ends.
func presentCursor(tb testing.TB, a addresses) string {
	tb.Helper()
	var m message
	if err := json.Unmarshal([]byte(get(tb, a.url("/api/v1/live"))), &m); err != nil {
		tb.Fatal(err)
	}
	return m.Cursor
}

func TestEveryTechniqueShowsTheSame(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	before := presentCursor(t, g.addresses)

	type answer struct {
		name string
		seen []string
		err  error
	}
	answers := make(chan answer)
	for name, watch := range everyTechnique {
		go func() {
			seen, err := watch(t.Context(), g.addresses, nil, before, 5)
			answers <- answer{name, seen, err}
		}()
	}
	eventually(t, "the viewers", func() bool { return g.metric(t, "naru_subscriptions", "") >= 4 })

	sendTo(t, "udp", g.UDP, "climate,device=gh1 temp=21.5,hum=40i 1764000000000000000")
	eventually(t, "the datagram", func() bool { return g.metric(t, "naru_readings_total", "") == 2 })
	sendTo(t, "tcp", g.TCP, `{"device":"gh2","time":1764000001.25,"temp":-19.25,"ok":true,"state":"half \"open\", grün\u2028"}`+"\n")
	eventually(t, "the object", func() bool { return g.metric(t, "naru_readings_total", "") == 5 })

	want := []string{
		`{"offset":1,"device":"gh1","metric":"climate.temp","time":1764000000000,"value":21.5}`,
		`{"offset":2,"device":"gh1","metric":"climate.hum","time":1764000000000,"value":40}`,
		`{"offset":3,"device":"gh2","metric":"temp","time":1764000001250,"value":-19.25}`,
		`{"offset":4,"device":"gh2","metric":"ok","time":1764000001250,"value":true}`,
		"{\"offset\":5,\"device\":\"gh2\",\"metric\":\"state\",\"time\":1764000001250,\"value\":\"half \\\"open\\\", grün\u2028\"}",
	}
	for range everyTechnique {
		a := <-answers
		if a.err != nil {
			t.Errorf("%s: %v", a.name, a.err)
		}
		if diff := cmp.Diff(want, a.seen); diff != "" {
			t.Errorf("%s (-want +got):\n%s", a.name, diff)
		}
	}
	checkHistory(t, g.addresses, want)
}

// checkHistory wants the readings, in order, from every notation of the history.
func checkHistory(t *testing.T, g addresses, want []string) {
	t.Helper()
	var asJSON message
	if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/readings"))), &asJSON); err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, len(want))
	for _, r := range asJSON.Readings {
		got = append(got, string(r))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("/readings (-want +got):\n%s", diff)
	}
	lines := get(t, g.url("/api/v1/readings?format=ndjson"))
	if diff := cmp.Diff(want, strings.Split(strings.TrimSuffix(lines, "\n"), "\n")); diff != "" {
		t.Errorf("/readings as NDJSON (-want +got):\n%s", diff)
	}
	rows, err := csv.NewReader(strings.NewReader(get(t, g.url("/api/v1/readings"), "Accept", "text/csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	wantRows := [][]string{
		{"offset", "device", "metric", "time", "value"},
		{"1", "gh1", "climate.temp", "1764000000000", "21.5"},
		{"2", "gh1", "climate.hum", "1764000000000", "40"},
		{"3", "gh2", "temp", "1764000001250", "-19.25"},
		{"4", "gh2", "ok", "1764000001250", "true"},
		{"5", "gh2", "state", "1764000001250", "half \"open\", grün\u2028"},
	}
	if diff := cmp.Diff(wantRows, rows); diff != "" {
		t.Errorf("/readings as CSV (-want +got):\n%s", diff)
	}
	for query, n := range map[string]int{
		"": 5, "device=gh1": 2, "device=gh*&metric=*temp": 2, "from=1764000001000": 3, "to=2025-11-24T16:00:01Z": 2, "device=nobody": 0,
	} {
		if got := g.count(t, query); got != n {
			t.Errorf("count of %q: %d, want %d", query, got, n)
		}
	}
	checkCatalogue(t, g)
}

func checkCatalogue(t *testing.T, g addresses) {
	t.Helper()
	var catalogue struct {
		Devices []struct {
			ID        string
			Series    int
			Readings  int
			Transport string
			Clock     string
		}
		Series []struct {
			Device, Metric string
			Readings       int
			Last           struct {
				Offset int
				Value  any
			}
		}
	}
	for _, path := range []string{"devices", "series?device=gh1"} {
		if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/"+path))), &catalogue); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(catalogue.Devices), "[{gh1 2 2 udp ok} {gh2 3 3 tcp ok}]"; got != want {
		t.Errorf("devices: %s, want %s", got, want)
	}
	want := "[{gh1 climate.hum 1 {2 40}} {gh1 climate.temp 1 {1 21.5}}]"
	if got := fmt.Sprint(catalogue.Series); got != want {
		t.Errorf("series: %s, want %s", got, want)
	}
}

// A selection holds on every technique, and nothing beside it comes through.
func TestEveryTechniqueSelects(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	before := presentCursor(t, g.addresses)
	for i := range 20 {
		sendTo(t, "udp", g.UDP, fmt.Sprintf(`{"device":"d%d","temp":%d,"hum":%d}`, i%4, i, 100+i))
	}
	eventually(t, "the readings", func() bool { return g.metric(t, "naru_readings_total", "") == 40 })
	for name, watch := range everyTechnique {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			query := url.Values{"device": {"d1", "d3"}, "metric": {"t*"}}
			seen, err := watch(t.Context(), g.addresses, query, before, 10)
			if err != nil {
				t.Fatal(err)
			}
			if len(seen) != 10 {
				t.Errorf("%d readings, want 10", len(seen))
			}
			for _, r := range seen {
				if !strings.Contains(r, `"metric":"temp"`) || strings.Contains(r, `"d0"`) || strings.Contains(r, `"d2"`) {
					t.Errorf("outside of the selection: %s", r)
				}
			}
		})
	}
}

// The simulated fleet comes in through the sockets like any device, shows a past
// as well, and ends with the gateway.
func TestDemo(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data, "--demo", "--demo-rate", "20")
	eventually(t, "the fleet", func() bool {
		return g.metric(t, "naru_devices", "") >= 10 && g.count(t, "to=-5m") > 0 && g.metric(t, "naru_acknowledged_total", "") > 0
	})
	if refused := refusedTotal(t, g.addresses); refused > 0 {
		t.Errorf("%v refusals: %v", refused, refusals(t, g.addresses))
	}
	g.stop(t)
	still := startGateway(t, data)
	before := still.count(t, "to=-5m")
	still.stop(t)
	again := startGateway(t, data, "--demo", "--tcp", "off")
	eventually(t, "new readings", func() bool { return again.metric(t, "naru_readings_total", "") > 0 })
	if after := again.count(t, "to=-5m"); after > before+before/10 {
		t.Errorf("%d readings of the past after the second start, %d before: it was made up again", after, before)
	}
}
