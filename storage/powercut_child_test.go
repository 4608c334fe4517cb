package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// powercutEnv makes the test binary the child of TestPowerCut: folder, seed and
// number of the first reading.
const powercutEnv = "NARU_STORAGE_POWERCUT"

const (
	powercutSessions = 3
	powercutBatches  = 60 // of each step of a session
	powercutKeep     = 3 * time.Minute
	powercutBegin    = device.Time(1_764_000_000_000_000)
)

// powercutConfig is that of the store whose power is cut: everything small and
// fast, so that each step comes often. Nothing is dropped without a clock.
func powercutConfig(dir string, now func() time.Time) Config {
	cfg := Config{Dir: dir, CommitInterval: 5 * time.Millisecond, AckDelay: time.Millisecond, RetainAge: -1}
	if now != nil {
		cfg.RetainAge, cfg.Now = powercutKeep, now
	}
	return cfg
}

// powercutReading is the reading with this number. Values are of every kind,
// series come up little by little, and some readings are late; no two of a
// series have the same time. received is part of the time of the number, so
// that retention can be foretold.
func powercutReading(n int64) device.Reading {
	r := device.Reading{
		Device:   device.ID(fmt.Sprintf("d%d", n/700%3+n%4)),
		Metric:   device.Metric(fmt.Sprintf("m%d", n%5)),
		Received: powercutTime(n),
	}
	r.Time = r.Received.Add(-time.Duration(n%3) * time.Second)
	if n%41 == 0 {
		r.Time = r.Time.Add(-time.Hour)
	}
	switch n % 5 {
	case 0:
		r.Value = device.Int(n)
	case 1:
		r.Value = device.Bool(n%2 == 0)
	case 2:
		v, err := device.Text(strings.Repeat("t", int(n%60)) + strconv.FormatInt(n, 10))
		if err != nil {
			panic(err) // the text is short and plain
		}
		r.Value = v
	default:
		v, err := device.Float(float64(n) / 8)
		if err != nil {
			panic(err) // a quotient of small numbers is finite
		}
		r.Value = v
	}
	return r
}

// powercutTime is when the reading with this number is received.
func powercutTime(n int64) device.Time {
	return powercutBegin.Add(time.Duration(n) * 50 * time.Millisecond)
}

// powercutWriter is the child's one writer. It says to the parent, one line each:
//
//	step NAME                 what it does from here on
//	given OFFSET COUNT NUMBER readings got their offsets
//	durable OFFSET FLOOR      everything up to OFFSET is on disk; what lies above
//	                          FLOOR was not dropped yet
//	registered DEVICE NUMBER  the device is in the registry, named by the number
type powercutWriter struct {
	log *Log
	rng *rand.Rand
	say io.Writer
	now atomic.Int64 // a device.Time
	n   int64        // number of the next reading
}

// powercutChild opens the store in dir, does all that a store does, closes it,
// and this some times. The numbers of its readings begin with n.
func powercutChild(dir string, seed uint64, n int64, say io.Writer) error {
	w := &powercutWriter{rng: rand.New(rand.NewPCG(seed, 1)), say: say, n: n}
	w.now.Store(int64(powercutTime(n)))
	for range powercutSessions {
		if err := w.session(dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *powercutWriter) session(dir string) (err error) {
	if err := w.tell("step open"); err != nil {
		return err
	}
	w.log, err = Open(powercutConfig(dir, func() time.Time { return device.Time(w.now.Load()).Std() }))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.log.Run(ctx) }()
	defer func() {
		stop()
		err = errors.Join(err, w.tell("step close"), <-ran, w.log.Close())
		floor, head := w.log.Bounds()
		err = errors.Join(err, w.tell("durable %d %d", head, floor))
	}()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"append", w.append},
		{"retention", w.retain},
		{"append", w.append},
	} {
		if err := w.tell("step %s", step.name); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return nil
}

func (w *powercutWriter) tell(format string, args ...any) error {
	_, err := fmt.Fprintf(w.say, format+"\n", args...)
	return err
}

// append appends batches, most of them small, and waits for two of three.
func (w *powercutWriter) append(ctx context.Context) error {
	for range powercutBatches {
		size := 1 + w.rng.IntN(30)
		if w.rng.IntN(20) == 0 {
			size = 1500
		}
		rs := make([]device.Reading, size)
		for i := range rs {
			rs[i] = powercutReading(w.n + int64(i))
		}
		last, err := w.log.Append(rs)
		if err != nil {
			return err
		}
		if err := w.tell("given %d %d %d", last-uint64(size)+1, size, w.n); err != nil {
			return err
		}
		w.n += int64(size)
		w.now.Store(max(w.now.Load(), int64(powercutTime(w.n))))
		if w.rng.IntN(3) == 0 {
			continue
		}
		if err := w.log.WaitDurable(ctx, last); err != nil {
			return err
		}
		floor, _ := w.log.Bounds()
		if err := w.tell("durable %d %d", last, floor); err != nil {
			return err
		}
		if w.rng.IntN(8) == 0 {
			if err := w.register(); err != nil {
				return err
			}
		}
	}
	return nil
}

// register registers a device with credentials, or names it anew.
func (w *powercutWriter) register() error {
	c := device.Change{Act: device.Register, ID: device.ID(fmt.Sprintf("d%d", w.n%3)), Name: fmt.Sprint(w.n), PSK: true, Token: true}
	if _, ok := w.log.Registry().Registration(c.ID); ok {
		c.Act = device.Rename
	}
	if _, _, err := w.log.Registry().Change(c); err != nil {
		return err
	}
	return w.tell("registered %s %d", c.ID, w.n)
}

// retain appends while the clock goes so fast that readings grow too old.
func (w *powercutWriter) retain(ctx context.Context) error {
	w.now.Store(max(w.now.Load(), int64(powercutTime(w.n).Add(powercutKeep/2))))
	return w.append(ctx)
}
