package storage

import (
	"errors"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

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
		o.adopt(v, f)
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
