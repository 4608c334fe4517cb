package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
)

// Bounds of Latest: its answer is held in memory.
const (
	MaxLatest      = 1000    // readings of one series
	MaxLatestTotal = 100_000 // readings of all series
)

// Latest returns the n newest readings of every series that sel matches,
// ascending by offset, and the head they are the snapshot of: no reading
// between them and the head is missing. A series whose readings are no longer
// kept gives its last one. n is at most MaxLatest, and less where the series
// are so many that the total would exceed MaxLatestTotal; more series than
// that are an error.
func (l *Log) Latest(ctx context.Context, sel device.Selector, n int) (rs []device.Stored, head uint64, err error) {
	for tries := 0; ; tries++ {
		begin := l.logBegins()
		rs, head, err = l.latest(ctx, sel, n)
		// What leaves the log in the midst of it may be missing.
		if err != nil || tries == latestTries || l.logBegins() == begin {
			return rs, head, err
		}
	}
}

// latestTries is how often Latest begins anew: the log is trimmed by commits only.
const latestTries = 10

func (l *Log) latest(ctx context.Context, sel device.Selector, n int) (rs []device.Stored, head uint64, err error) {
	n = min(n, MaxLatest)
	l.mu.RLock()
	ids := l.cat.wanted(sel)
	if n <= 0 || len(ids) == 0 {
		defer l.mu.RUnlock()
		return nil, l.next - 1, nil
	}
	if len(ids) > MaxLatestTotal {
		defer l.mu.RUnlock()
		return nil, 0, fmt.Errorf("storage: latest of %d series, at most %d", len(ids), MaxLatestTotal)
	}
	n = min(n, MaxLatestTotal/len(ids))
	t := latest{
		scan:    scan{log: l, snapshot: l.snapshotLocked()},
		missing: make(map[uint32]int, len(ids)),
		counts:  make(map[uint32]int64, len(ids)),
		here:    newBitmap(nil, len(l.cat.names)),
	}
	for _, id := range ids {
		s := &l.cat.state[id-1]
		switch {
		case s.last.Offset == 0: // in the catalogue only
		case n == 1 || s.count == 0:
			rs = append(rs, s.last)
		default:
			t.missing[id], t.counts[id] = n, s.count
			if s.head > l.logFloor {
				t.heads.push(link{key: s.head, id: id})
			}
		}
	}
	l.mu.RUnlock()

	if err := t.follow(ctx); err != nil {
		return nil, 0, fmt.Errorf("storage: latest: %w", err)
	}
	if err := t.inBlocks(ctx, sel); err != nil {
		return nil, 0, fmt.Errorf("storage: latest: %w", err)
	}
	rs = append(rs, t.found...)
	slices.SortFunc(rs, byOffset)
	return rs, t.head, nil
}

// latest follows the chains of batches of the series that are still short of
// readings, newest batch first, so that it reads no batch twice and none that
// holds only other series.
type latest struct {
	scan
	heads   links
	missing map[uint32]int   // by series id
	counts  map[uint32]int64 // readings that are kept, by series id
	found   []device.Stored
	here    bitmap // series that are looked for in the batch at hand
	skip    []int  // how many of their rows are older than wanted, by dictionary index
	batch   batch
	value   []byte
}

// expect lowers what is missing to what there is below the log. What the log has
// twice of a series and time counts once.
func (t *latest) expect() {
	type key struct {
		device.Series
		device.Time
	}
	ids := make(map[device.Series]uint32, len(t.missing))
	for id, n := range t.missing {
		if n > 0 {
			ids[t.names[id-1]] = id
		}
	}
	seen := map[key]bool{}
	for i := range t.found {
		r := &t.found[i]
		k := key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}
		if id, ok := ids[k.Series]; ok && !seen[k] {
			seen[k] = true
			t.counts[id]--
		}
	}
	for id, n := range t.missing {
		if int64(n) > t.counts[id] {
			t.missing[id] = int(max(t.counts[id], 0))
		}
	}
}

// maxLatestLooked bounds the readings of blocks that are looked at for series that
// seldom have one.
const maxLatestLooked = 1 << 20

// inBlocks takes what is older than the log of the series that are still short of
// readings.
func (t *latest) inBlocks(ctx context.Context, sel device.Selector) error {
	t.expect()
	short := 0
	for _, n := range t.missing {
		if n > 0 {
			short++
		}
	}
	if short == 0 {
		return nil
	}
	p, err := t.log.picture(sel, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	defer p.close()
	p.head = max(t.logFloor, t.floor)
	p.narrow(func(id uint32) bool { return t.missing[id] > 0 })
	ids := map[device.Series]uint32{}
	for id, n := range t.missing {
		if n > 0 {
			ids[t.names[id-1]] = id
		}
	}
	looked := 0
	err = newArrival(p, &device.Query{Desc: true}).each(ctx, func(r *device.Stored) error {
		id := ids[device.Series{Device: r.Device, Metric: r.Metric}]
		if t.missing[id] > 0 {
			t.found = append(t.found, *r)
			if t.missing[id]--; t.missing[id] == 0 {
				short--
			}
		}
		if looked++; short == 0 || looked >= maxLatestLooked {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// link says in which batch to look next for a series.
type link struct {
	key uint64
	id  uint32
}

// links is a heap with the newest batch in front.
type links []link

func (h *links) push(x link) {
	s := append(*h, x)
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].key >= s[i].key {
			break
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
	*h = s
}

func (h *links) pop() link {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		big := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < last && s[c].key > s[big].key {
				big = c
			}
		}
		if big == i {
			break
		}
		s[big], s[i] = s[i], s[big]
		i = big
	}
	*h = s
	return top
}

func (t *latest) follow(ctx context.Context) error {
	var here []uint32
	for len(t.heads) > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		key := t.heads[0].key
		for here = here[:0]; len(t.heads) > 0 && t.heads[0].key == key; {
			here = append(here, t.heads.pop().id)
		}
		b, below, err := t.load(key)
		if err != nil {
			return err
		}
		if b != nil {
			if here, err = t.collect(b, here); err != nil {
				return err
			}
		}
		// A series that the batch should hold and does not, because the batch
		// is damaged, is looked for batch by batch.
		for _, id := range here {
			if below != 0 {
				t.heads.push(link{key: below, id: id})
			}
		}
	}
	return nil
}

// load returns the batch at key, nil when it cannot be read, and the key of
// the batch before it, 0 when there is none that is kept.
func (t *latest) load(key uint64) (b *batch, below uint64, err error) {
	if key >= t.firstPending {
		i, ok := slices.BinarySearchFunc(t.pending, key, func(b *batch, k uint64) int {
			return cmp.Compare(b.first, k)
		})
		if !ok {
			return nil, 0, fmt.Errorf("%w: no pending batch at %d", errDamaged, key)
		}
		return t.pending[i], 0, nil
	}
	t.value = t.value[:0]
	sound := false
	err = t.log.view(func(log *bolt.Bucket) error {
		cur := log.Cursor()
		k, v := cur.Seek(numberKey(key))
		if keyNumber(k) == key && t.log.parseKnown(&t.batch, k, v, len(t.names)) {
			t.value, sound = append(t.value, v...), true
		}
		if k, _ := seekBelow(cur, key); k != nil {
			below = keyNumber(k)
		}
		return nil
	})
	if err != nil || !sound {
		return nil, below, err
	}
	return &t.batch, below, t.batch.header(key, t.value)
}

// collect takes the readings of these series out of the batch, and returns
// those of the series that are not in it.
func (t *latest) collect(b *batch, ids []uint32) ([]uint32, error) {
	for _, id := range ids {
		t.here[id/64] |= 1 << (id % 64)
	}
	t.want, t.skip = t.want[:0], t.skip[:0]
	for _, e := range b.dict {
		want, skip := t.here.has(e.id), 0
		if want {
			t.here[e.id/64] &^= 1 << (e.id % 64)
			take := min(t.missing[e.id], int(e.rows))
			skip = int(e.rows) - take
			if t.missing[e.id] -= take; t.missing[e.id] > 0 && e.prev != 0 {
				t.heads.push(link{key: e.prev, id: e.id})
			}
		}
		t.want, t.skip = append(t.want, want), append(t.skip, skip)
	}
	absent := ids[:0]
	for _, id := range ids {
		if t.here.has(id) {
			t.here[id/64] &^= 1 << (id % 64)
			absent = append(absent, id)
		}
	}
	var err error
	t.rows, err = t.log.eachRow(b, t.rows, t.want, func(r *row) error {
		if t.skip[r.index]--; t.skip[r.index] >= 0 {
			return nil
		}
		if r.offset <= t.floor { // retention took it
			t.missing[b.dict[r.index].id]++
		} else {
			t.found = append(t.found, r.stored(t.names[b.dict[r.index].id-1]))
		}
		return nil
	})
	return absent, err
}
