package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

const (
	// blockReadings is how many readings a block of a cold file has, more for a
	// device with many series, so that each has some in it.
	blockReadings = 4096
	perSeries     = 64
	maxReadings   = 32768
	// fullEnough is from how many on a block is left alone when readings come
	// behind it.
	fullEnough = blockReadings * 3 / 4
	// commitBytes is how much a commit of a cold file gathers.
	commitBytes = 4 << 20
)

// errUncommitted says that a flush has to wait for the log.
var errUncommitted = errors.New("storage: flush: the log cannot be written")

// target returns how many readings a block of a device with so many series has.
func target(series int) int {
	return min(max(blockReadings, perSeries*series), maxReadings)
}

// allDevices has a flush take every device.
func allDevices(*deviceState) bool { return true }

// flush writes what is in no block of the devices that want says, and what an
// earlier flush could not finish. When it returns nil it is in the files of the
// history. It belongs to the keeper.
func (l *Log) flush(ctx context.Context, want func(*deviceState) bool) error {
	l.mu.Lock()
	devices, last := l.detachLocked(want)
	l.mu.Unlock()
	if len(devices) == 0 {
		return nil
	}
	// A block must not have readings that a crash would take from the log.
	if l.durable.Load() < last {
		if err := l.commit(commitAll); err != nil {
			return fmt.Errorf("%w: %w", errUncommitted, err)
		}
	}
	f := flusher{log: l}
	for _, d := range devices {
		if err := f.device(ctx, d); err != nil {
			return fmt.Errorf("storage: flush %s: %w", d.id, err)
		}
	}
	return f.commit()
}

// detachLocked moves what is to be flushed aside, so that appending goes on, and
// returns the devices and the largest offset. The caller holds mu.
func (l *Log) detachLocked(want func(*deviceState) bool) (devices []*deviceState, last uint64) {
	for _, d := range l.cat.devices {
		if d.flushing.n == 0 {
			if d.fresh.n == 0 || !want(d) {
				continue
			}
			d.flushing, d.fresh = d.fresh, head{}
			for _, id := range d.series {
				s := &l.cat.state[id-1]
				s.flushing, s.fresh = s.fresh, column{}
			}
		}
		devices = append(devices, d)
		last = max(last, d.flushing.last)
	}
	slices.SortFunc(devices, func(a, b *deviceState) int { return int(int64(a.number) - int64(b.number)) })
	return devices, last
}

// flusher gathers what one flush writes. Owned by the keeper.
type flusher struct {
	log *Log
	coder
	// writes are what is to be written, by file.
	writes map[*volume]*coldWrite
	bytes  int
	// devices have all of theirs in writes.
	devices []*deviceState
}

// coldWrite is what one commit changes in a cold file.
type coldWrite struct {
	deletes []stretch.Piece
	puts    []coldPut
	devices []*stretch.Device
	// diff is how many readings more of each series it leaves in the file.
	diff replaced
}

type coldPut struct {
	tier   stretch.Tier
	device uint32
	time   int64
	series uint32
	blocks [][]byte
}

// device gathers what is to be written of one device.
func (f *flusher) device(ctx context.Context, d *deviceState) error {
	l := f.log
	l.mu.RLock()
	var ts []track
	columns := make([]column, len(d.series))
	ids := slices.Clone(d.series)
	for i, id := range ids {
		columns[i] = l.cat.state[id-1].flushing
	}
	l.mu.RUnlock()
	for i := range columns {
		if len(columns[i].times) > 0 {
			ts = append(ts, columns[i].tidy(ids[i]))
		}
	}
	for len(ts) > 0 {
		lo, _ := timesOf(ts)
		p, v, err := l.coldAt(lo)
		if err != nil {
			return err
		}
		if err := f.stretch(ctx, d, p, v, between(ts, lo, p.end)); err != nil {
			return err
		}
		ts = between(ts, p.end, math.MaxInt64)
	}
	f.devices = append(f.devices, d)
	if f.bytes >= commitBytes {
		return f.commit()
	}
	return nil
}

// stretch gathers what is to be written of one device to the cold file of one
// period.
func (f *flusher) stretch(ctx context.Context, d *deviceState, p *period, v *volume, ts []track) error {
	w := f.writes[v]
	if w == nil {
		w = &coldWrite{diff: replaced{}}
		if f.writes == nil {
			f.writes = map[*volume]*coldWrite{}
		}
		f.writes[v] = w
	}
	known, err := f.known(v, d.number, d.id)
	if err != nil {
		return err
	}
	diff, err := f.merge(w, v, stretch.Readings, &known, ts)
	if err != nil {
		return err
	}
	if err := f.rollUp(ctx, w, p, v, &known, ts); err != nil {
		return err
	}
	f.note(&known, d, ts, diff)
	for id, n := range diff {
		w.diff[id] += n
	}
	w.devices = append(w.devices, &known)
	return nil
}

// known returns what the file says of the device.
func (f *flusher) known(v *volume, number uint32, name device.ID) (known stretch.Device, err error) {
	find := func(tx stretch.Tx) (err error) {
		known, err = f.log.deviceIn(tx, v, number)
		return err
	}
	if v.meta.Kind.Sealed() {
		err = f.log.look(v, find)
	} else {
		err = f.log.files.with(v, func(file *stretch.File) error { return file.View(find) })
	}
	known.Number, known.Name = number, name
	return known, err
}

// note brings what the file says of the device up to the readings ts, whose series
// rollUp has put there; diff is how many more of each there are now.
func (f *flusher) note(known *stretch.Device, d *deviceState, ts []track, diff replaced) {
	known.Done = max(known.Done, d.flushing.last)
	lo, hi := timesOf(ts)
	first, last := offsetsOf(ts)
	if known.Count() == 0 {
		known.MinTime, known.MaxTime, known.MinOffset, known.MaxOffset = lo, hi, first, last
	}
	known.MinTime, known.MaxTime = min(known.MinTime, lo), max(known.MaxTime, hi)
	known.MinOffset, known.MaxOffset = min(known.MinOffset, first), max(known.MaxOffset, last)
	f.log.mu.RLock()
	defer f.log.mu.RUnlock()
	for i := range known.Series {
		s := &known.Series[i]
		s.Count += diff[s.ID]
		s.Metric = f.log.cat.names[s.ID-1].Metric
	}
}

func findSeries(d *stretch.Device, id uint32) (int, bool) {
	return slices.BinarySearchFunc(d.Series, id, func(s stretch.Series, id uint32) int { return int(int64(s.ID) - int64(id)) })
}

// commit writes what is gathered, file by file, and brings memory up to it.
func (f *flusher) commit() error {
	l := f.log
	l.moving.Lock()
	defer l.moving.Unlock()
	diff := replaced{}
	for v, w := range f.writes {
		var bytes int64
		err := l.files.with(v, func(file *stretch.File) error {
			if err := file.Update(w.write); err != nil {
				return err
			}
			size, err := file.Size()
			bytes = size
			return err
		})
		if err != nil {
			// What is in the other files is flushed once more, and no more then.
			l.mu.Lock()
			l.addCountsLocked(diff)
			l.mu.Unlock()
			return fmt.Errorf("%s: %w", v.name, err)
		}
		for id, n := range w.diff {
			diff[id] += n
		}
		v.bytes.Store(bytes)
		l.stats.coldCommits.Add(1)
		l.mu.Lock()
		for _, d := range w.devices {
			v.devices[d.Number] = residentOf(d)
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.addCountsLocked(diff)
	for _, d := range f.devices {
		l.unflushed -= d.flushing.n
		l.stats.flushed.Add(int64(d.flushing.n))
		d.flushing = head{}
		for _, id := range d.series {
			s := &l.cat.state[id-1]
			s.count -= int64(len(s.flushing.times))
			s.flushing = column{}
		}
	}
	l.flushed = l.flushedLocked()
	l.announceLocked()
	l.mu.Unlock()
	f.writes, f.devices, f.bytes = nil, nil, 0
	return nil
}

func (l *Log) addCountsLocked(diff replaced) {
	for id, n := range diff {
		l.cat.state[id-1].count += n
	}
}

func (w *coldWrite) write(tx stretch.Tx) error {
	for i := range w.deletes {
		if err := tx.Delete(&w.deletes[i]); err != nil {
			return err
		}
	}
	for _, p := range w.puts {
		if err := tx.Put(p.tier, p.device, p.time, p.series, p.blocks...); err != nil {
			return err
		}
	}
	for _, d := range w.devices {
		if err := tx.PutDevice(d); err != nil {
			return err
		}
	}
	return nil
}

// flushedLocked returns the offset up to which everything is in blocks. The
// caller holds mu.
func (l *Log) flushedLocked() uint64 {
	first := l.next
	for _, d := range l.cat.devices {
		if d.flushing.n > 0 {
			first = min(first, d.flushing.first)
		}
		if d.fresh.n > 0 {
			first = min(first, d.fresh.first)
		}
	}
	return max(first-1, l.flushed)
}
