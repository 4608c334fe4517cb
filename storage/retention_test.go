package storage

import (
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// TestRetainSize writes many times what may be kept: the file stays within its
// bound, the newest readings stay, and a series that fell silent keeps its
// last reading, over a reopening too.
func TestRetainSize(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), RetainSize: minRetainSize, RetainAge: -1}
	old := device.Reading{Device: "silent", Metric: "m", Time: 1, Received: 2, Value: mustText(t, "last words")}
	check := func(t *testing.T, l *Log, n int) {
		t.Helper()
		floor, head := l.Bounds()
		if floor == 0 || head != uint64(n)+1 {
			t.Fatalf("bounds %d, %d after %d readings", floor, head, n+1)
		}
		got := readAll(t, l, device.Query{})
		if len(got) == 0 || got[0].Offset != floor+1 || got[len(got)-1].Offset != head || len(got) != int(head-floor) {
			t.Fatalf("%d readings kept, bounds %d, %d", len(got), floor, head)
		}
		if count, err := l.Count(t.Context(), device.Query{}); err != nil || count != int64(len(got)) {
			t.Errorf("Count %d, %v, want %d", count, err, len(got))
		}
		sel, err := device.NewSelector([]string{"silent"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := device.Stored{Offset: 1, Reading: old}
		if s := l.Series(sel); len(s) != 1 || s[0].Last != want || s[0].Count != 0 {
			t.Errorf("the silent series: %+v, want %+v", s, want)
		}
		if rs, _, err := l.Latest(t.Context(), sel, 3); err != nil || len(rs) != 1 || rs[0] != want {
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
		most = max(most, l.Stats().UsedBytes)
	}
	s := l.Stats()
	if written := s.BatchBytes; written < 3*minRetainSize {
		t.Fatalf("only %d bytes written", written)
	}
	if most > minRetainSize+64<<10 || s.FileBytes > minRetainSize+2*allocSize {
		t.Errorf("at most %d bytes used, file of %d, want %d", most, s.FileBytes, minRetainSize)
	}
	if s.Trimmed != int64(s.Floor) {
		t.Errorf("%d readings trimmed, floor %d", s.Trimmed, s.Floor)
	}
	t.Logf("%d readings of %d kept, at most %d bytes used, file %d", s.Head-s.Floor, s.Head, most, s.FileBytes)
	check(t, l, commits*size)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("reopened", func(t *testing.T) { check(t, openLog(t, cfg), commits*size) })
}

// TestRetainAgeOfAnIdleLog drops old readings although nothing is appended.
func TestRetainAgeOfAnIdleLog(t *testing.T) {
	bubble(t, Config{RetainAge: time.Hour}, func(t *testing.T, l *Log) {
		last := mustAppend(t, l, 10)
		pass(59 * time.Minute)
		if n, err := l.Count(t.Context(), device.Query{}); n != 10 || err != nil {
			t.Errorf("%d readings after 59 minutes, %v", n, err)
		}
		pass(3 * time.Minute)
		if n, err := l.Count(t.Context(), device.Query{}); n != 0 || err != nil {
			t.Errorf("%d readings after 62 minutes, %v", n, err)
		}
		if floor, head := l.Bounds(); floor != last || head != last {
			t.Errorf("bounds %d, %d, want %d", floor, head, last)
		}
		commits := l.Stats().Commits
		pass(24 * time.Hour)
		if n := l.Stats().Commits; n != commits {
			t.Errorf("%d commits of an empty log", n-commits)
		}
	})
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
