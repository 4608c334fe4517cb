package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
)

// ctxEvery is after how many readings a cancelled context is noticed.
const ctxEvery = 4096

// After returns readings that sel wants with offsets above after, in ascending
// order, at most limit of them, and the offset up to which everything has been
// looked at: the cursor to go on with. It looks at a bounded part of the log,
// so that it may return no reading and yet a larger next; next is the head when
// nothing is left.
func (l *Log) After(ctx context.Context, sel device.Selector, after uint64, limit int) (rs []device.Stored, next uint64, err error) {
	if floor, head := l.Bounds(); after >= head {
		return nil, max(after, floor), nil
	}
	if limit <= 0 {
		return nil, after, nil
	}
	s := l.newScan(sel)
	after = max(after, s.floor)
	next = after
	collect := func(r *device.Stored) error {
		if r.Offset <= after {
			return nil
		}
		rs = append(rs, *r)
		next = r.Offset
		if len(rs) >= limit {
			return errStop
		}
		return nil
	}
	if after+1 < s.firstPending {
		err := s.committedAfter(ctx, after, limit, collect)
		switch {
		case errors.Is(err, errStop):
			return rs, next, nil
		case err != nil:
			return nil, after, fmt.Errorf("storage: read after %d: %w", after, err)
		case !s.chunk.done:
			return rs, s.chunk.next - 1, nil
		}
	}
	for _, b := range s.pending {
		if b.last() <= after || s.wants(b) == 0 {
			continue
		}
		if err := s.eachRow(b, collect); errors.Is(err, errStop) {
			return rs, next, nil
		} else if err != nil {
			return nil, after, err
		}
	}
	return rs, s.head, nil
}

// committedAfter calls fn with the readings of the next chunk, or of less of
// it when that has limit readings after the offset.
func (s *scan) committedAfter(ctx context.Context, after uint64, limit int, fn func(*device.Stored) error) error {
	found := 0
	err := s.up(after+1, func(b *batch) (bool, error) {
		if found >= limit {
			return false, errStop
		}
		n := s.wants(b)
		if b.first > after {
			found += n
		}
		return n > 0, nil
	})
	if err != nil && !errors.Is(err, errStop) {
		return err
	}
	return s.chunk.each(func(b *batch) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return s.eachRow(b, fn)
	})
}

// Read calls yield with every reading that q asks for, in offset order,
// readings that are not committed included; those appended while it runs are
// not. The reading is valid until yield returns. An error from yield ends the
// reading and is returned as it is. Memory is bounded, and no transaction is
// open while yield runs.
func (l *Log) Read(ctx context.Context, q device.Query, yield func(*device.Stored) error) error {
	s := l.newScan(q.Selector)
	left := q.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	var yieldErr error
	seen := 0
	emit := func(r *device.Stored) error {
		if seen++; seen%ctxEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r.Offset <= q.After || r.Offset > s.head || !q.Covers(r.Time) {
			return nil
		}
		if yieldErr = yield(r); yieldErr != nil {
			return yieldErr
		}
		if left--; left == 0 {
			return errStop
		}
		return nil
	}
	look := func(b *batch) (bool, error) { return s.wants(b) > 0 && overlaps(&q, b), nil }
	err := s.walk(ctx, &q, look, emit)
	switch {
	case err == nil, errors.Is(err, errStop):
		return nil
	case yieldErr != nil:
		return yieldErr
	}
	return fmt.Errorf("storage: read: %w", err)
}

// walk calls emit with the rows of all batches for which look says so.
func (s *scan) walk(ctx context.Context, q *device.Query, look visit, emit func(*device.Stored) error) error {
	each := func(b *batch) error { return s.eachRow(b, emit) }
	if q.Desc {
		each = func(b *batch) error { return s.eachRowDown(b, emit) }
		for _, b := range slices.Backward(s.pending) {
			if err := visitOne(b, look, each); err != nil {
				return err
			}
		}
	}
	from := max(q.After, s.floor) + 1
	if q.Desc {
		from = s.firstPending
	}
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		var err error
		if q.Desc {
			err = s.down(from, look)
		} else {
			err = s.up(from, look)
		}
		if err == nil || errors.Is(err, errStop) {
			if eachErr := s.chunk.each(each); eachErr != nil {
				return eachErr
			}
		}
		if err != nil {
			return err
		}
		if from = s.chunk.next; s.chunk.done || q.Desc && from <= max(q.After, s.floor)+1 {
			break
		}
	}
	if q.Desc {
		return nil
	}
	for _, b := range s.pending {
		if err := visitOne(b, look, each); err != nil {
			return err
		}
	}
	return nil
}

func visitOne(b *batch, look visit, each func(*batch) error) error {
	rows, err := look(b)
	if err != nil || !rows {
		return err
	}
	return each(b)
}

// eachRowDown is eachRow from the last row to the first.
func (s *scan) eachRowDown(b *batch, fn func(*device.Stored) error) error {
	s.buf = s.buf[:0]
	if err := s.eachRow(b, func(r *device.Stored) error {
		s.buf = append(s.buf, *r)
		return nil
	}); err != nil {
		return err
	}
	for i := range slices.Backward(s.buf) {
		if err := fn(&s.buf[i]); err != nil {
			return err
		}
	}
	return nil
}

// overlaps reports whether the batch can hold readings of the query.
func overlaps(q *device.Query, b *batch) bool {
	return b.last() > q.After && (q.From == 0 || b.time.max >= q.From) && (q.To == 0 || b.time.min < q.To)
}

// Count returns how many readings Read would yield. It decodes only batches
// that the query cuts.
func (l *Log) Count(ctx context.Context, q device.Query) (int64, error) {
	q.Desc = false
	limit := int64(math.MaxInt64)
	if q.Limit > 0 {
		limit = int64(q.Limit)
	}
	if floor, _ := l.Bounds(); q.From == 0 && q.To == 0 && q.After <= floor {
		return min(l.kept(q.Selector), limit), nil
	}
	s := l.newScan(q.Selector)
	n := int64(0)
	look := func(b *batch) (bool, error) {
		if !overlaps(&q, b) {
			return false, nil
		}
		if b.first > q.After && q.Covers(b.time.min) && q.Covers(b.time.max) {
			n += int64(s.wants(b))
			return false, nil
		}
		return s.wants(b) > 0, nil
	}
	err := s.walk(ctx, &q, look, func(r *device.Stored) error {
		if r.Offset > q.After && q.Covers(r.Time) {
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("storage: count: %w", err)
	}
	return min(n, limit), nil
}

// kept returns how many readings are kept of the series that sel matches.
func (l *Log) kept(sel device.Selector) (n int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, id := range l.cat.wanted(sel) {
		n += l.cat.state[id-1].count
	}
	return n
}
