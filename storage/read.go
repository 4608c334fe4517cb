package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
)

// A chunk is what one read transaction takes out of the file. Its bounds keep
// transactions short: an open one keeps the pages of later commits from being
// reused.
const (
	chunkBatches = 64      // copied
	chunkBytes   = 1 << 20 // copied
	chunkLooked  = 1024    // batches looked at
	chunkScanned = 8 << 20 // bytes looked at

	// ctxEvery is after how many readings a cancelled context is noticed.
	ctxEvery = 4096
)

// errStop ends a scan early without being an error of its own.
var errStop = errors.New("stop")

// snapshot is the state of the log at one moment. Committed batches are those
// whose key is below firstPending.
type snapshot struct {
	floor, head  uint64
	firstPending uint64
	pending      []*batch // ascending
	names        []device.Series
}

// snapshotLocked returns the present state. The caller holds mu.
func (l *Log) snapshotLocked() snapshot {
	s := snapshot{floor: l.floor, head: l.next - 1, firstPending: l.next, names: l.cat.names}
	s.pending = slices.Clone(l.sealed)
	if l.open.count > 0 {
		b := l.open.batch
		b.dict = slices.Clone(b.dict) // the counts in it go on changing
		s.pending = append(s.pending, &b)
	}
	if len(s.pending) > 0 {
		s.firstPending = s.pending[0].first
	}
	return s
}

// scan is one reader's way through the log.
type scan struct {
	log *Log
	snapshot
	all    bool
	wanted bitmap
	chunk  chunk
	rows   []byte // unpacked rows
	want   []bool // by dictionary index of the batch at hand
	buf    []device.Stored
}

// newScan returns a scan of what the log holds now of the series that sel
// matches.
func (l *Log) newScan(sel device.Selector) *scan {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := &scan{log: l, snapshot: l.snapshotLocked(), all: sel.All()}
	if !s.all {
		s.wanted = newBitmap(l.cat.wanted(sel), len(l.cat.names))
	}
	return s
}

// wants reports whether the batch has a series that is wanted, and how many
// readings of such.
func (s *scan) wants(b *batch) (n int) {
	if s.all {
		return b.count
	}
	for _, e := range b.dict {
		if s.wanted.has(e.id) {
			n += int(e.rows)
		}
	}
	return n
}

// chunk holds copies of batches, in the order in which they are read.
type chunk struct {
	buf  []byte
	keys []uint64
	ends []int
	// next is where the next chunk begins: going up the first offset not
	// looked at, going down the key below which to look.
	next uint64
	done bool
	b    batch // scratch
}

// visit looks at a batch inside a transaction, at its header only, and reports
// whether its rows are needed; errStop ends the scan before it.
type visit func(b *batch) (rows bool, err error)

// view runs fn in a read transaction. A panic in bbolt, which a page that went
// bad since the opening can cause, becomes an error.
func (l *Log) view(fn func(log *bolt.Bucket) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errStructure, p)
		}
	}()
	return l.db.View(func(tx *bolt.Tx) error { return fn(tx.Bucket(bucketLog)) })
}

// up copies batches from the one that holds offset from, or the first above,
// up to the pending ones.
func (s *scan) up(from uint64, look visit) error {
	c := &s.chunk
	c.reset(from)
	return s.log.view(func(log *bolt.Bucket) error {
		cur := log.Cursor()
		k, v := seekSpan(cur, from)
		looked, scanned := 0, 0
		for ; ; k, v = cur.Next() {
			if k == nil || keyOffset(k) >= s.firstPending {
				c.done, c.next = true, s.firstPending
				return nil
			}
			if c.full(looked, scanned) {
				return nil
			}
			looked++
			scanned += len(v)
			if !s.log.parseKnown(&c.b, k, v, len(s.names)) {
				c.next = max(from, keyOffset(k)+1)
				continue
			}
			if c.b.last() >= from {
				if err := c.take(k, v, look); err != nil {
					return err
				}
				c.next = c.b.last() + 1
			}
		}
	})
}

// down copies batches with keys below from, the newest first.
func (s *scan) down(from uint64, look visit) error {
	c := &s.chunk
	c.reset(from)
	return s.log.view(func(log *bolt.Bucket) error {
		cur := log.Cursor()
		k, v := seekBelow(cur, from)
		looked, scanned := 0, 0
		for ; ; k, v = cur.Prev() {
			if k == nil {
				c.done = true
				return nil
			}
			if c.full(looked, scanned) {
				return nil
			}
			looked++
			scanned += len(v)
			c.next = keyOffset(k)
			if s.log.parseKnown(&c.b, k, v, len(s.names)) {
				if err := c.take(k, v, look); err != nil {
					return err
				}
			}
		}
	})
}

func (c *chunk) reset(from uint64) {
	c.buf, c.keys, c.ends = c.buf[:0], c.keys[:0], c.ends[:0]
	c.next, c.done = from, false
}

func (c *chunk) full(looked, scanned int) bool {
	return len(c.keys) >= chunkBatches || len(c.buf) >= chunkBytes || looked >= chunkLooked || scanned >= chunkScanned
}

func (c *chunk) take(k, v []byte, look visit) error {
	rows, err := look(&c.b)
	if err != nil || !rows {
		return err
	}
	c.buf = append(c.buf, v...)
	c.keys, c.ends = append(c.keys, keyOffset(k)), append(c.ends, len(c.buf))
	return nil
}

// each decodes the headers of the copied batches.
func (c *chunk) each(fn func(b *batch) error) error {
	from := 0
	for i, k := range c.keys {
		if err := c.b.header(k, c.buf[from:c.ends[i]]); err != nil {
			return err
		}
		from = c.ends[i]
		if err := fn(&c.b); err != nil {
			return err
		}
	}
	return nil
}

// seekSpan moves to the newest batch with a key up to from, which may hold
// that offset, or to the first one.
func seekSpan(cur *bolt.Cursor, from uint64) (k, v []byte) {
	key := offsetKey(from)
	k, v = cur.Seek(key)
	if k != nil && keyOffset(k) == from {
		return k, v
	}
	if k, v = seekBelow(cur, from); k == nil {
		return cur.First()
	}
	return k, v
}

// seekBelow moves to the newest batch with a key below from.
func seekBelow(cur *bolt.Cursor, from uint64) (k, v []byte) {
	if k, _ = cur.Seek(offsetKey(from)); k == nil {
		return cur.Last()
	}
	return cur.Prev()
}

// eachRow decodes the wanted rows of a batch. The reading is valid until fn
// returns.
func (s *scan) eachRow(b *batch, fn func(*device.Stored) error) (err error) {
	var out device.Stored
	s.rows, err = s.log.eachRow(b, s.rows, s.markWanted(b), func(r *row) error {
		out = r.stored(s.names[b.dict[r.index].id-1])
		if out.Device == "" {
			return nil // its name was lost
		}
		return fn(&out)
	})
	return err
}

// eachRow calls fn with the rows of a batch that want marks by dictionary
// index; nil: all. Rows that cannot be read are counted and left out. scratch
// is returned for the next call.
func (l *Log) eachRow(b *batch, scratch []byte, want []bool, fn func(*row) error) ([]byte, error) {
	scratch, damage := b.unpack(scratch)
	r, ok := b.reader(), damage == nil
	for ok {
		ok, damage = r.next(want)
		if !ok || want != nil && !want[r.row.index] {
			continue
		}
		if err := fn(&r.row); err != nil {
			return scratch, err
		}
	}
	if damage != nil {
		l.damagedBatch(b.first, damage)
	}
	return scratch, nil
}

// markWanted returns by dictionary index what is wanted of b; nil: all.
func (s *scan) markWanted(b *batch) []bool {
	if s.all {
		return nil
	}
	s.want = s.want[:0]
	for _, e := range b.dict {
		s.want = append(s.want, s.wanted.has(e.id))
	}
	return s.want
}

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
		found := 0
		err = s.up(after+1, func(b *batch) (bool, error) {
			if found >= limit {
				return false, errStop
			}
			n := s.wants(b)
			if b.first > after {
				found += n
			}
			return n > 0, nil
		})
		if err == nil || errors.Is(err, errStop) {
			err = s.chunk.each(func(b *batch) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return s.eachRow(b, collect)
			})
		}
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
		if err = s.eachRow(b, collect); err != nil {
			break // collect has enough
		}
		next = b.last()
	}
	if err == nil {
		next = s.head
	}
	return rs, next, nil
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
