package storage

import (
	"context"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// timesAndValues is what summing up needs of readings.
const timesAndValues = block.Times | block.Values

// layer is one place where readings or rollups of a device are: a file, or
// memory.
type layer struct {
	file   *volume
	tracks []track // when there is no file
}

// sweep goes over the readings, or the rollups, of one device in the order of
// time. What stands in several layers counts as in the last of them. It decodes
// each block once and holds one of each layer, and no transaction between two
// steps. Owned by one goroutine.
type sweep struct {
	log    *Log
	number uint32
	tier   stretch.Tier
	want   bitmap // nil: all series
	part   block.Part
	pos    int64 // times below are done
	to     int64 // times from here on are not wanted
	layers []sweepLayer
}

// sweepLayer is a layer and the tracks of it that are at hand.
type sweepLayer struct {
	layer
	state  int // Tx.ID that pieces belong to
	pieces []stretch.Piece
	listed bool

	ts       []track
	max      int64 // everything up to here is in ts
	finished bool
}

// newSweep returns a sweep over the times from from on and below to. The files
// must be pinned, or the keeper be the caller.
func (l *Log) newSweep(number uint32, tier stretch.Tier, layers []layer, want bitmap, from, to int64) *sweep {
	s := &sweep{log: l, number: number, tier: tier, want: want, part: block.All, pos: from, to: to}
	s.layers = make([]sweepLayer, len(layers))
	for i := range layers {
		s.layers[i] = sweepLayer{layer: layers[i], max: math.MinInt64}
	}
	return s
}

// next returns the tracks of the next stretch of time that has any; none: there
// are no more. They are valid until the following call.
func (s *sweep) next(ctx context.Context) ([]track, error) {
	for s.pos < s.to {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		first, end := s.to, s.to
		for i := range s.layers {
			y := &s.layers[i]
			if err := y.load(s); err != nil {
				return nil, err
			}
			if y.finished {
				continue
			}
			for k := range y.ts {
				if rest := y.ts[k].between(s.pos, s.to); len(rest.times) > 0 {
					first = min(first, rest.times[0])
				}
			}
			if y.max < math.MaxInt64 {
				end = min(end, y.max+1)
			}
		}
		if first >= end {
			s.pos = end
			continue
		}
		var out []track
		for i := range s.layers {
			if y := &s.layers[i]; !y.finished {
				out = merge(out, between(y.ts, first, end))
			}
		}
		s.pos = end
		if len(out) > 0 {
			return out, nil
		}
	}
	return nil, nil
}

// load has the layer hold what it has from s.pos on.
func (y *sweepLayer) load(s *sweep) error {
	if y.finished || y.max >= s.pos && y.max > math.MinInt64 {
		return nil
	}
	if y.file == nil {
		y.ts, y.max = only(wanted(y.tracks, s.want), s.part), math.MaxInt64
		return nil
	}
	whole := false
	err := s.log.look(y.file, func(tx stretch.Tx) error {
		err := y.fetch(s, tx)
		whole = err == nil
		return err
	})
	if err == nil && !whole {
		y.finished, y.ts = true, nil
	}
	return err
}

// fetch decodes the next blocks that reach to s.pos.
func (y *sweepLayer) fetch(s *sweep, tx stretch.Tx) error {
	damaged := func(err error) { s.log.damagedPart(y.file.name, err) }
	if !y.listed || y.state != tx.ID() { // a flush may have moved everything
		y.pieces, y.listed, y.state = y.pieces[:0], true, tx.ID()
		err := tx.Pieces(s.tier, s.number, s.pos, s.to-1, func(p *stretch.Piece) error {
			y.pieces = append(y.pieces, *p)
			return nil
		}, damaged)
		if err != nil {
			return err
		}
	}
	for len(y.pieces) > 0 && y.pieces[0].MaxTime < s.pos {
		y.pieces = y.pieces[1:]
	}
	if len(y.pieces) == 0 {
		y.finished, y.ts = true, nil
		return nil
	}
	c := borrowCoder()
	defer returnCoder(c)
	y.ts, y.max = nil, y.pieces[0].MaxTime
	for len(y.pieces) > 0 && y.pieces[0].MinTime <= y.max { // series parted over blocks
		p := &y.pieces[0]
		b, err := tx.Block(p)
		var ts []track
		if err == nil {
			ts, err = c.decode(s.tier, b, s.want, s.part)
		}
		if err != nil {
			damaged(err)
		}
		y.ts, y.max = merge(y.ts, ts), max(y.max, p.MaxTime)
		y.pieces = y.pieces[1:]
	}
	return nil
}

// only returns tracks of readings without the parts that are not wanted.
func only(ts []track, part block.Part) []track {
	if part == block.All {
		return ts
	}
	ts = slices.Clone(ts)
	for i := range ts {
		if part&block.Offsets == 0 {
			ts[i].offsets = nil
		}
		if part&block.Values == 0 {
			ts[i].values = nil
		}
	}
	return ts
}

// wanted returns the tracks of ts that want marks; nil: all.
func wanted(ts []track, want bitmap) []track {
	if want == nil {
		return ts
	}
	var out []track
	for i := range ts {
		if want.has(ts[i].id) {
			out = append(out, ts[i])
		}
	}
	return out
}
