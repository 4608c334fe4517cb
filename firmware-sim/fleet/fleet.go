package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Fleet is a number of virtual devices. Make one with New; it runs once.
type Fleet struct {
	cfg     Config
	units   []*unit
	senders []*sender
	stats   stats
	budget  budget
}

// New returns a fleet that is ready to run.
func New(cfg Config) (*Fleet, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	cfg.applyDefaults()
	f := &Fleet{cfg: cfg, budget: budget{limit: cfg.Count}}
	models := make([]*virtual, cfg.Devices)
	natural := 0.0
	for i := range models {
		model, err := newVirtual(cfg.Seed, i, cfg.Kinds)
		if err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
		if cfg.Interval > 0 {
			model.interval = cfg.Interval
		}
		natural += model.readingsPerSecond()
		models[i] = model
	}
	rate := cfg.Rate
	if cfg.ReadingsPerSecond > 0 {
		rate = cfg.ReadingsPerSecond / natural
	} else if cfg.Interval > 0 {
		rate = 1
	}
	for i, model := range models {
		f.add(i, model, rate)
	}
	return f, nil
}

// add makes device i and its sender.
func (f *Fleet) add(i int, model *virtual, rate float64) {
	cfg := &f.cfg
	policy := cfg.Acks.policy(i, DefaultWindow)
	interval := max(time.Duration(float64(model.interval)/rate), time.Microsecond)
	u := &unit{
		model: model, format: cfg.format(i), interval: interval,
		phase: time.Duration(model.noise.unit(2) * float64(interval)),
		batch: cfg.Batch, numbered: cfg.Seq || policy != nil, keepSeq: cfg.KeepSeq,
		stats: &f.stats, budget: &f.budget,
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(model.noise)))
	s := &sender{
		target: &cfg.Target, source: u, stats: &f.stats, rng: rng, reboot: cfg.Reboot,
		link: link{
			impairment: impairment{loss: cfg.Loss, duplicate: cfg.Duplicate, reorder: cfg.Reorder, jitter: cfg.Jitter},
			rng:        rng, stats: &f.stats,
		},
	}
	s.route = cfg.route(i)
	if policy != nil {
		s.outbox = newOutbox(*policy)
	}
	f.units, f.senders = append(f.units, u), append(f.senders, s)
}

// Run lets the devices send until Duration or Count is reached and the
// acknowledgements have come or were given up, or until ctx is done; all these
// are no error. An error means that the server could not be reached at all. Run
// must not be called twice.
func (f *Fleet) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.stats.begin()
	defer f.stats.end()
	start := time.Now()
	for _, u := range f.units {
		u.begin(start, f.cfg.Duration, f.cfg.Backfill)
		if u.seq = f.cfg.FirstSeq; u.seq == 0 {
			u.seq = uint64(start.UnixMilli())
		}
	}
	return runAll(ctx, cancel, f.senders)
}

// Report returns the counts so far. It may be called while the fleet runs.
func (f *Fleet) Report() Report { return f.stats.report() }

// runAll runs the senders and returns the first error, which ends the others.
func runAll(ctx context.Context, cancel context.CancelCauseFunc, senders []*sender) error {
	var all sync.WaitGroup
	var once sync.Once
	var first error
	for _, s := range senders {
		all.Go(func() {
			if err := s.run(ctx); err != nil {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	all.Wait()
	return first
}

// budget is how many readings may still be sent. Its methods may be called
// concurrently.
type budget struct {
	limit int64 // 0: no bound
	used  atomic.Int64
}

// take returns how many of n readings are granted.
func (b *budget) take(n int) int {
	if b.limit == 0 {
		return n
	}
	over := b.used.Add(int64(n)) - b.limit
	return max(n-int(max(over, 0)), 0)
}
