package storage

import (
	"errors"
	"slices"

	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// eachDevice calls fn with every device of a file. What the file says of one that
// is damaged is made anew from the heads of its blocks.
func (l *Log) eachDevice(v *volume, fn func(*stretch.Device) error) error {
	return l.look(v, func(tx stretch.Tx) error {
		var lost []uint32
		err := tx.Devices(fn, func(number uint32, err error) {
			l.damagedPart(v.name, err)
			lost = append(lost, number)
		})
		for _, number := range lost {
			if err == nil {
				err = l.eachLost(tx, v, number, fn)
			}
		}
		return err
	})
}

func (l *Log) eachLost(tx stretch.Tx, v *volume, number uint32, fn func(*stretch.Device) error) error {
	d, err := l.summary(tx, v, number)
	if err != nil || len(d.Series) == 0 {
		return err
	}
	return fn(&d)
}

// deviceIn returns what the file says of a device, made anew where it is damaged.
func (l *Log) deviceIn(tx stretch.Tx, v *volume, number uint32) (stretch.Device, error) {
	d, _, err := tx.Device(number)
	if errors.Is(err, stretch.ErrDamaged) {
		l.damagedPart(v.name, err)
		return l.summary(tx, v, number)
	}
	return d, err
}

// summary makes what a file says of a device from the heads of its blocks. Which
// rollups there are is not known: the readings tell.
func (l *Log) summary(tx stretch.Tx, v *volume, number uint32) (d stretch.Device, err error) {
	d.Number = number
	var h block.Header
	damaged := func(err error) { l.damagedPart(v.name, err) }
	l.mu.RLock()
	names := l.cat.names
	l.mu.RUnlock()
	tier := stretch.Readings
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if v.meta.Kind == t.Kind() {
			tier = t
		}
	}
	count := map[uint32]int64{}
	err = tx.Pieces(tier, number, -farthest, farthest, func(p *stretch.Piece) error {
		b, err := tx.Block(p)
		if err == nil {
			err = h.Parse(b)
		}
		if err != nil {
			damaged(err)
			return nil
		}
		if tier != stretch.Readings {
			for i := range h.Series {
				count[h.Series[i].ID] = 0
			}
			return nil
		}
		if len(count) == 0 {
			d.MinTime, d.MaxTime, d.MinOffset, d.MaxOffset = p.MinTime, p.MaxTime, p.MinOffset, p.MaxOffset
		}
		d.MinTime, d.MaxTime = min(d.MinTime, p.MinTime), max(d.MaxTime, p.MaxTime)
		d.MinOffset, d.MaxOffset = min(d.MinOffset, p.MinOffset), max(d.MaxOffset, p.MaxOffset)
		for i := range h.Series {
			count[h.Series[i].ID] += int64(h.Series[i].Count)
		}
		return nil
	}, damaged)
	// A flush writes everything that a device has.
	d.Done = d.MaxOffset
	for id, n := range count {
		if id == 0 || int(id) > len(names) || names[id-1].Device == "" {
			continue // its name was lost
		}
		d.Name = names[id-1].Device
		d.Series = append(d.Series, stretch.Series{ID: id, Metric: names[id-1].Metric, Count: n})
	}
	slices.SortFunc(d.Series, func(a, b stretch.Series) int { return int(int64(a.ID) - int64(b.ID)) })
	return d, err
}
