package storage

import (
	"context"
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// Usage is what the store takes.
type Usage struct {
	Readings, Bytes int64
	BytesToday      int64 // written to disk since local midnight or Open
	Files           []FileInfo
	Series          []SeriesUsage // sorted by device and metric
}

// SeriesUsage is what a series takes, its part of what it shares with others
// included.
type SeriesUsage struct {
	device.Series
	Readings, Bytes int64
}

// Usage returns what the store takes. It looks at the head of every block.
func (l *Log) Usage(ctx context.Context) (Usage, error) {
	bytes := map[uint32]float64{}
	p, err := l.pictureOfAll()
	if err != nil {
		return Usage{}, err
	}
	defer p.close()
	u := Usage{BytesToday: l.writtenToday()}
	if info, err := os.Stat(l.path); err == nil {
		u.Files, u.Bytes = append(u.Files, FileInfo{Name: hotName, Bytes: info.Size()}), info.Size()
	}
	if err := l.logUsage(ctx, bytes); err != nil {
		return Usage{}, fmt.Errorf("storage: usage: %w", err)
	}
	for _, v := range p.pinned {
		u.Files = append(u.Files, FileInfo{Name: v.name, Bytes: v.bytes.Load(), Sealed: v.meta.Kind.Sealed()})
		u.Bytes += v.bytes.Load()
		if err := l.fileUsage(ctx, v, bytes); err != nil {
			return Usage{}, fmt.Errorf("storage: usage: %s: %w", v.name, err)
		}
	}
	for _, info := range l.Series(device.Selector{}) {
		l.mu.RLock()
		id := l.cat.ids[info.Series]
		l.mu.RUnlock()
		u.Readings += info.Count
		u.Series = append(u.Series, SeriesUsage{Series: info.Series, Readings: info.Count, Bytes: int64(bytes[id])})
	}
	return u, nil
}

// logUsage adds what each series takes in the log.
func (l *Log) logUsage(ctx context.Context, bytes map[uint32]float64) error {
	var b batch
	return l.view(func(log *bolt.Bucket) error {
		cur := log.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if b.parse(keyNumber(k), v) != nil {
				continue
			}
			for _, e := range b.dict {
				bytes[e.id] += float64(len(v)) * float64(e.rows) / float64(b.count)
			}
		}
		return nil
	})
}

// fileUsage adds what each series takes in a file of the history.
func (l *Log) fileUsage(ctx context.Context, v *volume, bytes map[uint32]float64) error {
	var h block.Header
	damaged := func(err error) { l.damagedPart(v.name, err) }
	return l.look(v, func(tx stretch.Tx) error {
		for t := range stretch.Tiers {
			err := tx.AllPieces(stretch.Tier(t), func(p *stretch.Piece) error {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				b, err := tx.Block(p)
				if err == nil {
					err = h.Parse(b)
				}
				if err != nil {
					damaged(err)
					return nil
				}
				shared := len(b)
				for i := range h.Series {
					shared -= h.Series[i].Bytes
				}
				for i := range h.Series {
					s := &h.Series[i]
					bytes[s.ID] += float64(s.Bytes) + float64(shared)*float64(s.Count)/float64(h.Count)
				}
				return nil
			}, damaged)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// today tells what was written since local midnight. Guarded by Log.mu.
type today struct {
	day  int // of the year
	base int64
}

// writtenToday returns the bytes written to files since local midnight, or since
// the opening.
func (l *Log) writtenToday() int64 {
	now, written := l.cfg.Now().Local().YearDay(), l.written.Load()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.today.day != now {
		if l.today.day != 0 {
			l.today.base = written
		}
		l.today.day = now
	}
	return written - l.today.base
}
