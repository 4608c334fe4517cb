package storage

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// shelf holds the files of the history. Its fields are guarded by Log.mu and
// change by the keeper only; a slice that was handed out does not change.
type shelf struct {
	periods []*period // ascending; they do not overlap
	// tiers are the sealed files of the rollups, ascending, which do not overlap.
	tiers [stretch.Tiers][]*volume
}

// period is a stretch of time with its readings. The files are guarded by
// Log.mu and set by the keeper only.
type period struct {
	start, end int64
	// sealed has what was there when the period was over, nil before; cold has
	// what came before that or came late after it. What is in both counts as it
	// is in cold.
	sealed, cold *volume
	// unrolled says that the file with the rollups of the sealed one was lost: they
	// are to be made anew.
	unrolled bool
}

// volume is a file of the history.
type volume struct {
	name   string
	path   string
	meta   stretch.Meta
	bytes  atomic.Int64
	opened *openFiles

	// devices is guarded by Log.mu and empty for rollups.
	devices map[uint32]*resident
	// rolled says which rollups a sealed file has series of.
	rolled [stretch.Tiers]bool

	pins    atomic.Int32 // readers that may still want it
	gone    atomic.Bool  // it is to be deleted when nobody does
	keep    atomic.Bool  // it is to be put aside instead: something in it is damaged
	taken   atomic.Bool  // somebody deletes it
	deleted atomic.Bool

	// file, users and used are guarded by opened.mu.
	file  *stretch.File
	users int
	used  uint64
}

// resident sums up what a file has of a device.
type resident struct {
	done                 uint64
	count                int64
	minTime, maxTime     int64
	minOffset, maxOffset uint64
}

func residentOf(d *stretch.Device) *resident {
	return &resident{d.Done, d.Count(), d.MinTime, d.MaxTime, d.MinOffset, d.MaxOffset}
}

// take notes what the file has of a device.
func (v *volume) take(d *stretch.Device) {
	v.devices[d.Number] = residentOf(d)
	for i := range d.Series {
		for t, rolled := range d.Series[i].Rolled {
			v.rolled[t] = v.rolled[t] || rolled
		}
	}
}

// last returns the largest offset of the readings in the file, 0 when there are
// none.
func (v *volume) last() (offset uint64) {
	for _, r := range v.devices {
		if r.count > 0 {
			offset = max(offset, r.maxOffset)
		}
	}
	return offset
}

func (v *volume) pin() { v.pins.Add(1) }

// unpin ends a reader's claim.
func (v *volume) unpin() {
	if v.pins.Add(-1) == 0 {
		v.remove()
	}
}

// retire has a file deleted as soon as no reader wants it. Nobody may pin it any
// more.
func (l *Log) retire(v *volume) {
	l.leaving = append(l.leaving, v)
	v.gone.Store(true)
	if v.pins.Load() == 0 {
		v.remove()
	}
}

func (v *volume) remove() {
	if !v.gone.Load() || !v.taken.CompareAndSwap(false, true) {
		return
	}
	v.opened.discard(v)
	if v.keep.Load() {
		if _, err := boltfile.PutAside(v.path, time.Now()); err == nil {
			v.deleted.Store(true)
			return
		}
	}
	// If it stays, the next opening deletes it or keeps what is in it.
	v.deleted.Store(os.Remove(v.path) == nil)
}

// syncDir makes the names in the folder durable, and with them that files are
// gone. It belongs to the keeper.
func (l *Log) syncDir() error {
	var rest []*volume
	for _, v := range l.leaving {
		if !v.deleted.Load() {
			rest = append(rest, v)
		}
	}
	if err := boltfile.SyncDir(l.cfg.Dir); err != nil {
		return err
	}
	l.leaving = rest
	return nil
}

// openFiles bounds how many files are open, and with it the address space that
// they take.
type openFiles struct {
	most    int
	written *atomic.Int64 // bytes that commits write
	mu      sync.Mutex    // guards following
	open    []*volume
	tick    uint64
}

// with calls fn with the open file.
func (o *openFiles) with(v *volume, fn func(*stretch.File) error) error {
	f, err := o.acquire(v)
	if err != nil {
		return err
	}
	defer o.release(v)
	return fn(f)
}

// look calls fn in a read transaction of the file. What cannot be read because
// pages of the file are bad, or because it is gone, is told and left out: only the
// first, or nothing, of what fn does may have been done then.
func (l *Log) look(v *volume, fn func(stretch.Tx) error) error {
	err := l.files.with(v, func(f *stretch.File) error { return f.View(fn) })
	if errors.Is(err, boltfile.ErrStructure) || errors.Is(err, fs.ErrNotExist) {
		l.damagedPart(v.name, err)
		return nil
	}
	return err
}

func (o *openFiles) acquire(v *volume) (*stretch.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.users++ // first: a file without users may be closed at once
	if v.file == nil {
		f, err := stretch.Open(v.path, v.meta.Kind.Sealed(), o.written)
		if err != nil {
			v.users--
			return nil, err
		}
		v.users++ // adopt may close what nobody uses
		o.adopt(v, f)
		v.users--
	}
	o.tick++
	v.used = o.tick
	return v.file, nil
}

// adopt makes f the open file of v. The caller holds mu.
func (o *openFiles) adopt(v *volume, f *stretch.File) {
	v.file = f
	o.open = append(o.open, v)
	o.shrinkLocked()
}

// shrinkLocked closes the files that were not used for the longest time, cold ones
// last: to open one again takes longer.
func (o *openFiles) shrinkLocked() {
	for _, sealed := range []bool{true, false} {
		for len(o.open) > o.most {
			oldest := -1
			for i, v := range o.open {
				if v.users == 0 && v.meta.Kind.Sealed() == sealed && (oldest < 0 || v.used < o.open[oldest].used) {
					oldest = i
				}
			}
			if oldest < 0 {
				break
			}
			o.closeLocked(o.open[oldest])
		}
	}
}

func (o *openFiles) closeLocked(v *volume) {
	if v.file != nil {
		_ = v.file.Close() // nothing is pending: commits are synced
		v.file = nil
		o.open = slices.DeleteFunc(o.open, func(other *volume) bool { return other == v })
	}
}

func (o *openFiles) release(v *volume) {
	o.mu.Lock()
	defer o.mu.Unlock()
	v.users--
	o.shrinkLocked()
}

// unload gives back the memory of the mapped files.
func (o *openFiles) unload() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range o.open {
		_ = v.file.Unload() // memory that is not given back is no failure
	}
}

// discard closes the file; no one uses it.
func (o *openFiles) discard(v *volume) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closeLocked(v)
}

func (o *openFiles) closeAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, v := range slices.Clone(o.open) {
		o.closeLocked(v)
	}
}

// fileName returns a name that no file of the folder has.
func fileName(kind stretch.Kind, start int64) string {
	return fmt.Sprintf("%s-%s-%s.db", kind, time.UnixMicro(start).UTC().Format("20060102T15"), strings.ToLower(rand.Text()[:6]))
}

// unfinished is added to the name of a file that does not count yet.
const unfinished = ".new"

// kindOf returns the kind that a file's name tells, and whether it is one of the
// history's.
func kindOf(name string) (stretch.Kind, bool) {
	prefix, _, ok := strings.Cut(name, "-")
	kind := stretch.Kind(prefix)
	known := kind == stretch.Cold || kind == stretch.Raw || kind == stretch.Minutes || kind == stretch.Hours
	return kind, ok && known && strings.HasSuffix(name, ".db")
}

// loadShelf finds the files of the history, deletes what is replaced or was not
// finished, and puts aside what cannot be read or is another store's. names
// takes the series in them.
func (l *Log) loadShelf(names *nameList, kin []string) error {
	if err := l.removeUnfinished(); err != nil {
		return err
	}
	entries, err := os.ReadDir(l.cfg.Dir)
	if err != nil {
		return err
	}
	l.shelf = shelf{}
	found := map[string]*volume{}
	lost := false
	for _, e := range entries {
		kind, ok := kindOf(e.Name())
		if !ok {
			continue
		}
		v, err := l.loadVolume(e.Name(), kind, names, kin)
		switch {
		case err == nil:
			found[v.name] = v
		case errors.Is(err, boltfile.ErrStructure):
			if err := l.putAside(e.Name(), err); err != nil {
				return err
			}
			lost = lost || kind == stretch.Minutes || kind == stretch.Hours
		default:
			return fmt.Errorf("%s: %w", e.Name(), err)
		}
	}
	if err := l.arrange(found); err != nil {
		return err
	}
	for _, p := range l.shelf.periods {
		p.unrolled = lost && l.shelf.uncovered(p)
	}
	return nil
}

// uncovered reports whether the sealed file of a period has rollups that are in no
// file.
func (s *shelf) uncovered(p *period) bool {
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if p.sealed != nil && p.sealed.rolled[t] && !covers(s.tiers[t], p) {
			return true
		}
	}
	return false
}

// covers reports whether one of the files has all times of the period.
func covers(files []*volume, p *period) bool {
	return slices.ContainsFunc(files, func(v *volume) bool { return v.meta.Start <= p.start && v.meta.End >= p.end })
}

// putAside renames a file of the history out of the way.
func (l *Log) putAside(name string, why error) error {
	aside, err := boltfile.PutAside(filepath.Join(l.cfg.Dir, name), time.Now())
	if err != nil {
		return errors.Join(why, err)
	}
	l.cfg.Logger.Error("a file of the history cannot be read: put aside, the rest is there",
		"file", name, "error", why, "aside", filepath.Base(aside))
	l.stats.putAside.Add(1)
	return nil
}

func (l *Log) loadVolume(name string, kind stretch.Kind, names *nameList, kin []string) (*volume, error) {
	v := &volume{name: name, path: filepath.Join(l.cfg.Dir, name), opened: &l.files, devices: map[uint32]*resident{}}
	f, err := stretch.Open(v.path, kind.Sealed(), &l.written)
	if err != nil {
		return nil, err
	}
	v.meta = f.Meta
	if v.meta.Kind != kind || len(kin) > 0 && !slices.Contains(kin, v.meta.Store) {
		return nil, errors.Join(fmt.Errorf("%w: a file of store %q and kind %s", boltfile.ErrStructure, v.meta.Store, v.meta.Kind), f.Close())
	}
	var devices []*stretch.Device
	err = f.View(func(tx stretch.Tx) error {
		return tx.Devices(func(d *stretch.Device) error {
			devices = append(devices, d)
			return names.check(d)
		}, func(_ uint32, err error) { l.damagedPart(name, err) })
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	for _, d := range devices {
		names.adopt(d)
		v.take(d)
	}
	if size, err := f.Size(); err == nil {
		v.bytes.Store(size)
	}
	l.files.mu.Lock()
	defer l.files.mu.Unlock()
	l.files.adopt(v, f)
	return v, nil
}

// arrange puts the files into their places. Of two that claim the same place,
// which only a crash in the midst of a deletion leaves, the other is kept out.
func (l *Log) arrange(found map[string]*volume) error {
	replaced := map[string]bool{}
	for _, v := range found {
		for _, name := range v.meta.Replaces {
			replaced[name] = true
		}
	}
	for name := range replaced {
		if old := found[name]; old != nil {
			delete(found, name)
			l.files.discard(old)
			if err := os.Remove(old.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	all := make([]*volume, 0, len(found))
	for _, v := range found {
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b *volume) int {
		// The sealed one of a period goes first.
		return cmp.Or(cmp.Compare(a.meta.Start, b.meta.Start), -cmp.Compare(a.meta.Kind, b.meta.Kind), cmp.Compare(a.name, b.name))
	})
	for _, v := range all {
		if !l.shelf.place(v) {
			l.files.discard(v)
			if err := l.putAside(v.name, fmt.Errorf("%w: its stretch of time is another file's", boltfile.ErrStructure)); err != nil {
				return err
			}
		}
	}
	return nil
}

// place puts a file where it belongs and reports whether the place was free.
// Files come in the order of their starts.
func (s *shelf) place(v *volume) bool {
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if v.meta.Kind != t.Kind() {
			continue
		}
		if n := len(s.tiers[t]); n > 0 && s.tiers[t][n-1].meta.End > v.meta.Start {
			return false
		}
		s.tiers[t] = append(s.tiers[t], v)
		return true
	}
	var last *period
	if n := len(s.periods); n > 0 {
		last = s.periods[n-1]
	}
	if last == nil || last.end <= v.meta.Start {
		last = &period{start: v.meta.Start, end: v.meta.End}
		s.periods = append(s.periods, last)
	}
	switch {
	case last.start != v.meta.Start || last.end != v.meta.End:
		return false
	case v.meta.Kind == stretch.Cold && last.cold == nil:
		last.cold = v
	case v.meta.Kind == stretch.Raw && last.sealed == nil:
		last.sealed = v
	default:
		return false
	}
	return true
}

// covering returns the index of the period that has the time, or where it would
// stand.
func (s *shelf) covering(t int64) (int, bool) {
	i, _ := slices.BinarySearchFunc(s.periods, t, func(p *period, t int64) int {
		if p.end <= t {
			return -1
		}
		return 1
	})
	return i, i < len(s.periods) && s.periods[i].start <= t
}

// volumes returns all files.
func (s *shelf) volumes() (all []*volume) {
	for _, p := range s.periods {
		for _, v := range []*volume{p.sealed, p.cold} {
			if v != nil {
				all = append(all, v)
			}
		}
	}
	for _, t := range s.tiers {
		all = append(all, t...)
	}
	return all
}

// done returns the offset up to which the readings of the device with this time
// are in blocks.
func (s *shelf) done(number uint32, t int64) (offset uint64) {
	i, ok := s.covering(t)
	if !ok {
		return 0
	}
	for _, v := range []*volume{s.periods[i].sealed, s.periods[i].cold} {
		if v == nil {
			continue
		}
		if r := v.devices[number]; r != nil {
			offset = max(offset, r.done)
		}
	}
	return offset
}

// nameList gathers the names of series by their ids, from the catalogue and
// from the files of the history, which repair it.
type nameList struct {
	byID    map[uint32]device.Series
	top     uint32 // largest id in use, its name known or not
	numbers map[device.ID]uint32
	devices map[uint32]device.ID // the same from the other side
	adopted []uint32             // ids that the catalogue did not have
}

// check says that the series of a device are not those of this store.
func (n *nameList) check(d *stretch.Device) error {
	if old, ok := n.numbers[d.Name]; ok && old != d.Number {
		return fmt.Errorf("%w: device %s has number %d, here %d", boltfile.ErrStructure, d.Name, old, d.Number)
	}
	// The number of a device is that of its first series.
	if first := n.byID[d.Number].Device; first != "" && first != d.Name {
		return fmt.Errorf("%w: device %d is %s, here %s", boltfile.ErrStructure, d.Number, first, d.Name)
	}
	if old, ok := n.devices[d.Number]; ok && old != d.Name {
		return fmt.Errorf("%w: device %d is %s, here %s", boltfile.ErrStructure, d.Number, old, d.Name)
	}
	for _, s := range d.Series {
		name := device.Series{Device: d.Name, Metric: s.Metric}
		if old, ok := n.byID[s.ID]; ok && old != name || s.ID == 0 || s.ID > maxSeries {
			return fmt.Errorf("%w: series %d is %s of %s, here %s of %s", boltfile.ErrStructure, s.ID, old.Metric, old.Device, s.Metric, d.Name)
		}
	}
	return nil
}

// adopt takes the series of a device that check has nothing against.
func (n *nameList) adopt(d *stretch.Device) {
	n.numbers[d.Name], n.devices[d.Number] = d.Number, d.Name
	for _, s := range d.Series {
		if _, ok := n.byID[s.ID]; !ok {
			n.byID[s.ID] = device.Series{Device: d.Name, Metric: s.Metric}
			n.top = max(n.top, s.ID)
			n.adopted = append(n.adopted, s.ID)
		}
	}
}
