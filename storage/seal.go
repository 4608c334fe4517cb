package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
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

// lateness is how long after its end a stretch of time is kept open, in
// microseconds, at most a day.
func (l *Log) lateness() int64 {
	return min(l.cfg.Period.Microseconds(), 24*3600e6)
}

const (
	// smallFile is up to which size a sealed file is joined with the one that
	// follows in time, so that little data do not take many files.
	smallFile = 1 << 20
	// longest is the longest stretch of time of a file that is joined, in
	// microseconds: a year of weeks.
	longest = 52 * 7 * 24 * 3600e6
)

// mayJoin reports whether sealed files with so many bytes may become one with the
// times from start to end. They are to leave when they are older than age: the
// last readings of a file decide, so that the first stay for half as long again
// at most.
func mayJoin(bytes, start, end int64, age time.Duration) bool {
	most := int64(longest)
	if age >= 0 {
		most = min(most, age.Microseconds()/2)
	}
	return bytes <= smallFile && end-start <= most
}

// tierLength returns the stretch of time that goes into one sealed file of
// rollups, in microseconds.
func tierLength(t stretch.Tier) int64 {
	const week = 7 * 24 * 3600e6
	return [...]int64{0, 4 * week, 52 * week}[t]
}

// mostCold is how many cold files there may be; beyond, those that are over do
// not wait for what may come late.
const mostCold = 4

// sealDue cuts what has grown too large and seals what is over: what the newest
// readings are a lateness ahead of. Order comes from the readings, so that a wrong
// clock seals nothing too early but what it has itself put into the future.
func (l *Log) sealDue(ctx context.Context) error {
	if err := l.rollLost(ctx); err != nil {
		return err
	}
	periods, newest := l.coldPeriods()
	for i, p := range periods {
		if p.cold.bytes.Load() > l.cfg.PeriodSize {
			if err := l.cut(p); err != nil {
				return err
			}
		}
		over := p.cold.meta.End <= newest
		if over && (p.end+l.lateness() <= newest || len(periods)-i > mostCold) {
			if err := l.seal(ctx, l.periodAt(p.start)); err != nil {
				return fmt.Errorf("storage: seal %s: %w", p.cold.name, err)
			}
		}
	}
	return nil
}

// rollLost makes the rollups anew whose file was lost.
func (l *Log) rollLost(ctx context.Context) error {
	l.mu.RLock()
	periods := l.shelf.periods
	l.mu.RUnlock()
	for _, p := range periods {
		if !p.unrolled {
			continue
		}
		if err := l.sealAs(ctx, &sealer{log: l, periods: []*period{p}, anew: true}); err != nil {
			return fmt.Errorf("storage: roll up %s anew: %w", p.sealed.name, err)
		}
	}
	return nil
}

// coldPeriods returns the periods that have a cold file, ascending, and the
// largest time of a reading in any file.
func (l *Log) coldPeriods() (cold []*period, newest int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	newest = math.MinInt64
	for _, p := range l.shelf.periods {
		for _, v := range []*volume{p.cold, p.sealed} {
			if v != nil {
				for _, r := range v.devices {
					newest = max(newest, r.maxTime)
				}
			}
		}
		if p.cold != nil {
			cold = append(cold, p)
		}
	}
	return cold, newest
}

// periodAt returns the period that has the time.
func (l *Log) periodAt(t int64) *period {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i, ok := l.shelf.covering(t); ok {
		return l.shelf.periods[i]
	}
	return nil
}

// seal flushes everything and seals every period, over or not.
func (l *Log) sealAll(ctx context.Context) error {
	if err := l.flush(ctx, allDevices); err != nil {
		return err
	}
	if err := l.rollLost(ctx); err != nil {
		return err
	}
	periods, _ := l.coldPeriods()
	for _, p := range periods {
		if err := l.seal(ctx, l.periodAt(p.start)); err != nil {
			return fmt.Errorf("storage: seal %s: %w", p.cold.name, err)
		}
	}
	return nil
}

// cut ends a period behind its last reading, so that it can be sealed. One without
// readings stays as it is.
func (l *Log) cut(p *period) error {
	l.mu.RLock()
	last := int64(math.MinInt64)
	for _, r := range p.cold.devices {
		last = max(last, r.maxTime)
	}
	l.mu.RUnlock()
	if p.sealed != nil || last < p.start {
		return nil
	}
	end := floorTo(last, minPeriod.Microseconds()) + minPeriod.Microseconds()
	if end >= p.end {
		return nil
	}
	if err := l.files.with(p.cold, func(f *stretch.File) error { return f.SetEnd(end) }); err != nil {
		return fmt.Errorf("storage: cut %s: %w", p.cold.name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shorter := &period{start: p.start, end: end, cold: p.cold}
	p.cold.meta.End = end
	l.shelf.periods = slices.Clone(l.shelf.periods)
	l.shelf.periods[slices.Index(l.shelf.periods, p)] = shorter
	return nil
}

// seal replaces the cold file of a period, and an older sealed one, by a sealed
// one, and puts its rollups into the files of their tiers. Each new file gets its
// name when it is whole; the one with the readings is the last, and from then on
// the cold one counts no more.
func (l *Log) seal(ctx context.Context, p *period) error {
	s := &sealer{log: l, periods: []*period{p}}
	l.mu.RLock()
	at := slices.Index(l.shelf.periods, p)
	if at > 0 {
		before := l.shelf.periods[at-1]
		if before.cold == nil && p.cold != nil && mayJoin(before.sealed.bytes.Load()+p.cold.bytes.Load(), before.start, p.end, l.cfg.RetainAge) {
			s.periods = []*period{before, p}
		}
	}
	l.mu.RUnlock()
	return l.sealAs(ctx, s)
}

func (l *Log) sealAs(ctx context.Context, s *sealer) error {
	if err := s.write(ctx); err != nil {
		return s.abandon(err)
	}
	l.install(s)
	return nil
}

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
		for _, v := range []*volume{p.sealed, p.cold} {
			if v != nil {
				olds = append(olds, v)
			}
		}
	}
	start, end := s.bounds()
	var err error
	if s.raw, err = s.create(stretch.Raw, start, end, olds...); err != nil {
		return err
	}
	known, err := s.log.devicesOf(olds...)
	if err != nil {
		return err
	}
	for _, p := range s.periods {
		part, err := s.log.devicesOf(p.sealed, p.cold)
		if err != nil {
			return err
		}
		s.parts = append(s.parts, part)
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
		if len(s.periods) > 1 {
			d.Done = min(d.Done, s.log.doneOf(d.Name))
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

// doneOf returns the offset up to which the readings of a device are in blocks,
// whatever their times. After a crash in the midst of a flush it lies below what
// one of the files has.
func (l *Log) doneOf(name device.ID) uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	done := l.next - 1
	if d := l.cat.devices[name]; d != nil {
		for _, h := range []*head{&d.flushing, &d.fresh} {
			if h.n > 0 {
				done = min(done, h.first-1)
			}
		}
	}
	return done
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
		if v == nil {
			continue
		}
		err := l.eachDevice(v, func(d *stretch.Device) error {
			if known := all[d.Number]; known != nil {
				joinDevices(known, d)
			} else {
				all[d.Number] = d
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
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
		layers = append(layers, s.log.readingLayers(p)...)
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

// readingLayers returns where the readings of a period are on disk.
func (l *Log) readingLayers(p *period) (layers []layer) {
	for _, v := range []*volume{p.sealed, p.cold} {
		if v != nil {
			layers = append(layers, layer{file: v})
		}
	}
	return layers
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

// rollMissing sets the counts of d's series, drops those without readings, and
// makes the rollups of those that had none and have enough readings now, or had
// none in one of the periods only: what retention has left of the other stands in
// rollups alone.
func (s *sealer) rollMissing(ctx context.Context, d *stretch.Device, seen map[uint32]*tally) error {
	want := make([][stretch.Tiers][]uint32, len(s.periods))
	s.log.mu.RLock()
	for id := range seen {
		if at, ok := findSeries(d, id); !ok { // what the old file said of it was damaged
			d.Series = slices.Insert(d.Series, at, stretch.Series{ID: id, Metric: s.log.cat.names[id-1].Metric})
		}
	}
	s.log.mu.RUnlock()
	kept := d.Series[:0]
	for _, series := range d.Series {
		t := seen[series.ID]
		s.diff[series.ID] -= series.Count
		if t == nil {
			continue
		}
		s.diff[series.ID] += t.count
		series.Count = t.count
		for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
			b := t.buckets[tier]
			if !series.Rolled[tier] && (b == 0 || t.numbers < perBucket*b || b*len(d.Series) > newlyRolled) {
				continue
			}
			series.Rolled[tier] = true
			for i, part := range s.parts {
				if !isRolled(part[d.Number], series.ID, tier) {
					want[i][tier] = append(want[i][tier], series.ID)
				}
			}
		}
		kept = append(kept, series)
	}
	d.Series = kept
	var made [stretch.Tiers][]track
	for i, p := range s.periods {
		for tier, ids := range want[i] {
			if len(ids) == 0 {
				continue
			}
			wanted := newBitmap(ids, int(slices.Max(ids)))
			sw := s.log.newSweep(d.Number, stretch.Readings, s.log.readingLayers(p), wanted, p.start, p.end)
			more, err := rollAll(ctx, sw, stretch.Tier(tier).Length())
			if err != nil {
				return err
			}
			made[tier] = merge(made[tier], more)
		}
	}
	s.unrolled[d.Number] = made
	return nil
}

// isRolled reports whether d, which may be nil, has the rollups of a series.
func isRolled(d *stretch.Device, id uint32, tier stretch.Tier) bool {
	if d == nil {
		return false
	}
	at, ok := findSeries(d, id)
	return ok && d.Series[at].Rolled[tier]
}

// writeTier writes the file of a tier that has the times from start to end: what
// older files of the tier have, and over it the rollups of the period and the
// unrolled ones. When there are none it writes nothing. named have the names of
// series that no other file may have.
func (s *sealer) writeTier(ctx context.Context, tier stretch.Tier, start, end int64, named ...*volume) error {
	l := s.log
	length := tierLength(tier)
	lo := floorTo(start-periodOrigin, length) + periodOrigin
	hi := floorTo(end-1-periodOrigin, length) + periodOrigin + length
	olds, lo, hi := l.tierFiles(tier, lo, hi)
	var colds []*volume
	for _, p := range s.periods {
		if p.cold != nil {
			colds = append(colds, p.cold)
		}
		named = append(named, p.sealed) // of which rollups may begin
	}
	fresh, err := l.devicesOf(colds...)
	if err != nil || !s.anyRolled(tier, fresh) {
		return err
	}
	sources := slices.Concat(olds, colds)
	known, err := l.devicesOf(slices.Concat(sources, named)...)
	if err != nil {
		return err
	}
	v, err := s.create(tier.Kind(), lo, hi, olds...)
	if err != nil {
		return err
	}
	s.tiers[tier] = v
	for _, number := range slices.Sorted(maps.Keys(known)) {
		if err := s.rollupsOf(ctx, tier, known[number], sources, lo, hi); err != nil {
			return err
		}
	}
	return s.commit()
}

// tierFiles returns the files of a tier that are to become one with the times from
// lo to hi, and the times that it then has.
func (l *Log) tierFiles(tier stretch.Tier, lo, hi int64) (olds []*volume, start, end int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var bytes int64
	for _, v := range l.shelf.tiers[tier] {
		if v.meta.Start < hi && v.meta.End > lo {
			olds = append(olds, v)
			lo, hi = min(lo, v.meta.Start), max(hi, v.meta.End)
			bytes += v.bytes.Load()
		}
	}
	age := []time.Duration{l.cfg.RetainAge, l.cfg.RetainMinutes, l.cfg.RetainHours}[tier]
	for _, v := range slices.Backward(l.shelf.tiers[tier]) {
		if v.meta.End > lo {
			continue
		}
		if bytes += v.bytes.Load(); !mayJoin(bytes, v.meta.Start, hi, age) {
			break
		}
		olds = slices.Insert(olds, 0, v)
		lo = v.meta.Start
	}
	return olds, lo, hi
}

// anyRolled reports whether there are rollups to be put into a tier's file: of the
// devices that cold files have, or unrolled ones.
func (s *sealer) anyRolled(tier stretch.Tier, cold map[uint32]*stretch.Device) bool {
	for _, made := range s.unrolled {
		if len(made[tier]) > 0 {
			return true
		}
	}
	for _, d := range cold {
		for i := range d.Series {
			if d.Series[i].Rolled[tier] {
				return true
			}
		}
	}
	return false
}

// rollupsOf writes the rollups of one device.
func (s *sealer) rollupsOf(ctx context.Context, tier stretch.Tier, d *stretch.Device, sources []*volume, lo, hi int64) error {
	var layers []layer
	for _, v := range sources {
		layers = append(layers, layer{file: v})
	}
	layers = append(layers, layer{tracks: s.unrolled[d.Number][tier]})
	sw := s.log.newSweep(d.Number, tier, layers, nil, lo, hi)
	pack := packer{sealer: s, tier: tier, number: d.Number, target: max(sealedRollups, target(len(d.Series)))}
	any := false
	for {
		ts, err := sw.next(ctx)
		if err != nil {
			return err
		}
		if ts == nil {
			break
		}
		if ts = counted(ts); len(ts) == 0 {
			continue
		}
		any = true
		if err := pack.add(ts); err != nil {
			return err
		}
	}
	if !any {
		return nil
	}
	if err := pack.finish(); err != nil {
		return err
	}
	names := stretch.Device{Number: d.Number, Name: d.Name}
	for _, series := range d.Series {
		names.Series = append(names.Series, stretch.Series{ID: series.ID, Metric: series.Metric})
	}
	return s.putDevice(&names)
}

func (s *sealer) putDevice(d *stretch.Device) error {
	s.devices = append(s.devices, d)
	if s.bytes += 64 * len(d.Series); s.bytes >= commitBytes {
		return s.commit()
	}
	return nil
}

// packer gathers the tracks of one device into blocks and runs.
type packer struct {
	*sealer
	tier   stretch.Tier
	number uint32
	target int
	held   []track
	run    [][]byte
	time   int64 // of the run
	length int
}

// add takes tracks that lie behind those before.
func (p *packer) add(ts []track) error {
	p.held = merge(p.held, ts)
	if size(p.held) < 2*p.target {
		return nil
	}
	parts := split(p.held, p.target)
	last := parts[len(parts)-1]
	for len(parts) > 1 && parts[len(parts)-2].time == last.time { // series of one time
		parts = parts[:len(parts)-1]
	}
	if len(parts) == 1 {
		return nil
	}
	cut := parts[len(parts)-1].time
	for _, c := range parts[:len(parts)-1] {
		if err := p.emit(c); err != nil {
			return err
		}
	}
	p.held = clones(between(p.held, cut, math.MaxInt64))
	return nil
}

// clones returns tracks with memory of their own.
func clones(ts []track) []track {
	for i := range ts {
		ts[i] = join(&track{id: ts[i].id}, &ts[i])
	}
	return ts
}

// emit encodes tracks as a block, or as several when one cannot hold them.
func (p *packer) emit(c parcel) error {
	b, err := p.encode(nil, p.tier, c.tracks)
	if errors.Is(err, block.ErrTooLarge) {
		return p.eachBlock(p.tier, c.tracks, (size(c.tracks)+1)/2, p.put)
	}
	if err != nil {
		return err
	}
	return p.put(c, b)
}

// put adds a block to the run, which it ends when it is long enough.
func (p *packer) put(c parcel, b []byte) error {
	if c.series != 0 { // a run of its own: it has the time of another
		p.puts = append(p.puts, coldPut{p.tier, p.number, c.time, c.series, [][]byte{b}})
		p.bytes += len(b)
		return nil
	}
	if len(p.run) == 0 {
		p.time = c.time
	}
	p.run = append(p.run, b)
	if p.length += len(b); p.length < runBytes {
		return nil
	}
	return p.endRun()
}

func (p *packer) endRun() error {
	if len(p.run) == 0 {
		return nil
	}
	p.puts = append(p.puts, coldPut{p.tier, p.number, p.time, 0, p.run})
	p.bytes += p.length
	p.run, p.length = nil, 0
	if p.bytes >= commitBytes {
		return p.commit()
	}
	return nil
}

func (p *packer) finish() error {
	for _, c := range split(p.held, p.target) {
		if err := p.emit(c); err != nil {
			return err
		}
	}
	p.held = nil
	return p.endRun()
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
