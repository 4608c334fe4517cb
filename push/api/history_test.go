package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// sums is a few series summed up, and what can go wrong.
type sums struct {
	series  []device.History
	after   int // series before failure
	failure error
	asked   device.HistoryQuery // what was asked last
}

func (s *sums) History(_ context.Context, q device.HistoryQuery, yield func(*device.History) error) error {
	s.asked = q
	for i := range s.series {
		if s.failure != nil && i == s.after {
			return s.failure
		}
		if !q.Selector.Match(s.series[i].Device, s.series[i].Metric) {
			continue
		}
		if err := yield(&s.series[i]); err != nil {
			return err
		}
	}
	return nil
}

// sampleSums has a usual series, one whose buckets are shorter than a
// millisecond, and one of numbers that are hard to sum up.
func sampleSums() *sums {
	at := device.TimeOf(now)
	series := func(id device.ID, m device.Metric) device.Series { return device.Series{Device: id, Metric: m} }
	return &sums{series: []device.History{
		{
			Series: series("gh1", "air.temperature"), Step: time.Minute,
			Start: []device.Time{at - 180_000_000, at - 60_000_000},
			Min:   []float64{-1.5, 1e-7}, Max: []float64{21.5, 1e21}, Avg: []float64{10.25, 3}, Count: []int64{60, 2},
		},
		{
			Series: series("gh1", `cpu{cpu="0",host=a}`), Step: 250 * time.Microsecond,
			Start: []device.Time{at + 250}, Min: []float64{0}, Max: []float64{0}, Avg: []float64{0}, Count: []int64{1},
		},
		{
			Series: series("shed:2", "huge"), Step: time.Hour,
			Start: []device.Time{at, at + 3_600_000_000, at + 7_200_000_000},
			Min:   []float64{1e308, -1e308, 0.1}, Max: []float64{1.5e308, 1e308, 0.1},
			Avg: []float64{math.Inf(1), math.NaN(), 0.10000000000000002}, Count: []int64{2, 4, 3},
		},
		{Series: series("shed:2", "none"), Step: time.Second},
	}}
}

func TestHistoryQuery(t *testing.T) {
	at := device.TimeOf(now)
	for _, c := range []struct {
		query    string
		from, to device.Time
		points   int
	}{
		{"", 0, 0, 500},
		{"from=-1h", at - 3_600_000_000, 0, 500},
		{"to=now&points=1", 0, at, 1},
		{"from=1764000000000&to=1764000000000.001&points=10000", at, at + 1, 10_000},
	} {
		s := sampleSums()
		cfg := config(sample(t), io.Discard)
		cfg.History = s
		resp, _ := ask(t, cfg, http.MethodGet, "/api/v1/history?device=gh*&metric=air*&"+c.query, nil)
		q := s.asked
		if resp.StatusCode != http.StatusOK || q.From != c.from || q.To != c.to || q.Points != c.points {
			t.Errorf("%s: %s, asked for %+v", c.query, resp.Status, q)
		}
		if !q.Selector.Match("gh1", "air.temperature") || q.Selector.Match("gh1", "cpu") || q.Selector.Match("shed", "air") {
			t.Errorf("%s: selector %v", c.query, q.Selector.Key())
		}
	}
}

// An answer of any length is whole JSON with the five columns of the contract.
func TestLongHistory(t *testing.T) {
	const n = 10_000
	h := device.History{Series: device.Series{Device: "a", Metric: "x"}, Step: time.Second}
	for i := range n {
		h.Start = append(h.Start, device.Time(i)*1_000_000)
		h.Min, h.Max, h.Avg = append(h.Min, float64(i)), append(h.Max, float64(i+2)), append(h.Avg, float64(i+1))
		h.Count = append(h.Count, 3)
	}
	cfg := config(sample(t), io.Discard)
	cfg.History = &sums{series: []device.History{h, h}}
	_, got := ask(t, cfg, http.MethodGet, "/api/v1/history?points=10000", nil)
	var answer struct {
		Series []struct {
			Step                float64
			Time, Min, Max, Avg []float64
			Count               []int64
		}
	}
	if err := json.Unmarshal([]byte(got), &answer); err != nil || len(answer.Series) != 2 {
		t.Fatalf("%d series, %v", len(answer.Series), err)
	}
	for _, s := range answer.Series {
		if len(s.Time) != n || len(s.Min) != n || len(s.Max) != n || len(s.Avg) != n || len(s.Count) != n {
			t.Fatalf("columns of %d %d %d %d %d", len(s.Time), len(s.Min), len(s.Max), len(s.Avg), len(s.Count))
		}
		const last = n - 1
		if s.Step != 1000 || s.Time[last] != last*1000 || s.Min[last] != last || s.Avg[last] != n || s.Max[last] != n+1 || s.Count[last] != 3 {
			t.Errorf("step %v, last bucket %v %v %v %v %v", s.Step, s.Time[last], s.Min[last], s.Avg[last], s.Max[last], s.Count[last])
		}
	}
}

// What fails before the first byte is refused; what fails later is broken off.
func TestHistoryFails(t *testing.T) {
	long := sampleSums().series[0]
	for range 4000 {
		long.Start, long.Count = append(long.Start, long.Start[0]), append(long.Count, 1)
		long.Min, long.Max, long.Avg = append(long.Min, 1), append(long.Max, 1), append(long.Avg, 1)
	}
	for _, c := range []struct {
		name   string
		series []device.History
		broken bool
	}{
		{"at once", sampleSums().series[:1], false},
		{"in the middle", []device.History{long, long}, true},
	} {
		var log bytes.Buffer
		cfg := config(sample(t), io.Discard)
		cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		cfg.History = &sums{series: c.series, after: len(c.series) - 1, failure: errors.New("sector 7 is gone")}
		server := httptest.NewServer(New(cfg))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/history", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		server.Close()
		if c.broken && (!errors.Is(err, io.ErrUnexpectedEOF) || resp.StatusCode != http.StatusOK || len(b) == 0) {
			t.Errorf("%s: %s, %d bytes, %v", c.name, resp.Status, len(b), err)
		}
		if !c.broken && (resp.StatusCode != http.StatusInternalServerError || string(b) != `{"error":"the store cannot be read"}`+"\n") {
			t.Errorf("%s: %s %s", c.name, resp.Status, b)
		}
		if !strings.Contains(log.String(), "sector 7 is gone") {
			t.Errorf("%s: logged %q", c.name, &log)
		}
	}
}
