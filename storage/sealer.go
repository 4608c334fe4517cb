package storage

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

const (
	// sealedReadings and sealedRollups are how many there are in a block of a
	// sealed file: longer ones are smaller, and slower to read a little of.
	sealedReadings = 16384
	sealedRollups  = 8192
	// runBytes is how long a run of a sealed file is, so that little of its last
	// page is left empty.
	runBytes = 128 << 10
	// newlyRolled bounds the rollups of a device that are made when a period is
	// sealed and not before; beyond, the readings have to do.
	newlyRolled = 1 << 20
)

// abandon deletes what was begun and returns the reason.
func (s *sealer) abandon(err error) error {
	for _, v := range s.made { // that with the readings first
		if v.file != nil {
			err = errors.Join(err, v.file.Close())
			v.file = nil
		}
		_ = os.Remove(v.path + unfinished) // the next opening does
		_ = os.Remove(v.path)              // what it replaces is there
	}
	return err
}

// sealer makes the files that take the place of others. Owned by the keeper.
type sealer struct {
	log *Log
	coder
	periods []*period                    // to become one; none when only rollups are rewritten
	parts   []map[uint32]*stretch.Device // the devices of each of them
	// anew has all rollups made from the readings, whatever is stored.
	anew bool
	// unrolled are the rollups by device of series that had none stored.
	unrolled map[uint32][stretch.Tiers][]track
	raw      *volume
	tiers    [stretch.Tiers]*volume
	made     []*volume
	olds     []*volume // that the new ones replace
	puts     []coldPut
	devices  []*stretch.Device
	bytes    int
	file     *stretch.File // being written
	// diff is how many readings more of each series there are than before.
	diff map[uint32]int64
}

func (s *sealer) write(ctx context.Context) error {
	if err := s.writeReadings(ctx); err != nil {
		return err
	}
	start, end := s.bounds()
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		if err := s.writeTier(ctx, tier, start, end); err != nil {
			return err
		}
	}
	return s.name()
}

// name syncs the new files and gives them their names, that with the readings
// last.
func (s *sealer) name() error {
	order := slices.Clone(s.made)
	slices.Reverse(order)
	for _, v := range order {
		f := v.file
		v.file = nil
		if err := f.Finish(); err != nil {
			return err
		}
		info, err := os.Stat(v.path + unfinished)
		if err != nil {
			return err
		}
		v.bytes.Store(info.Size())
	}
	for _, v := range order {
		if err := os.Rename(v.path+unfinished, v.path); err != nil {
			return err
		}
		if err := s.log.syncDir(); err != nil {
			return err
		}
	}
	return nil
}

// create begins a new file that replaces others.
func (s *sealer) create(kind stretch.Kind, start, end int64, olds ...*volume) (*volume, error) {
	m := stretch.Meta{Kind: kind, Start: start, End: end}
	s.log.mu.RLock()
	m.Before = s.log.next
	s.log.mu.RUnlock()
	for _, v := range olds {
		if v == nil {
			continue
		}
		m.Replaces = append(m.Replaces, v.name)
		s.olds = append(s.olds, v)
		for _, name := range v.meta.Replaces { // a reader may still hold it
			if _, err := os.Lstat(s.log.filePath(name)); err == nil {
				m.Replaces = append(m.Replaces, name)
			}
		}
	}
	v, err := s.log.createVolume(m)
	if err != nil {
		return nil, err
	}
	s.made = append(s.made, v)
	s.file = v.file
	return v, nil
}

// writeReadings writes the sealed file of the period, device by device.
func (s *sealer) writeReadings(ctx context.Context) error {
	var olds []*volume
	for _, p := range s.periods {
		olds = append(olds, p.volumes()...)
	}
	start, end := s.bounds()
	var err error
	if s.raw, err = s.create(stretch.Raw, start, end, olds...); err != nil {
		return err
	}
	known := map[uint32]*stretch.Device{}
	for _, p := range s.periods {
		part, err := s.log.devicesOf(p.volumes()...)
		if err != nil {
			return err
		}
		s.parts = append(s.parts, part)
		for _, d := range part {
			d := *d
			d.Series = slices.Clone(d.Series)
			addDevice(known, &d)
		}
	}
	s.diff = map[uint32]int64{}
	s.unrolled = map[uint32][stretch.Tiers][]track{}
	for _, number := range slices.Sorted(maps.Keys(known)) {
		d := known[number]
		if s.anew {
			forgetRolled(d)
			for _, part := range s.parts {
				forgetRolled(part[number])
			}
		}
		if err := s.readingsOf(ctx, d); err != nil {
			return err
		}
		if d.Count() == 0 {
			continue
		}
		if err := s.putDevice(d); err != nil {
			return err
		}
		s.raw.take(d)
	}
	return s.commit()
}

// allDone reports whether the devices have nothing in memory with offsets that one
// of the files has done: then all of them are done up to the same offsets. It is
// otherwise after a crash in the midst of a flush, until the next one. The caller
// holds mu.
func (l *Log) allDone(vs ...*volume) bool {
	for _, d := range l.cat.devices {
		for _, h := range []*head{&d.flushing, &d.fresh} {
			for _, v := range vs {
				if v != nil && h.n > 0 && v.devices[d.number] != nil && v.devices[d.number].done >= h.first {
					return false
				}
			}
		}
	}
	return true
}

func forgetRolled(d *stretch.Device) {
	if d == nil {
		return
	}
	for i := range d.Series {
		d.Series[i].Rolled = [stretch.Tiers]bool{}
	}
}

// bounds returns the stretch of time of the sealed file.
func (s *sealer) bounds() (start, end int64) {
	return s.periods[0].start, s.periods[len(s.periods)-1].end
}

// devicesOf returns what the files say of their devices, joined.
func (l *Log) devicesOf(vs ...*volume) (map[uint32]*stretch.Device, error) {
	all := map[uint32]*stretch.Device{}
	for _, v := range vs {
		err := l.eachDevice(v, func(d *stretch.Device) error {
			addDevice(all, d)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// addDevice puts d, which it may change later, among the devices, joined with what
// is known of it there.
func addDevice(all map[uint32]*stretch.Device, d *stretch.Device) {
	if known := all[d.Number]; known != nil {
		joinDevices(known, d)
	} else {
		all[d.Number] = d
	}
}

// joinDevices adds the series of other to d, and the counts of those it has. What
// is rolled in one of them is rolled.
func joinDevices(d, other *stretch.Device) {
	d.Done = max(d.Done, other.Done)
	for _, s := range other.Series {
		at, ok := findSeries(d, s.ID)
		if !ok {
			d.Series = slices.Insert(d.Series, at, s)
			continue
		}
		d.Series[at].Count += s.Count
		for t := range s.Rolled {
			d.Series[at].Rolled[t] = d.Series[at].Rolled[t] || s.Rolled[t]
		}
	}
}

// readingsOf writes the readings of one device, sets what d says of them, and
// finds the series whose rollups begin to pay.
func (s *sealer) readingsOf(ctx context.Context, d *stretch.Device) error {
	var layers []layer
	for _, p := range s.periods {
		layers = append(layers, p.layers()...)
	}
	start, end := s.bounds()
	sw := s.log.newSweep(d.Number, stretch.Readings, layers, nil, start, end)
	pack := packer{sealer: s, tier: stretch.Readings, number: d.Number, target: max(sealedReadings, target(len(d.Series)))}
	seen := map[uint32]*tally{}
	first := true
	for {
		ts, err := sw.next(ctx)
		if err != nil {
			return err
		}
		if ts == nil {
			break
		}
		lo, hi := timesOf(ts)
		from, to := offsetsOf(ts)
		if first {
			d.MinTime, d.MinOffset, d.MaxOffset, first = lo, from, to, false
		}
		d.MaxTime, d.MinOffset, d.MaxOffset = hi, min(d.MinOffset, from), max(d.MaxOffset, to)
		for i := range ts {
			t := seen[ts[i].id]
			if t == nil {
				t = &tally{}
				seen[ts[i].id] = t
			}
			t.add(&ts[i])
		}
		if err := pack.add(ts); err != nil {
			return err
		}
	}
	if err := pack.finish(); err != nil {
		return err
	}
	return s.rollMissing(ctx, d, seen)
}

// layers returns where the readings of a period are on disk, the first to be
// replaced first.
func (p *period) layers() (ls []layer) {
	for _, v := range p.volumes() {
		ls = append(ls, layer{file: v})
	}
	return ls
}

// tally counts the readings of a series and the buckets that they are in.
type tally struct {
	count   int64
	numbers int
	buckets [stretch.Tiers]int
	last    [stretch.Tiers]int64
}

func (t *tally) add(of *track) {
	t.count += int64(len(of.times))
	for i, v := range of.values {
		if v.Kind() == device.KindText {
			continue
		}
		t.numbers++
		for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
			if b := floorTo(of.times[i], tier.Length()); t.buckets[tier] == 0 || b != t.last[tier] {
				t.buckets[tier]++
				t.last[tier] = b
			}
		}
	}
}

// pays reports whether the rollups of a tier are worth their room.
func (t *tally) pays(tier stretch.Tier) bool {
	return t.numbers > 0 && t.numbers >= perBucket*t.buckets[tier]
}

func (s *sealer) putDevice(d *stretch.Device) error {
	s.devices = append(s.devices, d)
	if s.bytes += 64 * len(d.Series); s.bytes >= commitBytes {
		return s.commit()
	}
	return nil
}

// commit writes what is gathered to the file being made.
func (s *sealer) commit() error {
	w := coldWrite{puts: s.puts, devices: s.devices}
	s.puts, s.devices, s.bytes = nil, nil, 0
	return s.file.Update(w.write)
}

// install makes the new files those that count, and lets the old ones go.
func (l *Log) install(s *sealer) {
	l.mu.Lock()
	if len(s.periods) > 0 {
		for id, n := range s.diff {
			l.cat.state[id-1].count += n
		}
		start, end := s.bounds()
		at := slices.Index(l.shelf.periods, s.periods[0])
		l.shelf.periods = slices.Replace(slices.Clone(l.shelf.periods), at, at+len(s.periods), &period{start: start, end: end, sealed: s.raw})
	}
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		if s.tiers[tier] == nil {
			continue
		}
		files := slices.DeleteFunc(slices.Clone(l.shelf.tiers[tier]), func(v *volume) bool { return slices.Contains(s.olds, v) })
		at, _ := slices.BinarySearchFunc(files, s.tiers[tier].meta.Start, func(v *volume, t int64) int { return int(max(min(v.meta.Start-t, 1), -1)) })
		l.shelf.tiers[tier] = slices.Insert(files, at, s.tiers[tier])
	}
	l.mu.Unlock()
	l.stats.sealed.Add(1)
	for _, v := range s.olds {
		v.keep.Store(l.damage.has(v.name)) // for a repair to look at
		l.retire(v)
	}
}
