package storage

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// An arrival decodes what lies in a window of offsets at a time. The first
// window is small, for who wants a few readings only; the largest bounds the
// memory.
const (
	firstWindow = 4 << 10
	mostWindow  = 256 << 10
)

// arrival reads the history in the order of offsets. Blocks of many devices
// overlap in that order, so it goes by windows of offsets: it decodes every block
// that reaches into the window, and sorts what it finds. Owned by one goroutine.
type arrival struct {
	*picture
	q      *device.Query
	window int
	// lo and hi bound what is still to be read, both included.
	lo, hi  uint64
	sources []*source
	rows    []arrived
	copied  int // bytes of blocks since the mapped memory was given back
}

// unloadEvery is after how many bytes of blocks a reader gives back the memory of
// the mapped files.
const unloadEvery = 8 << 20

// source is a file of readings with the blocks that are still to be read.
type source struct {
	file   *volume
	state  int // Tx.ID that pieces belong to
	listed bool
	pieces []stretch.Piece // in the order of reading
	above  []layer         // what counts before this file, of the same stretch of time
}

// arrived is a reading in a window.
type arrived struct {
	offset uint64
	time   int64
	id     uint32
	value  device.Value
}

func newArrival(p *picture, q *device.Query) *arrival {
	a := &arrival{picture: p, q: q, window: firstWindow, lo: q.After + 1, hi: p.head}
	for _, s := range p.periods {
		if s.sealed != nil {
			src := &source{file: s.sealed}
			if s.cold != nil {
				src.above = []layer{{file: s.cold}}
			}
			a.sources = append(a.sources, src)
		}
		if s.cold != nil {
			a.sources = append(a.sources, &source{file: s.cold})
		}
	}
	return a
}

// each calls yield with the readings of the query, in its order.
func (a *arrival) each(ctx context.Context, yield func(*device.Stored) error) error {
	var out device.Stored
	for a.lo <= a.hi {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := a.fill(ctx); err != nil {
			return err
		}
		for i := range a.rows {
			r := &a.rows[i]
			if i > 0 && r.offset == a.rows[i-1].offset {
				continue // flushed since the picture was taken: it is in a block too
			}
			name := &a.names[r.id-1]
			if name.Device == "" {
				continue // its name was lost
			}
			out = device.Stored{Offset: r.offset, Reading: device.Reading{
				Device: name.Device, Metric: name.Metric, Time: device.Time(r.time), Value: r.value,
			}}
			if err := yield(&out); err != nil {
				return err
			}
		}
		a.window = min(2*a.window, mostWindow)
		if a.copied >= unloadEvery {
			a.copied = 0
			a.log.files.unload()
		}
	}
	return nil
}

// fill reads the next window and moves lo, or hi, past it.
func (a *arrival) fill(ctx context.Context) error {
	a.rows = a.rows[:0]
	for _, s := range a.sources {
		if err := a.list(s); err != nil {
			return err
		}
	}
	from, to := a.next()
	for _, s := range a.sources {
		if err := a.read(ctx, s, from, to); err != nil {
			return err
		}
	}
	for i := range a.fresh {
		f := &a.fresh[i]
		var later []track
		if i+1 < len(a.fresh) && a.fresh[i+1].number == f.number {
			later = a.fresh[i+1].tidied()
		}
		a.take(wanted(f.tidied(), a.wanted), later, from, to)
	}
	order := func(x, y arrived) int { return cmp.Compare(x.offset, y.offset) }
	if a.q.Desc {
		order = func(x, y arrived) int { return cmp.Compare(y.offset, x.offset) }
		a.hi = from - 1
	} else {
		a.lo = to + 1
	}
	slices.SortFunc(a.rows, order)
	return nil
}

// next returns the window to read: it begins where something is, and ends where
// the blocks that reach into it have as many readings as it may have.
func (a *arrival) next() (from, to uint64) {
	type reach struct {
		lo, hi uint64
		n      int
	}
	var all []reach
	for _, s := range a.sources {
		for i := range s.pieces {
			p := &s.pieces[i]
			if p.MaxOffset >= a.lo && p.MinOffset <= a.hi {
				all = append(all, reach{max(p.MinOffset, a.lo), min(p.MaxOffset, a.hi), p.Count})
			}
		}
	}
	for i := range a.fresh {
		if lo, hi := a.fresh[i].bounds(); hi >= a.lo && lo <= a.hi {
			all = append(all, reach{max(lo, a.lo), min(hi, a.hi), a.fresh[i].n})
		}
	}
	if len(all) == 0 {
		return a.lo, a.hi
	}
	n, width := 0, uint64(a.window/4)
	if a.q.Desc {
		slices.SortFunc(all, func(x, y reach) int { return cmp.Compare(y.hi, x.hi) })
		to, from = a.hi, a.lo
		for _, r := range all {
			if n += r.n; n > a.window {
				from = min(r.hi+1, all[0].hi-min(all[0].hi, width)+1)
				break
			}
		}
		return max(from, a.lo), to
	}
	slices.SortFunc(all, func(x, y reach) int { return cmp.Compare(x.lo, y.lo) })
	from, to = a.lo, a.hi
	for _, r := range all {
		if n += r.n; n > a.window {
			to = max(r.lo-1, all[0].lo+width-1)
			break
		}
	}
	return from, min(to, a.hi)
}

// list makes sure that the pieces are those of the file as it is now.
func (a *arrival) list(s *source) error {
	if s.listed && s.file.meta.Kind.Sealed() {
		return nil
	}
	whole := false
	err := a.log.look(s.file, func(tx stretch.Tx) error {
		err := a.listIn(s, tx)
		whole = err == nil
		return err
	})
	if err == nil && !whole {
		s.pieces, s.listed = nil, true
	}
	return err
}

func (a *arrival) listIn(s *source, tx stretch.Tx) error {
	if s.listed && s.state == tx.ID() {
		return nil
	}
	s.pieces, s.listed, s.state = s.pieces[:0], true, tx.ID()
	damaged := func(err error) { a.log.damagedPart(s.file.name, err) }
	from, to := rangeOf(a.q.From, a.q.To)
	for _, number := range a.numbers {
		err := tx.Pieces(stretch.Readings, number, from, to, func(p *stretch.Piece) error {
			if p.MaxOffset >= a.lo && p.MinOffset <= a.hi {
				s.pieces = append(s.pieces, *p)
			}
			return nil
		}, damaged)
		if err != nil {
			return err
		}
	}
	return nil
}

// rangeOf returns the bounds of a query, both included.
func rangeOf(from, to device.Time) (lo, hi int64) {
	lo, hi = math.MinInt64, math.MaxInt64
	if from != 0 {
		lo = int64(from)
	}
	if to != 0 {
		hi = int64(to) - 1
	}
	return lo, hi
}

// read takes what a file has in the window. Blocks that are done are forgotten.
func (a *arrival) read(ctx context.Context, s *source, from, to uint64) error {
	type copied struct {
		piece stretch.Piece
		block []byte
	}
	var blocks []copied
	whole := false
	err := a.log.look(s.file, func(tx stretch.Tx) error {
		if err := a.listIn(s, tx); err != nil {
			return err
		}
		keep := s.pieces[:0]
		for i := range s.pieces {
			p := s.pieces[i]
			if p.MaxOffset >= from && p.MinOffset <= to {
				b, err := tx.Block(&p)
				if err != nil {
					a.log.damagedPart(s.file.name, err)
					continue
				}
				blocks = append(blocks, copied{p, slices.Clone(b)})
				a.copied += len(b)
			}
			if a.q.Desc && p.MinOffset < from || !a.q.Desc && p.MaxOffset > to {
				keep = append(keep, p)
			}
		}
		s.pieces, whole = keep, true
		return nil
	})
	if err != nil {
		return err
	}
	if !whole {
		s.pieces = nil
	}
	c := borrowCoder()
	defer returnCoder(c)
	for i := range blocks {
		p := &blocks[i].piece
		ts, err := c.decode(stretch.Readings, blocks[i].block, a.wanted, block.All)
		if err != nil {
			a.log.damagedPart(s.file.name, err)
			continue
		}
		if err := a.takeBlock(ctx, s, p, ts, from, to); err != nil {
			return err
		}
	}
	return nil
}

// takeBlock takes the readings of a block in the window, but for those that a
// later one of the same series and time has replaced.
func (a *arrival) takeBlock(ctx context.Context, s *source, p *stretch.Piece, ts []track, from, to uint64) error {
	above := slices.Clone(s.above)
	for _, f := range a.freshOf(p.Device) {
		if f.minTime <= p.MaxTime && f.maxTime >= p.MinTime {
			above = append(above, layer{tracks: f.tidied()})
		}
	}
	var later []track
	if len(above) > 0 {
		sw := a.log.newSweep(p.Device, stretch.Readings, above, a.wanted, p.MinTime, p.MaxTime+1)
		sw.part = block.Times
		var err error
		if later, err = gather(ctx, sw); err != nil {
			return err
		}
	}
	a.take(ts, later, from, to)
	return nil
}

// take takes the readings of ts that lie in the window and in the query and that
// later has no other of the same series and time for.
func (a *arrival) take(ts, later []track, from, to uint64) {
	for i := range ts {
		t := &ts[i]
		var over []int64
		if l := find(later, t.id); l != nil {
			over = l.times
		}
		for k, o := range t.offsets {
			if o < from || o > to || !a.q.Covers(device.Time(t.times[k])) {
				continue
			}
			if _, replaced := slices.BinarySearch(over, t.times[k]); !replaced {
				a.rows = append(a.rows, arrived{o, t.times[k], t.id, t.values[k]})
			}
		}
	}
}
