package boltfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrInUse says that another process has the file open.
	ErrInUse = errors.New("data folder is in use by another process")
	// ErrNewerFormat says that a newer version of the program wrote the file.
	ErrNewerFormat = errors.New("file has a newer format than this program knows")
	// ErrBroken says that bbolt panicked while it wrote. The file cannot be
	// written any more; the next opening checks it.
	ErrBroken = errors.New("store cannot be written until it is opened again")
)

const (
	// PageSize is the same on every kernel, so that a file can move from one
	// with 16 KiB pages to another, and a commit stays small.
	PageSize = 4096
	// ElementLen is what a page needs for a key beside key and value, in bytes.
	ElementLen = elementLen
	// LockTimeout is how long to wait for another process to let go.
	LockTimeout = time.Second
)

// Options say how a file is opened. The zero Options open it for writing, with
// the free list kept in the file.
type Options struct {
	// PageSize is that of a new file, in bytes; 0: PageSize.
	PageSize int
	// MaxSize bounds the file; 0: no bound.
	MaxSize int
	// Mmap is how much is mapped at once: a commit that has to map a larger file
	// waits for all readers.
	Mmap int
	// Grow is by how much the file grows at a time; 0: bbolt's own choice.
	Grow int
	// NoFreelist leaves the free list out of the file: commits are smaller, and
	// the opening reads every page.
	NoFreelist bool
	// NoSync leaves syncing to the caller.
	NoSync bool
	// Written is counted up by the bytes that commits write; nil: nobody counts.
	Written *atomic.Int64
	// ReadOnly opens a file that never changes. Only its meta pages are checked.
	ReadOnly bool
}

// DB is an open file. View may be called by several goroutines, Update by one at
// a time.
type DB struct {
	*bolt.DB
	file   *os.File // to give it up when bbolt cannot
	broken bool     // owned by who calls Update
	// written is Options.Written, counted the bytes that are in it. The latter is
	// owned by who calls Update.
	written *atomic.Int64
	counted int64
}

// Open opens or creates the file at path. Errors that wrap ErrStructure say that
// it is damaged, or not bbolt's.
func Open(path string, o Options) (db *DB, err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrStructure, p)
		}
		if err != nil {
			_ = file.Close() // a second time when bbolt has; err is the one that matters
			db = nil
		}
	}()
	opt := bolt.Options{
		Timeout:        LockTimeout,
		PageSize:       cmp.Or(o.PageSize, PageSize),
		NoFreelistSync: o.NoFreelist,
		NoSync:         o.NoSync,
		FreelistType:   bolt.FreelistMapType,
		MaxSize:        o.MaxSize,
		ReadOnly:       o.ReadOnly,
		// Statistics stay on: they alone tell how many pages are free.
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			f, err := openChecked(name, flag, mode, o.ReadOnly)
			file = f
			return f, err
		},
	}
	if runtime.GOOS != "windows" { // which would make the file that large
		opt.InitialMmapSize = o.Mmap
	}
	b, err := bolt.Open(path, 0o600, &opt)
	switch {
	case errors.Is(err, berrors.ErrTimeout), errors.Is(err, errLocked):
		return nil, fmt.Errorf("%w (%s)", ErrInUse, path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %w", ErrStructure, err)
	case err != nil:
		return nil, err
	}
	if o.Grow > 0 {
		b.AllocSize = o.Grow
	}
	return &DB{DB: b, file: file, written: o.Written}, nil
}

// openChecked opens the file for bbolt. It takes the lock that bbolt takes
// right after, on the same descriptor, so that no other process writes while
// the structure is checked.
func openChecked(name string, flag int, mode os.FileMode, readOnly bool) (*os.File, error) {
	f, err := os.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	if !readOnly {
		err = lockFile(f, LockTimeout)
	}
	if err == nil {
		var info fs.FileInfo
		info, err = f.Stat()
		switch {
		case err != nil:
		case readOnly:
			_, err = checkMeta(f, info.Size())
		case info.Size() > 0:
			err = CheckStructure(f, info.Size())
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// View runs fn in a read transaction. A panic in bbolt, which a page that went
// bad since the opening can cause, becomes an error that wraps ErrStructure.
func (db *DB) View(fn func(*bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrStructure, p)
		}
	}()
	return db.DB.View(fn)
}

// Update runs fn in a read-write transaction. After a panic in bbolt it returns
// ErrBroken, now and from then on.
func (db *DB) Update(fn func(*bolt.Tx) error) (err error) {
	if db.broken {
		return ErrBroken
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			db.broken = true
			err = fmt.Errorf("%w: %w: %v", ErrBroken, ErrStructure, p)
		}
	}()
	err = db.DB.Update(fn)
	if db.written != nil {
		s := db.Stats()
		// A commit writes what it has allocated, and a meta page.
		now := s.TxStats.GetPageAlloc()
		db.written.Add(now - db.counted + int64(db.Info().PageSize))
		db.counted = now
	}
	return err
}

// Close gives the file and its lock up. After a panic bbolt may still hold its
// own locks, so that the file stays mapped.
func (db *DB) Close() error {
	if db.broken {
		return errors.Join(unlockFile(db.file), db.file.Close())
	}
	return db.DB.Close()
}

// Check walks over all pages of the file at path, which no process may have open
// for writing (ErrInUse), and returns its length.
func Check(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if err := lockFile(f, LockTimeout); errors.Is(err, errLocked) {
		return 0, fmt.Errorf("%w (%s)", ErrInUse, path)
	} else if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), CheckStructure(f, info.Size())
}

// PutAside renames a file out of the way, without replacing another, and returns
// its new path.
func PutAside(path string, now time.Time) (string, error) { return moveAside(path, now, os.Rename) }

// LinkAside is PutAside, but leaves the file its name too.
func LinkAside(path string, now time.Time) (string, error) { return moveAside(path, now, os.Link) }

func moveAside(path string, now time.Time, move func(from, to string) error) (string, error) {
	aside := path + ".corrupt-" + now.UTC().Format("20060102T150405Z")
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		aside = fmt.Sprintf("%s.corrupt-%s-%d", path, now.UTC().Format("20060102T150405Z"), n)
	}
	if err := move(path, aside); err != nil {
		return "", err
	}
	return aside, SyncDir(filepath.Dir(path))
}

// SyncDir makes the names in a folder durable.
func SyncDir(dir string) error {
	if runtime.GOOS == "windows" { // where a folder cannot be synced
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
