package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Defaults and bounds of a LoadConfig.
const (
	DefaultLoadDevices = 100
	DefaultSockets     = 2
	maxSockets         = 1024
	maxPack            = 64
)

// LoadConfig describes a load: readings of many devices over few sockets. Only
// Target is needed; the zero value of everything else is its default.
type LoadConfig struct {
	Target
	// Devices is how many there are. 0 means DefaultLoadDevices.
	Devices int
	// Kinds limits them to some of Kinds(); empty means all.
	Kinds []string
	Seed  uint64
	// Rate is in readings a second; 0 means as many as possible.
	Rate float64
	// Sockets is over how many the devices are spread. 0 means DefaultSockets.
	Sockets int
	// Batch bounds the readings of one message; 0 means one of every sensor of a
	// device. Pack is how many messages stand in a datagram; 0 means 1.
	Batch, Pack int
	// Seq numbers the messages of each device, from 1.
	Seq bool
	// Duration and Count end the run after that time or when that many readings
	// have been sent; 0 means never.
	Duration time.Duration
	Count    int64
}

func (c *LoadConfig) validate() error {
	if err := c.Target.validate(UDP, TCP); err != nil {
		return err
	}
	switch {
	case c.Devices < 0 || c.Devices > maxDevices:
		return fmt.Errorf("%w: %d devices, want 1 to %d", ErrInvalidConfig, c.Devices, maxDevices)
	case !isRate(c.Rate):
		return fmt.Errorf("%w: negative rate", ErrInvalidConfig)
	case c.Sockets < 0 || c.Sockets > maxSockets:
		return fmt.Errorf("%w: %d sockets, want 1 to %d", ErrInvalidConfig, c.Sockets, maxSockets)
	case c.Pack < 0 || c.Pack > maxPack:
		return fmt.Errorf("%w: %d messages in a datagram, want 1 to %d", ErrInvalidConfig, c.Pack, maxPack)
	case c.Batch < 0 || c.Count < 0 || c.Duration < 0:
		return fmt.Errorf("%w: negative batch, count or duration", ErrInvalidConfig)
	}
	return nil
}

func (c *LoadConfig) applyDefaults() {
	if c.Devices == 0 {
		c.Devices = DefaultLoadDevices
	}
	if c.Sockets == 0 {
		c.Sockets = DefaultSockets
	}
	c.Sockets = min(c.Sockets, c.Devices)
	if c.Pack == 0 {
		c.Pack = 1
	}
}

// Load sends readings at a rate, whatever becomes of them. Make one with
// NewLoad; it runs once.
type Load struct {
	cfg     LoadConfig
	streams []*loadStream
	stats   stats
	budget  budget
}

// NewLoad returns a load that is ready to run.
func NewLoad(cfg LoadConfig) (*Load, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	cfg.applyDefaults()
	l := &Load{cfg: cfg, budget: budget{limit: cfg.Count}}
	for i := range cfg.Sockets {
		s := &loadStream{load: l, number: i}
		s.route = cfg.route(i)
		l.streams = append(l.streams, s)
	}
	for i := range cfg.Devices {
		model, err := newVirtual(cfg.Seed, i, cfg.Kinds)
		if err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
		s := l.streams[i%cfg.Sockets]
		s.devices = append(s.devices, loadDevice{model: model, format: cfg.format(i)})
	}
	return l, nil
}

// Run sends until Duration or Count is reached or ctx is done, which is no
// error. It must not be called twice.
func (l *Load) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l.stats.begin()
	defer l.stats.end()
	start := time.Now()
	var all sync.WaitGroup
	for _, s := range l.streams {
		all.Go(func() {
			if err := s.run(ctx, start); err != nil {
				cancel(fmt.Errorf("fleet: load: %w", err))
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// Report returns the counts so far. It may be called while the load runs.
func (l *Load) Report() Report { return l.stats.report() }
