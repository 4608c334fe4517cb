package storage

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/storage/stretch"
)

const (
	// smallFile is up to which size a sealed file is joined with the one that
	// follows in time, so that little data do not take many files.
	smallFile = 1 << 20
	// longest is the longest stretch of time of a file that is joined, in
	// microseconds: a year of weeks.
	longest = 52 * 7 * 24 * 3600e6
)

// mayJoin reports whether sealed files with so many bytes may become one with the
// times from start to end. They are to leave when they are older than age: the
// last readings of a file decide, so that the first stay for half as long again
// at most.
func mayJoin(bytes, start, end int64, age time.Duration) bool {
	most := int64(longest)
	if age >= 0 {
		most = min(most, age.Microseconds()/2)
	}
	return bytes <= smallFile && end-start <= most
}

// tierLength returns the stretch of time that goes into one sealed file of
// rollups, in microseconds.
func tierLength(t stretch.Tier) int64 {
	const week = 7 * 24 * 3600e6
	return [...]int64{0, 4 * week, 52 * week}[t]
}

// rollMissing sets the counts of d's series, drops those without readings, and
// makes the rollups of those that had none and have enough readings now, or had
// none in one of the periods only: what retention has left of the other stands in
// rollups alone.
func (s *sealer) rollMissing(ctx context.Context, d *stretch.Device, seen map[uint32]*tally) error {
	want := make([][stretch.Tiers][]uint32, len(s.periods))
	s.log.mu.RLock()
	for id := range seen {
		if at, ok := findSeries(d, id); !ok { // what the old file said of it was damaged
			d.Series = slices.Insert(d.Series, at, stretch.Series{ID: id, Metric: s.log.cat.names[id-1].Metric})
		}
	}
	s.log.mu.RUnlock()
	kept := d.Series[:0]
	for _, series := range d.Series {
		t := seen[series.ID]
		s.diff[series.ID] -= series.Count
		if t == nil {
			continue
		}
		s.diff[series.ID] += t.count
		series.Count = t.count
		for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
			if !series.Rolled[tier] && (!t.pays(tier) || t.buckets[tier]*len(d.Series) > newlyRolled) {
				continue
			}
			series.Rolled[tier] = true
			for i, part := range s.parts {
				if !isRolled(part[d.Number], series.ID, tier) {
					want[i][tier] = append(want[i][tier], series.ID)
				}
			}
		}
		kept = append(kept, series)
	}
	d.Series = kept
	var made [stretch.Tiers][]track
	for i, p := range s.periods {
		for tier, ids := range want[i] {
			if len(ids) == 0 {
				continue
			}
			wanted := newBitmap(ids, int(slices.Max(ids)))
			sw := s.log.newSweep(d.Number, stretch.Readings, p.layers(), wanted, p.start, p.end)
			more, err := rollAll(ctx, sw, stretch.Tier(tier).Length())
			if err != nil {
				return err
			}
			made[tier] = merge(made[tier], more)
		}
	}
	s.unrolled[d.Number] = made
	return nil
}

// isRolled reports whether d, which may be nil, has the rollups of a series.
func isRolled(d *stretch.Device, id uint32, tier stretch.Tier) bool {
	if d == nil {
		return false
	}
	at, ok := findSeries(d, id)
	return ok && d.Series[at].Rolled[tier]
}

// writeTier writes the file of a tier that has the times from start to end: what
// older files of the tier have, and over it the rollups of the period and the
// unrolled ones. When there are none it writes nothing. named have the names of
// series that no other file may have.
func (s *sealer) writeTier(ctx context.Context, tier stretch.Tier, start, end int64, named ...*volume) error {
	l := s.log
	length := tierLength(tier)
	lo := floorTo(start-periodOrigin, length) + periodOrigin
	hi := floorTo(end-1-periodOrigin, length) + periodOrigin + length
	olds, lo, hi := l.tierFiles(tier, lo, hi)
	var colds []*volume
	for _, p := range s.periods {
		if p.cold != nil {
			colds = append(colds, p.cold)
		}
		if p.sealed != nil {
			named = append(named, p.sealed) // of which rollups may begin
		}
	}
	fresh, err := l.devicesOf(colds...)
	if err != nil || !s.anyRolled(tier, fresh) {
		return err
	}
	sources := slices.Concat(olds, colds)
	known, err := l.devicesOf(slices.Concat(sources, named)...)
	if err != nil {
		return err
	}
	v, err := s.create(tier.Kind(), lo, hi, olds...)
	if err != nil {
		return err
	}
	s.tiers[tier] = v
	for _, number := range slices.Sorted(maps.Keys(known)) {
		if err := s.rollupsOf(ctx, tier, known[number], sources, lo, hi); err != nil {
			return err
		}
	}
	return s.commit()
}

// tierFiles returns the files of a tier that are to become one with the times from
// lo to hi, and the times that it then has.
func (l *Log) tierFiles(tier stretch.Tier, lo, hi int64) (olds []*volume, start, end int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var bytes int64
	for _, v := range l.shelf.tiers[tier] {
		if v.meta.Start < hi && v.meta.End > lo {
			olds = append(olds, v)
			lo, hi = min(lo, v.meta.Start), max(hi, v.meta.End)
			bytes += v.bytes.Load()
		}
	}
	age := []time.Duration{l.cfg.RetainAge, l.cfg.RetainMinutes, l.cfg.RetainHours}[tier]
	for _, v := range slices.Backward(l.shelf.tiers[tier]) {
		if v.meta.End > lo {
			continue
		}
		if bytes += v.bytes.Load(); !mayJoin(bytes, v.meta.Start, hi, age) {
			break
		}
		olds = slices.Insert(olds, 0, v)
		lo = v.meta.Start
	}
	return olds, lo, hi
}

// anyRolled reports whether there are rollups to be put into a tier's file: of the
// devices that cold files have, or unrolled ones.
func (s *sealer) anyRolled(tier stretch.Tier, cold map[uint32]*stretch.Device) bool {
	for _, made := range s.unrolled {
		if len(made[tier]) > 0 {
			return true
		}
	}
	for _, d := range cold {
		for i := range d.Series {
			if d.Series[i].Rolled[tier] {
				return true
			}
		}
	}
	return false
}

// rollupsOf writes the rollups of one device.
func (s *sealer) rollupsOf(ctx context.Context, tier stretch.Tier, d *stretch.Device, sources []*volume, lo, hi int64) error {
	var layers []layer
	for _, v := range sources {
		layers = append(layers, layer{file: v})
	}
	layers = append(layers, layer{tracks: s.unrolled[d.Number][tier]})
	sw := s.log.newSweep(d.Number, tier, layers, nil, lo, hi)
	pack := packer{sealer: s, tier: tier, number: d.Number, target: max(sealedRollups, target(len(d.Series)))}
	any := false
	for {
		ts, err := sw.next(ctx)
		if err != nil {
			return err
		}
		if ts == nil {
			break
		}
		if ts = counted(ts); len(ts) == 0 {
			continue
		}
		any = true
		if err := pack.add(ts); err != nil {
			return err
		}
	}
	if !any {
		return nil
	}
	if err := pack.finish(); err != nil {
		return err
	}
	names := stretch.Device{Number: d.Number, Name: d.Name}
	for _, series := range d.Series {
		names.Series = append(names.Series, stretch.Series{ID: series.ID, Metric: series.Metric})
	}
	return s.putDevice(&names)
}
