package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
)

// Who takes gzip gets the same, in less; what is short stays as it is.
func TestCompressedAnswers(t *testing.T) {
	h := device.History{Series: device.Series{Device: "a", Metric: "x"}}
	for i := range 2000 {
		h.Start = append(h.Start, device.Time(i)*1_000_000)
		h.Min, h.Max, h.Avg, h.Count = append(h.Min, 1), append(h.Max, 2), append(h.Avg, 1.5), append(h.Count, 3)
	}
	cfg := config(many(3000), io.Discard)
	cfg.History = &sums{series: []device.History{h}}
	for _, c := range []struct {
		path   string
		packed bool
	}{
		{"/api/v1/readings?limit=3", false},
		{"/api/v1/readings?limit=100", true}, // less than a chunk
		{"/api/v1/readings", true},
		{"/api/v1/readings?format=csv", true},
		{"/api/v1/readings?format=ndjson", true},
		{"/api/v1/history?points=2000", true},
	} {
		_, want := ask(t, cfg, http.MethodGet, c.path, nil)
		resp, packed := ask(t, cfg, http.MethodGet, c.path, http.Header{"Accept-Encoding": {"gzip"}})
		if got := resp.Header.Get("Content-Encoding") == "gzip"; got != c.packed || !slices.Contains(resp.Header["Vary"], "Accept-Encoding") {
			t.Errorf("%s: compressed: %v, Vary %v", c.path, got, resp.Header["Vary"])
		}
		var body io.Reader = strings.NewReader(packed)
		if c.packed {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		got, err := io.ReadAll(body)
		if err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v, want %d", c.path, len(got), err, len(want))
		}
		if c.packed && len(packed) > len(want)/2 {
			t.Errorf("%s: %d bytes in %d", c.path, len(want), len(packed))
		}
	}
}
