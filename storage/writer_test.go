package storage

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// bubble runs fn with fake time and a log whose writer runs.
func bubble(t *testing.T, cfg Config, fn func(t *testing.T, l *Log)) {
	t.Helper()
	cfg.Dir = t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fn(t, runLog(t, cfg))
	})
}

// pass lets fake time pass and everybody act on it.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var readingsMade atomic.Int64

// readings returns n readings, none with series and time of another.
func readings(n int) []device.Reading {
	rs := make([]device.Reading, n)
	for i := range rs {
		rs[i] = crashReading(readingsMade.Add(1))
		rs[i].Received = device.TimeOf(time.Now())
	}
	return rs
}

func mustAppend(t *testing.T, l *Log, n int) uint64 {
	t.Helper()
	last, err := l.Append(readings(n))
	if err != nil {
		t.Fatal(err)
	}
	return last
}

func TestWriterCommitsAfterTheInterval(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, l *Log) {
		mustAppend(t, l, 3)
		pass(DefaultCommitInterval / 2)
		mustAppend(t, l, 3)
		pass(DefaultCommitInterval/2 - 1)
		if d := l.Durable(); d != 0 {
			t.Errorf("durable %d before the interval is over", d)
		}
		pass(1)
		if d := l.Durable(); d != 6 {
			t.Errorf("durable %d after the interval, want 6", d)
		}
		pass(10 * time.Second)
		if n := l.Stats().Commits; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
	})
}

func TestWriterHurriesForWaiters(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, l *Log) {
		start := time.Now()
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				last := mustAppend(t, l, 1+i)
				if err := l.WaitDurable(t.Context(), last); err != nil {
					t.Error(err)
				}
				if took := time.Since(start); took != DefaultAckDelay {
					t.Errorf("durable after %v, want %v", took, DefaultAckDelay)
				}
			})
		}
		wg.Wait()
		if n := l.Stats().Commits; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		if err := l.WaitDurable(t.Context(), 15); err != nil || time.Since(start) != DefaultAckDelay {
			t.Errorf("what is durable was waited for: %v, %v", time.Since(start), err)
		}
		if err := l.WaitDurable(t.Context(), 16); err == nil {
			t.Error("an offset that does not exist became durable")
		}
	})
}

func TestWriterCommitsHalfFullBuffer(t *testing.T) {
	bubble(t, Config{MaxPending: 100}, func(t *testing.T, l *Log) {
		mustAppend(t, l, 49)
		synctest.Wait()
		if d := l.Durable(); d != 0 {
			t.Errorf("durable %d with less than half", d)
		}
		mustAppend(t, l, 1)
		synctest.Wait()
		if d := l.Durable(); d != 50 {
			t.Errorf("durable %d with half, want 50", d)
		}
	})
}

func TestWriterEndsWithEverythingCommitted(t *testing.T) {
	l := openLog(t, Config{})
	mustAppend(t, l, 10)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if d := l.Durable(); d != 10 {
		t.Errorf("durable %d, want 10", d)
	}
}

func TestFullBuffer(t *testing.T) {
	bubble(t, Config{MaxPending: 100, CommitInterval: time.Hour}, func(t *testing.T, l *Log) {
		if _, err := l.Append(readings(101)); !errors.Is(err, ErrTooLarge) {
			t.Errorf("a batch above MaxPending: %v, want ErrTooLarge", err)
		}
		if err := l.Room(t.Context(), 101); !errors.Is(err, ErrTooLarge) {
			t.Errorf("room for a batch above MaxPending: %v, want ErrTooLarge", err)
		}
		mustAppend(t, l, 40)
		if _, err := l.Append(readings(61)); !errors.Is(err, ErrFull) {
			t.Errorf("one reading too many: %v, want ErrFull", err)
		}
		if _, head := l.Bounds(); head != 40 {
			t.Errorf("head %d after a refused batch, want 40", head)
		}
		start := time.Now()
		if err := l.Room(t.Context(), 60); err != nil || time.Since(start) != 0 {
			t.Errorf("room that is there: %v after %v", err, time.Since(start))
		}
		if err := l.Room(t.Context(), 61); err != nil || time.Since(start) != DefaultAckDelay {
			t.Errorf("room after a commit: %v after %v", err, time.Since(start))
		}
		if last := mustAppend(t, l, 61); last != 101 {
			t.Errorf("offset %d, want 101", last)
		}
	})
}

func TestFullBufferOfText(t *testing.T) {
	l := openLog(t, Config{})
	long := readings(100)
	for i := range long {
		long[i].Value = mustText(t, strings.Repeat("x", device.MaxTextLen))
	}
	n := 0
	again := func() []device.Reading {
		for i := range long {
			long[i].Time = device.Time(readingsMade.Add(1))
		}
		return long
	}
	for ; n < 1000; n++ {
		if _, err := l.Append(again()); err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if s := l.Stats(); s.PendingBytes > minPendingBytes || s.PendingBytes < minPendingBytes/2 {
		t.Errorf("%d bytes pending after %d batches", s.PendingBytes, n)
	}
	if _, err := l.Append(slices.Repeat(long, 50)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a batch above half the bytes: %v, want ErrTooLarge", err)
	}
	if err := l.commit(commitAll); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(again()); err != nil {
		t.Error(err)
	}
	if got, err := l.Count(t.Context(), device.Query{}); err != nil || got != int64(n+1)*100 {
		t.Errorf("%d readings, %v, want %d", got, err, (n+1)*100)
	}
}

func TestAppendRefuses(t *testing.T) {
	l := openLog(t, Config{})
	good := readings(1)[0]
	for name, r := range map[string]device.Reading{
		"no value":  {Device: "d", Metric: "m"},
		"no device": {Metric: "m", Value: device.Int(1)},
		"no metric": {Device: "d", Value: device.Int(1)},
		"before":    {Device: "d", Metric: "m", Value: device.Int(1), Time: math.MinInt64},
		"after":     {Device: "d", Metric: "m", Value: device.Int(1), Time: farthest + 1},
	} {
		if _, err := l.Append([]device.Reading{good, r}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, head := l.Bounds(); head != 0 {
		t.Errorf("head %d, want 0", head)
	}
	if last, err := l.Append(nil); last != 0 || err != nil {
		t.Errorf("nothing: %d, %v", last, err)
	}
}

func TestClosed(t *testing.T) {
	l, err := Open(Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := l.Append(readings(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Append: %v, want ErrClosed", err)
	}
	if err := l.Room(t.Context(), 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Room: %v, want ErrClosed", err)
	}
	if err := l.WaitDurable(t.Context(), 3); err != nil {
		t.Errorf("WaitDurable of what Close committed: %v", err)
	}
	if err := l.Read(t.Context(), device.Query{}, func(*device.Stored) error { return nil }); err == nil {
		t.Error("Read: no error")
	}
}

// TestWaitersOfAClosedLog has waiters that no writer will ever serve.
func TestWaitersOfAClosedLog(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := Open(Config{Dir: dir, MaxPending: 10})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, 10)
		room := make(chan error, 1)
		go func() { room <- l.Room(t.Context(), 1) }()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-room; !errors.Is(err, ErrClosed) {
			t.Errorf("Room: %v, want ErrClosed", err)
		}
	})
}

// TestCommitFails lets the file reach its largest size, as a full disk would.
func TestCommitFails(t *testing.T) {
	var said bytes.Buffer
	bubble(t, Config{Logger: slog.New(slog.NewTextHandler(&said, nil))}, func(t *testing.T, l *Log) {
		if err := l.WaitDurable(t.Context(), mustAppend(t, l, 5)); err != nil {
			t.Fatal(err)
		}
		limit := l.db.MaxSize
		l.db.MaxSize = 1 // the writer rests
		last := mustAppend(t, l, maxBatchReadings)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		l.cfg.RetainAge = -1
		if err := l.WaitDurable(ctx, last); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("WaitDurable: %v, want the deadline", err)
		}
		s := l.Stats()
		if l.Healthy() == nil || s.CommitErrors < 20 || s.Pending != maxBatchReadings || s.Durable != 5 {
			t.Errorf("healthy: %v, %+v", l.Healthy(), s)
		}
		if n := strings.Count(said.String(), "commits fail"); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, &said)
		}
		if got := readAll(t, l, device.Query{After: 5}); len(got) != maxBatchReadings {
			t.Errorf("%d readings meanwhile, want %d", len(got), maxBatchReadings)
		}
		synctest.Wait()
		l.db.MaxSize = limit
		if err := l.WaitDurable(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if err := l.Healthy(); err != nil {
			t.Errorf("healthy: %v", err)
		}
		if n := strings.Count(said.String(), "commits work again"); n != 1 {
			t.Errorf("logged %d times, want once:\n%s", n, &said)
		}
		if got := readAll(t, l, device.Query{After: 5}); len(got) != maxBatchReadings {
			t.Errorf("%d readings at last, want %d", len(got), maxBatchReadings)
		}
	})
}

// TestConcurrent has appenders, readers and waiters at work together; every
// reading is seen once by OnAppend, in the order of offsets.
func TestConcurrent(t *testing.T) {
	const appenders, each, size = 4, 60, 37
	var seen []device.Stored
	l := runLog(t, Config{
		CommitInterval: 5 * time.Millisecond,
		MaxPending:     1000,
		OnAppend:       func(rs []device.Stored) { seen = append(seen, rs...) },
	})
	var wg, readers sync.WaitGroup
	for a := range appenders {
		wg.Go(func() {
			for n := range each {
				rs := readings(size)
				for i := range rs {
					rs[i].Value = device.Int(int64(a*each*size + n*size + i))
				}
				last, err := l.Append(rs)
				for errors.Is(err, ErrFull) {
					if err = l.Room(t.Context(), size); err == nil {
						last, err = l.Append(rs)
					}
				}
				if err == nil && n%10 == 0 {
					err = l.WaitDurable(t.Context(), last)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	stop, cancel := context.WithCancel(t.Context())
	for range 2 {
		readers.Go(func() { followAll(stop, t, l, appenders*each*size) })
	}
	wg.Wait()
	readers.Wait()
	cancel()
	values := map[int64]bool{}
	for i, r := range seen {
		if r.Offset != uint64(i+1) {
			t.Fatalf("OnAppend saw offset %d as number %d", r.Offset, i+1)
		}
		values[r.Value.Int()] = true
	}
	if len(values) != appenders*each*size {
		t.Errorf("%d different values, want %d", len(values), appenders*each*size)
	}
	if diff := diffStored(seen, readAll(t, l, device.Query{})); diff != "" {
		t.Errorf("Read (-OnAppend +got):\n%s", diff)
	}
}

// followAll reads n readings by cursor while they are appended, and looks at
// snapshots in between.
func followAll(ctx context.Context, t *testing.T, l *Log, n uint64) {
	for next := uint64(0); next < n; {
		rs, to, err := l.After(ctx, device.Selector{}, next, 500)
		if err != nil {
			t.Error(err)
			return
		}
		for i, r := range rs {
			if r.Offset != next+uint64(i)+1 {
				t.Errorf("offset %d after %d", r.Offset, next+uint64(i))
				return
			}
		}
		next = to
		latest, head, err := l.Latest(ctx, device.Selector{}, 5)
		if err != nil {
			t.Error(err)
			return
		}
		if head > 0 && (len(latest) == 0 || latest[len(latest)-1].Offset != head) {
			t.Errorf("snapshot of %d readings does not reach its head %d", len(latest), head)
			return
		}
	}
}
