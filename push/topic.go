package push

import (
	"sync"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// topic is what all subscriptions with one selector share.
type topic struct {
	sel  device.Selector
	key  string
	refs int // guarded by Feed.mu
	// newest is the highest offset that the topic wants; guarded by Feed.mu.
	newest uint64

	mu       sync.Mutex // guards following
	waiting  []chan<- struct{}
	lastWake time.Time
	timer    *time.Timer // runs while readings are gathered
	frames   [sharedFrames]sharedFrame
	next     int
}

// sharedFrames is how many frames a topic keeps for subscribers that arrive at
// the same cursor a moment later.
const sharedFrames = 4

type sharedFrame struct {
	from  uint64
	limit int
	frame *Frame
}

// join returns the topic of sel, made if there is none.
func (f *Feed) join(sel device.Selector) *topic {
	key := sel.Key()
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[key]
	if t == nil {
		t = &topic{sel: sel, key: key, newest: f.head}
		f.topics[key] = t
		clear(f.byDevice)
	}
	t.refs++
	return t
}

// leave ends one use of t.
func (f *Feed) leave(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.refs--; t.refs == 0 {
		delete(f.topics, t.key)
		clear(f.byDevice)
	}
}

// matched wakes the subscribers, now or when the gathering time is over.
func (t *topic) matched(gather time.Duration, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 {
		t.scheduleLocked(gather, now)
	}
}

func (t *topic) scheduleLocked(gather time.Duration, now time.Time) {
	if t.timer != nil {
		return
	}
	quiet := now.Sub(t.lastWake)
	if quiet >= gather {
		t.wakeLocked(now)
		return
	}
	t.timer = time.AfterFunc(gather-quiet, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.timer = nil
		t.wakeLocked(time.Now())
	})
}

func (t *topic) wakeLocked(now time.Time) {
	t.lastWake = now
	for i, w := range t.waiting {
		select {
		case w <- struct{}{}:
		default: // woken already
		}
		t.waiting[i] = nil
	}
	t.waiting = t.waiting[:0]
}

// wait registers wake to be sent to when there is something behind cursor; at
// once when there is already and the gathering time is over.
func (f *Feed) wait(t *topic, cursor uint64, wake chan<- struct{}) {
	f.mu.RLock()
	ready, closed := t.newest > cursor, f.closed
	t.mu.Lock() // before the feed is unlocked, so that no reading slips between
	f.mu.RUnlock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, wake)
	switch {
	case closed:
		t.wakeLocked(time.Now())
	case ready:
		t.scheduleLocked(f.gather, time.Now())
	}
}

// unwait takes the registration back.
func (t *topic) unwait(wake chan<- struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range t.waiting {
		if w == wake {
			last := len(t.waiting) - 1
			t.waiting[i], t.waiting[last] = t.waiting[last], nil
			t.waiting = t.waiting[:last]
			return
		}
	}
}

// shared returns the frame that another subscriber has built from this cursor.
func (t *topic) shared(from uint64, limit int) *Frame {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.frames {
		if s := &t.frames[i]; s.frame != nil && s.from == from && s.limit == limit {
			return s.frame
		}
	}
	return nil
}

func (t *topic) share(from uint64, limit int, f *Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames[t.next] = sharedFrame{from, limit, f}
	t.next = (t.next + 1) % sharedFrames
}
