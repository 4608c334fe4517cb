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
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

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
