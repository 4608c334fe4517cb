package storage

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/storage/stretch"
)

// perBucket is how many readings a bucket has on average for its rollup to be
// stored. Below, the rollups would take as much room as the readings, and reading
// these is as fast.
const perBucket = 13

// roller sums up the readings of one series in buckets. Readings come in the
// order of time.
type roller struct {
	out    track
	length int64 // of a bucket, microseconds
}

// add adds a number at time t.
func (r *roller) add(t int64, x float64) {
	n := len(r.out.times) - 1
	if n < 0 || t >= r.out.times[n]+r.length {
		o := &r.out
		o.times = append(o.times, floorTo(t, r.length))
		o.min, o.max, o.sum, o.counts = append(o.min, x), append(o.max, x), append(o.sum, x), append(o.counts, 1)
		return
	}
	r.out.include(n, x, x, x, 1)
}

// addTrack adds the numbers of a track.
func (r *roller) addTrack(t *track) {
	for i, v := range t.values {
		if x, ok := v.Number(); ok {
			r.add(t.times[i], x)
		}
	}
}

// include adds what is summed up elsewhere to the ith bucket.
func (t *track) include(i int, lo, hi, sum float64, count int64) {
	t.min[i], t.max[i] = min(t.min[i], lo), max(t.max[i], hi)
	t.sum[i] = finite(t.sum[i] + sum)
	t.counts[i] += count
}

// finite keeps a sum that is too large for a float64 at the largest there is.
func finite(x float64) float64 { return min(max(x, -math.MaxFloat64), math.MaxFloat64) }

// rollTrack returns the rollups of a track of readings. Texts have none.
func rollTrack(t *track, length int64) track {
	r := roller{out: track{id: t.id}, length: length}
	r.addTrack(t)
	return r.out
}

// rollAll returns the rollups of the readings that a sweep finds, by series.
func rollAll(ctx context.Context, s *sweep, length int64) (out []track, err error) {
	byID := map[uint32]*roller{}
	var order []*roller
	for {
		ts, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		if ts == nil {
			break
		}
		for i := range ts {
			t := &ts[i]
			r := byID[t.id]
			if r == nil {
				r = &roller{out: track{id: t.id}, length: length}
				byID[t.id] = r
				order = append(order, r)
			}
			r.addTrack(t)
		}
	}
	for _, r := range order {
		if len(r.out.times) > 0 {
			out = append(out, r.out)
		}
	}
	slices.SortFunc(out, func(a, b track) int { return cmp.Compare(a.id, b.id) })
	return out, nil
}

// dense reports whether the rollups of a track pay, by tier.
func dense(t *track) (d [stretch.Tiers]bool) {
	var seen tally
	seen.add(t)
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		d[tier] = seen.pays(tier)
	}
	return d
}

// rollUp gathers the rollups of the tracks ts, which are flushed to file v of
// period p, and notes in known which series have any.
//
// Readings that come behind all others of the device are added to the bucket
// that has begun. Buckets with others are made anew from the readings, unless
// retention has taken those: then what is new is added.
func (f *flusher) rollUp(ctx context.Context, w *coldWrite, p *period, v *volume, known *stretch.Device, ts []track) error {
	sealed, prior, err := f.prior(p, known)
	if err != nil {
		return err
	}
	rolled, err := f.rolled(ctx, p, known, &sealed, ts)
	if err != nil {
		return err
	}
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		var readings []track
		for i := range ts {
			if rolled[ts[i].id][tier] {
				readings = append(readings, ts[i])
			}
		}
		if len(readings) == 0 {
			continue
		}
		if err := f.rollTier(ctx, w, p, v, tier, known, readings, prior); err != nil {
			return err
		}
	}
	for i := range ts { // in the order of ids
		id := ts[i].id
		at, ok := findSeries(known, id)
		if !ok {
			known.Series = slices.Insert(known.Series, at, stretch.Series{ID: id})
		}
		known.Series[at].Rolled = rolled[id]
	}
	return nil
}

// prior returns what the sealed file of the period says of the device, and the
// largest time that the period has of it.
func (f *flusher) prior(p *period, known *stretch.Device) (sealed stretch.Device, last int64, err error) {
	last = math.MinInt64
	if p.sealed != nil {
		if sealed, err = f.known(p.sealed, known.Number, known.Name); err != nil {
			return sealed, last, err
		}
	}
	for _, d := range []*stretch.Device{known, &sealed} {
		if d.Count() > 0 {
			last = max(last, d.MaxTime)
		}
	}
	return sealed, last, nil
}

// rolled returns which rollups are kept of the series of ts. What was decided
// for a period stays until it is sealed. Where retention took the readings of the
// period and left rollups, these go on.
func (f *flusher) rolled(ctx context.Context, p *period, known, sealed *stretch.Device, ts []track) (map[uint32][stretch.Tiers]bool, error) {
	rolled := map[uint32][stretch.Tiers]bool{}
	var undecided []uint32
	for i := range ts {
		id := ts[i].id
		if at, ok := findSeries(known, id); ok {
			rolled[id] = known.Series[at].Rolled
		} else if at, ok := findSeries(sealed, id); ok {
			rolled[id] = sealed.Series[at].Rolled
		} else {
			rolled[id] = dense(&ts[i])
			undecided = append(undecided, id)
		}
	}
	if len(undecided) == 0 {
		return rolled, nil
	}
	want := newBitmap(undecided, int(slices.Max(undecided)))
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		sw := f.log.newSweep(known.Number, tier, f.log.rollupLayers(tier, p, nil), want, p.start, p.end)
		for {
			left, err := sw.next(ctx)
			if err != nil {
				return nil, err
			}
			if left == nil {
				break
			}
			for i := range left {
				r := rolled[left[i].id]
				r[tier] = true
				rolled[left[i].id] = r
			}
		}
	}
	return rolled, nil
}

// rollTier gathers the rollups of one tier.
func (f *flusher) rollTier(ctx context.Context, w *coldWrite, p *period, v *volume, tier stretch.Tier, known *stretch.Device, readings []track, prior int64) error {
	length := tier.Length()
	first, hi := timesOf(readings)
	lo := floorTo(first, length)
	want := newBitmap(nil, int(readings[len(readings)-1].id))
	var fresh []track
	for i := range readings {
		want[readings[i].id/64] |= 1 << (readings[i].id % 64)
		if r := rollTrack(&readings[i], length); len(r.times) > 0 {
			fresh = append(fresh, r)
		}
	}
	old, err := gather(ctx, f.log.newSweep(known.Number, tier, f.log.rollupLayers(tier, p, v), want, lo, hi+1))
	if err != nil {
		return err
	}
	sums := addUp(old, fresh)
	if first <= prior { // late ones
		layers := p.layers()
		all := slices.Concat(layers, []layer{{tracks: readings}})
		for _, run := range touched(readings, prior, length) {
			before, err := rollAll(ctx, f.log.newSweep(known.Number, stretch.Readings, layers, want, run.from, run.to), length)
			if err != nil {
				return err
			}
			after, err := rollAll(ctx, f.log.newSweep(known.Number, stretch.Readings, all, want, run.from, run.to), length)
			if err != nil {
				return err
			}
			sums = correct(sums, old, before, after)
		}
	}
	if len(sums) == 0 {
		return nil
	}
	_, err = f.merge(w, v, tier, known, sums)
	return err
}

// timeRange is from <= time < to.
type timeRange struct{ from, to int64 }

// runGap is how many buckets without a late reading are passed over between two
// with one, rather than begin to read anew.
const runGap = 32

// touched returns the buckets that have readings not behind prior, as ranges of
// adjacent ones.
func touched(ts []track, prior, length int64) (runs []timeRange) {
	var starts []int64
	for i := range ts {
		for _, t := range ts[i].times {
			if b := floorTo(t, length); b <= prior && (len(starts) == 0 || starts[len(starts)-1] != b) {
				starts = append(starts, b)
			}
		}
	}
	slices.Sort(starts)
	for _, b := range starts {
		if n := len(runs); n > 0 && b <= runs[n-1].to+runGap*length {
			runs[n-1].to = max(runs[n-1].to, b+length)
		} else {
			runs = append(runs, timeRange{b, b + length})
		}
	}
	return runs
}

// rollupLayers returns where the rollups of a period are.
func (l *Log) rollupLayers(tier stretch.Tier, p *period, cold *volume) []layer {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var layers []layer
	for _, v := range l.shelf.tiers[tier] {
		if v.meta.Start < p.end && v.meta.End > p.start {
			layers = append(layers, layer{file: v})
		}
	}
	if cold != nil {
		layers = append(layers, layer{file: cold})
	}
	return layers
}

// gather returns all that a sweep finds.
func gather(ctx context.Context, s *sweep) (all []track, err error) {
	for {
		ts, err := s.next(ctx)
		if err != nil || ts == nil {
			return all, err
		}
		all = merge(all, ts)
	}
}

// addUp returns the buckets of fresh, with what old has of them added.
func addUp(old, fresh []track) []track {
	out := make([]track, len(fresh))
	for i := range fresh {
		out[i] = mergeTrack(&track{id: fresh[i].id}, &fresh[i])
		if o := find(old, fresh[i].id); o != nil {
			out[i] = addTracks(&out[i], o)
		}
	}
	return out
}

// addTracks returns a copy of t with what of has of its buckets added.
func addTracks(t, of *track) track {
	out := track{id: t.id}
	j := 0
	for i := range t.times {
		out.take(t, i)
		for j < len(of.times) && of.times[j] < t.times[i] {
			j++
		}
		if j < len(of.times) && of.times[j] == t.times[i] && of.counts[j] > 0 {
			out.include(i, of.min[j], of.max[j], of.sum[j], of.counts[j])
		}
	}
	return out
}

// correct replaces the buckets of sums by those in after, where old has as many
// readings as before: where all readings of the bucket are there. A bucket whose
// numbers have all been replaced by texts stays, with a count of 0, since what
// stands in a file below must not come through.
func correct(sums, old, before, after []track) []track {
	var sound []track
	for i := range after {
		a := &after[i]
		t := track{id: a.id}
		for k, at := range a.times {
			if countAt(old, a.id, at) == countAt(before, a.id, at) {
				t.take(a, k)
			}
		}
		if len(t.times) > 0 {
			sound = append(sound, t)
		}
	}
	var empty []track
	for i := range before {
		b := &before[i]
		t := track{id: b.id}
		for k, at := range b.times {
			if countAt(after, b.id, at) == 0 && countAt(old, b.id, at) == b.counts[k] {
				t.times, t.counts = append(t.times, at), append(t.counts, 0)
				t.min, t.max, t.sum = append(t.min, 0), append(t.max, 0), append(t.sum, 0)
			}
		}
		if len(t.times) > 0 {
			empty = append(empty, t)
		}
	}
	return merge(merge(sums, sound), empty)
}

// counted returns the rollups without those that nothing is left of.
func counted(ts []track) (out []track) {
	for i := range ts {
		if !slices.Contains(ts[i].counts, 0) {
			out = append(out, ts[i])
			continue
		}
		rest := track{id: ts[i].id}
		for k, n := range ts[i].counts {
			if n > 0 {
				rest.take(&ts[i], k)
			}
		}
		if len(rest.times) > 0 {
			out = append(out, rest)
		}
	}
	return out
}

// countAt returns how many readings the bucket of a series has.
func countAt(ts []track, id uint32, at int64) int64 {
	if t := find(ts, id); t != nil {
		if i, ok := slices.BinarySearch(t.times, at); ok {
			return t.counts[i]
		}
	}
	return 0
}
