package push

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// topic is what all subscriptions with one selector and policy share.
type topic struct {
	feed   *Feed
	sel    device.Selector
	key    string
	gather time.Duration // for how long readings are gathered
	refs   atomic.Int32  // written under Feed.mu

	// newest is the highest offset that the topic wants, or an older head of the
	// feed; guarded by Feed.mu, as the fields below.
	newest uint64
	// quiet are the last stretches in which the topic wants nothing: a subscriber
	// that has waited through one need not look through it, and need not have it
	// kept.
	quiet  [quietStretches]stretch
	oldest int // in quiet
	// recent are the last offsets that the topic wants, a ring: all behind
	// complete, wanted in total.
	recent   [recentWanted]uint64
	wanted   uint64
	complete uint64

	mu       sync.Mutex // guards following
	waiting  []*Subscription
	lastWake time.Time
	timer    *time.Timer // made when first needed
	armed    bool        // readings are gathered: timer runs, or the feed's wave
	frames   [sharedFrames]sharedFrame
	next     int // in frames
}

const (
	// sharedFrames is how many frames a topic keeps for subscribers that arrive
	// at the same cursor a moment later.
	sharedFrames = 4
	// quietStretches is how many stretches of more than minQuiet offsets a topic
	// remembers. Shorter ones are looked through faster.
	quietStretches = 4
	minQuiet       = 256
	// recentWanted is how many wanted offsets a topic remembers, so that they need
	// not be searched: 1 KiB a topic. Who wants more at a time wants most of what
	// there is.
	recentWanted = 128
)

// stretch is the offsets above from, up to to.
type stretch struct{ from, to uint64 }

type sharedFrame struct {
	from  uint64
	limit int
	frame *Frame
}

// join returns the topic of a selector and policy, made if there is none.
func (f *Feed) join(sel device.Selector, p Policy) *topic {
	key := sel.Key() + p.key()
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[key]
	if t == nil {
		head := f.head.Load()
		t = &topic{feed: f, sel: sel, key: key, gather: max(f.gather, p.Every), newest: head, complete: head}
		f.topics[key] = t
		f.interest.add(t)
	}
	t.refs.Add(1)
	return t
}

// leave ends one use of t.
func (f *Feed) leave(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.refs.Add(-1) == 0 {
		delete(f.topics, t.key)
		f.interest.remove(t)
	}
}

// wantsLocked notes that the topic wants the reading at offset. The caller holds
// Feed.mu, as do those of the next two.
func (t *topic) wantsLocked(offset uint64) {
	if offset-t.newest > minQuiet {
		t.quiet[t.oldest] = stretch{t.newest, offset - 1}
		t.oldest = (t.oldest + 1) % quietStretches
	}
	t.newest = offset
	i := t.wanted % recentWanted
	if t.wanted >= recentWanted {
		t.complete = t.recent[i]
	}
	t.recent[i] = offset
	t.wanted++
}

// wantedLocked appends the offsets behind after that the topic wants; ok tells
// whether it remembers them all.
func (t *topic) wantedLocked(dst []uint64, after uint64) (_ []uint64, ok bool) {
	if after < t.complete {
		return dst, false
	}
	for n := t.wanted - min(t.wanted, recentWanted); n < t.wanted; n++ {
		if offset := t.recent[n%recentWanted]; offset > after {
			dst = append(dst, offset)
		}
	}
	return dst, true
}

// skipLocked returns a position at or above after, up to which the topic wants
// nothing.
func (t *topic) skipLocked(after, head uint64) uint64 {
	if after >= t.newest {
		return max(after, head)
	}
	for _, q := range t.quiet {
		if q.from <= after && after < q.to {
			return q.to
		}
	}
	return after
}

// matched wakes the subscribers, now or when the gathering time is over.
func (t *topic) matched(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) > 0 {
		t.scheduleLocked(now)
	}
}

func (t *topic) scheduleLocked(now time.Time) {
	if t.armed {
		return
	}
	rest := t.gather - now.Sub(t.lastWake)
	if rest <= 0 {
		if t.armed = t.feed.wave.takes(t, now); !t.armed {
			t.wakeLocked(now)
		}
		return
	}
	t.armed = true
	if t.timer == nil {
		t.timer = time.AfterFunc(rest, t.gathered)
	} else {
		t.timer.Reset(rest)
	}
}

// delivered notes that a subscriber has got something, woken or not: the next waking
// is that far from it.
func (t *topic) delivered(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastWake = now
}

// gathered is called by the timer.
func (t *topic) gathered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = false
	if len(t.waiting) > 0 {
		t.scheduleLocked(time.Now())
	}
}

// rouse is called by the wave.
func (t *topic) rouse(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = false
	if len(t.waiting) > 0 {
		t.wakeLocked(now)
	}
}

// wakeLocked sends the head to all who wait: where they are to stop, so that
// they stand at the same cursor afterwards.
func (t *topic) wakeLocked(now time.Time) {
	t.lastWake = now
	head := t.feed.head.Load()
	for i, s := range t.waiting {
		s.waiting = false
		s.waker.Wake(head)
		t.waiting[i] = nil
	}
	t.waiting = t.waiting[:0]
}

// wait registers s to be woken when there is something behind its cursor; when
// there is already, as soon as the gathering time is over.
func (t *topic) wait(s *Subscription) {
	t.feed.mu.RLock()
	ready, closed := t.newest > s.cursor, t.feed.closed
	t.mu.Lock() // before the feed is unlocked, so that no reading slips between
	t.feed.mu.RUnlock()
	defer t.mu.Unlock()
	if !s.waiting {
		s.waiting = true
		t.waiting = append(t.waiting, s)
	}
	switch {
	case closed:
		t.wakeLocked(time.Now())
	case ready:
		t.scheduleLocked(time.Now())
	}
}

// unwait takes the registration back.
func (t *topic) unwait(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting, s); i >= 0 {
		s.waiting = false
		last := len(t.waiting) - 1
		t.waiting[i], t.waiting[last] = t.waiting[last], nil
		t.waiting = t.waiting[:last]
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

// share keeps the frame for the others, if there are any.
func (t *topic) share(from uint64, limit int, f *Frame) {
	if t.refs.Load() < 2 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames[t.next] = sharedFrame{from, limit, f}
	t.next = (t.next + 1) % sharedFrames
}
