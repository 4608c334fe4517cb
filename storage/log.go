package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// Errors that a caller may branch on.
var (
	// ErrFull says that there is no room before the next commit; see Room.
	ErrFull = errors.New("storage: no room for more readings before the next commit")
	// ErrClosed says that the log no longer takes readings.
	ErrClosed = errors.New("storage: log is closed")
	// ErrTooLarge says that a batch can never fit, however long one waits.
	ErrTooLarge = errors.New("storage: batch too large")
	// ErrInUse says that another process has the data folder open.
	ErrInUse = boltfile.ErrInUse
	// ErrNewerFormat says that a newer version of the program wrote the file.
	ErrNewerFormat = boltfile.ErrNewerFormat
)

// Log is the append-only log of readings with its catalogue of series. Create
// it with Open.
type Log struct {
	cfg       Config
	path      string
	db        *boltfile.DB
	storeID   string
	maxBytes  int // of pending rows
	clock     clockGuard
	wake      chan struct{} // to the writer, capacity 1
	stats     counters
	damage    damage
	files     openFiles
	written   atomic.Int64 // bytes that commits have written
	durable   atomic.Uint64
	commitErr atomic.Pointer[error] // why the last commit failed; nil when it did not
	keepErr   atomic.Pointer[error] // the same of the keeper
	pressed   chan struct{}         // to the keeper, capacity 1
	age       ageing                // guarded by commitMu
	purged    time.Time             // when a file left because the disk was full; owned by the keeper
	leaving   []*volume             // which count no more, but may be there after a crash; owned by the keeper
	registry  *Registry
	mailbox   *Mailbox
	grants    *Grants

	// appendMu orders Append calls and their OnAppend. Taken before mu.
	appendMu sync.Mutex
	stored   []device.Stored // scratch of Append, guarded by appendMu
	ids      []uint32        // the same

	// commitMu admits one commit at a time. Taken before mu, never with appendMu.
	commitMu sync.Mutex
	writer   writerState // guarded by commitMu

	// moving is held while readings move from memory into blocks, and read-held by
	// who adds up both. Taken before mu.
	moving sync.RWMutex

	// mu guards all that follows. Nothing that can block is done under it.
	mu     sync.RWMutex
	cat    catalog
	today  today
	closed bool
	next   uint64 // offset of the next reading
	bound  uint64 // offsets up to here are reserved durably
	floor  uint64
	// logFloor is the offset below the first of the log; what is not above it is
	// in the files of the history.
	logFloor uint64
	// flushed is the offset up to which everything is in those files.
	flushed   uint64
	unflushed int // readings in no block
	shelf     shelf
	// open is the batch being filled, sealed those that wait for the commit
	// together with it; what is in sealed never changes.
	open   builder
	gen    uint32 // counts batches, so that a series knows whether it is in open
	sealed []*batch
	// pending counts the readings in sealed and open, pendingBytes their rows.
	pending, pendingBytes int
	pendingSince          time.Time // of the oldest that no commit has taken up
	taken                 uint64    // offset up to which the running commit goes
	waiterSince           time.Time // of the first waiter that no commit serves yet
	committed             chan struct{}
}

// Open opens or creates the log in cfg.Dir and reads what a start needs. It
// starts nothing: without Run, readings stay in memory until Close. A file
// that is damaged in its structure is put aside, never deleted, and a new one
// with a new store id begun; single damaged batches are left out.
func Open(cfg Config) (*Log, error) {
	if cfg.Dir != "" { // it tells how large the disk is
		if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("storage: open %s: %w", cfg.Dir, err)
		}
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("storage: config: %w", err)
	}
	cfg.Logger = cfg.Logger.With("component", "storage")
	l := &Log{
		cfg:       cfg,
		path:      filepath.Join(cfg.Dir, hotName),
		maxBytes:  max(minPendingBytes, 2*cfg.MaxPending*plainRowBytes),
		clock:     newClockGuard(cfg.Now()),
		wake:      make(chan struct{}, 1),
		pressed:   make(chan struct{}, 1),
		gen:       1, // a series not in any batch has generation 0
		committed: make(chan struct{}),
	}
	l.files = openFiles{most: openFileLimit(), written: &l.written}
	l.registry = &Registry{log: l, wake: make(chan struct{}, 1)}
	l.mailbox = newMailbox(l)
	l.grants = &Grants{log: l}
	if err := l.openFile(); err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", cfg.Dir, err)
	}
	err = l.refill()
	if err == nil {
		err = l.findNewest(context.Background())
	}
	if err != nil {
		l.files.closeAll()
		return nil, errors.Join(fmt.Errorf("storage: open %s: %w", cfg.Dir, err), l.db.Close())
	}
	l.unload()
	return l, nil
}

// hotName is the file of the log and the catalogue.
const hotName = "hot.db"

// maxOpenFiles is how many files of the history are open at a time.
const (
	maxOpenFiles   = 64
	maxOpenFiles32 = 8
)

func openFileLimit() int {
	if math.MaxInt == math.MaxInt32 {
		return maxOpenFiles32
	}
	return maxOpenFiles
}

func (l *Log) filePath(name string) string { return filepath.Join(l.cfg.Dir, name) }

// StoreID returns the name of this store, made with the file. It is the same
// for the file's whole life: short, lower-case letters and digits.
func (l *Log) StoreID() string { return l.storeID }

// Bounds returns floor and head: the readings with floor < offset <= head are
// kept. Only retention makes floor grow. After a crash, head counts offsets
// that were reserved and never used.
func (l *Log) Bounds() (floor, head uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.floor, l.next - 1
}

// update writes something else than readings to hot.db. ErrClosed says that
// nothing is written any more.
func (l *Log) update(f func(tx *bolt.Tx) error) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	l.mu.RLock()
	closed := l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	return l.db.Update(f)
}

// Durable returns the offset up to which everything is on disk.
func (l *Log) Durable() uint64 { return l.durable.Load() }

// Close commits what is pending, marks the file as cleanly closed, so that the
// next opening skips no offsets, and releases it. Run must have ended.
func (l *Log) Close() error {
	l.appendMu.Lock()
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	l.appendMu.Unlock()
	if already {
		return nil
	}
	err := l.commit(commitClose)
	l.commitMu.Lock()
	l.files.closeAll()
	err = errors.Join(err, l.db.Close())
	l.commitMu.Unlock()
	l.mu.Lock()
	l.announceLocked() // waiters see that the log is closed
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("storage: close: %w", err)
	}
	return nil
}

// WaitDurable returns nil once everything up to offset is on disk, and makes
// the writer commit within Config.AckDelay. While commits fail it waits on,
// until ctx ends.
func (l *Log) WaitDurable(ctx context.Context, offset uint64) error {
	for {
		if l.durable.Load() >= offset {
			return nil
		}
		l.mu.Lock()
		switch {
		case l.durable.Load() >= offset:
			l.mu.Unlock()
			return nil
		case offset >= l.next:
			l.mu.Unlock()
			return fmt.Errorf("storage: wait for offset %d: the log ends at %d", offset, l.next-1)
		case l.closed:
			l.mu.Unlock()
			return ErrClosed
		}
		if offset > l.taken {
			l.hurryLocked()
		}
		committed := l.committed
		l.mu.Unlock()
		select {
		case <-committed:
		case <-ctx.Done():
			return fmt.Errorf("storage: wait for offset %d: %w", offset, context.Cause(ctx))
		}
	}
}

// hurryLocked makes the writer commit within AckDelay. The caller holds mu.
func (l *Log) hurryLocked() {
	if l.waiterSince.IsZero() {
		l.waiterSince = time.Now()
		l.signal()
	}
}

// signal makes the writer look at the state again.
func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// announceLocked wakes those who wait for a commit. The caller holds mu.
func (l *Log) announceLocked() {
	close(l.committed)
	l.committed = make(chan struct{})
}
