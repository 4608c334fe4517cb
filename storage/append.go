package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// plainRowBytes bounds the row and dictionary entry of a reading without
	// text: tag, series index, two time deltas, value.
	plainRowBytes = 40
	// farthest is how far from the epoch a reading's time may be, in microseconds:
	// about 73,000 years, so that sums and differences of times do not overflow.
	farthest = 1 << 61
	// keepScratch is the largest scratch slice that Append holds on to.
	keepScratch = 8192
)

// Append gives the readings consecutive offsets and returns the last one. All
// of them are taken or none: ErrFull says that there is no room before the
// next commit, ErrTooLarge that there never will be. When it returns, the
// readings can be read and Config.OnAppend has had them, but they are on disk
// only when WaitDurable says so. Several goroutines may append.
func (l *Log) Append(rs []device.Reading) (last uint64, err error) {
	size, err := l.check(rs)
	if err != nil {
		return 0, err
	}
	l.appendMu.Lock()
	defer l.appendMu.Unlock()
	if err := l.place(rs, size); err != nil {
		return 0, err
	}
	last = l.next - 1 // next changes under appendMu only
	if l.cfg.OnAppend != nil && len(rs) > 0 {
		l.cfg.OnAppend(l.stored)
		clear(l.stored)
		if cap(l.stored) > keepScratch {
			l.stored = nil
		}
	}
	return last, nil
}

// check returns an upper bound of what the rows of rs take, and refuses what
// cannot be kept.
func (l *Log) check(rs []device.Reading) (size int, err error) {
	if len(rs) > l.cfg.MaxPending {
		return 0, fmt.Errorf("%w: %d readings, at most %d (MaxPending)", ErrTooLarge, len(rs), l.cfg.MaxPending)
	}
	size = len(rs) * plainRowBytes
	for i := range rs {
		r := &rs[i]
		switch r.Value.Kind() {
		case device.KindText:
			size += len(r.Value.Text())
		case device.KindFloat, device.KindInt, device.KindBool:
		default:
			return 0, fmt.Errorf("storage: append: reading %d of %d has no value", i+1, len(rs))
		}
		if r.Device == "" || r.Metric == "" {
			return 0, fmt.Errorf("storage: append: reading %d of %d has no device or metric", i+1, len(rs))
		}
		if r.Time < -farthest || r.Time > farthest {
			return 0, fmt.Errorf("storage: append: reading %d of %d has the time %d, at most %d from the epoch", i+1, len(rs), r.Time, int64(farthest))
		}
	}
	if size > l.maxBytes/2 {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, size, l.maxBytes/2)
	}
	return size, nil
}

// place puts the readings into the open batch. The caller holds appendMu.
func (l *Log) place(rs []device.Reading, size int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	if !l.fitsLocked(len(rs)) || l.pendingBytes+size > l.maxBytes {
		l.stats.full.Add(1)
		return ErrFull
	}
	l.ids, l.stored = l.ids[:0], l.stored[:0]
	for i := range rs {
		id, ok := l.cat.id(device.Series{Device: rs[i].Device, Metric: rs[i].Metric})
		if !ok {
			return fmt.Errorf("storage: append: more than %d series", maxSeries)
		}
		l.ids = append(l.ids, id)
	}
	for i, id := range l.ids {
		r := rs[i] // the caller's stays as it is
		l.placeOneLocked(id, &r)
	}
	if len(rs) == 0 {
		return nil
	}
	l.stats.appended.Add(int64(len(rs)))
	if l.unflushed > l.cfg.MaxUnflushed/pressShare {
		l.press()
	}
	if l.pendingSince.IsZero() {
		l.pendingSince = time.Now()
		l.signal()
	} else if l.halfFullLocked() {
		l.signal()
	}
	return nil
}

// maxApart bounds how far readings are moved to tell them apart.
const maxApart = device.Time(time.Second / time.Microsecond)

// apart returns the time for a reading that has it from the server: that of
// receipt, or right behind the last of the series, when several came at once.
// Otherwise one would replace the other.
func apart(t, last device.Time) device.Time {
	if t <= last && last-t < maxApart {
		return last + 1
	}
	return t
}

// placeOneLocked appends one reading. It changes r when its time has to. The
// caller holds mu.
func (l *Log) placeOneLocked(id uint32, r *device.Reading) {
	s := &l.cat.state[id-1]
	if r.Time == r.Received {
		r.Time = apart(r.Time, s.last.Time)
	}
	if l.open.count > 0 && l.open.full() {
		l.sealLocked()
	}
	if l.open.count == 0 {
		l.open.start(l.next, r)
	}
	if s.gen != l.gen {
		prev := s.head
		if prev <= l.logFloor {
			prev = 0
		}
		s.gen, s.index, s.head = l.gen, int32(l.open.addSeries(id, prev)), l.open.first
	}
	before := len(l.open.rows)
	l.open.add(int(s.index), r, &s.hint)
	l.pendingBytes += len(l.open.rows) - before
	l.pending++
	s.count++
	s.fresh.add(l.next, r.Time, r.Value)
	s.dev.fresh.add(l.next, r.Time)
	l.unflushed++
	name := &l.cat.names[id-1]
	s.last = device.Stored{Offset: l.next, Reading: device.Reading{
		Device: name.Device, Metric: name.Metric, Time: r.Time, Received: r.Received, Value: r.Value,
	}}
	l.next++
	if l.cfg.OnAppend != nil {
		l.stored = append(l.stored, s.last)
	}
}

// sealLocked ends the open batch. The caller holds mu.
func (l *Log) sealLocked() {
	if l.open.count == 0 {
		return
	}
	b := l.open.batch
	l.sealed = append(l.sealed, &b)
	l.open = builder{}
	l.gen++
}

// fitsLocked reports whether n more readings may be appended. The caller
// holds mu.
func (l *Log) fitsLocked(n int) bool {
	return l.pending+n <= l.cfg.MaxPending && l.next+uint64(n)-1 <= l.bound && l.unflushed+n <= l.cfg.MaxUnflushed
}

func (l *Log) halfFullLocked() bool {
	return l.pending >= l.cfg.MaxPending/2 || l.pendingBytes >= l.maxBytes/4
}

// Room waits until n readings of any size that Append takes fit, and makes the
// writer commit for it. Somebody else may be faster to fill the room.
func (l *Log) Room(ctx context.Context, n int) error {
	if n > l.cfg.MaxPending {
		return fmt.Errorf("%w: %d readings, at most %d (MaxPending)", ErrTooLarge, n, l.cfg.MaxPending)
	}
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		// Append takes at most half of maxBytes at once.
		if l.fitsLocked(n) && l.pendingBytes <= l.maxBytes/2 {
			l.mu.Unlock()
			return nil
		}
		l.hurryLocked()
		if l.unflushed+n > l.cfg.MaxUnflushed {
			l.press()
		}
		committed := l.committed
		l.mu.Unlock()
		select {
		case <-committed:
		case <-ctx.Done():
			return fmt.Errorf("storage: wait for room: %w", context.Cause(ctx))
		}
	}
}
