package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
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
	// OnCommand is called when something has changed about the commands of a device
	// and is on disk. It must not block.
	OnCommand func(id device.ID)
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
