package storage

import (
	"math"

	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// replaced counts by series how many readings stood in the blocks that a merge
// replaces, and how many stand in the new ones.
type replaced map[uint32]int64

// offsetsOf returns the smallest and the largest offset.
func offsetsOf(ts []track) (lo, hi uint64) {
	lo = math.MaxUint64
	for i := range ts {
		for _, o := range ts[i].offsets {
			lo, hi = min(lo, o), max(hi, o)
		}
	}
	return lo, hi
}

// merge gathers the blocks of one tier in which the tracks stand from now on,
// with what stood there before, and returns how many more there are of each
// series. Blocks of one device do not overlap in time.
func (f *flusher) merge(w *coldWrite, v *volume, tier stretch.Tier, known *stretch.Device, ts []track) (replaced, error) {
	diff := replaced{}
	for i := range ts {
		diff[ts[i].id] += int64(len(ts[i].times))
	}
	err := f.log.files.with(v, func(file *stretch.File) error {
		return file.View(func(tx stretch.Tx) error {
			groups, err := f.group(tx, v, tier, known, ts)
			if err != nil {
				return err
			}
			for _, g := range groups {
				if err := f.put(tx, w, v, tier, known.Number, g, diff); err != nil {
					return err
				}
			}
			return nil
		})
	})
	return diff, err
}

// group is tracks with the blocks that they go into.
type group struct {
	tracks []track
	blocks []stretch.Piece
}

// group parts the tracks by the blocks that are there: what lies in the time of
// a block goes into it, what lies between two becomes new blocks, and what lies
// behind the last goes into that unless it is full.
func (f *flusher) group(tx stretch.Tx, v *volume, tier stretch.Tier, known *stretch.Device, ts []track) (groups []group, err error) {
	from, hi := timesOf(ts)
	if known.Count() > 0 { // the last block is wanted too, however long ago it ends
		last := known.MaxTime
		if tier != stretch.Readings {
			last = floorTo(last, tier.Length())
		}
		from = min(from, last)
	}
	var pieces []stretch.Piece
	err = tx.Pieces(tier, known.Number, from, hi, func(p *stretch.Piece) error {
		pieces = append(pieces, *p)
		return nil
	}, func(err error) { f.log.damagedPart(v.name, err) })
	if err != nil {
		return nil, err
	}
	from = math.MinInt64
	for len(pieces) > 0 {
		n, end := 1, pieces[0].MaxTime
		for n < len(pieces) && pieces[n].MinTime <= end { // series parted over blocks
			end = max(end, pieces[n].MaxTime)
			n++
		}
		if before := between(ts, from, pieces[0].MinTime); len(before) > 0 {
			groups = append(groups, group{tracks: before})
		}
		from = end + 1
		if n == len(pieces) && count(pieces) < fullEnough {
			from = math.MaxInt64
		}
		if within := between(ts, pieces[0].MinTime, from); len(within) > 0 {
			groups = append(groups, group{within, pieces[:n]})
		}
		pieces = pieces[n:]
	}
	if behind := between(ts, from, math.MaxInt64); len(behind) > 0 {
		groups = append(groups, group{tracks: behind})
	}
	return groups, nil
}

func count(ps []stretch.Piece) (n int) {
	for i := range ps {
		n += ps[i].Count
	}
	return n
}

// put gathers the blocks of a group. A block that cannot be read stays where it
// is, for a repair to look at, and its readings are left out.
func (f *flusher) put(tx stretch.Tx, w *coldWrite, v *volume, tier stretch.Tier, number uint32, g group, diff replaced) error {
	ts := g.tracks
	var olds []track
	for i := range g.blocks {
		b, err := tx.Block(&g.blocks[i])
		if err != nil {
			return err
		}
		old, err := f.decode(tier, b, nil, block.All)
		if err != nil {
			f.log.damagedPart(v.name, err)
			continue
		}
		olds = merge(olds, old)
		w.deletes = append(w.deletes, g.blocks[i])
	}
	if len(olds) > 0 {
		all := merge(olds, ts)
		for i := range ts {
			diff[ts[i].id] -= int64(len(ts[i].times))
		}
		for i := range all {
			diff[all[i].id] += int64(len(all[i].times))
		}
		for i := range olds {
			diff[olds[i].id] -= int64(len(olds[i].times))
		}
		ts = all
	}
	return f.eachBlock(tier, ts, target(len(ts)), func(c parcel, b []byte) error {
		w.puts = append(w.puts, coldPut{tier, number, c.time, c.series, [][]byte{b}})
		f.bytes += len(b)
		return nil
	})
}
