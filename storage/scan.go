package storage

import (
	"errors"
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
)

// errStop ends a scan early without being an error of its own.
var errStop = errors.New("stop")

// snapshot is the state of the log at one moment. Committed batches are those
// whose key is below firstPending.
type snapshot struct {
	floor, head  uint64
	logFloor     uint64
	firstPending uint64
	pending      []*batch // ascending
	names        []device.Series
}

// snapshotLocked returns the present state. The caller holds mu.
func (l *Log) snapshotLocked() snapshot {
	s := snapshot{floor: l.floor, logFloor: l.logFloor, head: l.next - 1, firstPending: l.next, names: l.cat.names}
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

// chunk holds copies of batches, in ascending order.
type chunk struct {
	buf  []byte
	keys []uint64
	ends []int
	// next is where the next chunk begins: the first offset not looked at.
	next uint64
	done bool
	b    batch // scratch
}

// visit looks at a batch inside a transaction, at its header only, and reports
// whether its rows are needed; errStop ends the scan before it.
type visit func(b *batch) (rows bool, err error)

// view runs fn in a read transaction.
func (l *Log) view(fn func(log *bolt.Bucket) error) error {
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
			if k == nil || keyNumber(k) >= s.firstPending {
				c.done, c.next = true, s.firstPending
				return nil
			}
			if c.full(looked, scanned) {
				return nil
			}
			looked++
			scanned += len(v)
			if !s.log.parseKnown(&c.b, k, v, len(s.names)) {
				c.next = max(from, keyNumber(k)+1)
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
	c.keys, c.ends = append(c.keys, keyNumber(k)), append(c.ends, len(c.buf))
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
	key := numberKey(from)
	k, v = cur.Seek(key)
	if k != nil && keyNumber(k) == from {
		return k, v
	}
	if k, v = seekBelow(cur, from); k == nil {
		return cur.First()
	}
	return k, v
}

// seekBelow moves to the newest batch with a key below from.
func seekBelow(cur *bolt.Cursor, from uint64) (k, v []byte) {
	if k, _ = cur.Seek(numberKey(from)); k == nil {
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
