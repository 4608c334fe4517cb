package storage

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// TestAgeing lists what a clock may do; the time of service is what counts.
func TestAgeing(t *testing.T) {
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	start := time.Date(2025, 11, 24, 16, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		do   func(a *ageing, wall time.Time) time.Time // returns the wall clock
		want time.Duration
	}{
		"nothing": {func(_ *ageing, w time.Time) time.Time { return w }, 0},
		"an hour at work": {func(a *ageing, w time.Time) time.Time {
			for range 60 {
				w = w.Add(time.Minute)
				a.pass(w, 1)
			}
			return w
		}, time.Hour},
		"restarted at once":      {restarted(0), 0},
		"off for an hour":        {restarted(time.Hour), time.Hour},
		"off for a year":         {restarted(year), day},
		"back by years when off": {restarted(-50 * year), 0},
		"back and ahead": {func(a *ageing, w time.Time) time.Time {
			return restarted(50*year)(a, restarted(-50*year)(a, w))
		}, day},
		"off for an hour, ten times": {func(a *ageing, w time.Time) time.Time {
			for range 10 {
				w = restarted(time.Hour)(a, w)
			}
			return w
		}, 10 * time.Hour},
		"parts of seconds add up": {func(a *ageing, w time.Time) time.Time {
			for range 100 {
				w = w.Add(1900 * time.Millisecond)
				a.pass(w, 1)
			}
			return w
		}, 190 * time.Second},
	} {
		a := ageing{noted: start, Wall: start.Unix()}
		wall := c.do(&a, start)
		a.pass(wall, 1)
		if got := time.Duration(a.Service) * time.Second; got != c.want {
			t.Errorf("%s: %v of service, want %v", name, got, c.want)
		}
	}
}

// restarted is a program that is off for so long.
func restarted(d time.Duration) func(*ageing, time.Time) time.Time {
	return func(a *ageing, wall time.Time) time.Time {
		a.pass(wall, 1)
		wall = wall.Add(d)
		a.resume(wall)
		return wall
	}
}

// TestAgeMarks asks which offsets are older than an age.
func TestAgeMarks(t *testing.T) {
	wall := time.Unix(1_764_000_000, 0)
	a := ageing{noted: wall, Wall: wall.Unix()}
	for hour := range 3000 { // a hundred readings an hour
		if !a.pass(wall, uint64(hour*100+1)) {
			t.Fatalf("no mark in hour %d", hour)
		}
		wall = wall.Add(time.Hour)
	}
	if len(a.Marks) > maxMarks {
		t.Fatalf("%d marks", len(a.Marks))
	}
	a.pass(wall, 300_001)
	for age, oldest := range map[time.Duration]int{0: 3000, time.Hour: 2999, 90 * time.Minute: 2998, 100 * time.Hour: 2900, 2999 * time.Hour: 1, 3000 * time.Hour: 0, 4000 * time.Hour: -1} {
		// Where marks are thinned out, less counts as old.
		exact := uint64(max(oldest, 0)*100 + 1)
		if got := a.before(age); oldest < 0 && got != 0 || got > exact || oldest > 2800 && got != exact {
			t.Errorf("older than %v: below %d, want %d", age, got, exact)
		}
	}
}

// leaving is a store with a wall clock that the test sets.
type leaving struct {
	t   *testing.T
	cfg Config
	now time.Time
	log *Log
	n   int // numbers appended
	all int // readings
}

func newLeaving(t *testing.T, cfg Config) *leaving {
	s := &leaving{t: t, cfg: cfg, now: time.Unix(1_764_000_000, 0)}
	s.cfg.Dir, s.cfg.Now = t.TempDir(), func() time.Time { return s.now }
	s.open()
	t.Cleanup(func() {
		if err := s.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *leaving) open() {
	s.t.Helper()
	var err error
	if s.log, err = Open(s.cfg); err != nil {
		s.t.Fatal(err)
	}
}

// hour appends an hour of readings, with texts of so many bytes beside them, and
// does what the keeper does.
func (s *leaving) hour(each time.Duration, text int) {
	s.t.Helper()
	var rs []device.Reading
	for end := s.now.Add(time.Hour); s.now.Before(end); s.now = s.now.Add(each) {
		s.n++
		at := device.TimeOf(s.now)
		x := uint64(s.n) * 0x9e3779b97f4a7c15
		rs = append(rs, device.Reading{Device: "d", Metric: "m", Time: at, Received: at, Value: device.Int(int64(x >> 8))})
		if text > 0 {
			sum := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, x))
			rs = append(rs, device.Reading{Device: "d", Metric: "t", Time: at, Received: at, Value: mustText(s.t, strings.Repeat(hex.EncodeToString(sum[:]), text/64))})
		}
	}
	s.all += len(rs)
	if _, err := s.log.Append(rs); err != nil {
		s.t.Fatal(err)
	}
	if err := s.log.commit(commitDue); err != nil {
		s.t.Fatal(err)
	}
	s.keep()
}

func (s *leaving) keep() {
	s.t.Helper()
	if err := s.log.flush(s.t.Context(), allDevices); err != nil {
		s.t.Fatal(err)
	}
	if err := s.log.tend(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
}

func (s *leaving) reopen() {
	s.t.Helper()
	if err := s.log.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

// tiers counts the sealed files.
func (s *leaving) tiers() (n [stretch.Tiers]int) {
	for t := range n {
		n[t] = len(s.log.sealedFiles(stretch.Tier(t)))
	}
	return n
}

// buckets returns how many readings History knows of with this step or longer.
func (s *leaving) known(from time.Time, step time.Duration) (n int64) {
	s.t.Helper()
	q := device.HistoryQuery{From: device.TimeOf(from), To: device.TimeOf(s.now), Points: int(s.now.Sub(from) / step)}
	err := s.log.History(s.t.Context(), q, func(h *device.History) error {
		for _, c := range h.Count {
			n += c
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *leaving) count() int64 {
	s.t.Helper()
	n, err := s.log.Count(s.t.Context(), device.Query{})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// TestRetainAge has readings leave after six hours, minutes after two days and
// hours after four.
func TestRetainAge(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	s := newLeaving(t, Config{Period: time.Hour, RetainAge: 6 * time.Hour, RetainMinutes: 28 * day, RetainHours: 400 * day, LogAge: -1})
	start := s.now
	for range 24 {
		s.hour(2*time.Second, 0)
	}
	if n := s.count(); n < 6*1800 || n > 12*1800 {
		t.Errorf("%d readings kept, want at least six hours of 1800", n)
	}
	if n := s.known(start, time.Minute); n != int64(s.n) {
		t.Errorf("minutes of %d readings, want %d", n, s.n)
	}
	if n := s.known(start, time.Hour); n != int64(s.n) {
		t.Errorf("hours of %d readings, want %d", n, s.n)
	}
	// Months without a reading: minutes leave, hours stay.
	for range 90 * 24 / 12 {
		s.now = s.now.Add(12 * time.Hour)
		s.keep()
	}
	s.hour(time.Minute, 0)
	s.hour(time.Minute, 0)
	s.hour(time.Minute, 0)
	for range 40 * 24 / 12 {
		s.now = s.now.Add(12 * time.Hour)
		s.keep()
	}
	if n := s.tiers(); n[stretch.ByMinute] != 0 {
		t.Errorf("files of tiers: %v, want no minutes of months ago", n)
	}
	if n := s.known(start, time.Hour); n < int64(s.n)-180 {
		t.Errorf("hours of %d readings, want about %d", n, s.n)
	}
	// Where minutes are asked for, hours stand in.
	if n := s.known(start, time.Minute); n < int64(s.n)-180 {
		t.Errorf("minutes of %d readings, want what hours have, about %d", n, s.n)
	}
}

// TestRetainClock has the wall clock jump: nothing is lost by it.
func TestRetainClock(t *testing.T) {
	const year = 365 * 24 * time.Hour
	jumps := map[string]func(s *leaving, d time.Duration){
		"at work": func(s *leaving, d time.Duration) { s.log.age.noted = s.log.age.noted.Add(d); s.now = s.now.Add(d) },
		"when it is off": func(s *leaving, d time.Duration) {
			if err := s.log.Close(); err != nil {
				s.t.Fatal(err)
			}
			s.now = s.now.Add(d)
			s.open()
		},
	}
	for name, jump := range jumps {
		for _, d := range []time.Duration{10 * year, -10 * year} {
			t.Run(fmt.Sprint(name, " ", d), func(t *testing.T) {
				s := newLeaving(t, Config{Period: time.Hour, RetainAge: 48 * time.Hour, LogAge: -1})
				for range 5 {
					s.hour(10*time.Second, 0)
				}
				jump(s, d)
				for range 5 {
					s.hour(10*time.Second, 0)
				}
				jump(s, -d)
				for range 5 {
					s.hour(10*time.Second, 0)
				}
				// Two days at most have passed: one of each time it was off, and fifteen hours.
				if n := s.count(); n < int64(s.n)-5*360 { // those of the same time replace each other
					t.Errorf("%d readings kept of %d", n, s.n)
				}
				if floor, _ := s.log.Bounds(); floor != 0 {
					t.Errorf("floor %d", floor)
				}
			})
		}
	}
}

// TestRetainSize fills a store far beyond what it may take: readings leave first,
// then minutes, then hours, the oldest first, and it never takes more for long.
func TestRetainSize(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	t.Parallel()
	s := newLeaving(t, Config{Period: time.Hour, RetainAge: -1, LogSize: minLogSize, LogAge: -1, PeriodSize: 256 << 10})
	const most = 3 << 20 // less than one may ask for
	s.log.cfg.RetainSize = most
	start := s.now
	floor := uint64(0)
	for range 26 {
		before := s.tiers()
		oldest := s.log.sealedFiles(stretch.Readings)
		s.hour(4*time.Second, 5*64)
		if n := s.log.totalBytes(); n > most {
			t.Fatalf("%d bytes after %d readings, at most %d", n, s.n, most)
		}
		now, _ := s.log.Bounds()
		if now < floor {
			t.Fatalf("floor %d after %d", now, floor)
		}
		floor = now
		left := s.log.sealedFiles(stretch.Readings)
		if len(oldest) > 1 && len(left) > 0 && s.log.stats.retired.Load() > 0 && left[0].newest() < oldest[0].newest() {
			t.Fatalf("a newer file left before the oldest")
		}
		if after := s.tiers(); after[stretch.ByMinute] < before[stretch.ByMinute] && after[stretch.Readings] > 1 {
			t.Fatalf("minutes left before readings: %v, then %v", before, after)
		}
	}
	if s.log.Stats().Retired == 0 || floor == 0 {
		t.Fatalf("nothing left; %d bytes", s.log.totalBytes())
	}
	if n := s.count(); n == int64(s.all) || n < 3600 {
		t.Errorf("%d of %d readings are there", n, s.all)
	}
	if n := s.known(start, time.Hour); n != int64(s.n) {
		t.Errorf("hours of %d readings, want %d", n, s.n)
	}
	// Readings below the floor are gone, those above it all there.
	rs, next, err := s.log.After(t.Context(), device.Selector{}, 0, 10)
	if err != nil || len(rs) != 10 || rs[0].Offset != floor+1 || next != floor+10 {
		t.Errorf("After 0: %d readings, next %d, %v; the floor is %d", len(rs), next, err, floor)
	}
	head := uint64(s.all)
	n := uint64(0)
	for at := floor; at < head; {
		rs, next, err := s.log.After(t.Context(), device.Selector{}, at, 5000)
		if err != nil || next <= at {
			t.Fatalf("After %d: %d, %v", at, next, err)
		}
		n, at = n+uint64(len(rs)), next
	}
	if n != head-floor || int64(n) != s.count() {
		t.Errorf("%d readings by cursor, %d counted, want %d", n, s.count(), head-floor)
	}
	s.reopen()
	if again, _ := s.log.Bounds(); again != floor || s.count() != int64(n) {
		t.Errorf("opened again: floor %d, %d readings, want %d, %d", again, s.count(), floor, n)
	}
}

// TestAllTiersLeave has a store that is so small that even hours must leave.
func TestAllTiersLeave(t *testing.T) {
	s := newLeaving(t, Config{Period: time.Hour, RetainAge: -1, LogAge: -1})
	for range 6 {
		s.hour(2*time.Second, 0)
	}
	var order []stretch.Tier
	for before := s.tiers(); ; {
		s.log.cfg.RetainSize = s.log.totalBytes() - 1
		s.keep()
		after := s.tiers()
		if after == before {
			break
		}
		for tier := range after {
			for range before[tier] - after[tier] {
				order = append(order, stretch.Tier(tier))
			}
		}
		before = after
	}
	if len(order) < 3 || order[0] != stretch.Readings || order[len(order)-1] != stretch.ByHour {
		t.Fatalf("the tiers left as %v", order)
	}
	for i := 1; i < len(order); i++ {
		if order[i] < order[i-1] {
			t.Errorf("the tiers left as %v", order)
		}
	}
	if n := s.tiers(); n != [stretch.Tiers]int{} {
		t.Errorf("files left: %v", n)
	}
	s.hour(time.Minute, 0) // what is open goes on
	if n := s.count(); n == 0 {
		t.Error("nothing is there")
	}
}

// A log that has grown beyond its share, which it leaves with commits to come, pushes no
// file out, however often the keeper looks.
func TestLogBeyondItsShare(t *testing.T) {
	t.Parallel()
	s := newLeaving(t, Config{Period: time.Hour, RetainAge: -1, LogAge: -1})
	for range 8 {
		s.hour(2*time.Second, 0)
	}
	before := s.tiers()
	if before[stretch.Readings] == 0 {
		t.Fatalf("sealed files: %v", before)
	}
	used, total := s.log.stats.used.Load(), s.log.totalBytes()
	s.log.cfg.LogSize = used / 4
	s.log.cfg.RetainSize = total - used + used/4
	for range 3 {
		s.keep()
	}
	if after := s.tiers(); after != before {
		t.Errorf("sealed files: %v, before %v", after, before)
	}
}
