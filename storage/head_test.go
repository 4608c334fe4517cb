package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// TestUnflushedBackPressure fills the memory for readings in no block: appending has
// to wait for the keeper, and only for it.
func TestUnflushedBackPressure(t *testing.T) {
	bubble(t, Config{MaxUnflushed: 1000, MaxPending: 2000, CommitInterval: time.Hour}, func(t *testing.T, l *Log) {
		mustAppend(t, l, 250) // a quarter: nobody hurries
		synctest.Wait()
		if s := l.Stats(); s.Unflushed != 250 || s.Flushed != 0 {
			t.Errorf("%d readings in no block, %d flushed", s.Unflushed, s.Flushed)
		}
		if _, err := l.Append(readings(751)); !errors.Is(err, ErrFull) {
			t.Errorf("one too many: %v, want ErrFull", err)
		}
		start := time.Now()
		if err := l.Room(t.Context(), 751); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > DefaultAckDelay {
			t.Errorf("room after %v", took)
		}
		if last := mustAppend(t, l, 751); last != 1001 {
			t.Errorf("offset %d, want 1001", last)
		}
		synctest.Wait()
		if n := len(readAll(t, l, device.Query{})); n != 1001 {
			t.Errorf("%d readings", n)
		}
		if err := l.Healthy(); err != nil {
			t.Error(err)
		}
	})
}

// TestMoreThanEverFits asks for more than may be in no block at all.
func TestMoreThanEverFits(t *testing.T) {
	bubble(t, Config{MaxUnflushed: 100}, func(t *testing.T, l *Log) {
		if _, err := l.Append(readings(101)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Append: %v, want ErrTooLarge", err)
		}
		if err := l.Room(t.Context(), 101); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Room: %v, want ErrTooLarge", err)
		}
	})
}

// TestKeeperFails has the keeper fail: appending stops when memory is full, nothing
// is lost, and it goes on when the keeper does.
func TestKeeperFails(t *testing.T) {
	bubble(t, Config{MaxUnflushed: 1000}, func(t *testing.T, l *Log) {
		dir := l.cfg.Dir
		l.cfg.Dir = filepath.Join(dir, "gone") // where no cold file can be made
		mustAppend(t, l, 600)
		pass(time.Minute)
		if l.Healthy() == nil || l.Stats().KeepErrors == 0 || l.Stats().Unflushed != 600 {
			t.Errorf("healthy: %v, %+v", l.Healthy(), l.Stats())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := l.Room(ctx, 401); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Room: %v, want the deadline", err)
		}
		mustAppend(t, l, 400)
		synctest.Wait()
		l.cfg.Dir = dir
		if err := l.Room(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 1000)
		synctest.Wait()
		if err := l.Healthy(); err != nil {
			t.Errorf("healthy: %v", err)
		}
		if n, err := l.Count(t.Context(), device.Query{}); n != 2000 || err != nil {
			t.Errorf("%d readings, %v", n, err)
		}
		for _, s := range l.Series(device.Selector{}) {
			if n := len(readAll(t, l, device.Query{Selector: selectorOf(t, s.Series)})); int64(n) != s.Count {
				t.Errorf("%v counts %d, has %d", s.Series, s.Count, n)
			}
		}
	})
}

func selectorOf(t *testing.T, s device.Series) device.Selector {
	t.Helper()
	sel, err := device.NewSelector([]string{string(s.Device)}, []string{string(s.Metric)})
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// TestHeads lists what comes into the heads and what is to come out of blocks.
func TestHeads(t *testing.T) {
	const n = 5000
	begin := device.Time(490_000 * 3600e6)
	text := func(i int) device.Value { return mustText(t, fmt.Sprintf("%d of %0*d", i%50, i%800, i)) }
	for name, c := range map[string]struct {
		n       int
		reading func(i int) device.Reading
		kept    int // 0: all
	}{
		"series at one time": {70_000, func(i int) device.Reading {
			return device.Reading{Metric: device.Metric(fmt.Sprint("m", i)), Time: begin, Value: device.Int(int64(i))}
		}, 0},
		"texts": {n, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: begin.Add(time.Duration(i) * time.Second), Value: text(i)}
		}, 0},
		"texts and numbers": {n, func(i int) device.Reading {
			r := device.Reading{Metric: "m", Time: begin.Add(time.Duration(i) * time.Second), Value: text(i)}
			if i%3 == 0 {
				r.Value = device.Bool(i%2 == 0)
			}
			return r
		}, 0},
		"backwards": {n, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: begin.Add(-time.Duration(i) * time.Second), Value: device.Int(int64(i))}
		}, 0},
		"one time for all": {n, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: begin, Value: device.Int(int64(i))}
		}, 1},
		"far apart": {100, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: begin.Add(time.Duration(i) * 30 * 24 * time.Hour), Value: device.Int(int64(i))}
		}, 0},
		"around the epoch": {n, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: device.Time((i - n/2) * 7919), Value: device.Int(int64(i))}
		}, 0},
		"the ends of time": {2, func(i int) device.Reading {
			return device.Reading{Metric: "m", Time: []device.Time{-farthest, farthest}[i], Value: device.Int(int64(i))}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := openLog(t, Config{RetainAge: -1})
			var want []device.Stored
			for i := 0; i < c.n; {
				var rs []device.Reading
				for ; i < c.n && len(rs) < 10_000; i++ {
					r := c.reading(i)
					r.Device = "d"
					rs = append(rs, r)
					want = append(want, device.Stored{Offset: uint64(i + 1), Reading: r})
				}
				if _, err := l.Append(rs); err != nil {
					t.Fatal(err)
				}
				if err := l.commit(commitAll); err != nil {
					t.Fatal(err)
				}
			}
			if c.kept > 0 {
				want = want[len(want)-c.kept:]
			}
			check := func(where string) {
				t.Helper()
				if diff := diffStored(want, readAll(t, l, device.Query{})); diff != "" {
					t.Fatalf("%s (-want +got):\n%.2000s", where, diff)
				}
				if n, err := l.Count(t.Context(), device.Query{}); err != nil || n != int64(len(want)) {
					t.Errorf("%s: Count %d, %v, want %d", where, n, err, len(want))
				}
				middle := want[len(want)/2].Time
				n := int64(0)
				for _, r := range want {
					if r.Time >= middle {
						n++
					}
				}
				if got, err := l.Count(t.Context(), device.Query{From: middle}); err != nil || middle != 0 && got != n {
					t.Errorf("%s: Count from the middle on %d, %v, want %d", where, got, err, n)
				}
			}
			check("in heads")
			if err := l.flush(t.Context(), allDevices); err != nil {
				t.Fatal(err)
			}
			check("flushed")
			if l.unflushed != 0 {
				t.Errorf("%d readings in no block", l.unflushed)
			}
			// The last once more: blocks are made anew.
			last := want[len(want)-1].Reading
			if _, err := l.Append([]device.Reading{last}); err != nil {
				t.Fatal(err)
			}
			want[len(want)-1].Offset++
			check("replaced")
			if err := l.sealAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			check("sealed")
		})
	}
}

// TestFlushEnds has a context that is over.
func TestFlushEnds(t *testing.T) {
	l := openLog(t, Config{})
	mustAppend(t, l, 100)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.flush(ctx, allDevices); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("flush: %v", err)
	}
	if n := len(readAll(t, l, device.Query{})); n != 100 {
		t.Errorf("%d readings", n)
	}
}
