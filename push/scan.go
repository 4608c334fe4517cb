package push

import (
	"context"
	"fmt"
	"slices"

	"github.com/naru-telemetry/naru/device"
)

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
		w := s.feed.window(s.topic, from, &b.room)
		s.cursor = w.after
		var frame *Frame
		var err error
		switch {
		case w.below && s.memory:
			s.live = false
			return nil, ErrBehind
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
			if s.band == nil {
				s.topic.share(from, s.limit, frame)
			}
			return frame, nil
		}
	}
}

// scan looks through the window for readings behind the cursor, as far as upTo
// when that lies ahead, and moves the cursor. It returns nil when it found none.
func (s *Subscription) scan(w *window, upTo uint64, b *frameBuilder) *Frame {
	last := w.head
	if upTo > s.cursor {
		last = min(last, upTo)
	}
	end := min(last, w.base+uint64(len(w.chunks))*chunkSize-1)
	switch {
	case s.latest:
		s.conflate(w, end, b)
	case w.known:
		s.pick(w, end, b)
	default:
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
		if r := &c.readings[i]; s.topic.sel.Match(r.Device, r.Metric) && s.passes(r) {
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
		if c, i := w.at(offset); s.passes(&c.readings[i]) {
			b.add(c.encoded(i))
		}
		if b.readings == s.limit {
			s.cursor = offset
			return
		}
	}
	s.cursor = end
}

// passes reports whether the reading is not left out for having changed too little.
func (s *Subscription) passes(r *device.Stored) bool { return s.band == nil || s.band.passes(r) }

// conflate adds the newest reading of each series up to end, and moves the cursor
// like search.
func (s *Subscription) conflate(w *window, end uint64, b *frameBuilder) {
	wanted := w.wanted
	if !w.known {
		wanted = nil
		for offset := s.cursor + 1; offset <= end; offset++ {
			c, i := w.at(offset)
			if r := &c.readings[i]; s.topic.sel.Match(r.Device, r.Metric) {
				wanted = append(wanted, offset)
			}
		}
	}
	if i := slices.IndexFunc(wanted, func(offset uint64) bool { return offset > end }); i >= 0 {
		wanted = wanted[:i]
	}
	for _, offset := range newest(wanted, func(offset uint64) *device.Stored {
		c, i := w.at(offset)
		return &c.readings[i]
	}) {
		c, i := w.at(offset)
		if s.passes(&c.readings[i]) {
			b.add(c.encoded(i))
		}
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
	if s.latest {
		return s.recallLatest(ctx, b)
	}
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
	rs = slices.DeleteFunc(rs, func(r device.Stored) bool { return !s.passes(&r) })
	if len(rs) == 0 {
		return nil, nil
	}
	return s.build(rs, s.cursor, b), nil
}

// recallLatest is recall for who wants the newest reading of each series only: those
// behind the cursor, however far it is behind. Nothing that he wants can be gone.
func (s *Subscription) recallLatest(ctx context.Context, b *frameBuilder) (*Frame, error) {
	rs, head, err := s.feed.history.Latest(ctx, s.topic.sel, 1)
	if err != nil {
		return nil, fmt.Errorf("push: history: %w", err)
	}
	from := s.cursor
	s.cursor = max(s.cursor, head)
	rs = slices.DeleteFunc(rs, func(r device.Stored) bool { return r.Offset <= from || !s.passes(&r) })
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
		clear(b.room.chunks[:]) // the feed may drop them
		f.builders.Put(b)
	}
}
