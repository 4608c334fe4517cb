package storage

import (
	"cmp"
	"errors"
	"slices"
	"sync"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// track is the readings, or the rollups, of one series in ascending order of
// time, each time once. Readings have offsets and values, rollups the rest.
type track struct {
	id            uint32
	times         []int64 // of rollups: where the buckets start
	offsets       []uint64
	values        []device.Value
	min, max, sum []float64
	counts        []int64
}

// sub returns the stretch of t from index i to j; it shares memory.
func (t *track) sub(i, j int) track {
	s := track{id: t.id, times: t.times[i:j:j]}
	if t.offsets != nil {
		s.offsets = t.offsets[i:j:j]
	}
	if t.values != nil {
		s.values = t.values[i:j:j]
	}
	if t.counts != nil {
		s.min, s.max, s.sum, s.counts = t.min[i:j:j], t.max[i:j:j], t.sum[i:j:j], t.counts[i:j:j]
	}
	return s
}

// between returns the part of t with from <= time < to; it shares memory.
func (t *track) between(from, to int64) track {
	i, _ := slices.BinarySearch(t.times, from)
	j, _ := slices.BinarySearch(t.times[i:], to)
	return t.sub(i, i+j)
}

// behind returns a copy of the readings of t above an offset.
func (t *track) behind(offset uint64) track {
	out := track{id: t.id}
	for i, o := range t.offsets {
		if o > offset {
			out.take(t, i)
		}
	}
	return out
}

// between returns the parts of ts with from <= time < to that are not empty.
func between(ts []track, from, to int64) (out []track) {
	for i := range ts {
		if s := ts[i].between(from, to); len(s.times) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// tidy brings a column into the order of time. Of readings with the same time
// the one with the highest offset stays.
func (c *column) tidy(id uint32) track {
	s := block.Series{ID: id, Times: c.times, Offsets: c.offsets, Values: c.appendValues(make([]device.Value, 0, len(c.times)))}
	if c.unordered {
		s.Tidy()
	}
	return track{id: id, times: s.Times, offsets: s.Offsets, values: s.Values}
}

// merge returns the series of both, in the order of their ids. Where both have
// the same time, readings with the higher offset stay, and rollups of b.
func merge(a, b []track) []track {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := make([]track, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		switch c := cmp.Compare(a[0].id, b[0].id); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, mergeTrack(&a[0], &b[0]))
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

func mergeTrack(a, b *track) track {
	switch {
	case len(a.times) == 0:
		return *b
	case len(b.times) == 0:
		return *a
	case a.times[len(a.times)-1] < b.times[0]:
		return join(a, b)
	}
	out := track{id: a.id}
	i, j := 0, 0
	for i < len(a.times) || j < len(b.times) {
		switch {
		case j == len(b.times) || i < len(a.times) && a.times[i] < b.times[j]:
			out.take(a, i)
			i++
		case i == len(a.times) || b.times[j] < a.times[i]:
			out.take(b, j)
			j++
		default:
			if a.offsets != nil && b.offsets != nil && a.offsets[i] > b.offsets[j] {
				out.take(a, i)
			} else {
				out.take(b, j)
			}
			i++
			j++
		}
	}
	return out
}

// take appends the ith of another track.
func (t *track) take(from *track, i int) {
	t.times = append(t.times, from.times[i])
	if from.offsets != nil {
		t.offsets = append(t.offsets, from.offsets[i])
	}
	if from.values != nil {
		t.values = append(t.values, from.values[i])
	}
	if from.counts != nil {
		t.min, t.max = append(t.min, from.min[i]), append(t.max, from.max[i])
		t.sum, t.counts = append(t.sum, from.sum[i]), append(t.counts, from.counts[i])
	}
}

// join returns a followed by b.
func join(a, b *track) track {
	return track{
		id: a.id, times: slices.Concat(a.times, b.times),
		offsets: slices.Concat(a.offsets, b.offsets), values: slices.Concat(a.values, b.values),
		min: slices.Concat(a.min, b.min), max: slices.Concat(a.max, b.max),
		sum: slices.Concat(a.sum, b.sum), counts: slices.Concat(a.counts, b.counts),
	}
}

// find returns the track of a series, nil when there is none.
func find(ts []track, id uint32) *track {
	i, ok := slices.BinarySearchFunc(ts, id, func(t track, id uint32) int { return cmp.Compare(t.id, id) })
	if !ok {
		return nil
	}
	return &ts[i]
}

// size returns how many readings or rollups there are.
func size(ts []track) (n int) {
	for i := range ts {
		n += len(ts[i].times)
	}
	return n
}

// timesOf returns the smallest and the largest time.
func timesOf(ts []track) (lo, hi int64) {
	for i := range ts {
		t := ts[i].times
		if i == 0 {
			lo, hi = t[0], t[len(t)-1]
		}
		lo, hi = min(lo, t[0]), max(hi, t[len(t)-1])
	}
	return lo, hi
}

// parcel is what becomes one block.
type parcel struct {
	tracks []track
	time   int64  // not above any in tracks
	series uint32 // tells chunks of the same time apart
}

// split parts tracks into chunks of about target readings, one behind the other
// in time. Where more have the same time than fit into a block, their series are
// parted.
func split(ts []track, target int) []parcel {
	n := size(ts)
	if n == 0 {
		return nil
	}
	parts := (n + target - 1) / target
	lo, hi := timesOf(ts)
	if parts == 1 {
		return partSeries(nil, ts, lo)
	}
	all := make([]int64, 0, n)
	for i := range ts {
		all = append(all, ts[i].times...)
	}
	slices.Sort(all)
	var out []parcel
	for p, from := 1, lo; p <= parts; p++ {
		to := hi + 1
		if p < parts {
			to = all[p*n/parts]
		}
		if to <= from {
			continue
		}
		if piece := between(ts, from, to); len(piece) > 0 {
			out = partSeries(out, piece, from)
		}
		from = to
	}
	return out
}

// partSeries appends the tracks as one chunk, or as many as their number asks
// for.
func partSeries(dst []parcel, ts []track, time int64) []parcel {
	for len(ts) > 0 {
		n, i := 0, 0
		for i < len(ts) && (i == 0 || n+len(ts[i].times) <= block.MaxReadings) {
			n += len(ts[i].times)
			i++
		}
		c := parcel{tracks: ts[:i], time: time}
		if len(dst) > 0 && dst[len(dst)-1].time == time {
			c.series = ts[0].id
		}
		dst = append(dst, c)
		ts = ts[i:]
	}
	return dst
}

// coders are at rest.
var coders = sync.Pool{New: func() any { return new(coder) }}

func borrowCoder() *coder {
	c, _ := coders.Get().(*coder)
	return c
}

func returnCoder(c *coder) { coders.Put(c) }

// coder encodes and decodes tracks; it holds the memory for it. Owned by one
// goroutine.
type coder struct {
	enc     block.Encoder
	dec     block.Decoder
	series  []block.Series
	rollups []block.Rollup
}

// encode appends a block of the tracks to dst.
func (c *coder) encode(dst []byte, tier stretch.Tier, ts []track) ([]byte, error) {
	if tier == stretch.Readings {
		c.series = c.series[:0]
		for i := range ts {
			t := &ts[i]
			c.series = append(c.series, block.Series{ID: t.id, Times: t.times, Offsets: t.offsets, Values: t.values})
		}
		out, err := block.Append(dst, c.series, &c.enc)
		clear(c.series)
		return out, err
	}
	c.rollups = c.rollups[:0]
	for i := range ts {
		t := &ts[i]
		c.rollups = append(c.rollups, block.Rollup{ID: t.id, Starts: t.times, Min: t.min, Max: t.max, Sum: t.sum, Counts: t.counts})
	}
	out, err := block.AppendRollups(dst, c.rollups, &c.enc)
	clear(c.rollups)
	return out, err
}

// eachBlock calls fn with the chunks that split makes, and the block of each. One
// with too much text for a block is split further.
func (c *coder) eachBlock(tier stretch.Tier, ts []track, target int, fn func(parcel, []byte) error) error {
	for _, p := range split(ts, target) {
		b, err := c.encode(nil, tier, p.tracks)
		if n := size(p.tracks); errors.Is(err, block.ErrTooLarge) && n > 1 && target > 1 {
			err = c.eachBlock(tier, p.tracks, (min(n, target)+1)/2, fn)
		} else if err == nil {
			err = fn(p, b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// decode returns the tracks in block b whose series want marks; nil: all. The
// memory is the caller's.
func (c *coder) decode(tier stretch.Tier, b []byte, want bitmap, part block.Part) ([]track, error) {
	h, err := c.dec.Open(b)
	if err != nil {
		return nil, err
	}
	ts := make([]track, 0, len(h.Series))
	for i := range h.Series {
		if want != nil && !want.has(h.Series[i].ID) {
			continue
		}
		if tier == stretch.Readings {
			var s block.Series
			if err := c.dec.Decode(i, part, &s); err != nil {
				return nil, err
			}
			ts = append(ts, track{id: s.ID, times: s.Times, offsets: s.Offsets, values: s.Values})
			continue
		}
		var r block.Rollup
		if err := c.dec.DecodeRollups(i, &r); err != nil {
			return nil, err
		}
		ts = append(ts, track{id: r.ID, times: r.Starts, min: r.Min, max: r.Max, sum: r.Sum, counts: r.Counts})
	}
	return ts, nil
}
