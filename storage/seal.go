package storage

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/storage/stretch"
)

// lateness is how long after its end a stretch of time is kept open, in
// microseconds, at most a day.
func (l *Log) lateness() int64 {
	return min(l.cfg.Period.Microseconds(), 24*3600e6)
}

// mostCold is how many cold files there may be; beyond, those that are over do
// not wait for what may come late.
const mostCold = 4

// sealDue cuts what has grown too large and seals what is over: what the newest
// readings are a lateness ahead of. Order comes from the readings, so that a wrong
// clock seals nothing too early but what it has itself put into the future.
func (l *Log) sealDue(ctx context.Context) error {
	if err := l.rollLost(ctx); err != nil {
		return err
	}
	periods, newest := l.coldPeriods()
	for i, p := range periods {
		if p.cold.bytes.Load() > l.cfg.PeriodSize {
			if err := l.cut(p); err != nil {
				return err
			}
		}
		over := p.cold.meta.End <= newest
		if over && (p.end+l.lateness() <= newest || len(periods)-i > mostCold) {
			if err := l.seal(ctx, l.periodAt(p.start)); err != nil {
				return fmt.Errorf("storage: seal %s: %w", p.cold.name, err)
			}
		}
	}
	return nil
}

// rollLost makes the rollups anew whose file was lost.
func (l *Log) rollLost(ctx context.Context) error {
	l.mu.RLock()
	periods := l.shelf.periods
	l.mu.RUnlock()
	for _, p := range periods {
		if !p.unrolled {
			continue
		}
		if err := l.sealAs(ctx, &sealer{log: l, periods: []*period{p}, anew: true}); err != nil {
			return fmt.Errorf("storage: roll up %s anew: %w", p.sealed.name, err)
		}
	}
	return nil
}

// coldPeriods returns the periods that have a cold file, ascending, and the
// largest time of a reading in any file.
func (l *Log) coldPeriods() (cold []*period, newest int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	newest = math.MinInt64
	for _, p := range l.shelf.periods {
		for _, v := range p.volumes() {
			for _, r := range v.devices {
				newest = max(newest, r.maxTime)
			}
		}
		if p.cold != nil {
			cold = append(cold, p)
		}
	}
	return cold, newest
}

// periodAt returns the period that has the time.
func (l *Log) periodAt(t int64) *period {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if i, ok := l.shelf.covering(t); ok {
		return l.shelf.periods[i]
	}
	return nil
}

// seal flushes everything and seals every period, over or not.
func (l *Log) sealAll(ctx context.Context) error {
	if err := l.flush(ctx, allDevices); err != nil {
		return err
	}
	if err := l.rollLost(ctx); err != nil {
		return err
	}
	periods, _ := l.coldPeriods()
	for _, p := range periods {
		if err := l.seal(ctx, l.periodAt(p.start)); err != nil {
			return fmt.Errorf("storage: seal %s: %w", p.cold.name, err)
		}
	}
	return nil
}

// cut ends a period behind its last reading, so that it can be sealed. One without
// readings stays as it is.
func (l *Log) cut(p *period) error {
	l.mu.RLock()
	last := int64(math.MinInt64)
	for _, r := range p.cold.devices {
		last = max(last, r.maxTime)
	}
	l.mu.RUnlock()
	if p.sealed != nil || last < p.start {
		return nil
	}
	end := floorTo(last, minPeriod.Microseconds()) + minPeriod.Microseconds()
	if end >= p.end {
		return nil
	}
	if err := l.files.with(p.cold, func(f *stretch.File) error { return f.SetEnd(end) }); err != nil {
		return fmt.Errorf("storage: cut %s: %w", p.cold.name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shorter := &period{start: p.start, end: end, cold: p.cold}
	p.cold.meta.End = end
	l.shelf.periods = slices.Clone(l.shelf.periods)
	l.shelf.periods[slices.Index(l.shelf.periods, p)] = shorter
	return nil
}

// seal replaces the cold file of a period, and an older sealed one, by a sealed
// one, and puts its rollups into the files of their tiers. Each new file gets its
// name when it is whole; the one with the readings is the last, and from then on
// the cold one counts no more.
func (l *Log) seal(ctx context.Context, p *period) error {
	s := &sealer{log: l, periods: []*period{p}}
	l.mu.RLock()
	at := slices.Index(l.shelf.periods, p)
	if at > 0 {
		before := l.shelf.periods[at-1]
		if before.cold == nil && p.cold != nil && l.allDone(before.sealed, p.sealed, p.cold) &&
			mayJoin(before.sealed.bytes.Load()+p.cold.bytes.Load(), before.start, p.end, l.cfg.RetainAge) {
			s.periods = []*period{before, p}
		}
	}
	l.mu.RUnlock()
	return l.sealAs(ctx, s)
}

func (l *Log) sealAs(ctx context.Context, s *sealer) error {
	if err := s.write(ctx); err != nil {
		return s.abandon(err)
	}
	l.install(s)
	return nil
}
