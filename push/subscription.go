package push

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/naru-telemetry/naru/device"
)

// ErrClosed is what Next returns when the feed is closed and all is delivered.
var ErrClosed = errors.New("push: the feed is closed")

// MaxLast bounds the readings of each series that a viewer may begin with.
const MaxLast = 1000

// Options say what a subscription begins with.
type Options struct {
	Selector device.Selector
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
	pending []*Frame // to be delivered before anything behind cursor
	live    bool     // cursor was the head a moment ago: what came since is gathered
	wake    waiter   // a signal, or a caller of Take

	presence bool   // device messages are asked for,
	known    uint64 // and delivered, or pending, up to this version
}

// Subscribe returns a subscription; ctx bounds the reading of its snapshot.
// Close it after use.
func (f *Feed) Subscribe(ctx context.Context, o Options) (*Subscription, error) {
	s := &Subscription{feed: f, limit: min(o.Limit, MaxLimit)}
	if s.limit <= 0 {
		s.limit = frameReadings
	}
	s.topic = f.join(o.Selector)
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
	woken, ok := s.wake.(signal)
	if !ok {
		woken = make(signal, 1)
		s.wake = woken
	}
	for {
		select {
		case <-woken: // left over from a wait that was given up
		default:
		}
		s.topic.wait(s.cursor, s.wake)
		if s.presence {
			s.feed.presences.wait(s.known, s.wake)
		}
		select {
		case head := <-woken:
			if s.presence {
				s.unwait() // either may have woken it
			}
			if frame, err := s.poll(ctx, head); frame != nil || err != nil {
				return frame, err
			}
		case <-ctx.Done():
			s.unwait()
			s.cursor = s.feed.window(s.topic, s.cursor, nil).after
			return nil, ctx.Err()
		}
	}
}

// Take returns the next message, or nil when there is none at present; then f is
// called as soon as there may be one. f must neither block nor call the feed. ctx
// bounds the search in the history. Take and Next must not be mixed.
func (s *Subscription) Take(ctx context.Context, f func()) (*Frame, error) {
	call, ok := s.wake.(*caller)
	if !ok {
		call = &caller{f: f}
		s.wake = call
	}
	head := call.head.Swap(0)
	if head != 0 || !s.live || len(s.pending) > 0 {
		if head == anyHead {
			head = 0
		}
		if frame, err := s.poll(ctx, head); frame != nil || err != nil {
			return frame, err
		}
	}
	if s.presence {
		s.unwait() // either may have woken it
		s.feed.presences.wait(s.known, call)
	}
	s.topic.wait(s.cursor, call)
	return nil, nil
}

// caller is a waiter that is called.
type caller struct {
	head atomic.Uint64 // of the last wake; 0: none since it was looked at
	f    func()
}

// anyHead stands for a wake that says no offset.
const anyHead = math.MaxUint64

func (c *caller) wake(head uint64) {
	if head == 0 {
		head = anyHead
	}
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

// unwait takes the registrations of Next and Take back.
func (s *Subscription) unwait() {
	if s.wake == nil {
		return
	}
	s.topic.unwait(s.wake)
	if s.presence {
		s.feed.presences.unwait(s.wake)
	}
}

// Poll returns the next message, or nil when there is none at present. ctx
// bounds the search in the history.
func (s *Subscription) Poll(ctx context.Context) (*Frame, error) { return s.poll(ctx, 0) }

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
	if frame := s.topic.shared(s.cursor, s.limit); frame != nil {
		s.cursor = frame.Cursor.Offset
		return s.deliver(frame), nil
	}
	frame, err := s.find(ctx, upTo)
	if frame == nil || err != nil {
		return nil, err
	}
	return s.deliver(frame), nil
}

// find builds the next frame and shares it. It returns nil when there is nothing
// at present.
func (s *Subscription) find(ctx context.Context, upTo uint64) (*Frame, error) {
	b := s.feed.builder()
	defer s.feed.release(b)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		from := s.cursor
		w := s.feed.window(s.topic, from, b.room[:0])
		s.cursor = w.after
		var frame *Frame
		var err error
		switch {
		case w.below:
			frame, err = s.recall(ctx, b)
		case len(w.chunks) > 0:
			frame = s.scan(&w, upTo, b)
		case w.closed:
			return nil, ErrClosed
		default:
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if frame != nil {
			s.topic.share(from, s.limit, frame)
			return frame, nil
		}
	}
}

func (s *Subscription) deliver(f *Frame) *Frame {
	s.live = f.live || f.aside && s.live
	s.feed.frames.Add(1)
	s.feed.deliveries.Add(int64(f.Readings))
	return f
}

// scan looks through the window for readings behind the cursor, as far as upTo
// when that lies ahead, and moves the cursor. It returns nil when it found none.
func (s *Subscription) scan(w *window, upTo uint64, b *frameBuilder) *Frame {
	last := w.head
	if upTo > s.cursor {
		last = min(last, upTo)
	}
	end := min(last, w.base+uint64(len(w.chunks))*chunkSize-1)
	if w.known {
		s.pick(w, end, b)
	} else {
		s.search(w, end, b)
	}
	if b.readings == 0 {
		return nil
	}
	frame := b.finish(s.Cursor())
	frame.live = s.cursor == last
	return frame
}

// search adds what the topic wants up to end, and moves the cursor there or
// behind the last that the limit lets through.
func (s *Subscription) search(w *window, end uint64, b *frameBuilder) {
	for s.cursor < end && b.readings < s.limit {
		at := s.cursor + 1 - w.base
		c, i := w.chunks[at/chunkSize], int(at%chunkSize)
		s.cursor++
		if r := &c.readings[i]; s.topic.sel.Match(r.Device, r.Metric) {
			b.add(c.encoded(i))
		}
	}
}

// pick is search where the offsets are known.
func (s *Subscription) pick(w *window, end uint64, b *frameBuilder) {
	for _, offset := range w.wanted {
		if offset > end {
			break
		}
		at := offset - w.base
		b.add(w.chunks[at/chunkSize].encoded(int(at % chunkSize)))
		if b.readings == s.limit {
			s.cursor = offset
			return
		}
	}
	s.cursor = end
}

// recall reads behind the cursor from the history and moves the cursor. It
// returns nil when it found nothing in the stretch it looked at.
func (s *Subscription) recall(ctx context.Context, b *frameBuilder) (*Frame, error) {
	if gap := s.gap(); gap != nil {
		return gap, nil
	}
	rs, next, err := s.feed.history.After(ctx, s.topic.sel, s.cursor, s.limit)
	if err != nil {
		return nil, fmt.Errorf("push: history: %w", err)
	}
	// Again, for what retention took away while the history was looking.
	if gap := s.gap(); gap != nil {
		return gap, nil
	}
	if next <= s.cursor {
		return nil, fmt.Errorf("push: history: it ends at %d, before the feed begins", s.cursor)
	}
	s.cursor = next
	if len(rs) == 0 {
		return nil, nil
	}
	return s.build(rs, s.cursor, b), nil
}

// gap moves the cursor to the floor of the history and returns the message that
// says so, or nil when the cursor is not below it.
func (s *Subscription) gap() *Frame {
	floor, _ := s.feed.history.Bounds()
	if s.cursor >= floor {
		return nil
	}
	from := s.Cursor()
	s.cursor = floor
	return control(s.Cursor(), "gap", "from", from.String(), "reason", "retention")
}

// build encodes readings from the history.
func (s *Subscription) build(rs []device.Stored, cursor uint64, b *frameBuilder) *Frame {
	for i := range rs {
		b.addStored(&rs[i])
	}
	return b.finish(Cursor{s.feed.store, cursor})
}

// builder returns an empty builder, to be released after use.
func (f *Feed) builder() *frameBuilder {
	if b, ok := f.builders.Get().(*frameBuilder); ok {
		return b
	}
	return &frameBuilder{}
}

func (f *Feed) release(b *frameBuilder) {
	if cap(b.body) <= keepBuilder {
		b.body, b.readings = b.body[:0], 0
		f.builders.Put(b)
	}
}
