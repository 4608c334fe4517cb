package wsconn

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// Everyone who is added is flushed, those of one worker in order, also who is added
// while the queue is worked off.
func TestFlusher(t *testing.T) {
	for _, n := range []int{1, perWorker, perWorker + 2, 3 * keepQueue} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[int]int{}
			var f *Flusher[int]
			f = NewFlusher(func(v int) {
				mu.Lock()
				seen[v%n]++
				mu.Unlock()
				if v+n < 4*n {
					f.Add(v + n)
				}
			})
			for i := range n {
				f.Add(i)
			}
			synctest.Wait()
			for i := range n {
				if seen[i] != 4 {
					t.Errorf("%d of %d was flushed %d times, want 4", i, n, seen[i])
				}
			}
			if f.workers != 0 || len(f.queue) != 0 || f.head != 0 || cap(f.queue) > keepQueue {
				t.Errorf("%d workers are left, and %d in a queue of %d", f.workers, len(f.queue), cap(f.queue))
			}
		})
	}
}

// One worker goes by the order of adding.
func TestFlusherOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []int
		f := NewFlusher(func(v int) { got = append(got, v) })
		for i := range perWorker {
			f.Add(i)
		}
		synctest.Wait()
		if len(got) != perWorker || !slices.IsSorted(got) {
			t.Error(got)
		}
	})
}
