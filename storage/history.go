package storage

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// History calls yield with each series that q selects and that has numeric
// readings in the range, sorted by device and metric. Booleans count as 0 and 1.
// What yield gets is valid until it returns; an error from it ends the reading and
// is returned as it is.
//
// It reads rollups where a bucket is a minute or longer, so that it reads little
// more than it answers with. Buckets are then whole minutes, or hours, and so is
// the range: one that begins or ends within a minute, or an hour, has all of it.
// Shorter buckets have exactly the readings in the range. A bucket that the range
// cuts tells of what lies in the range, and its start may lie before it. Where
// retention has left only rollups of a device in the range, the buckets of its
// series are as long as these at least.
//
// No series has more than q.Points buckets, but for two where one is asked for
// over a range around the epoch.
func (l *Log) History(ctx context.Context, q device.HistoryQuery, yield func(*device.History) error) error {
	if q.Points < 1 {
		return fmt.Errorf("storage: history: %d points", q.Points)
	}
	from, to := rangeOf(q.From, q.To)
	from, to = max(from, -farthest), min(to, farthest)
	lo, hi := whole(from, to+1, stretch.ByHour)
	p, err := l.picture(q.Selector, lo, hi-1)
	if err != nil {
		return err
	}
	defer p.close()
	p.pinTiers(lo, hi-1)
	if q.From == 0 || q.To == 0 {
		lo, hi, err := p.extent()
		if err != nil {
			return fmt.Errorf("storage: history: %w", err)
		}
		if q.From == 0 {
			from = max(from, lo)
		}
		if q.To == 0 {
			to = min(to, hi)
		}
	}
	if from > to {
		return nil
	}
	return p.history(ctx, from, to+1, int64(q.Points), yield)
}

// history is History for from <= time < to.
func (p *picture) history(ctx context.Context, from, to, points int64, yield func(*device.History) error) error {
	byDevice := slices.Clone(p.numbers)
	slices.SortFunc(byDevice, func(a, b uint32) int { return cmp.Compare(p.names[a-1].Device, p.names[b-1].Device) })
	for _, number := range byDevice {
		h := trends{picture: p, number: number, byID: map[uint32]*trend{}}
		ts, err := h.device(ctx, from, to, points)
		if err != nil {
			return fmt.Errorf("storage: history: %w", err)
		}
		slices.SortFunc(ts, func(a, b *trend) int { return cmp.Compare(p.names[a.id-1].Metric, p.names[b.id-1].Metric) })
		for _, t := range ts {
			if err := yield(h.finish(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

// resolution returns what to read, least or coarser, for so many buckets at most
// of from <= time < to, and how long each is, in microseconds.
func resolution(from, to, points int64, least stretch.Tier) (tier stretch.Tier, step int64) {
	step = max((to-from-1)/points+1, least.Length())
	for {
		step = ceilTo(step, 1000) // the contract has milliseconds
		for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
			if step >= t.Length() {
				tier, step = t, ceilTo(step, t.Length())
			}
		}
		lo, hi := whole(from, to, tier)
		first, last := floorTo(lo, step), floorTo(hi-1, step)
		switch {
		case (last-first)/step < points, step > farthest, points == 1 && lo < 0 && hi > 0:
			return tier, step
		case points == 1:
			step *= 2
		case step < (hi-lo-1)/points+1: // whole has made it longer
			step = (hi-lo-1)/points + 1
		default: // as many buckets as fit into the range, and a cut one at either end
			step = max(step+1, (hi-lo-1)/(points-1)+1)
		}
	}
}

// whole returns the range extended to the buckets of a tier.
func whole(from, to int64, tier stretch.Tier) (lo, hi int64) {
	if tier == stretch.Readings {
		return from, to
	}
	return floorTo(from, tier.Length()), ceilTo(to, tier.Length())
}

// ceilTo returns the smallest multiple of step that is not below t.
func ceilTo(t, step int64) int64 { return -floorTo(-t, step) }

// pinTiers adds the sealed files of rollups to the picture.
func (p *picture) pinTiers(from, to int64) {
	p.log.mu.RLock()
	defer p.log.mu.RUnlock()
	for t := range p.tiers {
		for _, v := range p.log.shelf.tiers[t] {
			if v.meta.Start <= to && v.meta.End > from {
				p.tiers[t] = append(p.tiers[t], v)
				p.pin(v)
			}
		}
	}
}

// extent returns the smallest and largest time of what is there of the devices.
func (p *picture) extent() (lo, hi int64, err error) {
	lo, hi = math.MaxInt64, math.MinInt64
	for number, of := range p.extents() {
		e := of
		for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
			for _, v := range p.tiers[t] {
				// Rollups count where there are no readings.
				err := p.eachPiece(v, t, number, func(piece *stretch.Piece) {
					if piece.MinTime+t.Length() <= of.from {
						e.from = min(e.from, piece.MinTime)
					}
					if piece.MaxTime > of.to {
						e.to = max(e.to, piece.MaxTime+t.Length()-1)
					}
				})
				if err != nil {
					return 0, 0, err
				}
			}
		}
		lo, hi = min(lo, e.from), max(hi, e.to)
	}
	return lo, hi, nil
}

func (p *picture) eachPiece(v *volume, t stretch.Tier, number uint32, fn func(*stretch.Piece)) error {
	return p.log.look(v, func(tx stretch.Tx) error {
		return tx.Pieces(t, number, math.MinInt64, math.MaxInt64, func(piece *stretch.Piece) error {
			fn(piece)
			return nil
		}, func(err error) { p.log.damagedPart(v.name, err) })
	})
}

// extents returns the smallest and largest time of the readings of each device,
// the latter as a range's end.
func (p *picture) extents() map[uint32]timeRange {
	all := map[uint32]timeRange{}
	for _, number := range p.numbers {
		all[number] = timeRange{math.MaxInt64, math.MinInt64}
	}
	include := func(number uint32, first, last int64) {
		e := all[number]
		all[number] = timeRange{min(e.from, first), max(e.to, last)}
	}
	for i := range p.fresh {
		include(p.fresh[i].number, p.fresh[i].minTime, p.fresh[i].maxTime)
	}
	p.log.mu.RLock()
	defer p.log.mu.RUnlock()
	for i := range p.periods {
		for _, v := range p.periods[i].volumes() {
			for number := range all {
				if r := v.devices[number]; r != nil && r.count > 0 {
					include(number, r.minTime, r.maxTime)
				}
			}
		}
	}
	return all
}
