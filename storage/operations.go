package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
)

// hotName is the file of the log and the catalogue.
const hotName = "hot.db"

// FileInfo is a file of the store.
type FileInfo struct {
	Name  string // within the folder
	Bytes int64
	// Sealed says that the file never changes again.
	Sealed bool
	// Sum is the hex SHA-256 of the content; empty where it is not known.
	Sum string
}

// Snapshot is the files of the store as they are at one moment: together they
// make a data folder. Its methods may be called concurrently, Close once.
type Snapshot struct {
	hot   *os.File // a copy that only the snapshot knows
	files []FileInfo
}

// Snapshot returns the files with everything that has been appended. It must be
// closed before the log.
func (l *Log) Snapshot(ctx context.Context) (*Snapshot, error) {
	if err := l.commit(commitAll); err != nil {
		return nil, fmt.Errorf("storage: snapshot: %w", err)
	}
	f, err := os.CreateTemp(l.cfg.Dir, hotName+".snapshot-*")
	if err != nil {
		return nil, fmt.Errorf("storage: snapshot: %w", err)
	}
	s := &Snapshot{hot: f}
	size := int64(0)
	err = l.viewTx(func(tx *bolt.Tx) error {
		size, err = tx.WriteTo(contextWriter{ctx, f})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("storage: snapshot: %w", errors.Join(err, s.Close()))
	}
	s.files = []FileInfo{{Name: hotName, Bytes: size}}
	return s, nil
}

// contextWriter is a writer that ends with a context.
type contextWriter struct {
	ctx context.Context //nolint:containedctx // it lives as long as one call
	w   io.Writer
}

func (w contextWriter) Write(b []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.w.Write(b)
}

// viewTx runs fn in a read transaction; a panic in bbolt becomes an error.
func (l *Log) viewTx(fn func(*bolt.Tx) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errStructure, p)
		}
	}()
	return l.db.View(fn)
}

// Files returns the files, hot.db first.
func (s *Snapshot) Files() []FileInfo { return slices.Clone(s.files) }

// Copy writes the content of the file, exactly FileInfo.Bytes bytes, to w.
func (s *Snapshot) Copy(ctx context.Context, name string, w io.Writer) error {
	for _, f := range s.files {
		if f.Name == name {
			_, err := io.Copy(contextWriter{ctx, w}, io.NewSectionReader(s.hot, 0, f.Bytes))
			return err
		}
	}
	return fmt.Errorf("storage: snapshot: %q: %w", name, fs.ErrNotExist)
}

// Close lets the files go.
func (s *Snapshot) Close() error {
	return errors.Join(s.hot.Close(), os.Remove(s.hot.Name()))
}

// CheckOptions say how to check.
type CheckOptions struct {
	// Repair puts aside what cannot be read and is in the way of the rest. Nothing
	// is deleted.
	Repair bool
	// Progress is told how many bytes have been looked at; nil: nobody is.
	Progress func(done, total int64)
}

// CheckReport is what a check has found.
type CheckReport struct {
	Files, Blocks, Readings int64
	Problems                []Problem
	Repaired                int // of the problems
}

// Problem is something that cannot be read.
type Problem struct {
	File, What string
	Lost       int64  // readings; -1: not known
	Aside      string // where the file is now; empty: where it was
}

// Check looks at every checksum in the folder, which no process may have open:
// ErrInUse. Problems are no error.
func Check(ctx context.Context, dir string, o CheckOptions) (CheckReport, error) {
	path := filepath.Join(dir, hotName)
	r := CheckReport{Files: 1}
	size, err := checkFile(path)
	switch {
	case errors.Is(err, errStructure):
		p := Problem{File: hotName, What: err.Error(), Lost: -1}
		if o.Repair {
			if p.Aside, err = putAside(path, time.Now()); err != nil {
				return r, fmt.Errorf("storage: check: %w", err)
			}
			r.Repaired++
		}
		r.Problems = append(r.Problems, p)
		return r, nil
	case err != nil:
		return r, fmt.Errorf("storage: check: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: lockTimeout})
	if err != nil {
		return r, fmt.Errorf("storage: check: %w", err)
	}
	err = db.View(func(tx *bolt.Tx) error { return r.batches(ctx, tx) })
	if o.Progress != nil {
		o.Progress(size, size)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return r, fmt.Errorf("storage: check: %w", err)
	}
	return r, nil
}

// checkFile looks at the structure of a file that no process has open, and
// returns its size.
func checkFile(path string) (int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if err := lockFile(f, lockTimeout); errors.Is(err, errLocked) {
		return 0, fmt.Errorf("%w (%s)", ErrInUse, path)
	} else if err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), checkStructure(f, info.Size())
}

// batches looks at all batches of the log.
func (r *CheckReport) batches(ctx context.Context, tx *bolt.Tx) error {
	log := tx.Bucket(bucketLog)
	if log == nil {
		r.Problems = append(r.Problems, Problem{File: hotName, What: "it is no store of readings", Lost: -1})
		return nil
	}
	var b batch
	cur := log.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.Blocks++
		if err := b.parse(keyOffset(k), v); err != nil {
			r.Problems = append(r.Problems, Problem{File: hotName, What: fmt.Sprintf("batch %d: %v", keyOffset(k), err), Lost: -1})
			continue
		}
		r.Readings += int64(b.count)
	}
	return nil
}

// Renew gives the store in the folder, which no process may have open, a new
// id. So the cursors of the store that it was copied from, which has gone on
// giving offsets since, are told reset.
func Renew(dir string) error {
	path := filepath.Join(dir, hotName)
	if _, err := checkFile(path); err != nil {
		return fmt.Errorf("storage: renew: %w", err)
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: lockTimeout, NoFreelistSync: true, FreelistType: bolt.FreelistMapType})
	if err != nil {
		return fmt.Errorf("storage: renew: %w", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return fmt.Errorf("%w: not a store of readings", errStructure)
		}
		return putMeta(meta, keyStore, []byte(strings.ToLower(rand.Text()[:storeIDLen])))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("storage: renew: %w", err)
	}
	return nil
}

// Usage is what the store takes.
type Usage struct {
	Readings, Bytes int64
	BytesToday      int64 // written to disk since local midnight or Open
	Files           []FileInfo
	Series          []SeriesUsage // sorted by device and metric
}

// SeriesUsage is what a series takes.
type SeriesUsage struct {
	device.Series
	Readings, Bytes int64
}

// Usage returns what the store takes.
func (l *Log) Usage(ctx context.Context) (Usage, error) {
	bytes := map[uint32]float64{}
	var b batch
	err := l.view(func(log *bolt.Bucket) error {
		cur := log.Cursor()
		for k, v := cur.First(); k != nil; k, v = cur.Next() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if b.parse(keyOffset(k), v) != nil {
				continue
			}
			for _, e := range b.dict {
				bytes[e.id] += float64(len(v)) * float64(e.rows) / float64(b.count)
			}
		}
		return nil
	})
	if err != nil {
		return Usage{}, fmt.Errorf("storage: usage: %w", err)
	}
	s := l.Stats()
	u := Usage{Bytes: s.FileBytes, BytesToday: s.BatchBytes, Files: []FileInfo{{Name: hotName, Bytes: s.FileBytes}}}
	for _, info := range l.Series(device.Selector{}) {
		l.mu.RLock()
		id := l.cat.ids[info.Series]
		l.mu.RUnlock()
		u.Readings += info.Count
		u.Series = append(u.Series, SeriesUsage{Series: info.Series, Readings: info.Count, Bytes: int64(bytes[id])})
	}
	return u, nil
}
