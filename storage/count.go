package storage

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// Count returns how many readings Read would yield. What lies wholly in the
// range is counted by the heads of blocks and files.
func (l *Log) Count(ctx context.Context, q device.Query) (int64, error) {
	from, to := rangeOf(q.From, q.To)
	p, err := l.picture(q.Selector, from, to)
	if err != nil {
		return 0, err
	}
	defer p.close()
	n := int64(0)
	if q.After > 0 {
		q.Desc = false
		err = newArrival(p, &q).each(ctx, func(*device.Stored) error { n++; return nil })
	} else {
		n, err = p.count(ctx, from, to)
	}
	if err != nil {
		return 0, fmt.Errorf("storage: count: %w", err)
	}
	if q.Limit > 0 {
		n = min(n, int64(q.Limit))
	}
	return n, nil
}

// count counts the readings with times from from to to, both included.
func (p *picture) count(ctx context.Context, from, to int64) (n int64, err error) {
	for i := range p.periods {
		for _, number := range p.numbers {
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			c, err := p.countIn(ctx, &p.periods[i], number, from, to)
			if err != nil {
				return 0, err
			}
			n += c
		}
	}
	// What is in no block may lie in a stretch of time that has no file.
	for i := range p.fresh {
		u := &p.fresh[i]
		lo := from
		for k := range p.periods {
			s := &p.periods[k]
			n += int64(size(between(u.outside(p, i), lo, min(s.start, add(to, 1)))))
			lo = max(lo, s.end)
		}
		n += int64(size(between(u.outside(p, i), lo, add(to, 1))))
	}
	return n, nil
}

// outside returns the tracks of the ith unblocked, without what the one after it
// replaces.
func (u *unblocked) outside(p *picture, i int) []track {
	if i+1 < len(p.fresh) && p.fresh[i+1].number == u.number {
		return without(u.tidied(), p.fresh[i+1].tidied())
	}
	return u.tidied()
}

// without returns the tracks without the times that later has of their series.
func without(ts, later []track) (out []track) {
	for i := range ts {
		rest := track{id: ts[i].id}
		for k := range ts[i].times {
			if !hasTime(later, ts[i].id, ts[i].times[k]) {
				rest.take(&ts[i], k)
			}
		}
		if len(rest.times) > 0 {
			out = append(out, rest)
		}
	}
	return out
}

func hasTime(ts []track, id uint32, t int64) bool {
	s := find(ts, id)
	if s == nil {
		return false
	}
	_, ok := slices.BinarySearch(s.times, t)
	return ok
}

// add adds without passing the largest time there is.
func add(t, n int64) int64 {
	if t > math.MaxInt64-n {
		return math.MaxInt64
	}
	return t + n
}

// countIn counts the readings of a device in a period.
func (p *picture) countIn(ctx context.Context, s *period, number uint32, from, to int64) (n int64, err error) {
	lo, hi := max(from, s.start), min(to, s.end-1)
	layers := p.layers(s, number)
	if len(layers) > 0 && layers[0].file != nil && (len(layers) == 1 || layers[1].file == nil) {
		n, ok, err := p.countFile(ctx, layers[0].file, number, layers[1:], lo, hi)
		if ok || err != nil {
			return n, err
		}
	}
	sw := p.log.newSweep(number, stretch.Readings, layers, p.wanted, lo, hi+1)
	sw.part = block.Times
	for {
		ts, err := sw.next(ctx)
		if err != nil || ts == nil {
			return n, err
		}
		n += int64(size(ts))
	}
}

// countFile counts the readings of a device that stand in one file and in memory,
// with times from lo to hi, by the heads of blocks where these lie in the range.
// It reports whether it could: where file and memory have the same stretch of
// time it does not know what replaces what.
func (p *picture) countFile(ctx context.Context, v *volume, number uint32, memory []layer, lo, hi int64) (n int64, ok bool, err error) {
	var cut []timeRange
	var h block.Header
	ok = true
	var above []track
	for i := range memory {
		ok = ok && !overlapping(above, memory[i].tracks)
		above = append(above, memory[i].tracks...)
	}
	err = p.log.look(v, func(tx stretch.Tx) error {
		damaged := func(err error) { p.log.damagedPart(v.name, err) }
		d, _, err := tx.Device(number)
		if err != nil {
			damaged(err)
		}
		if len(above) > 0 {
			first, last := timesOf(above)
			if ok = ok && err == nil && (first > d.MaxTime || last < d.MinTime || d.Count() == 0); !ok {
				return nil
			}
		}
		if err == nil && d.MinTime >= lo && d.MaxTime <= hi {
			for _, s := range d.Series {
				if p.wanted == nil || p.wanted.has(s.ID) {
					n += s.Count
				}
			}
			return nil
		}
		return tx.Pieces(stretch.Readings, number, lo, hi, func(piece *stretch.Piece) error {
			if piece.MinTime < lo || piece.MaxTime > hi {
				cut = append(cut, timeRange{max(piece.MinTime, lo), min(piece.MaxTime, hi) + 1})
				return nil
			}
			b, err := tx.Block(piece)
			if err == nil {
				err = h.Parse(b)
			}
			if err != nil {
				damaged(err)
				return nil
			}
			for i := range h.Series {
				if p.wanted == nil || p.wanted.has(h.Series[i].ID) {
					n += int64(h.Series[i].Count)
				}
			}
			return nil
		}, damaged)
	})
	if !ok || err != nil {
		return 0, ok, err
	}
	n += int64(size(between(wanted(above, p.wanted), lo, hi+1)))
	for i, r := range cut {
		if i > 0 && r.from < cut[i-1].to { // series parted over blocks
			r.from = cut[i-1].to
		}
		sw := p.log.newSweep(number, stretch.Readings, []layer{{file: v}}, p.wanted, r.from, r.to)
		sw.part = block.Times
		for err == nil {
			var ts []track
			if ts, err = sw.next(ctx); ts == nil {
				break
			}
			n += int64(size(ts))
		}
	}
	return n, true, err
}

// overlapping reports whether two lots of tracks have the same stretch of time.
func overlapping(a, b []track) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	lo, hi := timesOf(a)
	first, last := timesOf(b)
	return first <= hi && last >= lo
}
