package push

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/pushtest"
)

// arrival is when a frame came, and how it reads.
type arrival struct {
	After time.Duration
	What  string
}

// watch takes frames until the feed is closed.
func watch(t *testing.T, s *Subscription, start time.Time) <-chan []arrival {
	out := make(chan []arrival, 1)
	go func() {
		var got []arrival
		for {
			f, err := s.Next(t.Context())
			if err != nil {
				if !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				out <- got
				return
			}
			got = append(got, arrival{time.Since(start), brief(t, f)})
		}
	}()
	synctest.Wait()
	return out
}

func gatheringBench(gather time.Duration) *bench {
	log := &pushtest.Log{}
	return &bench{log, NewFeed(Config{Store: "s", History: log, Gather: gather})}
}

func TestGathering(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name    string
		gather  time.Duration
		publish []time.Duration // since the start
		want    []arrival
	}{
		{"at once after quiet", 0, []time.Duration{20 * ms}, []arrival{{20 * ms, "readings s-1: 1"}}},
		{
			"together when busy", 0,
			[]time.Duration{0, 1 * ms, 7 * ms, 19 * ms, 21 * ms, 100 * ms},
			[]arrival{
				{0, "readings s-1: 1"},
				{20 * ms, "readings s-4: 2 3 4"},
				{40 * ms, "readings s-5: 5"},
				{100 * ms, "readings s-6: 6"},
			},
		},
		{
			"a longer time", 40 * ms,
			[]time.Duration{0, 39 * ms, 41 * ms, 79 * ms, 81 * ms},
			[]arrival{{0, "readings s-1: 1"}, {40 * ms, "readings s-2: 2"}, {80 * ms, "readings s-4: 3 4"}, {120 * ms, "readings s-5: 5"}},
		},
		{
			"not at all", -1,
			[]time.Duration{0, 1 * ms, 2 * ms},
			[]arrival{{0, "readings s-1: 1"}, {1 * ms, "readings s-2: 2"}, {2 * ms, "readings s-3: 3"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := gatheringBench(c.gather)
				start := time.Now()
				var got []<-chan []arrival
				for range 3 {
					got = append(got, watch(t, b.subscribe(t, Options{}), start))
				}
				for _, at := range c.publish {
					<-time.After(at - time.Since(start))
					b.publish("a/x")
					synctest.Wait()
				}
				<-time.After(time.Second)
				b.feed.Close()
				for i, ch := range got {
					if d := cmp.Diff(c.want, <-ch); d != "" {
						t.Errorf("viewer %d (-want +got):\n%s", i, d)
					}
				}
			})
		})
	}
}

// Viewers of different devices are woken together when there is much to do, and at once
// when not.
func TestWave(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(0)
		start := time.Now()
		got := map[string]<-chan []arrival{}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			got[name] = watch(t, b.subscribe(t, Options{Selector: selector(t, name, "")}), start)
		}
		for _, p := range []struct {
			at     time.Duration
			series []string
		}{
			{10 * ms, []string{"a/x", "b/x"}}, // one batch: both at once
			{11 * ms, []string{"c/x"}},        // the wave after
			{12 * ms, []string{"d/x", "c/x"}}, // the same
			{13 * ms, []string{"a/x"}},        // has its own time to wait
			{200 * ms, []string{"e/x"}},
			{201 * ms, []string{"a/x"}},
		} {
			<-time.After(p.at - time.Since(start))
			b.publish(p.series...)
			synctest.Wait()
		}
		<-time.After(time.Second)
		b.feed.Close()
		for name, want := range map[string][]arrival{
			"a": {{10 * ms, "readings s-2: 1"}, {30 * ms, "readings s-6: 6"}, {204 * ms, "readings s-8: 8"}},
			"b": {{10 * ms, "readings s-2: 2"}},
			"c": {{14 * ms, "readings s-6: 3 5"}},
			"d": {{14 * ms, "readings s-6: 4"}},
			"e": {{200 * ms, "readings s-7: 7"}},
		} {
			if d := cmp.Diff(want, <-got[name]); d != "" {
				t.Errorf("viewer of %s (-want +got):\n%s", name, d)
			}
		}
	})
}

// A viewer that was busy writing does not get a frame for each reading either.
func TestGatheringOfBusyViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(0)
		s := b.subscribe(t, Options{})
		b.publish("a/x")
		if f, err := s.Next(t.Context()); err != nil || brief(t, f) != "readings s-1: 1" {
			t.Fatal(f, err)
		}
		start := time.Now()
		b.publish("a/x") // while the viewer writes
		woken := make(chan arrival)
		go func() {
			f, err := s.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			woken <- arrival{time.Since(start), brief(t, f)}
		}()
		synctest.Wait()
		b.publish("a/x")
		// Nobody was woken before, so the topic has been quiet: at once.
		if d := cmp.Diff(arrival{0, "readings s-2: 2"}, <-woken); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if f, err := s.Next(t.Context()); err != nil || brief(t, f) != "readings s-3: 3" || time.Since(start) != DefaultGather {
			t.Errorf("got %s, %v after %v", brief(t, f), err, time.Since(start))
		}
	})
}

// Viewers that began at different places stand at the same one after a wake.
func TestWakingJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(0)
		first := b.subscribe(t, Options{Selector: selector(t, "a", "")})
		b.publish("b/x")
		second := b.subscribe(t, Options{Selector: selector(t, "a", "")})
		one, two := make(chan *Frame), make(chan *Frame)
		next := func(s *Subscription, out chan<- *Frame) {
			f, err := s.Next(t.Context())
			if err != nil {
				t.Error(err)
			}
			out <- f
		}
		go next(first, one)
		go next(second, two)
		synctest.Wait()
		b.publish("a/x", "b/x") // wakes both
		<-one
		b.publish("a/x") // before the second has looked
		<-two
		if first.Cursor() != second.Cursor() {
			t.Errorf("they stand at %v and %v", first.Cursor(), second.Cursor())
		}
		go next(first, one)
		f := <-one
		go next(second, two)
		if g := <-two; f != g || brief(t, f) != "readings s-4: 4" {
			t.Errorf("they have %s and %s, not the same frame", brief(t, f), brief(t, g))
		}
	})
}

func TestOneTimerForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(0)
		var got []<-chan []arrival
		for range 20 {
			got = append(got, watch(t, b.subscribe(t, Options{}), time.Now()))
		}
		b.publish("a/x")
		synctest.Wait()
		b.publish("a/x")
		synctest.Wait()
		topic := b.feed.topics[device.Selector{}.Key()]
		topic.mu.Lock()
		timer, armed := topic.timer, topic.armed
		topic.mu.Unlock()
		if !armed {
			t.Error("readings are waiting, but no timer runs")
		}
		b.publish("a/x")
		<-time.After(time.Second)
		b.publish("a/x")
		synctest.Wait()
		b.publish("a/x")
		<-time.After(time.Second)
		topic.mu.Lock()
		if topic.timer != timer || topic.armed {
			t.Error("another timer was made, or it still runs")
		}
		topic.mu.Unlock()
		b.feed.Close()
		want := []string{"readings s-1: 1", "readings s-3: 2 3", "readings s-4: 4", "readings s-5: 5"}
		for _, ch := range got {
			var whats []string
			for _, a := range <-ch {
				whats = append(whats, a.What)
			}
			if d := cmp.Diff(want, whats); d != "" {
				t.Fatal("(-want +got):\n", d)
			}
		}
	})
}

// Only those are woken who want something.
func TestWakingByDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(-1)
		a := b.subscribe(t, Options{Selector: selector(t, "a", "x")})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := a.Next(ctx)
			done <- err
		}()
		synctest.Wait()
		b.publish("b/x", "a/y", "ab/x")
		synctest.Wait()
		if len(a.topic.waiting) != 1 {
			t.Error("a viewer was woken for what it does not want")
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if len(a.topic.waiting) != 0 {
			t.Error("a wait that was given up is still registered")
		}
		if a.Cursor() != *at(3) {
			t.Errorf("after a wait in vain it stands at %v, want the head", a.Cursor())
		}
	})
}

// A viewer of a rare reading is neither sent to the history nor told of a gap
// when all that it waited through is no longer kept.
func TestRareReadings(t *testing.T) {
	for _, burst := range []int{1, 300} {
		synctest.Test(t, func(t *testing.T) {
			b := gatheringBench(0)
			b.feed.ring = 1024
			got := watch(t, b.subscribe(t, Options{Selector: selector(t, "rare", "")}), time.Now())
			many := make([]string, 5000)
			for i := range many {
				many[i] = "busy/x"
			}
			want := []string(nil)
			for range 3 {
				b.publish(many...)
				_, head := b.log.Bounds()
				b.log.Drop(head)
				for range burst {
					b.publish("rare/x", "busy/x")
				}
				synctest.Wait()
				<-time.After(time.Second)
				want = append(want, "readings")
			}
			b.feed.Close()
			seen, gaps := 0, 0
			for _, a := range <-got {
				if a.What[:3] == "gap" {
					gaps++
				}
				seen++
			}
			if gaps > 0 || seen < len(want) {
				t.Errorf("%d messages, %d of them gaps", seen, gaps)
			}
			if n := b.log.Searches(); n > 0 {
				t.Errorf("the history was searched %d times", n)
			}
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := gatheringBench(0)
		idle := watch(t, b.subscribe(t, Options{}), time.Now())
		behind := b.subscribe(t, Options{After: at(0), Limit: 1})
		b.publish("a/x")
		synctest.Wait()
		b.publish("a/x") // gathers
		b.feed.Close()
		want := []arrival{{0, "readings s-1: 1"}, {0, "readings s-2: 2"}}
		if d := cmp.Diff(want, <-idle); d != "" {
			t.Error("who waited (-want +got):\n", d)
		}
		if d := cmp.Diff([]string{"readings s-1: 1", "readings s-2: 2", ErrClosed.Error()}, polled(t, behind)); d != "" {
			t.Error("who was behind (-want +got):\n", d)
		}
		late := b.subscribe(t, Options{After: at(1)})
		if f, err := late.Next(t.Context()); err != nil || brief(t, f) != "readings s-2: 2" {
			t.Errorf("who came late: %v, %v", f, err)
		}
		if f, err := late.Next(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("then %v, %v", f, err)
		}
	})
}

func TestTopicsAreDropped(t *testing.T) {
	b := newBench(0)
	var subs []*Subscription
	for _, s := range [][2]string{{"", ""}, {"a", ""}, {"a", ""}, {"b*", "x"}} {
		subs = append(subs, b.subscribe(t, Options{Selector: selector(t, s[0], s[1])}))
	}
	b.publish("a/x", "b/x", "c/x")
	check := func(topics, a, bb, c int) {
		t.Helper()
		got := []int{len(b.feed.topics)}
		for _, id := range []device.ID{"a", "b", "c"} {
			lists := b.feed.interest.in(id)
			got = append(got, len(lists[0])+len(lists[1]))
		}
		if d := cmp.Diff([]int{topics, a, bb, c}, got); d != "" {
			t.Error("topics, and of a, b and c (-want +got):\n", d)
		}
	}
	check(3, 2, 2, 1)
	subs[1].Close()
	subs[1].Close() // again does nothing
	check(3, 2, 2, 1)
	subs[2].Close()
	check(2, 1, 2, 1)
	again := b.subscribe(t, Options{Selector: selector(t, "a c", "")})
	check(3, 2, 2, 2)
	again.Close()
	subs[0].Close()
	subs[3].Close()
	check(0, 0, 0, 0)
}
