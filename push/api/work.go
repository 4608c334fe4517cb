package api

import (
	"context"
	"sync"
)

// work is what takes long: imports and backups. They end before the store does.
type work struct {
	mu      sync.Mutex // guards following
	closed  bool
	cancels map[*context.CancelFunc]struct{}
	running sync.WaitGroup
}

// begin returns a context that ends with ctx or Close, and a function that must
// be called when the work is done; false after Close.
func (w *work) begin(ctx context.Context) (context.Context, func(), bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	if w.cancels == nil {
		w.cancels = map[*context.CancelFunc]struct{}{}
	}
	w.cancels[&cancel] = struct{}{}
	w.running.Add(1)
	return ctx, func() {
		cancel()
		w.mu.Lock()
		delete(w.cancels, &cancel)
		w.mu.Unlock()
		w.running.Done()
	}, true
}

// close ends all work and waits for it.
func (w *work) close() {
	w.mu.Lock()
	w.closed = true
	for cancel := range w.cancels {
		(*cancel)()
	}
	w.mu.Unlock()
	w.running.Wait()
}
