package fleet

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestQuantiles(t *testing.T) {
	t.Parallel()
	µs, ms := time.Microsecond, time.Millisecond
	tests := []struct {
		name string
		in   []time.Duration
		want []time.Duration // p50, p90, p99
	}{
		{"none", nil, []time.Duration{0, 0, 0}},
		{"one", []time.Duration{7 * ms}, []time.Duration{7 * ms, 7 * ms, 7 * ms}},
		{"exact below 32 µs", []time.Duration{µs, 2 * µs, 3 * µs, 31 * µs}, []time.Duration{2 * µs, 31 * µs, 31 * µs}},
		{"not over the longest", []time.Duration{1000 * µs, 1000 * µs}, []time.Duration{1000 * µs, 1000 * µs, 1000 * µs}},
		{"a negative one counts as none", []time.Duration{-ms}, []time.Duration{0, 0, 0}},
		{"longer than half an hour", []time.Duration{ms, 3 * time.Hour}, []time.Duration{1023 * µs, 3 * time.Hour, 3 * time.Hour}},
	}
	for _, tt := range tests {
		var l latencies
		for _, d := range tt.in {
			l.add(d)
		}
		if diff := cmp.Diff(tt.want, l.quantiles(0.5, 0.9, 0.99)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestQuantilesAreClose compares them with those of the sorted numbers.
func TestQuantilesAreClose(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var l latencies
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond)).Truncate(time.Microsecond)
		l.add(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(q*float64(len(all))+0.5)-1]
		got := l.quantiles(q)[0]
		if got < want || got > want+want/16+time.Microsecond {
			t.Errorf("quantile %v: %v, want %v to %v", q, got, want, want+want/16)
		}
	}
}

func TestBucketsAreGapless(t *testing.T) {
	t.Parallel()
	for b := range bucketCount - 1 {
		top := bucketTop(b)
		if bucketOf(uint64(top)) != b || bucketOf(uint64(top)+1) != b+1 {
			t.Fatalf("bucket %d ends at %d: buckets %d and %d", b, top, bucketOf(uint64(top)), bucketOf(uint64(top)+1))
		}
	}
}
