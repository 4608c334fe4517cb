package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// powercutEnv makes the test binary the child of TestPowerCut: folder, seed and
// number of the first reading.
const powercutEnv = "NARU_STORAGE_POWERCUT"

const (
	powercutSessions = 3
	powercutRounds   = 8 // of each session
)

// powercutConfig is that of the store whose power is cut: everything small, so
// that each step comes often.
func powercutConfig(dir string) Config {
	return Config{
		Dir: dir, Period: 2 * time.Hour, LogAge: time.Hour, MaxUnflushed: 1000,
		RetainAge: 8 * time.Hour, RetainMinutes: 16 * time.Hour, RetainHours: 24 * time.Hour,
	}
}

// powercutWriter is the child's one goroutine, writer and keeper at once. It says
// to the parent, one line each:
//
//	step NAME                 what it does from here on
//	given OFFSET COUNT NUMBER readings got their offsets
//	durable OFFSET            everything up to OFFSET is on disk
//	gone START END OFFSET     the step took the readings with these times, up to
//	                          OFFSET
type powercutWriter struct {
	log  *Log
	rng  *rand.Rand
	say  io.Writer
	now  device.Time
	n    int64    // number of the next reading
	read *picture // what a slow reader holds on to; nil: there is none
}

// powercutChild opens the store in dir, does all that a store does, closes it,
// and this some times. The numbers of its readings begin with n.
func powercutChild(dir string, seed uint64, n int64, say io.Writer) error {
	w := &powercutWriter{rng: rand.New(rand.NewPCG(seed, 1)), say: say, n: n, now: powercutTime(n)}
	for range powercutSessions {
		if err := w.session(dir); err != nil {
			return err
		}
		if w.rng.IntN(3) > 0 {
			continue
		}
		if err := errors.Join(w.tell("step compact"), Compact(context.Background(), dir)); err != nil {
			return err
		}
	}
	return nil
}

func (w *powercutWriter) session(dir string) (err error) {
	if err := w.tell("step open"); err != nil {
		return err
	}
	cfg := powercutConfig(dir)
	cfg.Now = func() time.Time { return w.now.Std() }
	if w.log, err = Open(cfg); err != nil {
		return err
	}
	if w.rng.IntN(2) == 0 { // a log that is short of room, which no user may ask for
		w.log.cfg.LogSize = 96 << 10
	}
	for range powercutRounds {
		if err := w.round(context.Background()); err != nil {
			return errors.Join(err, w.log.Close())
		}
	}
	err = errors.Join(w.letGo(), w.tell("step close"), w.log.Close())
	_, head := w.log.Bounds()
	return errors.Join(err, w.tell("durable %d", head))
}

func (w *powercutWriter) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(w.say, format+"\n", args...)
	return err
}

// round appends and then does some of what a keeper does, in its order.
func (w *powercutWriter) round(ctx context.Context) error {
	for range 4 + w.rng.IntN(12) {
		if err := w.append(ctx); err != nil {
			return fmt.Errorf("append: %w", err)
		}
	}
	if w.rng.IntN(3) == 0 {
		if err := w.letGo(); err != nil {
			return err
		}
	} else if w.read == nil && w.rng.IntN(3) == 0 {
		var err error
		if w.read, err = w.log.picture(device.Selector{}, math.MinInt64, math.MaxInt64); err != nil {
			return err
		}
		w.read.pinTiers(math.MinInt64, math.MaxInt64)
	}
	for _, s := range []struct {
		name   string
		seldom int
		do     func(context.Context) error
	}{
		{"flush some", 3, w.flushSome},
		{"flush", 2, w.flush},
		{"cut", 3, w.cut},
		{"seal", 2, w.seal},
		{"retain age", 1, func(ctx context.Context) error { return w.log.retain(ctx, nil) }},
		{"retain size", 8, w.retainSize},
		{"relieve", 1, w.relieve},
		{"snapshot", 12, w.snapshot},
	} {
		if w.rng.IntN(s.seldom) > 0 {
			continue
		}
		if err := w.step(ctx, s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

// step does something and tells what has gone thereby.
func (w *powercutWriter) step(ctx context.Context, name string, do func(context.Context) error) error {
	if err := w.tell("step %s", name); err != nil {
		return err
	}
	before := w.log.shelf.periods
	if err := do(ctx); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, p := range before {
		kept := slices.ContainsFunc(w.log.shelf.periods, func(o *period) bool { return o.start <= p.start && o.end >= p.end || o.cold != nil && o.cold == p.cold })
		if p.sealed == nil || kept {
			continue
		}
		if err := w.tell("gone %d %d %d", p.start, p.end, p.sealed.newest()); err != nil {
			return err
		}
	}
	return nil
}

// letGo has the slow reader end: what it held on to is deleted.
func (w *powercutWriter) letGo() error {
	if w.read == nil {
		return nil
	}
	err := w.tell("step let go")
	w.read.close()
	w.read = nil
	return err
}

// append appends a batch, a small one as a rule, and commits two of three.
func (w *powercutWriter) append(ctx context.Context) error {
	rs := make([]device.Reading, 1+w.rng.IntN(30))
	if w.rng.IntN(20) == 0 {
		rs = make([]device.Reading, 250)
	}
	for i := range rs {
		rs[i] = powercutReading(w.n + int64(i))
	}
	last, err := w.log.Append(rs)
	if errors.Is(err, ErrFull) {
		if err := w.step(ctx, "flush", w.flush); err != nil {
			return err
		}
		last, err = w.log.Append(rs)
	}
	if err != nil {
		return err
	}
	if err := w.tell("given %d %d %d", last-uint64(len(rs))+1, len(rs), w.n); err != nil {
		return err
	}
	w.n += int64(len(rs))
	w.now = max(w.now, powercutTime(w.n))
	if w.rng.IntN(3) == 0 {
		return nil
	}
	return w.commit()
}

func (w *powercutWriter) commit() error {
	name := "append"
	w.log.commitMu.Lock()
	if w.log.trimDue() {
		name = "trim"
	}
	w.log.commitMu.Unlock()
	return errors.Join(w.tell("step %s", name), w.log.commit(commitDue), w.tell("durable %d", w.log.Durable()))
}

func (w *powercutWriter) flush(ctx context.Context) error { return w.log.flush(ctx, allDevices) }

// flushSome flushes all devices but every third.
func (w *powercutWriter) flushSome(ctx context.Context) error {
	not := w.rng.Uint32N(3)
	return w.log.flush(ctx, func(d *deviceState) bool { return d.number%3 != not })
}

// cut ends the last period behind what is in it.
func (w *powercutWriter) cut(context.Context) error {
	cold, _ := w.log.coldPeriods()
	if len(cold) == 0 {
		return nil
	}
	return w.log.cut(cold[len(cold)-1])
}

// seal seals a period, which need not be over, in a step of its own name, and all
// that are due.
func (w *powercutWriter) seal(ctx context.Context) error {
	cold, _ := w.log.coldPeriods()
	if len(cold) > 0 && w.rng.IntN(2) == 0 {
		p := cold[w.rng.IntN(len(cold))]
		name := "seal one"
		if p.sealed != nil {
			name = "seal anew"
		}
		if err := w.step(ctx, name, func(ctx context.Context) error { return w.log.seal(ctx, p) }); err != nil {
			return err
		}
	}
	return w.log.sealDue(ctx)
}

// retainSize has retention find the files too large.
func (w *powercutWriter) retainSize(ctx context.Context) error {
	size := w.log.cfg.RetainSize
	defer func() { w.log.cfg.RetainSize = size }()
	w.log.cfg.RetainSize = w.log.totalBytes() - 1
	if w.rng.IntN(4) == 0 {
		w.log.cfg.RetainSize = 0 // whatever can be dropped
	}
	return w.log.retain(ctx, nil)
}

// snapshot copies the files as a backup does.
func (w *powercutWriter) snapshot(ctx context.Context) error {
	s, err := w.log.Snapshot(ctx)
	if err != nil {
		return err
	}
	return s.Close()
}

// relieve does what the log or the memory has asked for.
func (w *powercutWriter) relieve(ctx context.Context) error {
	select {
	case <-w.log.pressed:
		return w.log.relieve(ctx)
	default:
		return nil
	}
}
