package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
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
	DefaultRetainAge      = 365 * 24 * time.Hour
	DefaultRetainMinutes  = 5 * DefaultRetainAge
	DefaultRetainHours    = time.Duration(-1)
	DefaultRetainSize     = 8 << 30
	DefaultRetainSize32   = 2 << 30
	DefaultLogAge         = 24 * time.Hour
	DefaultLogSize        = 96 << 20
	DefaultPeriod         = 28 * 24 * time.Hour
	DefaultPeriodSize     = 64 << 20
	DefaultFlushAge       = 6 * time.Hour
	DefaultMaxUnflushed   = 1_500_000
	// DefaultLogSize32 and DefaultPeriodSize32 leave room in the address space of
	// 32-bit machines.
	DefaultLogSize32      = 48 << 20
	DefaultPeriodSize32   = 32 << 20
	DefaultMaxUnflushed32 = 500_000

	minRetainSize = 8 << 20
	minLogSize    = 1 << 20
	// maxLogSize32 keeps hot.db, with its head room, below 256 MB.
	maxLogSize32 = 192 << 20
	// minPeriod is a bucket of the longest rollup, which must not lie in two files.
	minPeriod = time.Hour
	// sizeHeadroom is how far hot.db may grow beyond LogSize: pages freed by a
	// commit can be used by the next one only.
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
	// Default 65,536, at most 262,144 and MaxUnflushed.
	MaxPending int
	// RetainAge is for how long readings are kept after they were received.
	// Default a year; negative: for ever.
	RetainAge time.Duration
	// RetainMinutes and RetainHours are the same for the rollups of minutes and
	// of hours. Default 5 years, and for ever.
	RetainMinutes, RetainHours time.Duration
	// RetainSize is how many bytes all files may take; the oldest go first, and
	// readings before rollups. Default 8 GiB, on 32-bit machines 2 GiB, but at most
	// four fifths of the disk. At least 8 MiB.
	RetainSize int64
	// LogAge is for how long the log has readings in the order of their arrival,
	// beside the blocks. Default a day; negative: no longer than they are in no
	// block.
	LogAge time.Duration
	// LogSize is how many bytes of hot.db the log may take before it gives up
	// what is in blocks, and appending has to wait for what is not. Default
	// 96 MiB, on 32-bit machines 48 MiB, but at most a quarter of RetainSize. At
	// least 1 MiB.
	LogSize int64
	// Period is the stretch of time that goes into one file, in whole hours. By
	// default it is four weeks, less when readings are to leave sooner.
	Period time.Duration
	// PeriodSize is how large a file may become before its stretch is cut short.
	// Default 64 MiB, on 32-bit machines 32 MiB.
	PeriodSize int64
	// FlushAge is how long a reading may be in no block. Default 6 hours.
	FlushAge time.Duration
	// MaxUnflushed is how many readings may be in no block before appending has
	// to wait. Default 1,500,000, on 32-bit machines 500,000.
	MaxUnflushed int
	// OnAppend is called with every appended batch, in offset order, with the
	// append lock held and before Append returns. The readings can be read
	// from the log already. It must not block, append, or keep the slice.
	OnAppend func([]device.Stored)
	// OnRegister is called with every change of a device's registration, which is
	// nil when it has ended, once it is on disk. Calls do not overlap. It must not
	// change the registry.
	OnRegister func(id device.ID, r *device.Registration)
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
	if c.CommitInterval < 0 || c.AckDelay < 0 || c.MaxPending < 0 || c.FlushAge < 0 || c.MaxUnflushed < 0 {
		return c, errors.New("negative commit interval, ack delay, max pending, flush age or max unflushed")
	}
	setDefault(&c.CommitInterval, DefaultCommitInterval)
	setDefault(&c.AckDelay, DefaultAckDelay)
	setDefault(&c.MaxPending, DefaultMaxPending)
	setDefault(&c.RetainAge, DefaultRetainAge)
	setDefault(&c.RetainMinutes, DefaultRetainMinutes)
	setDefault(&c.RetainHours, DefaultRetainHours)
	setDefault(&c.LogAge, DefaultLogAge)
	setDefault(&c.FlushAge, DefaultFlushAge)
	c, err := c.sizes()
	if err != nil {
		return c, err
	}
	if c.Period == 0 {
		c.Period = periodFor(c.RetainAge)
	}
	if c.Period < minPeriod || c.Period%minPeriod != 0 {
		return c, fmt.Errorf("period %v, want whole hours", c.Period)
	}
	c.MaxPending = min(c.MaxPending, c.MaxUnflushed) // what is not committed is in no block
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

// sizes sets the defaults of what is counted in bytes or readings, and checks it.
func (c Config) sizes() (Config, error) {
	size, log, period, most := int64(DefaultRetainSize), int64(DefaultLogSize), int64(DefaultPeriodSize), DefaultMaxUnflushed
	if math.MaxInt == math.MaxInt32 {
		size, log, period, most = DefaultRetainSize32, DefaultLogSize32, DefaultPeriodSize32, DefaultMaxUnflushed32
		if c.LogSize > maxLogSize32 {
			return c, fmt.Errorf("log size %d, at most %d on a 32-bit machine", c.LogSize, maxLogSize32)
		}
	}
	if disk := diskSize(c.Dir); disk > 0 {
		size = max(min(size, disk/5*4), minRetainSize)
	}
	setDefault(&c.RetainSize, size)
	setDefault(&c.LogSize, min(log, c.RetainSize/4))
	setDefault(&c.PeriodSize, min(period, c.RetainSize/8))
	setDefault(&c.MaxUnflushed, most)
	switch {
	case c.RetainSize < minRetainSize:
		return c, fmt.Errorf("retain size %d, at least %d", c.RetainSize, minRetainSize)
	case c.LogSize < minLogSize:
		return c, fmt.Errorf("log size %d, at least %d", c.LogSize, minLogSize)
	case c.PeriodSize < 0:
		return c, fmt.Errorf("period size %d", c.PeriodSize)
	}
	return c, nil
}

// periodFor returns the stretch of time of a file when readings are kept for so
// long: a short one where they leave soon, because they leave by files.
func periodFor(age time.Duration) time.Duration {
	for _, p := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		if age > 0 && age < 8*p {
			return p
		}
	}
	return DefaultPeriod
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
