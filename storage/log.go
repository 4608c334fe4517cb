package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

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

// Defaults and bounds of a Config.
const (
	DefaultCommitInterval = time.Second
	DefaultAckDelay       = 10 * time.Millisecond
	DefaultMaxPending     = 65_536
	DefaultRetainAge      = 30 * 24 * time.Hour
	DefaultRetainSize     = 160 << 20
	// DefaultRetainSize32 leaves room in the address space of 32-bit machines.
	DefaultRetainSize32 = 96 << 20

	minRetainSize = 1 << 20
	// maxRetainSize32 keeps the file, with its head room, below 256 MB.
	maxRetainSize32 = 192 << 20
	// sizeHeadroom is how far the file may grow beyond RetainSize: pages freed
	// by a commit can be used by the next one only.
	sizeHeadroom = 32 << 20

	// offsetStep is how far offsets are reserved ahead. A crash skips at most
	// that many; 2^63 offsets allow more crashes than there are microseconds
	// in a hundred thousand years.
	offsetStep = 1 << 20
	// maxMaxPending keeps what is handed out between two commits well below
	// the half step that is always reserved.
	maxMaxPending = offsetStep / 4

	// minPendingBytes is the encoded size that may wait for a commit, unless
	// MaxPending needs more.
	minPendingBytes = 8 << 20
)

// Config configures a Log. The zero value of every field but Dir means its
// default.
type Config struct {
	// Dir is the folder of the data; it is created with mode 0700.
	Dir string
	// CommitInterval is how long readings gather before a commit. Default 1 s.
	CommitInterval time.Duration
	// AckDelay is how long somebody in WaitDurable may be gathered with others
	// before a commit. Default 10 ms.
	AckDelay time.Duration
	// MaxPending is how many readings may be appended but not committed.
	// Default 65,536, at most 262,144.
	MaxPending int
	// RetainAge is for how long readings are kept after they were received.
	// Default 30 days; negative: for ever.
	RetainAge time.Duration
	// RetainSize is how many bytes of hot.db readings may take; the oldest go
	// first. Default 160 MiB, on 32-bit machines 96 MiB and at most 192 MiB.
	// At least 1 MiB.
	RetainSize int64
	// OnAppend is called with every appended batch, in offset order, with the
	// append lock held and before Append returns. The readings can be read
	// from the log already. It must not block, append, or keep the slice.
	OnAppend func([]device.Stored)
	// Now is the wall clock for retention by age. Default time.Now.
	Now func() time.Time
	// Logger is told of damage, of commits that begin to fail and that work
	// again. Default: nobody.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, errors.New("no data folder given")
	}
	if c.CommitInterval < 0 || c.AckDelay < 0 || c.MaxPending < 0 || c.RetainSize < 0 {
		return c, errors.New("negative commit interval, ack delay, max pending or retain size")
	}
	setDefault(&c.CommitInterval, DefaultCommitInterval)
	setDefault(&c.AckDelay, DefaultAckDelay)
	setDefault(&c.MaxPending, DefaultMaxPending)
	setDefault(&c.RetainAge, DefaultRetainAge)
	if math.MaxInt == math.MaxInt32 {
		setDefault(&c.RetainSize, DefaultRetainSize32)
		if c.RetainSize > maxRetainSize32 {
			return c, fmt.Errorf("retain size %d, at most %d on a 32-bit machine", c.RetainSize, maxRetainSize32)
		}
	}
	setDefault(&c.RetainSize, DefaultRetainSize)
	if c.RetainSize < minRetainSize {
		return c, fmt.Errorf("retain size %d, at least %d", c.RetainSize, minRetainSize)
	}
	if c.MaxPending > maxMaxPending {
		return c, fmt.Errorf("max pending %d, at most %d", c.MaxPending, maxMaxPending)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

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
	durable   atomic.Uint64
	commitErr atomic.Pointer[error] // why the last commit failed; nil when it did not

	// appendMu orders Append calls and their OnAppend. Taken before mu.
	appendMu sync.Mutex
	stored   []device.Stored // scratch of Append, guarded by appendMu
	ids      []uint32        // the same

	// commitMu admits one commit at a time. Taken before mu, never with appendMu.
	commitMu sync.Mutex
	writer   writerState // guarded by commitMu

	// mu guards all that follows. Nothing that can block is done under it.
	mu     sync.RWMutex
	cat    catalog
	closed bool
	next   uint64 // offset of the next reading
	bound  uint64 // offsets up to here are reserved durably
	floor  uint64
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
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("storage: config: %w", err)
	}
	cfg.Logger = cfg.Logger.With("component", "storage")
	l := &Log{
		cfg:       cfg,
		path:      filepath.Join(cfg.Dir, "hot.db"),
		maxBytes:  max(minPendingBytes, 2*cfg.MaxPending*plainRowBytes),
		clock:     newClockGuard(cfg.Now()),
		wake:      make(chan struct{}, 1),
		gen:       1, // a series not in any batch has generation 0
		committed: make(chan struct{}),
	}
	if err := l.openFile(); err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", cfg.Dir, err)
	}
	return l, nil
}

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
