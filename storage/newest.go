package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// findNewest gives the series that have readings and no last one the newest that
// is in blocks: hot.db, which knew it, was lost. When it was received is lost too;
// its own time stands in.
func (l *Log) findNewest(ctx context.Context) error {
	for _, d := range l.cat.devices {
		missing := newBitmap(nil, len(l.cat.names))
		any := false
		for _, id := range d.series {
			if s := &l.cat.state[id-1]; s.last.Offset == 0 && s.count > 0 {
				missing[id/64] |= 1 << (id % 64)
				any = true
			}
		}
		if !any {
			continue
		}
		if err := l.newestOf(ctx, d, missing); err != nil {
			return fmt.Errorf("newest readings of %s: %w", d.id, err)
		}
	}
	return nil
}

// newestOf looks for the newest reading of the series of a device that missing
// says, file by file, the one with the newest first, as long as a file may have
// newer ones.
func (l *Log) newestOf(ctx context.Context, d *deviceState, missing bitmap) error {
	type place struct {
		file *volume
		*resident
	}
	var places []place
	for _, p := range l.shelf.periods {
		for _, v := range p.volumes() {
			if r := v.devices[d.number]; r != nil {
				places = append(places, place{v, r})
			}
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(b.maxOffset, a.maxOffset) })
	for _, p := range places {
		if err := l.newestIn(ctx, p.file, d, missing, p.maxOffset); err != nil {
			return err
		}
	}
	return nil
}

// newestIn is newestOf for one file, whose largest offset of the device is top.
func (l *Log) newestIn(ctx context.Context, v *volume, d *deviceState, missing bitmap, top uint64) error {
	return l.look(v, func(tx stretch.Tx) error {
		known, err := l.deviceIn(tx, v, d.number)
		if err != nil {
			return err
		}
		// Blocks are not looked at for a series that is not in the file.
		var ids []uint32
		for _, s := range known.Series {
			if missing.has(s.ID) && s.Count > 0 && l.cat.state[s.ID-1].last.Offset < top {
				ids = append(ids, s.ID)
			}
		}
		var pieces []stretch.Piece
		err = tx.Pieces(stretch.Readings, d.number, -farthest, farthest, func(p *stretch.Piece) error {
			pieces = append(pieces, *p)
			return nil
		}, func(err error) { l.damagedPart(v.name, err) })
		if err != nil {
			return err
		}
		slices.SortFunc(pieces, func(a, b stretch.Piece) int { return cmp.Compare(b.MaxOffset, a.MaxOffset) })
		return l.newestInPieces(ctx, v, tx, pieces, ids)
	})
}

// newestInPieces looks into the blocks, the one with the newest reading first, as
// long as one may have a newer one of the series ids.
func (l *Log) newestInPieces(ctx context.Context, v *volume, tx stretch.Tx, pieces []stretch.Piece, ids []uint32) error {
	c := borrowCoder()
	defer returnCoder(c)
	for i := range pieces {
		ids = slices.DeleteFunc(ids, func(id uint32) bool { return l.cat.state[id-1].last.Offset >= pieces[i].MaxOffset })
		if len(ids) == 0 || ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b, err := tx.Block(&pieces[i])
		var ts []track
		if err == nil {
			ts, err = c.decode(stretch.Readings, b, newBitmap(ids, len(l.cat.names)), block.All)
		}
		if err != nil {
			l.damagedPart(v.name, err)
			continue
		}
		for k := range ts {
			l.takeTrack(&ts[k])
		}
	}
	return nil
}

// takeTrack makes the newest reading of a track the last one of its series unless
// that has a newer one.
func (l *Log) takeTrack(t *track) {
	s, name := &l.cat.state[t.id-1], l.cat.names[t.id-1]
	for i, o := range t.offsets {
		if o > s.last.Offset {
			at := device.Time(t.times[i])
			s.last = device.Stored{Offset: o, Reading: device.Reading{
				Device: name.Device, Metric: name.Metric, Time: at, Received: at, Value: t.values[i],
			}}
		}
	}
}
