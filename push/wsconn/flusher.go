package wsconn

import (
	"runtime"
	"slices"
	"sync"
)

// Flusher takes what there is to those who have something to get, by a few goroutines
// that live as long as there are any. Who has nothing to get costs no goroutine.
type Flusher[V any] struct {
	flush func(V)

	mu      sync.Mutex // guards following
	queue   []V
	head    int // of queue
	workers int
}

const (
	// perWorker is for how many a worker is worth waking.
	perWorker = 64
	// keepQueue is the longest queue whose memory is kept.
	keepQueue = 1024
)

// NewFlusher returns a Flusher that calls flush for each who is added. It must not
// wait, for the peer or a disk: others are behind in the queue.
func NewFlusher[V any](flush func(V)) *Flusher[V] { return &Flusher[V]{flush: flush} }

// Add queues v, who must not be queued already.
func (f *Flusher[V]) Add(v V) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, v)
	if f.workers < runtime.GOMAXPROCS(0) && len(f.queue)-f.head > perWorker*f.workers {
		f.workers++
		go f.work()
	}
}

// next returns who has waited longest; false ends the worker.
func (f *Flusher[V]) next() (v V, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == len(f.queue) {
		f.workers--
		return v, false
	}
	v, f.queue[f.head] = f.queue[f.head], v
	switch f.head++; {
	case f.head == len(f.queue) && cap(f.queue) > keepQueue:
		f.queue, f.head = nil, 0
	case f.head == len(f.queue):
		f.queue, f.head = f.queue[:0], 0
	case f.head > keepQueue && f.head > len(f.queue)/2: // it may never run empty
		f.queue, f.head = slices.Delete(f.queue, 0, f.head), 0
	}
	return v, true
}

func (f *Flusher[V]) work() {
	for v, ok := f.next(); ok; v, ok = f.next() {
		f.flush(v)
	}
}
