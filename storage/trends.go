package storage

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// trends sums up the readings of one device in a picture. Owned by one goroutine.
type trends struct {
	*picture
	number   uint32
	tier     stretch.Tier
	step     int64
	from, to int64 // from <= time < to
	byID     map[uint32]*trend
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

// device sums up the series of the device in the range.
func (h *trends) device(ctx context.Context, from, to, points int64) ([]*trend, error) {
	h.log.moving.RLock()
	defer h.log.moving.RUnlock()
	if err := h.resolve(ctx, from, to, points); err != nil {
		return nil, err
	}
	known, err := h.coverage()
	if err != nil {
		return nil, err
	}
	for tier := stretch.ByMinute; tier <= h.tier; tier++ {
		if tier < h.tier && !slices.ContainsFunc(known, func(c coverage) bool { return c.has(tier) }) {
			continue
		}
		if err := h.rollups(ctx, tier, known); err != nil {
			return nil, err
		}
	}
	for _, c := range known {
		if err := h.readings(ctx, c); err != nil {
			return nil, err
		}
	}
	h.unblocked(known)
	out := make([]*trend, 0, len(h.byID))
	for _, t := range h.byID {
		if h.names[t.id-1].Device != "" {
			out = append(out, t)
		}
	}
	return out, nil
}

// resolve finds what to read: where finer ones are gone, coarser ones.
func (h *trends) resolve(ctx context.Context, from, to, points int64) error {
	for least := stretch.Readings; ; least = h.tier + 1 {
		h.tier, h.step = resolution(from, to, points, least)
		h.from, h.to = whole(from, to, h.tier)
		if left, err := h.onlyCoarser(ctx); err != nil || !left {
			return err
		}
	}
}

// onlyCoarser reports whether the range has rollups that are coarser than h.tier
// at times for which there is no file with anything finer.
func (h *trends) onlyCoarser(ctx context.Context) (bool, error) {
	for _, gap := range h.gaps() {
		for t := h.tier + 1; int(t) < stretch.Tiers; t++ {
			var layers []layer
			for _, v := range h.tiers[t] {
				layers = append(layers, layer{file: v})
			}
			ts, err := h.log.newSweep(h.number, t, layers, h.wanted, gap.from, gap.to).next(ctx)
			if len(ts) > 0 || err != nil {
				return true, err
			}
		}
	}
	return false, nil
}

// gaps returns the parts of the range that no file has readings of, or rollups of
// h.tier.
func (h *trends) gaps() (gaps []timeRange) {
	var there []timeRange
	for i := range h.periods {
		there = append(there, timeRange{h.periods[i].start, h.periods[i].end})
	}
	for t := stretch.ByMinute; t <= h.tier; t++ {
		for _, v := range h.tiers[t] {
			there = append(there, timeRange{v.meta.Start, v.meta.End})
		}
	}
	slices.SortFunc(there, func(a, b timeRange) int { return cmp.Compare(a.from, b.from) })
	at := h.from
	for _, r := range there {
		if r.from > at {
			gaps = append(gaps, timeRange{at, min(r.from, h.to)})
		}
		if at = max(at, r.to); at >= h.to {
			return gaps
		}
	}
	return append(gaps, timeRange{at, h.to})
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

// coverage returns for each period which tier each series is read from.
func (h *trends) coverage() (all []coverage, err error) {
	for i := range h.periods {
		c := coverage{period: &h.periods[i], from: map[uint32]stretch.Tier{}}
		for _, v := range c.volumes() {
			err := h.log.look(v, func(tx stretch.Tx) error {
				d, err := h.log.deviceIn(tx, v, h.number)
				if err != nil {
					return err
				}
				c.done = max(c.done, d.Done)
				for _, s := range d.Series {
					if h.wanted == nil || h.wanted.has(s.ID) {
						c.from[s.ID] = h.coarsest(s.Rolled, c.period)
					}
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		all = append(all, c)
	}
	return all, nil
}

// coarsest returns the coarsest tier that a series has in a period, that is fine
// enough and whose file is there.
func (h *trends) coarsest(rolled [stretch.Tiers]bool, p *period) stretch.Tier {
	for t := h.tier; t > stretch.Readings && !p.unrolled; t-- {
		if rolled[t] && (p.sealed == nil || covers(h.tiers[t], p)) {
			return t
		}
	}
	return stretch.Readings
}

// rollups adds what stands in the rollups of a tier. Where readings are gone, and
// nothing tells what there is, that is the tier asked for.
func (h *trends) rollups(ctx context.Context, tier stretch.Tier, known []coverage) error {
	var layers []layer
	for _, v := range h.tiers[tier] {
		layers = append(layers, layer{file: v})
	}
	for _, c := range known {
		if c.cold != nil {
			layers = append(layers, layer{file: c.cold})
		}
	}
	sw := h.log.newSweep(h.number, tier, layers, h.wanted, h.from, h.to)
	for {
		ts, err := sw.next(ctx)
		if err != nil || ts == nil {
			return err
		}
		for _, t := range counted(ts) {
			for k, at := range t.times {
				if from, _ := tierOf(known, t.id, at, h.tier); from == tier {
					h.trend(t.id).add(floorTo(at, h.step), t.min[k], t.max[k], t.sum[k], t.counts[k])
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
func (h *trends) trend(id uint32) *trend {
	t := h.byID[id]
	if t == nil {
		t = &trend{id: id, buckets: map[int64]*sums{}}
		h.byID[id] = t
	}
	return t
}

// readings adds what stands in the blocks of a period, of the series that have no
// rollups there.
func (h *trends) readings(ctx context.Context, c coverage) error {
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
	sw := h.log.newSweep(h.number, stretch.Readings, h.layers(c.period, h.number), want, max(h.from, c.start), min(h.to, c.end))
	sw.part = timesAndValues
	for {
		ts, err := sw.next(ctx)
		if err != nil || ts == nil {
			return err
		}
		for i := range ts {
			h.sum(&ts[i])
		}
	}
}

// sum adds the numbers of a track.
func (h *trends) sum(t *track) {
	var to *trend
	for k, v := range t.values {
		x, ok := v.Number()
		if !ok {
			continue
		}
		if to == nil {
			to = h.trend(t.id)
		}
		to.add(floorTo(t.times[k], h.step), x, x, x, 1)
	}
}

// unblocked adds what is in no block of the series that readings has not: a
// reading that replaces another counts beside it until it is flushed.
func (h *trends) unblocked(known []coverage) {
	for _, u := range h.freshOf(h.number) {
		for _, t := range between(u.tidied(), h.from, h.to) {
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
				h.sum(&part)
			}
		}
	}
}
