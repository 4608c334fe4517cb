package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
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
	models, err := cfg.models()
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	natural := 0.0
	for _, model := range models {
		if cfg.Interval > 0 {
			model.interval = cfg.Interval
		}
		natural += model.readingsPerSecond()
	}
	rate := cfg.Rate
	if cfg.ReadingsPerSecond > 0 {
		rate = cfg.ReadingsPerSecond / natural
	} else if cfg.Interval > 0 {
		rate = 1
	}
	for i, model := range models {
		if err := f.add(i, model, rate); err != nil {
			return nil, fmt.Errorf("fleet: %w", err)
		}
	}
	return f, nil
}

// models returns the devices as the model knows them.
func (c *Config) models() ([]*virtual, error) {
	models := make([]*virtual, c.Devices)
	for i := range models {
		model, err := newVirtual(c.Seed, i, c.Kinds)
		if err != nil {
			return nil, err
		}
		models[i] = model
	}
	return models, nil
}

// Member is a device of a fleet and how it reaches the server.
type Member struct {
	ID        device.ID
	Transport Transport
}

// Members returns the devices that a fleet of this configuration has. They need no
// secrets for that yet.
func Members(c Config) ([]Member, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	c.applyDefaults()
	models, err := c.models()
	if err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	members := make([]Member, len(models))
	for i, model := range models {
		members[i] = Member{model.id, c.route(i).transport}
	}
	return members, nil
}

// add makes device i and its sender.
func (f *Fleet) add(i int, model *virtual, rate float64) error {
	cfg := &f.cfg
	r, format, secret, acked := cfg.route(i), cfg.format(i), cfg.secret(model.id), cfg.Acks.asks(i)
	if err := r.check(model.id, format, &secret, acked); err != nil {
		return err
	}
	interval := max(time.Duration(float64(model.interval)/rate), time.Microsecond)
	u := &unit{
		model: model, format: format, interval: interval,
		phase: time.Duration(model.noise.unit(2) * float64(interval)),
		batch: cfg.Batch, numbered: cfg.Seq || acked, keepSeq: cfg.KeepSeq,
		stats: &f.stats, budget: &f.budget,
	}
	if !r.transport.streams() && !r.transport.keyed() {
		u.token = secret.Token
	}
	s := &sender{
		target: &cfg.Target, route: r, id: model.id, secret: secret, source: u, stats: &f.stats,
		rng: rand.New(rand.NewPCG(cfg.Seed, uint64(model.noise))), reboot: cfg.Reboot,
		link: link{
			impairment: impairment{loss: cfg.Loss, duplicate: cfg.Duplicate, reorder: cfg.Reorder, jitter: cfg.Jitter},
			rng:        rand.New(rand.NewPCG(cfg.Seed, uint64(model.noise)+1)), stats: &f.stats,
		},
	}
	switch {
	case !acked:
	case r.transport == CoAP || r.transport == CoAPS:
		s.outbox = newOutbox(*cfg.Acks.coapPolicy(s.rng.Float64()))
	default:
		s.outbox = newOutbox(*cfg.Acks.policy(DefaultWindow))
	}
	if acked {
		s.firmware = &firmware{unit: u, stats: &f.stats}
		s.observes = !cfg.NoObserve
	}
	f.units, f.senders = append(f.units, u), append(f.senders, s)
	return nil
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

// giveBack takes back n readings that were granted and not sent.
func (b *budget) giveBack(n int) {
	if b.limit > 0 {
		b.used.Add(int64(-n))
	}
}
