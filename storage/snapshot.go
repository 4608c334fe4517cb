package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/stretch"
)

// FileInfo is a file of the store.
type FileInfo struct {
	Name  string // within the folder
	Bytes int64
	// Sealed says that the file never changes again: what has its name is the
	// same.
	Sealed bool
	// Sum is the hex SHA-256 of the content; empty where it is not known.
	Sum string
}

// Snapshot is the files of the store as they are at one moment: together they
// make a data folder. Its methods may be called concurrently, Close once.
type Snapshot struct {
	picture *picture
	files   []FileInfo
	copies  map[string]*os.File // of files that go on changing
}

// snapshotPrefix begins the names of copies; who finds one at the opening deletes
// it.
const snapshotPrefix = "snapshot-"

// Snapshot returns the files with everything that has been appended. Those that
// go on changing, which are small, are copied first, next to them; the sealed
// ones stay until Close, whatever retention does. It must be closed before the
// log.
func (l *Log) Snapshot(ctx context.Context) (*Snapshot, error) {
	s := &Snapshot{copies: map[string]*os.File{}}
	if err := s.take(ctx, l); err != nil {
		return nil, fmt.Errorf("storage: snapshot: %w", errors.Join(err, s.Close()))
	}
	return s, nil
}

// take copies the log before the blocks: what is flushed in between is in both,
// and counts once.
func (s *Snapshot) take(ctx context.Context, l *Log) error {
	if err := l.commit(commitAll); err != nil {
		return err
	}
	err := s.copy(ctx, l, hotName, func(w io.Writer) error {
		return l.db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(w)
			return err
		})
	})
	if err != nil {
		return err
	}
	if s.picture, err = l.pictureOfAll(); err != nil {
		return err
	}
	for _, v := range s.picture.pinned {
		if v.meta.Kind.Sealed() {
			s.files = append(s.files, FileInfo{Name: v.name, Bytes: v.bytes.Load(), Sealed: true})
			continue
		}
		err := s.copy(ctx, l, v.name, func(w io.Writer) error {
			return l.files.with(v, func(f *stretch.File) error {
				_, err := f.WriteTo(w)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pictureOfAll returns a picture with all files pinned.
func (l *Log) pictureOfAll() (*picture, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	p := &picture{log: l}
	p.pin(l.shelf.volumes()...)
	return p, nil
}

// copy keeps what write writes as the content of a file.
func (s *Snapshot) copy(ctx context.Context, l *Log, name string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(l.cfg.Dir, snapshotPrefix+"*"+unfinished)
	if err != nil {
		return err
	}
	s.copies[name] = f
	if err := write(contextWriter{ctx, f}); err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	s.files = append(s.files, FileInfo{Name: name, Bytes: size})
	return err
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

// Files returns the files, hot.db first.
func (s *Snapshot) Files() []FileInfo { return slices.Clone(s.files) }

// Copy writes the content of the file, exactly FileInfo.Bytes bytes, to w.
func (s *Snapshot) Copy(ctx context.Context, name string, w io.Writer) error {
	i := slices.IndexFunc(s.files, func(f FileInfo) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("storage: snapshot: %q: %w", name, fs.ErrNotExist)
	}
	file := s.copies[name]
	if file == nil {
		f, err := os.Open(s.picture.log.filePath(name))
		if err != nil {
			return fmt.Errorf("storage: snapshot: %w", err)
		}
		defer func() { _ = f.Close() }()
		file = f
	}
	_, err := io.Copy(contextWriter{ctx, w}, io.NewSectionReader(file, 0, s.files[i].Bytes))
	return err
}

// Close lets the files go.
func (s *Snapshot) Close() error {
	var errs []error
	for _, f := range s.copies {
		errs = append(errs, f.Close(), os.Remove(f.Name()))
	}
	if s.picture != nil {
		s.picture.close()
	}
	return errors.Join(errs...)
}

// removeUnfinished deletes what a run has left that did not end by itself.
func (l *Log) removeUnfinished() error {
	for _, pattern := range []string{hotName, snapshotPrefix + "*", "cold-*", "raw-*", "1m-*", "1h-*"} {
		left, err := filepath.Glob(l.filePath(pattern + unfinished))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}
