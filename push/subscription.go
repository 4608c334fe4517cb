package push

import (
	"context"
	"errors"
	"fmt"

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
	// Limit bounds the readings of a frame; 0 means as many as are reasonable.
	Limit int
	// Subscribed asks for a subscribed message first.
	Subscribed bool
}

// Subscription is one viewer's place in the log. It must be used by one
// goroutine at a time.
type Subscription struct {
	feed    *Feed
	topic   *topic
	cursor  uint64
	limit   int
	pending []*Frame // to be delivered before anything behind cursor
	wake    chan struct{}
}

// Subscribe returns a subscription; ctx bounds the reading of its snapshot.
// Close it after use.
func (f *Feed) Subscribe(ctx context.Context, o Options) (*Subscription, error) {
	s := &Subscription{feed: f, limit: o.Limit, wake: make(chan struct{}, 1)}
	if s.limit <= 0 || s.limit > frameReadings {
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
		if err := s.snapshot(ctx, min(o.Last, MaxLast)); err != nil {
			return err
		}
	}
	if o.Subscribed {
		s.pending = append([]*Frame{Subscribed(s.Cursor())}, s.pending...)
	}
	return nil
}

// snapshot puts the newest readings of each series in front.
func (s *Subscription) snapshot(ctx context.Context, n int) error {
	rs, head, err := s.feed.history.Latest(ctx, s.topic.sel, n)
	if err != nil {
		return fmt.Errorf("push: snapshot: %w", err)
	}
	s.pending = append(s.pending, s.build(rs, head))
	s.cursor = head
	return nil
}

// Cursor returns where the subscription stands.
func (s *Subscription) Cursor() Cursor { return Cursor{s.feed.store, s.cursor} }

// Close ends the subscription.
func (s *Subscription) Close() {
	if s.topic != nil {
		s.topic.unwait(s.wake)
		s.feed.leave(s.topic)
		s.topic = nil
		s.feed.subs.Add(-1)
	}
}

// Next returns the next message. It waits for one until ctx is done, and returns
// ErrClosed when the feed is closed and there is none.
func (s *Subscription) Next(ctx context.Context) (*Frame, error) {
	for {
		frame, err := s.Poll(ctx)
		if frame != nil || err != nil {
			return frame, err
		}
		select {
		case <-s.wake: // left over from a wait that was given up
		default:
		}
		s.feed.wait(s.topic, s.cursor, s.wake)
		select {
		case <-s.wake:
		case <-ctx.Done():
			s.topic.unwait(s.wake)
			return nil, ctx.Err()
		}
	}
}

// Poll returns the next message, or nil when there is none at present. ctx
// bounds the search in the history.
func (s *Subscription) Poll(ctx context.Context) (*Frame, error) {
	if len(s.pending) > 0 {
		frame := s.pending[0]
		s.pending = s.pending[1:]
		return s.deliver(frame), nil
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if frame := s.topic.shared(s.cursor, s.limit); frame != nil {
			s.cursor = frame.Cursor.Offset
			return s.deliver(frame), nil
		}
		chunks, base, head, closed, ok := s.feed.window(s.cursor)
		if !ok {
			frame, err := s.recall(ctx)
			if frame != nil || err != nil {
				return frame, err
			}
			continue
		}
		if len(chunks) == 0 {
			if closed {
				return nil, ErrClosed
			}
			return nil, nil
		}
		if frame := s.scan(chunks, base, head); frame != nil {
			return s.deliver(frame), nil
		}
	}
}

func (s *Subscription) deliver(f *Frame) *Frame {
	s.feed.frames.Add(1)
	s.feed.deliveries.Add(int64(f.Readings))
	return f
}

// scan looks through the chunks for readings behind the cursor and moves it. It
// returns nil when it found none.
func (s *Subscription) scan(chunks []*chunk, base, head uint64) *Frame {
	from := s.cursor
	end := min(head, base+uint64(len(chunks))*chunkSize-1)
	var b frameBuilder
	for s.cursor < end {
		at := s.cursor + 1 - base
		c, i := chunks[at/chunkSize], int(at%chunkSize)
		s.cursor++
		if r := &c.readings[i]; !s.topic.sel.Match(r.Device, r.Metric) {
			continue
		}
		if b.frame == nil {
			b.begin(s.feed.store, 128)
		}
		b.add(c.encoded(i))
		if b.frame.Readings == s.limit {
			break
		}
	}
	if b.frame == nil {
		return nil
	}
	frame := b.finish(s.Cursor())
	s.topic.share(from, s.limit, frame)
	return frame
}

// recall reads behind the cursor from the history and moves the cursor. It
// returns nil when it found nothing in the stretch it looked at.
func (s *Subscription) recall(ctx context.Context) (*Frame, error) {
	if floor, _ := s.feed.history.Bounds(); s.cursor < floor {
		from := s.Cursor()
		s.cursor = floor
		return s.deliver(control(s.Cursor(), "gap", "from", from.String(), "reason", "retention")), nil
	}
	rs, next, err := s.feed.history.After(ctx, s.topic.sel, s.cursor, s.limit)
	if err != nil {
		return nil, fmt.Errorf("push: history: %w", err)
	}
	s.cursor = max(s.cursor, next)
	if len(rs) == 0 {
		return nil, nil
	}
	return s.deliver(s.build(rs, s.cursor)), nil
}

// build encodes readings from the history.
func (s *Subscription) build(rs []device.Stored, cursor uint64) *Frame {
	var b frameBuilder
	b.begin(s.feed.store, 110*len(rs))
	for i := range rs {
		b.addStored(&rs[i])
	}
	return b.finish(Cursor{s.feed.store, cursor})
}
