package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// askAs sends a request through a real server, in the name of a viewer with a
// limit.
func askAs(t *testing.T, a *API, limit device.Selector, method, target, body string) (int, string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.ServeHTTP(w, r.WithContext(push.WithViewer(r.Context(), &push.Viewer{Name: "kitchen", Limit: limit})))
	}))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// For a viewer with a limit a device outside is as if it were not there.
func TestLimitedViewer(t *testing.T) {
	limit, err := device.NewSelector([]string{"gh*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(sample(t), io.Discard)
	a := New(cfg)
	get := func(target string, limit device.Selector) (int, string) {
		return askAs(t, a, limit, http.MethodGet, target, "")
	}
	for _, c := range []struct {
		target  string
		inside  string // is in the answer
		outside string // is in the answer to who has no limit
	}{
		{"/api/v1/devices", `"id":"gh1"`, `"id":"shed:2"`},
		{"/api/v1/series", `"gh1"`, "shed:2"},
		{"/api/v1/series?device=*", `"gh1"`, "shed:2"},
		{"/api/v1/readings", `"gh1"`, "shed:2"},
		{"/api/v1/readings?device=shed*&device=gh1", `"gh1"`, "shed:2"},
		{"/api/v1/readings?format=csv", "gh1,", "shed:2"},
		{"/api/v1/readings?format=ndjson&exact=1&order=desc", `"gh1"`, "shed:2"},
		{"/api/v1/readings?device=shed:2", `{"readings":[]}`, "shed:2"},
		{"/api/v1/readings/count", `{"count":3}`, `{"count":7}`},
		{"/api/v1/readings/count?device=shed:2", `{"count":0}`, `{"count":4}`},
		{"/api/v1/history?device=*", `"gh1"`, `"device":"shed`},
	} {
		status, all := get(c.target, device.Selector{})
		if status != http.StatusOK || !strings.Contains(all, c.outside) {
			t.Errorf("%s without a limit: %d %s", c.target, status, all)
		}
		status, some := get(c.target, limit)
		if status != http.StatusOK || !strings.Contains(some, c.inside) || strings.Contains(some, c.outside) {
			t.Errorf("%s: %d %s", c.target, status, some)
		}
	}
	_, none := get("/api/v1/devices/nobody", limit)
	status, hidden := get("/api/v1/devices/shed:2", limit)
	if status != http.StatusNotFound || hidden != strings.ReplaceAll(none, "nobody", "shed:2") {
		t.Errorf("a hidden device: %d %s", status, hidden)
	}
	if status, text := get("/api/v1/devices/gh1", limit); status != http.StatusOK {
		t.Errorf("one that is not: %d %s", status, text)
	}
}

// The limit goes along with what is written.
func TestLimitedWriter(t *testing.T) {
	f := &writing{}
	a := New(writeConfig(t, f))
	limit, err := device.NewSelector([]string{"gh*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/api/v1/write", "/write", "/api/v2/write"} {
		if status, text := askAs(t, a, limit, http.MethodPost, target, "t v=1"); status != http.StatusNoContent {
			t.Errorf("%s: %d %s", target, status, text)
		}
	}
	for _, p := range f.got {
		if !p.Limit.MatchDevice("gh1") || p.Limit.MatchDevice("shed") {
			t.Errorf("the writer is told %v", p.Limit)
		}
	}
	if len(f.got) != 3 {
		t.Errorf("%d writes", len(f.got))
	}
}
