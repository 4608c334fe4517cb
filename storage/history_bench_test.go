package storage

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
			range_ time.Duration
		}{{"1h", time.Hour}, {"1d", 24 * time.Hour}, {"30d", 30 * 24 * time.Hour}, {"1y", 365 * 24 * time.Hour}} {
			b.Run(fmt.Sprintf("days=%d/%s", days, c.name), func(b *testing.B) {
				sel, err := device.NewSelector([]string{"meter"}, []string{"power"})
				if err != nil {
					b.Fatal(err)
				}
				to := device.Time(int64(days)*86400e6) + walkBegin
				for b.Loop() {
					n := 0
					q := device.HistoryQuery{Selector: sel, From: to.Add(-c.range_), To: to, Points: 1000}
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
