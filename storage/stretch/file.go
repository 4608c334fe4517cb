package stretch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/boltfile"
)

// Kind says what a file is.
type Kind string

// The kinds of file.
const (
	Cold    Kind = "cold" // takes what is flushed
	Raw     Kind = "raw"  // sealed: readings
	Minutes Kind = "1m"   // sealed: rollups of minutes
	Hours   Kind = "1h"   // sealed: rollups of hours
)

// Sealed reports whether files of the kind never change.
func (k Kind) Sealed() bool { return k != Cold }

// Tier says how fine something is.
type Tier int

// The tiers, the finest first.
const (
	Readings Tier = iota
	ByMinute
	ByHour
	Tiers int = iota
)

// Length returns the length of the tier's buckets in microseconds; 0 for
// readings.
func (t Tier) Length() int64 { return [...]int64{0, 60e6, 3600e6}[t] }

// Kind returns which kind of sealed file holds the tier.
func (t Tier) Kind() Kind { return [...]Kind{Raw, Minutes, Hours}[t] }

var (
	bucketMeta    = []byte("meta")
	bucketDevices = []byte("devices")
	bucketTiers   = [Tiers][]byte{[]byte("raw"), []byte("1m"), []byte("1h")}

	keyMeta = []byte("meta")
)

// formatVersion is that of the layout in doc.go.
const formatVersion = 1

// Meta is what a file says of itself.
type Meta struct {
	Format int    `json:"format"`
	Kind   Kind   `json:"kind"`
	Store  string `json:"store"` // the id of the store that made it
	// Start and End bound the times in it: Start <= time < End, in microseconds
	// since the Unix epoch.
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	// Before is the offset before which everything in a sealed file came.
	Before uint64 `json:"before,omitempty"`
	// Replaces are the names of the files whose content this one has, or that
	// counted no more when it was made. They are to be deleted.
	Replaces []string `json:"replaces,omitempty"`
}

func (m *Meta) check() error {
	if m.Format > formatVersion {
		return fmt.Errorf("%w: version %d, known %d", boltfile.ErrNewerFormat, m.Format, formatVersion)
	}
	if m.Format < 1 || !slices.Contains([]Kind{Cold, Raw, Minutes, Hours}, m.Kind) || m.Start >= m.End {
		return fmt.Errorf("%w: meta", boltfile.ErrStructure)
	}
	return nil
}

const (
	// sealedPage is the page size of sealed files: what a page leaves empty is lost
	// for good, and no page is written twice.
	sealedPage = 1024
	// coldGrow is by how much a cold file grows at a time.
	coldGrow = 256 << 10
	// mapAhead is how large a cold file may become before a commit has to wait
	// for all readers.
	mapAhead   = 256 << 20
	mapAhead32 = 64 << 20
)

// File is an open file. Views may run at the same time as an Update.
type File struct {
	Meta
	db *boltfile.DB
}

// Create makes the file at path, which must not exist. Unless it is a cold one,
// nothing is synced before Finish. written counts the bytes that are
// written.
func Create(path string, m Meta, written *atomic.Int64) (*File, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s: %w", path, os.ErrExist)
	}
	o := boltfile.Options{NoSync: true, PageSize: sealedPage, Grow: sealedPage}
	if !m.Kind.Sealed() {
		o = boltfile.Options{Grow: coldGrow, Mmap: mmap()}
	}
	o.Written = written
	db, err := boltfile.Open(path, o)
	if err != nil {
		return nil, err
	}
	m.Format = formatVersion
	f := &File{Meta: m, db: db}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range append([][]byte{bucketDevices, bucketMeta}, bucketTiers[:]...) {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return f.putMeta(tx)
	})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

func mmap() int {
	if math.MaxInt == math.MaxInt32 {
		return mapAhead32
	}
	return mapAhead
}

func (f *File) putMeta(tx *bolt.Tx) error {
	text, err := json.Marshal(f.Meta)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketMeta).Put(keyMeta, boltfile.Seal(keyMeta, text))
}

// Open opens a file, a cold one for writing too; written is as in Create. Errors that wrap
// boltfile.ErrStructure say that it is damaged, or something else.
func Open(path string, sealed bool, written *atomic.Int64) (*File, error) {
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	o := boltfile.Options{ReadOnly: sealed, Grow: coldGrow, Written: written}
	if !sealed {
		o.Mmap = mmap()
	}
	db, err := boltfile.Open(path, o)
	if err != nil {
		return nil, err
	}
	f := &File{db: db}
	err = db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: not a file of the history", boltfile.ErrStructure)
		}
		text, ok := boltfile.Unseal(keyMeta, meta.Get(keyMeta))
		if !ok || json.Unmarshal(text, &f.Meta) != nil {
			return fmt.Errorf("%w: meta", boltfile.ErrStructure)
		}
		for _, name := range append([][]byte{bucketDevices}, bucketTiers[:]...) {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: no bucket %q", boltfile.ErrStructure, name)
			}
		}
		return f.check()
	})
	if err == nil && f.Kind.Sealed() != sealed {
		err = fmt.Errorf("%w: a file of kind %s", boltfile.ErrStructure, f.Kind)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return f, nil
}

// Close closes the file.
func (f *File) Close() error { return f.db.Close() }

// Size returns the length of the file in bytes.
func (f *File) Size() (int64, error) {
	var size int64
	err := f.db.View(func(tx *bolt.Tx) error { size = tx.Size(); return nil })
	return size, err
}

// View runs fn in a read transaction, which must be short: what is freed
// meanwhile cannot be reused.
func (f *File) View(fn func(Tx) error) error {
	return f.db.View(func(tx *bolt.Tx) error { return fn(Tx{tx}) })
}

// Update runs fn in a write transaction and commits it. One at a time.
func (f *File) Update(fn func(Tx) error) error {
	return f.db.Update(func(tx *bolt.Tx) error { return fn(Tx{tx}) })
}

// SetEnd moves the end of a cold file's stretch. It must lie behind all that is
// in the file.
func (f *File) SetEnd(end int64) error {
	old := f.End
	f.End = end
	err := f.db.Update(f.putMeta)
	if err != nil {
		f.End = old
	}
	return err
}

// Unload is boltfile.DB.Unload.
func (f *File) Unload() error { return f.db.Unload() }

// Finish syncs and closes a file of a sealed kind.
func (f *File) Finish() error { return errors.Join(f.db.Sync(), f.db.Close()) }

// WriteTo writes the file as it is at this moment to w. It is a long
// transaction: w must not wait for a peer.
func (f *File) WriteTo(w io.Writer) (n int64, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	return n, err
}
