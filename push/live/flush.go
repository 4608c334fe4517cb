package live

import (
	"runtime"
	"sync"
)

// flusher takes viewers who have something to get to a few goroutines, which live
// as long as there are any. A viewer who has nothing to get costs no goroutine, and
// one who cannot be written to gets one of his own.
type flusher struct {
	mu      sync.Mutex // guards following
	queue   []*wsViewer
	head    int // of queue
	workers int
}

// add queues a viewer. He must not be queued already.
func (f *flusher) add(v *wsViewer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, v)
	if f.workers < runtime.GOMAXPROCS(0) && len(f.queue)-f.head > perWorker*f.workers {
		f.workers++
		go f.work()
	}
}

// perWorker is for how many viewers a worker is worth waking.
const perWorker = 16

// keepQueue is the longest queue whose memory is kept.
const keepQueue = 1024

// next returns the viewer who has waited longest; nil ends the worker.
func (f *flusher) next() *wsViewer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.head == len(f.queue) {
		f.workers--
		return nil
	}
	v := f.queue[f.head]
	f.queue[f.head] = nil
	if f.head++; f.head == len(f.queue) {
		f.queue, f.head = f.queue[:0], 0
		if cap(f.queue) > keepQueue {
			f.queue = nil
		}
	}
	return v
}

func (f *flusher) work() {
	for v := f.next(); v != nil; v = f.next() {
		v.advance(false)
	}
}
