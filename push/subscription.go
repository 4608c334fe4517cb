package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

var (
	// ErrClosed is what Next returns when the feed is closed and all is delivered.
	ErrClosed = errors.New("push: the feed is closed")
	// ErrBehind is what PollLive returns when what comes next is no longer in memory.
	ErrBehind = errors.New("push: the subscription is behind what is in memory")
)

// Waker is told that a subscription has something to deliver.
type Waker interface {
	// Wake is called once for each Arm. head is the offset at which the subscriptions
	// that are woken together are to stop, for PollLive; 0: where there is nothing
	// more. It must not block, nor call the subscription.
	Wake(head uint64)
}

// MaxLast bounds the readings of each series that a viewer may begin with.
const MaxLast = 1000

// Options say what a subscription begins with.
type Options struct {
	Selector device.Selector
	Policy   Policy
	// After is where to go on; nil means from now.
	After *Cursor
	// Last asks for the newest readings of each series, at most MaxLast, when
	// After is nil or cannot be honoured.
	Last int
	// Limit bounds the readings of a frame, at most MaxLimit; 0 means as many as
	// are reasonable, and the readings of Last in one frame. A limit that cuts
	// those makes the subscription go on behind the last of them, with all there
	// is.
	Limit int
	// Subscribed asks for a subscribed message first.
	Subscribed bool
	// Presence asks for device messages too: the present state of each device
	// that the selector wants, before the readings, and then each change.
	Presence bool
}

// Subscription is one viewer's place in the log. It must be used by one
// goroutine at a time.
type Subscription struct {
	feed    *Feed
	topic   *topic
	cursor  uint64
	limit   int
	memory  bool      // the history is not to be read
	every   bool      // messages are some time apart
	latest  bool      // of each series only the newest is delivered
	band    *deadband // nil: what does not change is delivered too
	pending []*Frame  // to be delivered before anything behind cursor
	live    bool      // cursor was the head a moment ago: what came since is gathered
	wake    signal    // of Next

	waker   Waker // of who is told; set by the first Arm
	waiting bool  // it stands in topic.waiting; guarded by topic.mu

	presence bool   // device messages are asked for,
	known    uint64 // and delivered, or pending, up to this version
}

// Subscribe returns a subscription; ctx bounds the reading of its snapshot.
// Close it after use.
func (f *Feed) Subscribe(ctx context.Context, o Options) (*Subscription, error) {
	s := &Subscription{feed: f, limit: min(o.Limit, MaxLimit), latest: o.Policy.Latest, every: o.Policy.Every > 0}
	if o.Policy.Changes {
		s.band = &deadband{width: o.Policy.Deadband}
	}
	if s.limit <= 0 {
		s.limit = frameReadings
	}
	s.topic = f.join(o.Selector, o.Policy)
	f.subs.Add(1)
	if err := s.begin(ctx, o); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Subscription) begin(ctx context.Context, o Options) error {
	head := s.feed.Head()
	s.cursor = head.Offset
	known := o.After != nil && o.After.Store == s.feed.store && o.After.Offset <= head.Offset
	if o.After != nil && !known {
		s.pending = append(s.pending, control(head, "reset", "reason", "unknown cursor"))
	}
	switch {
	case known:
		s.cursor = o.After.Offset
	case o.Last > 0:
		if err := s.snapshot(ctx, min(o.Last, MaxLast), o.Limit); err != nil {
			return err
		}
	}
	if s.presence = o.Presence; s.presence {
		var states []*Frame
		states, s.known = s.feed.presences.after(0, &s.topic.sel)
		s.pending = append(states, s.pending...)
	}
	if o.Subscribed {
		s.pending = append([]*Frame{Subscribed(s.Cursor())}, s.pending...)
	}
	return nil
}

// snapshot puts the newest n readings of each series in front; limit as in
// Options.
func (s *Subscription) snapshot(ctx context.Context, n, limit int) error {
	rs, head, err := s.feed.history.Latest(ctx, s.topic.sel, n)
	if err != nil {
		return fmt.Errorf("push: snapshot: %w", err)
	}
	if limit > 0 && len(rs) > s.limit {
		rs = rs[:s.limit]
		head = rs[s.limit-1].Offset
	}
	rs = slices.DeleteFunc(rs, func(r device.Stored) bool { return !s.passes(&r) })
	b := s.feed.builder()
	defer s.feed.release(b)
	s.pending = append(s.pending, s.build(rs, head, b))
	s.cursor = head
	return nil
}

// Cursor returns where the subscription stands.
func (s *Subscription) Cursor() Cursor { return Cursor{s.feed.store, s.cursor} }

// Close ends the subscription.
func (s *Subscription) Close() {
	if s.topic != nil {
		s.unwait()
		s.feed.leave(s.topic)
		s.topic = nil
		s.feed.subs.Add(-1)
	}
}

// Next returns the next message. It waits for one until ctx is done, and returns
// ErrClosed when the feed is closed and there is none. After a wait in vain
// Cursor is the head.
func (s *Subscription) Next(ctx context.Context) (*Frame, error) {
	if !s.live || len(s.pending) > 0 {
		if frame, err := s.poll(ctx, 0); frame != nil || err != nil {
			return frame, err
		}
	}
	if s.wake == nil {
		s.wake = make(signal, 1)
	}
	for {
		select {
		case <-s.wake: // left over from a wait that was given up
		default:
		}
		s.Arm(s.wake)
		select {
		case head := <-s.wake:
			if s.presence {
				s.unwait() // either may have woken it
			}
			if frame, err := s.poll(ctx, head); frame != nil || err != nil {
				return frame, err
			}
		case <-ctx.Done():
			s.unwait()
			s.cursor = s.feed.window(s.topic, s.cursor, new(windowRoom)).after
			return nil, ctx.Err()
		}
	}
}

// signal wakes Next.
type signal chan uint64

// Wake implements Waker.
func (w signal) Wake(head uint64) {
	select {
	case w <- head:
	default: // woken already
	}
}

// Arm has w woken, always the same w, when there is something to deliver or the
// feed is closed; that may be before Arm returns. Who is armed already stays so.
func (s *Subscription) Arm(w Waker) {
	if s.waker == nil {
		s.waker = w
	}
	s.topic.wait(s)
	if s.presence {
		s.feed.presences.wait(s)
	}
}

// Take returns the next message, or nil when there is none at present; then f is
// called as soon as there may be one, always the same f. f must neither block nor call
// the feed. ctx bounds the search in the history. Take is for who does not Arm himself,
// and not to be mixed with Next.
func (s *Subscription) Take(ctx context.Context, f func()) (*Frame, error) {
	frame, err := s.TakeLive(f) //nolint:contextcheck // it waits for nothing
	if !errors.Is(err, ErrBehind) {
		return frame, err
	}
	if frame, err = s.Poll(ctx); frame == nil && err == nil {
		s.Arm(s.caller(f))
	}
	return frame, err
}

// TakeLive is Take, but never waits for a disk: ErrBehind says that Take is needed.
func (s *Subscription) TakeLive(f func()) (*Frame, error) {
	call := s.caller(f)
	frame, err := s.PollLive(call.head.Swap(0))
	if frame == nil && err == nil {
		s.Arm(call)
	}
	return frame, err
}

// caller returns the waker of Take.
func (s *Subscription) caller(f func()) *caller {
	if call, ok := s.waker.(*caller); ok {
		return call
	}
	return &caller{f: f}
}

// caller is a waker that calls.
type caller struct {
	head atomic.Uint64 // of the last waking; 0: none since it was looked at
	f    func()
}

// Wake implements Waker.
func (c *caller) Wake(head uint64) {
	c.head.Store(head)
	c.f()
}

// Resume returns where a viewer goes on who has been handed nothing yet: before
// the first reading of a snapshot, else Cursor.
func (s *Subscription) Resume() Cursor {
	for _, f := range s.pending {
		for offset := range f.Each() {
			return Cursor{s.feed.store, offset - 1}
		}
	}
	return s.Cursor()
}

// unwait takes the registrations of Arm back.
func (s *Subscription) unwait() {
	s.topic.unwait(s)
	if s.presence {
		s.feed.presences.unwait(s)
	}
}

// Poll returns the next message, or nil when there is none at present. ctx
// bounds the search in the history.
func (s *Subscription) Poll(ctx context.Context) (*Frame, error) { return s.poll(ctx, 0) }

// PollLive is Poll for who is armed, and woken with upTo, or 0 when he was not: what
// comes behind upTo, or too soon after the last message, waits for the next waking.
// It never waits for a disk: ErrBehind says that Poll is needed.
func (s *Subscription) PollLive(upTo uint64) (*Frame, error) {
	s.memory = true
	defer func() { s.memory = false }()
	return s.poll(context.Background(), upTo)
}

// poll is Poll, but stops at the offset upTo when it lies ahead.
func (s *Subscription) poll(ctx context.Context, upTo uint64) (*Frame, error) {
	if s.presence && len(s.pending) == 0 {
		s.pending, s.known = s.feed.presences.after(s.known, &s.topic.sel)
	}
	if len(s.pending) > 0 {
		frame := s.pending[0]
		s.pending = s.pending[1:]
		return s.deliver(frame), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.memory && upTo == 0 && s.live && !s.feed.ended() {
		return nil, nil
	}
	if frame := s.shared(); frame != nil {
		s.cursor = frame.Cursor.Offset
		return s.deliver(frame), nil
	}
	frame, err := s.find(ctx, upTo)
	if frame == nil || err != nil {
		return nil, err
	}
	return s.deliver(frame), nil
}

// shared returns the frame that another subscriber has built from this cursor. What
// a deadband lets pass is nobody else's.
func (s *Subscription) shared() *Frame {
	if s.band != nil {
		return nil
	}
	return s.topic.shared(s.cursor, s.limit)
}

func (s *Subscription) deliver(f *Frame) *Frame {
	if s.every && f.Readings > 0 {
		s.topic.delivered(time.Now())
	}
	s.live = f.live || f.aside && s.live
	s.feed.frames.Add(1)
	s.feed.deliveries.Add(int64(f.Readings))
	return f
}
