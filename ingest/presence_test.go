package ingest

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// watched is a gate that runs, with what it has told.
type watched struct {
	*bench
	mu   sync.Mutex // guards following
	told []device.Presence
}

// in2026 is the clock of a bubble, which begins in 2000, before any device.
func in2026() time.Time { return time.Now().Add(26 * 365 * 24 * time.Hour) }

// watch starts one, for the bubble of a synctest.
func watch(t *testing.T, cfg Config) *watched {
	w := &watched{}
	cfg.Now = in2026
	cfg.OnPresence = func(p device.Presence) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, p)
	}
	w.bench = newBench(cfg, false)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Gate().Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return w
}

// pass lets time go by and returns what was told meanwhile, as "gh1 online".
func (w *watched) pass(d time.Duration) (out []string) {
	w.mu.Lock()
	w.told = nil
	w.mu.Unlock()
	<-time.NewTimer(d).C
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.told {
		out = append(out, fmt.Sprint(p.ID, " ", p.State))
	}
	return out
}

// A device is late after three of its intervals and offline after nine, whatever
// its interval is.
func TestState(t *testing.T) {
	for _, c := range []struct {
		name     string
		every    time.Duration
		messages int
		late     time.Duration
	}{
		{"fast", 100 * time.Millisecond, 50, 5 * time.Second},
		{"every second", time.Second, 20, 5 * time.Second},
		{"every ten seconds", 10 * time.Second, 5, 30 * time.Second},
		{"every hour", time.Hour, 3, 3 * time.Hour},
		{"heard once", 0, 1, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := watch(t, Config{})
				for i := range c.messages {
					if i > 0 {
						w.pass(c.every)
					}
					w.send(t, local, "t,device=gh1 v=1")
				}
				for _, told := range w.pass(c.late - time.Millisecond) {
					if told != "gh1 online" { // again, from the first message on or as a refresh
						t.Errorf("told %q before it is late", told)
					}
				}
				if got := w.pass(1001 * time.Millisecond); len(got) != 1 || got[0] != "gh1 late" {
					t.Errorf("when it is late: %q", got)
				}
				if got := w.pass(2*c.late - 1002*time.Millisecond); len(got) != 0 {
					t.Errorf("before it is offline: %q", got)
				}
				if got := w.pass(1100 * time.Millisecond); len(got) != 1 || got[0] != "gh1 offline" {
					t.Errorf("when it is offline: %q", got)
				}
				w.send(t, local, "t,device=gh1 v=1")
				if got := w.pass(presenceRest); len(got) != 1 || got[0] != "gh1 online" {
					t.Errorf("when it is back: %q", got)
				}
				p, _ := w.Gate().Device("gh1")
				if want := max(c.every, rhythmTurn); c.messages > 3 && p.Interval != want {
					t.Errorf("the interval is %v, want %v", p.Interval, want)
				}
			})
		})
	}
}

// One outage does not change what the device is used to, nor does what it says
// in one go.
func TestRhythm(t *testing.T) {
	const s = int64(time.Second)
	for _, c := range []struct {
		name string
		at   []int64 // tenths of seconds
		want time.Duration
	}{
		{"nothing", nil, 0},
		{"once", []int64{7}, 0},
		{"twice", []int64{0, 100}, 10 * time.Second},
		{"an outage", []int64{0, 100, 200, 300, 5000, 5100, 5200}, 10 * time.Second},
		{"four lines each time", []int64{0, 1, 2, 3, 600, 601, 602, 603, 1200, 1201}, time.Minute},
		{"it became slower", []int64{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 190, 290, 390, 490, 590}, 10 * time.Second},
		{"very seldom", []int64{0, 1 << 33}, (1<<32 - 1) * time.Millisecond},
	} {
		var r rhythm
		for _, at := range c.at {
			r.hear(at * s / 10)
		}
		if got := r.interval(); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// What is known is told: at once where it changes the state, otherwise with the
// next refresh.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		books := newBooks(t)
		w := watch(t, Config{Used: books.use})
		books.gate = w.Gate()
		w.Gate().Seed(device.Series{Device: "old", Metric: "v"})
		if got := w.pass(time.Second); !cmp.Equal(got, []string{"old unknown"}) {
			t.Errorf("at the start: %q", got)
		}
		line := func(seq int, more string) string {
			return fmt.Sprintf(`{"device":"gh1","seq":%d,"time":%d%s}`, seq, in2026().Add(-1500*time.Millisecond).UnixMilli(), more)
		}
		w.send(t, local, line(1, `,"Wifi":{"RSSI":-60},"battery":90`))
		if got := w.pass(presenceRest); !cmp.Equal(got, []string{"gh1 online"}) {
			t.Errorf("heard: %q", got)
		}
		for i := range 25 {
			if i%5 != 4 {
				w.send(t, local, line(i+2, fmt.Sprintf(`,"Wifi":{"RSSI":%d},"battery":%d`, -61-i, 90-i)))
			}
			if i == 3 {
				w.send(t, local, line(i+2, fmt.Sprintf(`,"Wifi":{"RSSI":%d},"battery":%d`, -61-i, 90-i)))
			}
			if got := w.pass(time.Second); len(got) != 0 {
				t.Errorf("after %d messages: %q", i, got)
			}
		}
		w.send(t, other, line(40, `,"x":1`))
		begin := in2026()
		if got := w.pass(1100 * time.Millisecond); !cmp.Equal(got, []string{"gh1 online"}) {
			t.Errorf("from another address: %q", got)
		}
		p := w.told[0]
		p.Heard, p.Since = 0, p.Since-device.TimeOf(begin.Add(-25*time.Second))
		want := device.Presence{
			ID: "gh1", State: device.Online, Since: device.Time(-presenceRest.Microseconds()), Interval: time.Second,
			Addr: other.Addr.Addr(), Transport: "udp", Skew: -1500 * time.Millisecond, Skewed: true,
			Expected: 40, Lost: 18, Duplicates: 1,
			Battery: device.Gauge{Metric: "battery", Value: 67}, RSSI: device.Gauge{Metric: "Wifi.RSSI", Value: -84},
		}
		if d := cmp.Diff(want, p, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		books.change(device.Register, "gh1")
		if got := w.pass(time.Second); !cmp.Equal(got, []string{"gh1 online"}) || !w.told[0].Guarded {
			t.Errorf("registered: %q", got)
		}
		books.change(device.Approve, "gh9")
		if got := w.pass(time.Second); !cmp.Equal(got, []string{"gh9 unknown"}) {
			t.Errorf("registered, never heard: %q", got)
		}
		books.change(device.Remove, "gh9")
		if got := w.pass(0); len(got) != 0 {
			t.Errorf("later: %q", got)
		}
		if p, ok := w.Gate().Device("gh9"); ok {
			t.Errorf("removed, and known: %+v", p)
		}
	})
}

func TestRoles(t *testing.T) {
	for metric, want := range map[device.Metric]role{
		"battery": batteryRole, "Sensor.Battery": batteryRole, "power.battery_level{room=a.b}": batteryRole, "VBat": batteryRole,
		"Wifi.RSSI": rssiRole, "rssi{ap=1}": rssiRole, "wifi_signal": rssiRole, "linkquality": rssiRole,
		"temp": noRole, "battery.temp": noRole, "batteries": noRole, "": noRole, "temp{rssi=1}": noRole, "rssi.": noRole,
	} {
		if got := roleOf(metric); got != want {
			t.Errorf("%q: %d, want %d", metric, got, want)
		}
	}
}

// Losses are counted by seq, over the last thousand messages.
func TestLosses(t *testing.T) {
	run := func(from, to, every uint64) (out []uint64) {
		for s := from; s < to; s++ {
			if every == 0 || s%every != 0 {
				out = append(out, s)
			}
		}
		return out
	}
	for _, c := range []struct {
		name           string
		seqs           []uint64
		expected, lost int
	}{
		{"none", nil, 0, 0},
		{"all", run(1, 11, 0), 10, 0},
		{"begins anywhere", run(500, 510, 0), 10, 0},
		{"a hole", []uint64{1, 2, 5}, 5, 2},
		{"overtaken on the way", []uint64{1, 2, 5, 3, 4}, 5, 0},
		{"overtaken at the beginning", []uint64{5, 4, 6}, 2, 0},
		{"every tenth is lost", run(1, 501, 10), 500 - 1, 49},
		{"long ago", append(run(1, 1001, 2), run(1001, 6001, 0)...), 880, 1},
		{"counts from elsewhere", []uint64{1, 2, 1 << 40, 1<<40 + 1}, 4, 0},
	} {
		var w window
		for i, s := range c.seqs {
			seen := sighting{seq: s, print: uint16(s), now: now.Add(time.Duration(i) * time.Second)}
			if !w.repeated(seen) {
				w.take(seen)
			}
		}
		if expected, lost := w.losses(); expected != c.expected || lost != c.lost {
			t.Errorf("%s: %d of %d, want %d of %d", c.name, lost, expected, c.lost, c.expected)
		}
	}
}

func TestSkew(t *testing.T) {
	var s skew
	if _, ok := s.value(); ok {
		t.Error("a skew without messages")
	}
	for i := range 100 {
		s.note(device.Time(-1000 - 10*(i%7))) // on the way for up to 60 µs longer
	}
	if got, _ := s.value(); got != -time.Millisecond {
		t.Errorf("%v, want -1ms", got)
	}
	for range 2 * skewMessages {
		s.note(5000)
	}
	if got, _ := s.value(); got != 5*time.Millisecond {
		t.Errorf("set anew: %v, want 5ms", got)
	}
	for range 2*skewMessages + 1 {
		s.note(-5000)
	}
	if got, _ := s.value(); got != -5*time.Millisecond {
		t.Errorf("set back: %v, want -5ms", got)
	}
}
