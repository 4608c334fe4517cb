package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/boltfile"
)

const (
	// sessionsName is the file of the sessions of devices. It is one of its own,
	// because it holds keys that must live once only: a backup that took them along
	// would make two gateways use the same numbers under the same keys. And when it
	// is damaged nothing else is.
	sessionsName = "sessions.db"

	// maxSessions and maxSessionLen bound what the file holds.
	maxSessions   = 16_384
	maxSessionLen = 1024
	maxSessionKey = 64

	sessionsGrow = 64 << 10
)

var bucketSessions = []byte("sessions") // name → sealed session, which we know nothing of

// ErrTooManySessions says that the file of the sessions is full.
var ErrTooManySessions = errors.New("storage: too many sessions")

// Sessions keeps the sessions of devices over a restart. Its methods must not be
// called concurrently.
type Sessions struct {
	db  *boltfile.DB
	log *slog.Logger
	// names are those in the file.
	names map[string]struct{}
}

// OpenSessions opens or creates the sessions in the data folder, which the caller
// has open. A damaged file is put aside: then devices shake hands again.
func OpenSessions(dir string, log *slog.Logger) (*Sessions, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Sessions{log: log.With("component", "storage")}
	path := filepath.Join(dir, sessionsName)
	err := s.open(path)
	if errors.Is(err, boltfile.ErrStructure) {
		aside, renameErr := boltfile.PutAside(path, time.Now())
		if renameErr != nil {
			return nil, fmt.Errorf("storage: sessions: %w", errors.Join(err, renameErr))
		}
		s.log.Error("the sessions of devices were damaged: put aside, devices shake hands again", "error", err, "aside", aside)
		err = s.open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("storage: sessions: %w", err)
	}
	return s, nil
}

func (s *Sessions) open(path string) error {
	db, err := boltfile.Open(path, boltfile.Options{NoFreelist: true, Grow: sessionsGrow})
	if err != nil {
		return err
	}
	// Whoever reads the file can speak for the devices.
	err = os.Chmod(path, 0o600)
	s.names = map[string]struct{}{}
	if err == nil {
		err = db.Update(func(tx *bolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucketSessions)
			if err != nil {
				return err
			}
			return b.ForEach(func(k, _ []byte) error {
				s.names[string(k)] = struct{}{}
				return nil
			})
		})
	}
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	return nil
}

// LoadSessions returns the sessions by name. One that is damaged is empty.
func (s *Sessions) LoadSessions() (map[string][]byte, error) {
	all := make(map[string][]byte, len(s.names))
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketSessions).ForEach(func(k, sealed []byte) error {
			v, ok := boltfile.Unseal(k, sealed)
			if !ok {
				v = nil
			}
			all[string(k)] = append([]byte{}, v...)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("storage: sessions: %w", err)
	}
	return all, nil
}

// SaveSessions keeps the sessions under their names and forgets those that are
// nil, all or none. They are durable when it returns.
func (s *Sessions) SaveSessions(changes map[string][]byte) error {
	after := len(s.names)
	for name, v := range changes {
		_, known := s.names[name]
		switch {
		case v == nil && known:
			after--
		case v != nil && !known:
			after++
		}
		if len(name) == 0 || len(name) > maxSessionKey || len(v) > maxSessionLen {
			return fmt.Errorf("storage: session %q of %d bytes is too long", name, len(v))
		}
	}
	if after > maxSessions && after > len(s.names) {
		return fmt.Errorf("%w: %d, at most %d", ErrTooManySessions, after, maxSessions)
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketSessions)
		for _, name := range slices.Sorted(maps.Keys(changes)) {
			var err error
			if v := changes[name]; v == nil {
				err = b.Delete([]byte(name))
			} else {
				err = b.Put([]byte(name), boltfile.Seal([]byte(name), v))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storage: sessions: %w", err)
	}
	for name, v := range changes {
		if v == nil {
			delete(s.names, name)
		} else {
			s.names[name] = struct{}{}
		}
	}
	return nil
}

// Close releases the file.
func (s *Sessions) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("storage: sessions: %w", err)
	}
	return nil
}
