package storage

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// History calls yield with each series that q selects and that has numeric
// readings in the range, sorted by device and metric. Booleans count as 0 and 1.
// It reads rollups where a bucket is a minute or longer, so that it reads little
// more than it answers with; its buckets are then whole minutes, or hours. What
// yield gets is valid until it returns; an error from it ends the reading and is
// returned as it is.
func (l *Log) History(ctx context.Context, q device.HistoryQuery, yield func(*device.History) error) error {
	if q.Points < 1 {
		return fmt.Errorf("storage: history: %d points", q.Points)
	}
	from, to := rangeOf(q.From, q.To)
	p, err := l.picture(q.Selector, from, to)
	if err != nil {
		return err
	}
	defer p.close()
	p.pinTiers(from, to)
	if q.From == 0 || q.To == 0 {
		lo, hi, err := p.extent()
		if err != nil {
			return fmt.Errorf("storage: history: %w", err)
		}
		from, to = max(from, lo), min(to, hi)
	}
	if from > to {
		return nil
	}
	h := trends{picture: p, from: from, to: to + 1}
	h.tier, h.step = resolution(to-from+1, int64(q.Points))
	return h.each(ctx, yield)
}

// resolution returns what to read for so many buckets in a range, and how long
// each is, in microseconds.
func resolution(length, points int64) (tier stretch.Tier, step int64) {
	step = (length-1)/points + 1
	unit := int64(1000) // a millisecond: the contract's
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if step >= t.Length() {
			tier, unit = t, t.Length()
		}
	}
	return tier, (step + unit - 1) / unit * unit
}

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
	include := func(first, last int64) { lo, hi = min(lo, first), max(hi, last) }
	for i := range p.fresh {
		include(p.fresh[i].minTime, p.fresh[i].maxTime)
	}
	p.log.mu.RLock()
	for i := range p.periods {
		for _, v := range []*volume{p.periods[i].sealed, p.periods[i].cold} {
			for _, number := range p.numbers {
				if v == nil {
					break
				}
				if r := v.devices[number]; r != nil && r.count > 0 {
					include(r.minTime, r.maxTime)
				}
			}
		}
	}
	p.log.mu.RUnlock()
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		for _, v := range p.tiers[t] {
			if err := p.extentOf(v, t, include); err != nil {
				return 0, 0, err
			}
		}
	}
	return lo, hi, nil
}

func (p *picture) extentOf(v *volume, t stretch.Tier, include func(first, last int64)) error {
	return p.log.files.with(v, func(f *stretch.File) error {
		return f.View(func(tx stretch.Tx) error {
			for _, number := range p.numbers {
				err := tx.Pieces(t, number, math.MinInt64, math.MaxInt64, func(piece *stretch.Piece) error {
					include(piece.MinTime, piece.MaxTime+t.Length()-1)
					return nil
				}, func(err error) { p.log.damagedPart(v.name, err) })
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// trends sums up the readings in a picture. Owned by one goroutine.
type trends struct {
	*picture
	tier     stretch.Tier
	step     int64
	from, to int64 // from <= time < to
}

// trend is one series in the making.
type trend struct {
	id      uint32
	buckets map[int64]*sums
	// last is the bucket that was added to last, at lastAt.
	last   *sums
	lastAt int64
}

type sums struct {
	min, max, sum float64
	count         int64
}

func (t *trend) add(bucket int64, lo, hi, sum float64, count int64) {
	s := t.last
	if s == nil || t.lastAt != bucket {
		s = t.buckets[bucket]
		if s == nil {
			s = &sums{min: lo, max: hi}
			t.buckets[bucket] = s
		}
		t.last, t.lastAt = s, bucket
	}
	s.min, s.max = min(s.min, lo), max(s.max, hi)
	s.sum = finite(s.sum + sum)
	s.count += count
}

func (h *trends) each(ctx context.Context, yield func(*device.History) error) error {
	byDevice := slices.Clone(h.numbers)
	slices.SortFunc(byDevice, func(a, b uint32) int { return cmp.Compare(h.names[a-1].Device, h.names[b-1].Device) })
	for _, number := range byDevice {
		ts, err := h.device(ctx, number)
		if err != nil {
			return fmt.Errorf("storage: history: %w", err)
		}
		slices.SortFunc(ts, func(a, b *trend) int { return cmp.Compare(h.names[a.id-1].Metric, h.names[b.id-1].Metric) })
		for _, t := range ts {
			if err := yield(h.finish(t)); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish returns a series in the form of the answer.
func (h *trends) finish(t *trend) *device.History {
	out := &device.History{Series: h.names[t.id-1], Step: time.Duration(h.step) * time.Microsecond}
	starts := make([]int64, 0, len(t.buckets))
	for b := range t.buckets {
		starts = append(starts, b)
	}
	slices.Sort(starts)
	for _, b := range starts {
		s := t.buckets[b]
		out.Start = append(out.Start, device.Time(b))
		out.Min, out.Max = append(out.Min, s.min), append(out.Max, s.max)
		out.Avg, out.Count = append(out.Avg, s.sum/float64(s.count)), append(out.Count, s.count)
	}
	return out
}

// device sums up the series of one device.
func (h *trends) device(ctx context.Context, number uint32) ([]*trend, error) {
	h.log.moving.RLock()
	defer h.log.moving.RUnlock()
	byID := map[uint32]*trend{}
	// Rollups before from belong to a bucket that begins there.
	start := h.from
	if h.tier != stretch.Readings {
		start = floorTo(h.from, h.tier.Length())
	}
	readings, err := h.unrolled(number)
	if err != nil {
		return nil, err
	}
	for tier := stretch.ByMinute; tier <= h.tier; tier++ {
		if tier < h.tier && !slices.ContainsFunc(readings, func(c coverage) bool { return c.has(tier) }) {
			continue
		}
		if err := h.rollups(ctx, byID, number, tier, start, readings); err != nil {
			return nil, err
		}
	}
	for _, r := range readings {
		if err := h.readings(ctx, byID, number, r, max(start, r.start), min(h.to, r.end)); err != nil {
			return nil, err
		}
	}
	h.unblocked(byID, number, start, readings)
	out := make([]*trend, 0, len(byID))
	for _, t := range byID {
		if h.names[t.id-1].Device != "" {
			out = append(out, t)
		}
	}
	return out, nil
}

// coverage says what of a device in one period stands in which tier.
type coverage struct {
	*period
	// from is the tier to read of each series, Readings where there are no
	// rollups that are fine enough.
	from map[uint32]stretch.Tier
	done uint64 // offset up to which the readings are in the files
}

// has reports whether any series is read from the tier.
func (c *coverage) has(tier stretch.Tier) bool {
	for _, t := range c.from {
		if t == tier {
			return true
		}
	}
	return false
}

// unrolled returns for each period which tier each series is read from.
func (h *trends) unrolled(number uint32) (all []coverage, err error) {
	for i := range h.periods {
		c := coverage{period: &h.periods[i], from: map[uint32]stretch.Tier{}}
		for _, v := range []*volume{c.sealed, c.cold} {
			if v == nil {
				continue
			}
			err := h.log.files.with(v, func(f *stretch.File) error {
				return f.View(func(tx stretch.Tx) error {
					d, _, err := tx.Device(number)
					if err != nil {
						h.log.damagedPart(v.name, err)
					}
					c.done = max(c.done, d.Done)
					for _, s := range d.Series {
						if h.wanted == nil || h.wanted.has(s.ID) {
							c.from[s.ID] = h.coarsest(s.Rolled)
						}
					}
					return nil
				})
			})
			if err != nil {
				return nil, err
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// coarsest returns the coarsest tier that a series has and that is fine enough.
func (h *trends) coarsest(rolled [stretch.Tiers]bool) stretch.Tier {
	for t := h.tier; t > stretch.Readings; t-- {
		if rolled[t] {
			return t
		}
	}
	return stretch.Readings
}

// rollups adds what stands in the rollups of a tier. Where readings are gone, and
// nothing tells what there is, that is the tier asked for.
func (h *trends) rollups(ctx context.Context, byID map[uint32]*trend, number uint32, tier stretch.Tier, start int64, known []coverage) error {
	var layers []layer
	for _, v := range h.tiers[tier] {
		layers = append(layers, layer{file: v})
	}
	for _, c := range known {
		if c.cold != nil {
			layers = append(layers, layer{file: c.cold})
		}
	}
	sw := h.log.newSweep(number, tier, layers, h.wanted, start, h.to)
	for {
		ts, err := sw.next(ctx)
		if err != nil || ts == nil {
			return err
		}
		for i := range ts {
			t := &ts[i]
			to := h.trend(byID, t.id)
			for k, at := range t.times {
				if from, _ := tierOf(known, t.id, at, h.tier); from == tier {
					to.add(floorTo(at, h.step), t.min[k], t.max[k], t.sum[k], t.counts[k])
				}
			}
		}
	}
}

// tierOf returns which tier the reading of a series at a time is read from, none
// where no period has any, and up to which offset they are in it.
func tierOf(known []coverage, id uint32, at int64, none stretch.Tier) (tier stretch.Tier, done uint64) {
	i, _ := slices.BinarySearchFunc(known, at, func(c coverage, t int64) int {
		if c.end <= t {
			return -1
		}
		return 1
	})
	if i < len(known) && known[i].start <= at {
		if t, ok := known[i].from[id]; ok {
			return t, known[i].done
		}
	}
	return none, 0
}

// borderAfter returns where the first period begins or ends behind a time.
func borderAfter(known []coverage, at int64) int64 {
	for _, c := range known {
		if c.start > at {
			return c.start
		}
		if c.end > at {
			return c.end
		}
	}
	return math.MaxInt64
}

// trend returns the series in the making.
func (h *trends) trend(byID map[uint32]*trend, id uint32) *trend {
	t := byID[id]
	if t == nil {
		t = &trend{id: id, buckets: map[int64]*sums{}}
		byID[id] = t
	}
	return t
}

// readings adds what stands in the blocks of a period, of the series that have no
// rollups there.
func (h *trends) readings(ctx context.Context, byID map[uint32]*trend, number uint32, c coverage, from, to int64) error {
	want := newBitmap(nil, len(h.names))
	any := false
	for id, t := range c.from {
		if t == stretch.Readings {
			want[id/64] |= 1 << (id % 64)
			any = true
		}
	}
	if !any {
		return nil
	}
	sw := h.log.newSweep(number, stretch.Readings, h.layers(c.period, number), want, from, to)
	sw.part = timesAndValues
	for {
		ts, err := sw.next(ctx)
		if err != nil || ts == nil {
			return err
		}
		for i := range ts {
			h.sum(byID, &ts[i])
		}
	}
}

// sum adds the numbers of a track.
func (h *trends) sum(byID map[uint32]*trend, t *track) {
	var to *trend
	for k, v := range t.values {
		x, ok := v.Number()
		if !ok {
			continue
		}
		if to == nil {
			to = h.trend(byID, t.id)
		}
		to.add(floorTo(t.times[k], h.step), x, x, x, 1)
	}
}

// unblocked adds what is in no block of the series that readings has not: a
// reading that replaces another counts beside it until it is flushed.
func (h *trends) unblocked(byID map[uint32]*trend, number uint32, start int64, known []coverage) {
	for _, u := range h.freshOf(number) {
		for _, t := range between(u.tidied(), start, h.to) {
			for len(t.times) > 0 {
				tier, done := tierOf(known, t.id, t.times[0], stretch.Tier(stretch.Tiers))
				from := borderAfter(known, t.times[0])
				part := t.between(math.MinInt64, from)
				t = t.between(from, math.MaxInt64)
				if tier == stretch.Readings {
					continue
				}
				if u.first <= done {
					part = part.behind(done)
				}
				h.sum(byID, &part)
			}
		}
	}
}
