package storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

var sameValue = cmp.Comparer(func(a, b device.Value) bool { return a == b })

// openLog opens a log and closes it, with whatever is pending, at the end.
func openLog(t testing.TB, cfg Config) *Log {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// runLog opens a log with a running writer.
func runLog(t testing.TB, cfg Config) *Log {
	t.Helper()
	l := openLog(t, cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l
}

func float(t testing.TB, f float64) device.Value {
	t.Helper()
	v, err := device.Float(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func readAll(t testing.TB, l *Log, q device.Query) (out []device.Stored) {
	t.Helper()
	err := l.Read(t.Context(), q, func(r *device.Stored) error {
		out = append(out, *r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestReopen(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), RetainAge: -1}
	at := device.TimeOf(time.UnixMilli(1764000000123))
	text, err := device.Text("offen")
	if err != nil {
		t.Fatal(err)
	}
	rs := []device.Reading{
		{Device: "gh1", Metric: "air.temperature", Time: at, Received: at.Add(time.Millisecond), Value: float(t, 21.5)},
		{Device: "gh1", Metric: "door", Time: at, Received: at.Add(time.Millisecond), Value: text},
		{Device: "gh2", Metric: "count", Time: at - 7, Received: at, Value: device.Int(-40)},
		{Device: "gh1", Metric: "open", Time: at + 1, Received: at.Add(time.Second), Value: device.Bool(true)},
	}
	var want []device.Stored
	for i, r := range rs {
		want = append(want, device.Stored{Offset: uint64(i + 1), Reading: r})
	}
	var id string
	t.Run("first", func(t *testing.T) {
		l := runLog(t, cfg)
		id = l.StoreID()
		if last, err := l.Append(rs[:3]); err != nil || last != 3 {
			t.Fatalf("Append: %d, %v", last, err)
		}
		if diff := diffStored(want[:3], readAll(t, l, device.Query{})); diff != "" {
			t.Errorf("before the commit (-want +got):\n%s", diff)
		}
		if err := l.WaitDurable(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		if diff := diffStored(want[:3], readAll(t, l, device.Query{})); diff != "" {
			t.Errorf("after the commit (-want +got):\n%s", diff)
		}
		if _, err := Open(cfg); !errors.Is(err, ErrInUse) {
			t.Errorf("second opening: %v, want ErrInUse", err)
		}
	})
	t.Run("second", func(t *testing.T) {
		l := runLog(t, cfg)
		if l.StoreID() != id {
			t.Errorf("store id %s, was %s", l.StoreID(), id)
		}
		if floor, head := l.Bounds(); floor != 0 || head != 3 {
			t.Errorf("bounds %d, %d, want 0, 3", floor, head)
		}
		if last, err := l.Append(rs[3:]); err != nil || last != 4 {
			t.Fatalf("Append: %d, %v", last, err)
		}
		if diff := diffStored(want, readAll(t, l, device.Query{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		got, head, err := l.Latest(t.Context(), device.Selector{}, 1)
		if diff := cmp.Diff(want, got, sameValue); diff != "" || head != 4 || err != nil {
			t.Errorf("Latest: head %d, %v (-want +got):\n%s", head, err, diff)
		}
	})
}
