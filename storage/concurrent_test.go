package storage

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// TestConcurrentHistory has appenders, readers of every kind, a writer and a keeper
// at work together; the keeper flushes and seals all the time. No answer lacks
// anything that was there before it was asked for.
func TestConcurrentHistory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	const appenders, batches, size = 3, 100, 40
	l := openLog(t, Config{Period: time.Hour, RetainAge: 90 * time.Minute, LogAge: -1, MaxUnflushed: 4000, MaxPending: 2000})
	l.files.most = 2 // they are closed and opened all the time
	ctx, cancel := context.WithCancel(t.Context())
	var appended atomic.Int64
	var writers, others sync.WaitGroup
	others.Go(func() {
		for ctx.Err() == nil {
			if err := l.commit(commitDue); err != nil {
				t.Error(err)
			}
		}
	})
	sealed := make(chan struct{})
	others.Go(func() {
		for told := false; ctx.Err() == nil; {
			if !told && l.stats.sealed.Load() > 3 {
				told = true
				close(sealed)
			}
			err := l.flush(ctx, allDevices)
			if err == nil {
				err = l.sealDue(ctx)
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	for a := range appenders {
		writers.Go(func() {
			for b := range batches {
				if err := appendSpread(ctx, l, a, b, size); err != nil {
					t.Error(err)
					return
				}
				appended.Add(size)
			}
		})
	}
	answers := concurrentAnswers(t)
	for name, answer := range answers {
		others.Go(func() {
			for least := int64(0); ctx.Err() == nil; {
				before := appended.Load()
				n, err := answer(l)
				if err != nil || n < before || n < least {
					t.Errorf("%s: %d readings, %v; there were %d, and %d were seen before", name, n, err, before, least)
					return
				}
				least = n
			}
		})
	}
	writers.Wait()
	<-sealed
	cancel()
	others.Wait()
	for name, answer := range answers {
		if n, err := answer(l); n != appenders*batches*size || err != nil {
			t.Errorf("%s at last: %d, %v, want %d", name, n, err, appenders*batches*size)
		}
	}
	if s := l.Stats(); s.Sealed == 0 || s.Flushed == 0 || s.DamagedParts != 0 {
		t.Errorf("%+v", s)
	}
}

// appendSpread appends batch b of appender a: five minutes of a device of its own.
func appendSpread(ctx context.Context, l *Log, a, b, size int) error {
	begin := device.Time(490_000 * 3600e6).Add(time.Duration(b) * 5 * time.Minute)
	rs := make([]device.Reading, size)
	for i := range rs {
		at := begin.Add(time.Duration(i) * 7 * time.Second)
		rs[i] = device.Reading{
			Device: device.ID(fmt.Sprint("d", a)), Metric: device.Metric(fmt.Sprint("m", i%2)),
			Time: at, Received: at, Value: device.Int(int64(i)),
		}
	}
	_, err := l.Append(rs)
	for errors.Is(err, ErrFull) {
		if err = l.Room(ctx, size); err == nil {
			_, err = l.Append(rs)
		}
	}
	return err
}

// concurrentAnswers are ways to learn how many readings there are.
func concurrentAnswers(t *testing.T) map[string]func(*Log) (int64, error) {
	history := func(points int, end time.Duration) func(*Log) (int64, error) {
		return func(l *Log) (n int64, err error) {
			q := device.HistoryQuery{From: 490_000 * 3600e6, To: device.Time(490_000 * 3600e6).Add(end), Points: points}
			err = l.History(t.Context(), q, func(h *device.History) error {
				for _, c := range h.Count {
					n += c
				}
				return nil
			})
			return n, err
		}
	}
	return map[string]func(*Log) (int64, error){
		"Count":              func(l *Log) (int64, error) { return l.Count(t.Context(), device.Query{}) },
		"Count of a range":   func(l *Log) (int64, error) { return l.Count(t.Context(), device.Query{From: 1}) },
		"History of hours":   history(9, 9*time.Hour),
		"History of minutes": history(270, 9*time.Hour),
		"History of seconds": history(10_000, 9*time.Hour),
		"Read": func(l *Log) (n int64, err error) {
			err = l.Read(t.Context(), device.Query{Desc: true}, func(*device.Stored) error { n++; return nil })
			return n, err
		},
		"After": func(l *Log) (n int64, err error) {
			_, head := l.Bounds()
			for at := uint64(0); at < head && err == nil; {
				var rs []device.Stored
				rs, at, err = l.After(t.Context(), device.Selector{}, at, 700)
				n += int64(len(rs))
			}
			return n, err
		},
		"Series": func(l *Log) (n int64, err error) {
			for _, s := range l.Series(device.Selector{}) {
				n += s.Count
			}
			return n, nil
		},
	}
}
