package storage

import (
	"os"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

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
