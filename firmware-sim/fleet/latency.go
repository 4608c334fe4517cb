package fleet

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies counts durations in buckets whose width is at most 1/16 of their
// value, from a microsecond to half an hour. Its methods may be called
// concurrently.
type latencies struct {
	buckets [bucketCount]atomic.Int64
	longest atomic.Int64 // µs
}

const (
	bucketBits  = 4 // 16 buckets for each doubling
	bucketCount = 30 << bucketBits
)

func (l *latencies) add(d time.Duration) {
	us := max(d.Microseconds(), 0)
	l.buckets[bucketOf(uint64(us))].Add(1)
	for {
		old := l.longest.Load()
		if us <= old || l.longest.CompareAndSwap(old, us) {
			return
		}
	}
}

// bucketOf returns the bucket of a number of microseconds. Below 32 each has its
// own.
func bucketOf(us uint64) int {
	shift := max(bits.Len64(us)-bucketBits-1, 0)
	return min(shift<<bucketBits+int(us>>shift), bucketCount-1)
}

// bucketTop returns the largest number of microseconds in bucket b.
func bucketTop(b int) int64 {
	shift := max(b>>bucketBits-1, 0)
	return int64(b-shift<<bucketBits+1)<<shift - 1
}

// quantiles returns, for each q between 0 and 1, a duration that the share q of
// all does not exceed. It rounds up, but not over the longest.
func (l *latencies) quantiles(qs ...float64) []time.Duration {
	var counts [bucketCount]int64
	total := int64(0)
	for i := range l.buckets {
		counts[i] = l.buckets[i].Load()
		total += counts[i]
	}
	out := make([]time.Duration, len(qs))
	longest := l.longest.Load()
	for i, q := range qs {
		rank := int64(q*float64(total) + 0.5)
		for b, seen := 0, int64(0); b < bucketCount && total > 0; b++ {
			if seen += counts[b]; seen >= max(rank, 1) {
				top := min(bucketTop(b), longest)
				if b == bucketCount-1 {
					top = longest
				}
				out[i] = time.Duration(top) * time.Microsecond
				break
			}
		}
	}
	return out
}
