package storage

import (
	"os"
	"slices"

	"github.com/naru-telemetry/naru/storage/stretch"
)

// coldAt returns the period that has the time t and its cold file, which it
// makes when there is none.
func (l *Log) coldAt(t int64) (*period, *volume, error) {
	l.mu.RLock()
	i, ok := l.shelf.covering(t)
	var p *period
	if ok {
		p = l.shelf.periods[i]
	} else {
		start, end := l.periodOf(t, i)
		p = &period{start: start, end: end}
	}
	l.mu.RUnlock()
	if p.cold != nil {
		return p, p.cold, nil
	}
	v, err := l.createCold(p)
	if err != nil {
		return nil, nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	p.cold = v
	if !ok {
		l.shelf.periods = slices.Insert(slices.Clone(l.shelf.periods), i, p)
	}
	return p, v, nil
}

// periodOf returns the bounds of a new period that has the time t and would be
// the ith. The caller holds mu.
func (l *Log) periodOf(t int64, i int) (start, end int64) {
	length := l.cfg.Period.Microseconds()
	start = floorTo(t-periodOrigin, length) + periodOrigin
	end = start + length
	if i > 0 {
		start = max(start, l.shelf.periods[i-1].end)
	}
	if i < len(l.shelf.periods) {
		end = min(end, l.shelf.periods[i].start)
	}
	return start, end
}

// periodOrigin is the first Monday after the Unix epoch, in microseconds: weeks
// begin on Mondays.
const periodOrigin = 4 * 24 * 3600e6

// floorTo returns the largest multiple of step that is not above t.
func floorTo(t, step int64) int64 {
	r := t % step
	if r < 0 {
		r += step
	}
	return t - r
}

func (l *Log) createCold(p *period) (*volume, error) {
	v, err := l.createVolume(stretch.Meta{Kind: stretch.Cold, Start: p.start, End: p.end})
	if err != nil {
		return nil, err
	}
	f := v.file
	v.file = nil
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := os.Rename(v.path+unfinished, v.path); err != nil {
		return nil, err
	}
	return v, l.syncDir()
}

// createVolume makes a new file of the history, which does not have its name yet.
// It replaces those that are leaving too: one that a reader holds on to is there
// after a crash, and would claim the place of this one.
func (l *Log) createVolume(m stretch.Meta) (*volume, error) {
	m.Store = l.storeID
	for _, v := range l.leaving {
		if !slices.Contains(m.Replaces, v.name) {
			m.Replaces = append(m.Replaces, v.name)
		}
	}
	v := &volume{meta: m, opened: &l.files, devices: map[uint32]*resident{}}
	v.name = fileName(m.Kind, m.Start)
	v.path = l.filePath(v.name)
	f, err := stretch.Create(v.path+unfinished, m, &l.written)
	if err != nil {
		return nil, err
	}
	v.meta = f.Meta
	if size, err := f.Size(); err == nil {
		v.bytes.Store(size)
	}
	v.file = f
	return v, nil
}
