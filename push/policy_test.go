package push

import (
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

func TestParsePolicy(t *testing.T) {
	for _, c := range []struct {
		policy, every, deadband string
		want                    Policy
		err                     string
	}{
		{"", "", "", Policy{}, ""},
		{"all", "", "", Policy{}, ""},
		{"latest", "", "", Policy{Latest: true}, ""},
		{"", "1s", "", Policy{Latest: true, Every: time.Second}, ""},
		{"all", "100ms", "0.5", Policy{Latest: true, Every: 100 * time.Millisecond, Changes: true, Deadband: 0.5}, ""},
		{"", "", "0", Policy{Changes: true}, ""},
		{"some", "", "", Policy{}, "policy: want all or latest"},
		{"", "1", "", Policy{}, "every: want a duration"},
		{"", "99ms", "", Policy{}, "every: want a duration"},
		{"", "2h", "", Policy{}, "every: want a duration"},
		{"", "", "-1", Policy{}, "deadband: want a number"},
		{"", "", "NaN", Policy{}, "deadband: want a number"},
		{"", "", "inf", Policy{}, "deadband: want a number"},
		{"", "", "much", Policy{}, "deadband: want a number"},
	} {
		got, err := ParsePolicy(c.policy, c.every, c.deadband)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q %q %q: %+v %v, want %+v %s", c.policy, c.every, c.deadband, got, err, c.want, c.err)
		}
	}
}

// set appends a reading of a series, device/metric, with each of these values.
func (b *bench) set(t testing.TB, series string, values ...float64) {
	t.Helper()
	id, metric, _ := strings.Cut(series, "/")
	for _, v := range values {
		value, err := device.Float(v)
		if err != nil {
			t.Fatal(err)
		}
		b.feed.Publish(b.log.Append(device.Reading{Device: device.ID(id), Metric: device.Metric(metric), Value: value}))
	}
}

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy Policy
		limit  int
		last   int
		do     func(t *testing.T, b *bench)
		want   []string
	}{
		{"latest", Policy{Latest: true}, 0, 0, func(_ *testing.T, b *bench) { b.publish("a/x", "a/y", "a/x", "b/x", "a/x") }, []string{"readings s-5: 2 4 5"}},
		{"latest of many", Policy{Latest: true}, 0, 0, func(_ *testing.T, b *bench) {
			for range 1000 {
				b.publish("a/x", "a/y")
			}
		}, []string{"readings s-2000: 1999 2000"}},
		{"latest, one at a time", Policy{Latest: true}, 1, 0, func(_ *testing.T, b *bench) { b.publish("a/x", "a/y", "a/x", "b/x", "a/x") }, []string{"readings s-2: 2", "readings s-4: 4", "readings s-5: 5"}},
		{"latest, away for longer than memory reaches", Policy{Latest: true}, 0, 0, func(_ *testing.T, b *bench) {
			b.publish("gone/x")
			for range 3000 {
				b.publish("a/x")
			}
		}, []string{"readings s-3001: 1 3001"}},
		{"latest, away for longer than is kept", Policy{Latest: true}, 0, 0, func(_ *testing.T, b *bench) {
			b.publish("gone/x")
			for range 3000 {
				b.publish("a/x")
			}
			b.log.Drop(2000)
		}, []string{"readings s-3001: 3001"}},
		{"all, away for longer than is kept", Policy{}, 0, 0, func(_ *testing.T, b *bench) {
			for range 3000 {
				b.publish("a/x")
			}
			b.log.Drop(2999)
		}, []string{"gap s-2999 s-0 retention", "readings s-3000: 3000"}},
		{"deadband", Policy{Changes: true, Deadband: 0.5}, 0, 0, func(t *testing.T, b *bench) { b.set(t, "a/x", 1, 1.4, 1.6, 1.2, 1.1) }, []string{"readings s-5: 1 3 5"}},
		{"deadband of what falls slowly", Policy{Changes: true, Deadband: 1}, 0, 0, func(t *testing.T, b *bench) { b.set(t, "a/x", 3, 2.5, 2, 1.5, 1) }, []string{"readings s-5: 1 3 5"}},
		{"deadband for each series", Policy{Changes: true, Deadband: 1}, 0, 0, func(t *testing.T, b *bench) {
			b.set(t, "a/x", 1, 1)
			b.set(t, "a/y", 1, 1)
		}, []string{"readings s-4: 1 3"}},
		{"what does not change", Policy{Changes: true}, 0, 0, func(t *testing.T, b *bench) { b.set(t, "a/x", 1, 1, 1.01, 1.01, 1) }, []string{"readings s-5: 1 3 5"}},
		{"deadband behind the snapshot", Policy{Changes: true, Deadband: 1}, 0, 1, func(t *testing.T, b *bench) { b.set(t, "old/x", 1.5, 2) }, []string{"readings s-1: 1", "readings s-3: 3"}},
		{"deadband from the history", Policy{Changes: true, Deadband: 10}, 0, 0, func(t *testing.T, b *bench) {
			for i := range 3000 {
				b.set(t, "a/x", float64(i/100))
			}
		}, []string{"readings s-1000: 1", "readings s-2000: 1001", "readings s-3000: 2001"}},
		{"nothing passes", Policy{Changes: true, Deadband: 1}, 0, 1, func(t *testing.T, b *bench) { b.set(t, "old/x", 1.5) }, []string{"readings s-1: 1"}},
		{"latest with a deadband", Policy{Latest: true, Changes: true, Deadband: 1}, 0, 0, func(t *testing.T, b *bench) { b.set(t, "a/x", 1, 5, 1.5) }, []string{"readings s-3: 3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(512)
			if c.last > 0 {
				b.set(t, "old/x", 1)
			}
			s := b.subscribe(t, Options{Policy: c.policy, Limit: c.limit, Last: c.last})
			c.do(t, b)
			if d := cmp.Diff(c.want, polled(t, s)); d != "" {
				t.Error("(-want +got):\n", d)
			}
		})
	}
}

// every=1s delivers at most one reading a second of each series, and the newest in the
// end.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(512)
		s := b.subscribe(t, Options{Policy: Policy{Latest: true, Every: time.Second}})
		type seen struct {
			at   time.Duration
			what string
		}
		var got []seen
		began := time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				f, err := s.Next(t.Context())
				if err != nil {
					return
				}
				got = append(got, seen{time.Since(began), brief(t, f)})
			}
		}()
		for range 25 { // 3.25 s, and never at the moment of a message
			b.publish("a/x", "b/x")
			time.Sleep(130 * time.Millisecond) //nolint:forbidigo // of the bubble
		}
		time.Sleep(10 * time.Second) //nolint:forbidigo // as above
		b.publish("a/x")
		time.Sleep(time.Second) //nolint:forbidigo // as above
		b.feed.Close()
		<-done
		want := []seen{
			{0, "readings s-2: 1 2"},
			{time.Second, "readings s-16: 15 16"},
			{2 * time.Second, "readings s-32: 31 32"},
			{3 * time.Second, "readings s-48: 47 48"},
			{4 * time.Second, "readings s-50: 49 50"},
			{13250 * time.Millisecond, "readings s-51: 51"},
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); d != "" {
			t.Error("(-want +got):\n", d)
		}
	})
}

// Who is woken and polls from memory sees the same as who polls for himself.
func TestPollLive(t *testing.T) {
	b := newBench(512)
	w := make(wakings, 1)
	s := b.subscribe(t, Options{Selector: selector(t, "a b", "")})
	reference := b.subscribe(t, Options{Selector: selector(t, "a b", "")})
	var got, want []string
	live := func(upTo uint64) {
		for {
			f, err := s.PollLive(upTo)
			if err == ErrBehind { //nolint:errorlint // it is documented to be this
				f, err = s.Poll(t.Context())
			}
			if err != nil {
				t.Fatal(err)
			}
			if f == nil {
				break
			}
			got = append(got, strings.Fields(brief(t, f))[2:]...)
			upTo = 0
		}
		s.Arm(w)
	}
	live(0)
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		for range r.IntN(40) {
			b.publish([]string{"a/x", "b/y", "c/x"}[r.IntN(3)])
		}
		select {
		case head := <-w:
			live(head)
		default:
		}
	}
	live(b.feed.Head().Offset)
	for _, m := range polled(t, reference) {
		want = append(want, strings.Fields(m)[2:]...)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

type wakings chan uint64

func (w wakings) Wake(head uint64) { w <- head }
