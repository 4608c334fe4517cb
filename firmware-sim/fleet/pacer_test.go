package fleet

import (
	"testing"
	"time"
)

// TestPacerDoesNotDrift asks at uneven moments and expects the rate to the
// reading.
func TestPacerDoesNotDrift(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.5, 3, 1000, 99_999, 700_000} {
		start := time.UnixMilli(0)
		p := newPacer(rate, start)
		sum, largest := int64(0), int64(0)
		now := start
		for i := 0; now.Sub(start) < 20*time.Second; i++ {
			n, missed := p.grant(now)
			if missed != 0 {
				t.Fatalf("rate %v: missed %d", rate, missed)
			}
			sum, largest = sum+n, max(largest, n)
			now = now.Add(p.wait(now) + time.Duration(noise(1).at(int64(i))%700_000))
		}
		want := rate * now.Sub(start).Seconds()
		if d := want - float64(sum); d < 0 || d > rate/100+2 {
			t.Errorf("rate %v: %d granted, want %.1f", rate, sum, want)
		}
		if most := int64(rate/100) + 1; largest > most {
			t.Errorf("rate %v: %d at once, want at most %d", rate, largest, most)
		}
	}
}

func TestPacerCatchesUpSlowly(t *testing.T) {
	t.Parallel()
	start := time.UnixMilli(0)
	tests := []struct {
		name   string
		stall  time.Duration
		missed int64
	}{
		{"a short stall", 500 * time.Millisecond, 0},
		{"a long one", 10 * time.Second, 9000},
	}
	for _, tt := range tests {
		p := newPacer(1000, start)
		p.grant(start)
		now := start.Add(tt.stall)
		p.last = now.Add(-time.Millisecond)
		sum, missed, largest := int64(0), int64(0), int64(0)
		for range 2000 {
			n, m := p.grant(now)
			sum, missed, largest = sum+n, missed+m, max(largest, n)
			now = now.Add(time.Millisecond)
		}
		if missed != tt.missed {
			t.Errorf("%s: missed %d, want %d", tt.name, missed, tt.missed)
		}
		if largest > 2 {
			t.Errorf("%s: %d at once", tt.name, largest)
		}
		if want := int64(1000*now.Sub(start).Seconds()) - missed; sum < want-3 || sum > want {
			t.Errorf("%s: %d granted, want %d", tt.name, sum, want)
		}
	}
}
