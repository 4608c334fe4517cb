package push

import (
	"sync"
	"time"
)

// wave has the subscribers of different topics woken together. Whoever is woken alone
// costs several times what he costs among others: for each waking goroutines begin and
// end, and a processor that sleeps is called.
type wave struct {
	gap time.Duration // between two wavings

	mu    sync.Mutex // guards following
	last  time.Time  // when topics were woken
	due   []*topic   // each armed, to be woken by timer
	timer *time.Timer
	runs  bool // timer does
}

// takes reports whether the wave will wake t; if not, the topics that are matched now
// are to be woken at once. The caller holds t.mu.
func (w *wave) takes(t *topic, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.gap - now.Sub(w.last)
	if !w.runs && (rest <= 0 || now.Equal(w.last)) {
		w.last = now
		return false
	}
	w.due = append(w.due, t)
	if !w.runs {
		w.runs = true
		if w.timer == nil {
			w.timer = time.AfterFunc(rest, w.roll)
		} else {
			w.timer.Reset(rest)
		}
	}
	return true
}

// roll is called by the timer.
func (w *wave) roll() {
	now := time.Now()
	w.mu.Lock()
	due := w.due
	w.due, w.runs, w.last = nil, false, now
	w.mu.Unlock()
	for i, t := range due {
		t.rouse(now)
		due[i] = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due == nil && cap(due) <= keepDue {
		w.due = due[:0]
	}
}

// keepDue is for how many topics a wave keeps its memory.
const keepDue = 1024
