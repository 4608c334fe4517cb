package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// BenchmarkChart asks for charts of 1,000 points of a series of 1 Hz, a random
// walk of two decimals with some jitter of its times, at the end of so many
// readings. The filling is not measured.
func BenchmarkChart(b *testing.B) {
	for _, days := range []int{40} {
		dir := b.TempDir()
		l := walk(b, dir, days)
		for _, c := range []struct {
			name   string
			length time.Duration
		}{{"1h", time.Hour}, {"1d", 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}, {"1y", 365 * 24 * time.Hour}} {
			b.Run(fmt.Sprintf("days=%d/%s", days, c.name), func(b *testing.B) {
				sel, err := device.NewSelector([]string{"meter"}, []string{"power"})
				if err != nil {
					b.Fatal(err)
				}
				to := device.Time(int64(days)*86400e6) + walkBegin
				for b.Loop() {
					n := 0
					q := device.HistoryQuery{Selector: sel, From: to.Add(-c.length), To: to, Points: 1000}
					err := l.History(b.Context(), q, func(h *device.History) error { n += len(h.Start); return nil })
					if err != nil || n == 0 || n > 1001 {
						b.Fatalf("%d buckets, %v", n, err)
					}
				}
			})
		}
		s := l.Stats()
		b.Logf("%d days: %d readings, %.3f bytes/reading in %d files", days, s.Head, float64(s.HistoryBytes)/float64(s.Head), s.HistoryFiles)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

const walkBegin = device.Time(1_700_000_000_000_000)

// walk returns an open store with a random walk of so many days.
func walk(b *testing.B, dir string, days int) *Log {
	b.Helper()
	l, err := Open(Config{Dir: dir, RetainAge: -1, LogAge: -1, RetainSize: 1 << 40})
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x, rs := 2000.0, make([]device.Reading, 0, 1000)
	for i := range days * 86400 {
		x += rng.NormFloat64()
		v, err := device.Float(math.Round(x*100) / 100)
		if err != nil {
			b.Fatal(err)
		}
		t := walkBegin + device.Time(i)*1e6 + device.Time(rng.IntN(8)-4)*1000
		rs = append(rs, device.Reading{Device: "meter", Metric: "power", Time: t, Received: t + 1, Value: v})
		if len(rs) < cap(rs) {
			continue
		}
		if _, err := l.Append(rs); err != nil && !errors.Is(err, ErrFull) {
			b.Fatal(err)
		}
		rs = rs[:0]
		if i%100_000 < 1000 {
			if err := l.commit(commitDue); err != nil {
				b.Fatal(err)
			}
			if err := l.tend(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.commit(commitAll); err != nil {
		b.Fatal(err)
	}
	return l
}

// BenchmarkOpenDay opens what kill -9 leaves of a day of 100 readings a second,
// committed every second. The filling, without syncing, is not measured.
func BenchmarkOpenDay(b *testing.B) {
	dir := b.TempDir()
	l, err := Open(Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	l.db.NoSync = true
	f := newFleet(25)
	var rs []device.Reading
	for i := range 86400 {
		rs = f.fill(rs, 100)
		if _, err := l.Append(rs); err != nil {
			b.Fatal(err)
		}
		if err := l.commit(commitAll); err != nil {
			b.Fatal(err)
		}
		if i%60 == 0 {
			if err := l.tend(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	s := l.Stats()
	b.Logf("hot.db: %d bytes, %d used; %d readings unflushed", s.HotBytes, s.UsedBytes, s.Unflushed)
	for b.Loop() {
		b.StopTimer()
		left := b.TempDir()
		copyFolder(b, dir, left)
		b.StartTimer()
		again, err := Open(Config{Dir: left})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if n, err := again.Count(b.Context(), device.Query{}); err != nil || n < 8_640_000-100 {
			b.Fatalf("%d readings, %v", n, err)
		}
		if err := again.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkGrowth fills stores with 1, 10 and 100 million readings of 100 devices
// times 4 metrics and tells for each what an opening takes, a chart of 1,000
// points over everything and over the last hour, and a reading at rest. With
// NARU_BENCH_DIR the stores stay there, to be looked at with the program.
func BenchmarkGrowth(b *testing.B) {
	for _, million := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%dM", million), func(b *testing.B) {
			for b.Loop() {
				growth(b, million)
			}
			b.ReportMetric(0, "ns/op") // says nothing here
		})
	}
}

func growth(b *testing.B, million int) {
	dir := filepath.Join(b.TempDir(), "data")
	if keep := os.Getenv("NARU_BENCH_DIR"); keep != "" {
		dir = filepath.Join(keep, fmt.Sprintf("%dM", million))
	}
	cfg := Config{Dir: dir, RetainAge: -1, RetainSize: 1 << 40, LogSize: 32 << 20}
	l, err := Open(cfg)
	if err != nil {
		b.Fatal(err)
	}
	l.db.NoSync = true
	f := newFleet(100)
	var rs []device.Reading
	for i := range million * 2500 { // seconds
		rs = f.fill(rs, 400)
		if _, err := l.Append(rs); err != nil {
			b.Fatal(err)
		}
		if err := l.commit(commitAll); err != nil {
			b.Fatal(err)
		}
		if i%60 == 0 {
			if err := l.tend(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	if l, err = Open(cfg); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(time.Since(start).Microseconds())/1e3, "ms-open")
	sel, err := device.NewSelector([]string{string(f.devices[0])}, []string{string(fleetMetrics[0])})
	if err != nil {
		b.Fatal(err)
	}
	for unit, from := range map[string]device.Time{"ms-chart-all": 0, "ms-chart-hour": f.now.Add(-time.Hour)} {
		start := time.Now()
		const times = 20
		for range times {
			q := device.HistoryQuery{Selector: sel, From: from, Points: 1000}
			if err := l.History(b.Context(), q, func(*device.History) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1e3/times, unit)
	}
	s := l.Stats()
	b.ReportMetric(float64(s.HistoryBytes)/float64(int64(s.Head)-int64(s.Unflushed)), "B/reading")
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
}
