package storage

import (
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// TestLogSize writes many times what the log may hold: hot.db stays within its
// bound, nothing is lost, and a series that fell silent keeps its last reading,
// over a reopening too.
func TestLogSize(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	cfg := Config{Dir: t.TempDir(), LogSize: minLogSize}
	old := device.Reading{Device: "silent", Metric: "m", Time: 1, Received: 2, Value: mustText(t, "last words")}
	check := func(t *testing.T, l *Log, n int) {
		t.Helper()
		if floor, head := l.Bounds(); floor != 0 || head != uint64(n)+1 {
			t.Fatalf("bounds %d, %d after %d readings", floor, head, n+1)
		}
		if got := readAll(t, l, device.Query{}); len(got) != n+1 || got[0].Offset != 1 || got[n].Offset != uint64(n)+1 {
			t.Fatalf("%d readings kept of %d", len(got), n+1)
		}
		if count, err := l.Count(t.Context(), device.Query{}); err != nil || count != int64(n)+1 {
			t.Errorf("Count %d, %v, want %d", count, err, n+1)
		}
		sel, err := device.NewSelector([]string{"silent"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := device.Stored{Offset: 1, Reading: old}
		if s := l.Series(sel); len(s) != 1 || s[0].Last != want || s[0].Count != 1 {
			t.Errorf("the silent series: %+v, want %+v", s, want)
		}
		if rs, _, err := l.Latest(t.Context(), sel, 3); err != nil || len(rs) != 1 || rs[0].Offset != 1 {
			t.Errorf("Latest of the silent series: %+v, %v", rs, err)
		}
	}
	const commits, size = 300, 4000
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append([]device.Reading{old}); err != nil {
		t.Fatal(err)
	}
	f := newFleet(25)
	var rs []device.Reading
	var most int64
	for range commits {
		rs = f.fill(rs, size)
		if _, err := l.Append(rs); err != nil {
			t.Fatal(err)
		}
		if err := l.commit(commitDue); err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.pressed: // as the keeper
			if err := l.relieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
		}
		most = max(most, l.Stats().UsedBytes)
	}
	s := l.Stats()
	if written := s.BatchBytes; written < 3*minLogSize {
		t.Fatalf("only %d bytes written", written)
	}
	if most > minLogSize+128<<10 || s.HotBytes > minLogSize+2*allocSize {
		t.Errorf("at most %d bytes used, file of %d, want %d", most, s.HotBytes, minLogSize)
	}
	if s.Trimmed == 0 || uint64(s.Trimmed) != l.logFloor {
		t.Errorf("%d readings left the log, which begins behind %d", s.Trimmed, l.logFloor)
	}
	check(t, l, commits*size)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("reopened", func(t *testing.T) { check(t, openLog(t, cfg), commits*size) })
}

// TestIdleLog lets old readings leave the log although nothing is appended.
func TestIdleLog(t *testing.T) {
	bubble(t, Config{LogAge: time.Hour, FlushAge: 10 * time.Minute}, func(t *testing.T, l *Log) {
		last := mustAppend(t, l, 10)
		pass(59 * time.Minute)
		if floor, unflushed := logState(l); floor != 0 || unflushed != 0 {
			t.Errorf("the log begins behind %d after 59 minutes, %d readings are in no block", floor, unflushed)
		}
		pass(3 * time.Minute)
		if floor, _ := logState(l); floor != last {
			t.Errorf("the log begins behind %d after 62 minutes, want %d", floor, last)
		}
		if n, err := l.Count(t.Context(), device.Query{}); n != 10 || err != nil {
			t.Errorf("%d readings after 62 minutes, %v", n, err)
		}
		commits := l.Stats().Commits
		pass(24 * time.Hour)
		if n := l.Stats().Commits; n != commits {
			t.Errorf("%d commits of an empty log", n-commits)
		}
	})
}

// logState returns where the log begins and how many readings are in no block.
func logState(l *Log) (floor uint64, unflushed int) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.logFloor, l.unflushed
}

func TestClockGuard(t *testing.T) {
	opened := time.Date(1970, 1, 1, 0, 0, 30, 0, time.UTC)
	g := newClockGuard(opened)
	elapsed := time.Duration(0)
	for _, c := range []struct {
		name  string
		wait  time.Duration
		shift time.Duration // of the wall clock against the monotonic one
		want  bool
	}{
		{"at the start", 0, 0, true},
		{"days later", 72 * time.Hour, 0, true},
		{"corrected by a minute", time.Second, time.Minute, true},
		{"jumped by years", time.Second, 50 * 365 * 24 * time.Hour, false},
		{"an hour after", time.Hour, 50 * 365 * 24 * time.Hour, false},
		{"jumped back", time.Hour, 0, false},
		{"less than a day after", settleTime - time.Minute, 0, false},
		{"a day after", time.Minute, 0, true},
		{"another day after", settleTime, 30 * time.Minute, true},
	} {
		elapsed += c.wait
		if got := g.steady(opened.Add(elapsed+c.shift), elapsed); got != c.want {
			t.Errorf("%s: steady %v, want %v", c.name, got, c.want)
		}
	}
}
