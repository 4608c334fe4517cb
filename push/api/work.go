package api

import (
	"context"
	"errors"
	"sync"
)

// errStopping is why the context of work ends that Close ends.
var errStopping = errors.New("the gateway is stopping")

// work is what takes long: imports and backups. They end before the store does.
type work struct {
	mu      sync.Mutex // guards following
	closed  bool
	cancels map[*context.CancelCauseFunc]struct{}
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
	ctx, cancel := context.WithCancelCause(ctx)
	if w.cancels == nil {
		w.cancels = map[*context.CancelCauseFunc]struct{}{}
	}
	w.cancels[&cancel] = struct{}{}
	w.running.Add(1)
	return ctx, func() {
		cancel(nil)
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
		(*cancel)(errStopping)
	}
	w.mu.Unlock()
	w.running.Wait()
}
