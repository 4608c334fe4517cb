package engine

import (
	"sync"
	"time"
)

// agenda calls functions at set times, any number of them with one timer. There
// are few different spans and many entries with each; entries of one span come due
// in the order in which they were set. So each span has a list, and setting,
// clearing and finding what is due take a few steps.
type agenda struct {
	mu    sync.Mutex // guards following
	spans map[time.Duration]*span
	timer *time.Timer
	next  time.Time // when timer fires; zero: it does not run
}

// early is by which part of its span an entry may be called too soon, so that
// many are called with one waking.
const early = 128

// span is a list of entries, the first due first.
type span struct {
	length      time.Duration
	first, last *entry
}

// entry is a function in an agenda, at most once.
type entry struct {
	f   func()    // does not change once the entry is set
	due time.Time // written by set only, whose calls for one entry do not overlap

	in         *span // guarded by agenda.mu, as prev and next; nil: not set
	prev, next *entry
}

// set has e.f called when the span from base is over, and not when it was set to
// before.
func (a *agenda) set(e *entry, length time.Duration, base time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clearLocked(e)
	if a.spans == nil {
		a.spans = map[time.Duration]*span{}
	}
	s := a.spans[length]
	if s == nil {
		s = &span{length: length}
		a.spans[length] = s
	}
	e.in, e.due = s, base.Add(length)
	e.prev = s.last
	for e.prev != nil && e.prev.due.After(e.due) {
		e.prev = e.prev.prev
	}
	if e.prev == nil {
		e.next, s.first = s.first, e
	} else {
		e.next, e.prev.next = e.prev.next, e
	}
	if e.next == nil {
		s.last = e
	} else {
		e.next.prev = e
	}
	if a.next.IsZero() || e.due.Before(a.next) {
		a.armLocked(e.due)
	}
}

// clear has e.f not called; e may be nil. A call that has begun is not waited for.
func (a *agenda) clear(e *entry) {
	if e == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clearLocked(e)
}

func (a *agenda) clearLocked(e *entry) {
	if e.in == nil {
		return
	}
	if e.prev == nil {
		e.in.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		e.in.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.in, e.prev, e.next = nil, nil, nil
}

func (a *agenda) armLocked(at time.Time) {
	a.next = at
	if a.timer == nil {
		a.timer = time.AfterFunc(time.Until(at), a.call)
		return
	}
	a.timer.Reset(time.Until(at))
}

// call calls what is due. It is called by the timer.
func (a *agenda) call() {
	for _, e := range a.due(time.Now()) {
		e.f()
	}
}

// due takes out what is due and arms the timer for the rest.
func (a *agenda) due(now time.Time) []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	var due []*entry
	var next time.Time
	for _, s := range a.spans {
		for e := s.first; e != nil && !e.due.After(now); e = s.first {
			a.clearLocked(e)
			due = append(due, e)
		}
		// What is nearly due is called too, when the timer has something to do.
		for e := s.first; e != nil && len(due) > 0 && !e.due.Add(-s.length/early).After(now); e = s.first {
			a.clearLocked(e)
			due = append(due, e)
		}
		if s.first != nil && (next.IsZero() || s.first.due.Before(next)) {
			next = s.first.due
		}
	}
	a.next = time.Time{}
	if !next.IsZero() {
		a.armLocked(next)
	}
	return due
}
