package storage

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/naru-telemetry/naru/device"
)

// After returns readings that sel wants with offsets above after, in ascending
// order, at most limit of them, and the offset up to which everything has been
// looked at: the cursor to go on with. It looks at a bounded part of the log,
// so that it may return no reading and yet a larger next; next is the head when
// nothing is left. What is older than the log comes from the blocks: of readings
// of the same series and time only the last is still there.
func (l *Log) After(ctx context.Context, sel device.Selector, after uint64, limit int) (rs []device.Stored, next uint64, err error) {
	if floor, head := l.Bounds(); after >= head {
		return nil, max(after, floor), nil
	}
	if limit <= 0 {
		return nil, after, nil
	}
	s := l.newScan(sel)
	after = max(after, s.floor)
	if after >= s.logFloor {
		rs, next, err = s.after(ctx, after, limit)
		if s.logFloor = l.logBegins(); after >= s.logFloor || err != nil {
			return rs, next, err
		}
		// What was looked for has left the log meanwhile.
	}
	rs, next, err = l.afterInBlocks(ctx, sel, after, s.logFloor, limit)
	if err != nil {
		err = fmt.Errorf("storage: read after %d: %w", after, err)
	}
	return rs, next, err
}

// afterInBlocks is After for offsets up to last, which the log no longer has.
func (l *Log) afterInBlocks(ctx context.Context, sel device.Selector, after, last uint64, limit int) (rs []device.Stored, next uint64, err error) {
	p, err := l.picture(sel, math.MinInt64, math.MaxInt64)
	if err != nil {
		return nil, after, err
	}
	defer p.close()
	p.head = last
	a := newArrival(p, &device.Query{After: after})
	err = a.each(ctx, func(r *device.Stored) error {
		rs = append(rs, *r)
		if len(rs) >= limit {
			return errStop
		}
		return nil
	})
	switch {
	case errors.Is(err, errStop):
		return rs, rs[len(rs)-1].Offset, nil
	case err != nil:
		return nil, after, err
	}
	return rs, last, nil
}

// after is After in the log.
func (s *scan) after(ctx context.Context, after uint64, limit int) (rs []device.Stored, next uint64, err error) {
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

// Read calls yield with every reading that q asks for, in offset order, readings
// that are not committed included; those appended while it runs are not. Of
// readings of the same series and time only the one with the highest offset is
// there. The reading is valid until yield returns. An error from yield ends the
// reading and is returned as it is. Memory is bounded, and no transaction is open
// while yield runs.
func (l *Log) Read(ctx context.Context, q device.Query, yield func(*device.Stored) error) error {
	from, to := rangeOf(q.From, q.To)
	p, err := l.picture(q.Selector, from, to)
	if err != nil {
		return err
	}
	defer p.close()
	left := q.Limit
	if left <= 0 {
		left = math.MaxInt
	}
	var yieldErr error
	err = newArrival(p, &q).each(ctx, func(r *device.Stored) error {
		if yieldErr = yield(r); yieldErr != nil {
			return yieldErr
		}
		if left--; left == 0 {
			return errStop
		}
		return nil
	})
	switch {
	case err == nil, errors.Is(err, errStop):
		return nil
	case yieldErr != nil:
		return yieldErr
	}
	return fmt.Errorf("storage: read: %w", err)
}
