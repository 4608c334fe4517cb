package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/pushtest"
)

// bench is a feed on top of a log.
type bench struct {
	log  *pushtest.Log
	feed *Feed
}

func newBench(ring int) *bench {
	log := &pushtest.Log{}
	return &bench{log, NewFeed(Config{Store: "s", History: log, Ring: ring, Gather: -1})}
}

// publish appends a reading of each of these series, device/metric.
func (b *bench) publish(series ...string) {
	rs := make([]device.Reading, len(series))
	for i, s := range series {
		id, metric, _ := strings.Cut(s, "/")
		rs[i] = device.Reading{Device: device.ID(id), Metric: device.Metric(metric), Time: 1000, Value: device.Int(int64(i))}
	}
	b.feed.Publish(b.log.Append(rs...))
}

func (b *bench) subscribe(t testing.TB, o Options) *Subscription {
	t.Helper()
	s, err := b.feed.Subscribe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func selector(t testing.TB, devices, metrics string) device.Selector {
	t.Helper()
	sel, err := device.NewSelector(strings.Fields(devices), strings.Fields(metrics))
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

func at(offset uint64) *Cursor { return &Cursor{"s", offset} }

// message is a frame as a viewer reads it.
type message struct {
	Type     string
	Cursor   string
	From     string
	Reason   string
	Readings []struct {
		Offset uint64
		Device string
		Metric string
	}
}

// brief gives a message as "kind cursor: what it carries".
func brief(t testing.TB, f *Frame) string {
	t.Helper()
	if f == nil {
		return "nothing"
	}
	var m message
	if err := json.Unmarshal(f.JSON(), &m); err != nil {
		t.Fatalf("%s: %v", f.JSON(), err)
	}
	if f.Cursor.String() != m.Cursor || f.Readings != len(m.Readings) {
		t.Fatalf("the frame is %v with %d readings, its text %s", f.Cursor, f.Readings, f.JSON())
	}
	out := m.Type + " " + m.Cursor
	for _, extra := range []string{m.From, m.Reason} {
		if extra != "" {
			out += " " + extra
		}
	}
	for i, r := range m.Readings {
		out += map[bool]string{true: ": ", false: " "}[i == 0] + strconv.FormatUint(r.Offset, 10)
	}
	return out
}

// polled returns all messages that are there.
func polled(t testing.TB, s *Subscription) (out []string) {
	t.Helper()
	for {
		f, err := s.Poll(t.Context())
		if err != nil {
			return append(out, err.Error())
		}
		if f == nil {
			return out
		}
		out = append(out, brief(t, f))
	}
}

func TestSubscriptionBegins(t *testing.T) {
	// Offsets 1 to 6; retention has taken 1.
	prepared := func() *bench {
		b := newBench(0)
		b.publish("a/x", "b/x", "a/x", "a/y", "b/x", "a/x")
		b.log.Drop(1)
		b.feed = NewFeed(Config{Store: "s", History: b.log, Gather: -1})
		return b
	}
	for _, c := range []struct {
		name string
		o    Options
		want []string // before anything is published
		then []string // after a/x, b/x with offsets 7, 8
	}{
		{"from now", Options{}, nil, []string{"readings s-8: 7 8"}},
		{"from now, one device", Options{Selector: selector(t, "a", "")}, nil, []string{"readings s-8: 7"}},
		{"from now, nobody's", Options{Selector: selector(t, "c*", "")}, nil, nil},
		{"after", Options{After: at(3)}, []string{"readings s-6: 4 5 6"}, []string{"readings s-8: 7 8"}},
		{"after, filtered", Options{After: at(1), Selector: selector(t, "b", "x y")}, []string{"readings s-6: 2 5"}, []string{"readings s-8: 8"}},
		{"after the head", Options{After: at(6)}, nil, []string{"readings s-8: 7 8"}},
		{"after, below what is kept", Options{After: at(0)}, []string{"gap s-1 s-0 retention", "readings s-6: 2 3 4 5 6"}, []string{"readings s-8: 7 8"}},
		{"after, beyond the head", Options{After: at(7)}, []string{"reset s-6 unknown cursor"}, []string{"readings s-8: 7 8"}},
		{"after, another store", Options{After: &Cursor{"r", 3}}, []string{"reset s-6 unknown cursor"}, []string{"readings s-8: 7 8"}},
		{
			"after, another store, last",
			Options{After: &Cursor{"r", 3}, Last: 1},
			[]string{"reset s-6 unknown cursor", "readings s-6: 4 5 6"},
			[]string{"readings s-8: 7 8"},
		},
		{"last=1", Options{Last: 1}, []string{"readings s-6: 4 5 6"}, []string{"readings s-8: 7 8"}},
		{"last=2", Options{Last: 2}, []string{"readings s-6: 2 3 4 5 6"}, []string{"readings s-8: 7 8"}},
		{"last=1, filtered", Options{Last: 1, Selector: selector(t, "*", "y")}, []string{"readings s-6: 4"}, nil},
		{"last=1, nobody's", Options{Last: 1, Selector: selector(t, "c", "")}, []string{"readings s-6"}, nil},
		{"after goes before last", Options{After: at(5), Last: 2}, []string{"readings s-6: 6"}, []string{"readings s-8: 7 8"}},
		{"limit", Options{After: at(1), Limit: 2}, []string{"readings s-3: 2 3", "readings s-5: 4 5", "readings s-6: 6"}, []string{"readings s-8: 7 8"}},
		{"limit cuts last", Options{Last: 1, Limit: 2}, []string{"readings s-5: 4 5", "readings s-6: 6"}, []string{"readings s-8: 7 8"}},
		{"subscribed", Options{Subscribed: true}, []string{"subscribed s-6"}, []string{"readings s-8: 7 8"}},
		{"subscribed, after", Options{Subscribed: true, After: at(4)}, []string{"subscribed s-4", "readings s-6: 5 6"}, []string{"readings s-8: 7 8"}},
		{"subscribed, last", Options{Subscribed: true, Last: 1}, []string{"subscribed s-6", "readings s-6: 4 5 6"}, []string{"readings s-8: 7 8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := prepared()
			s := b.subscribe(t, c.o)
			if d := cmp.Diff(c.want, polled(t, s)); d != "" {
				t.Error("at first (-want +got):\n", d)
			}
			b.publish("a/x", "b/x")
			if d := cmp.Diff(c.then, polled(t, s)); d != "" {
				t.Error("then (-want +got):\n", d)
			}
			if want := (Cursor{"s", 8}); s.Cursor() != want {
				t.Errorf("stands at %v, want %v", s.Cursor(), want)
			}
		})
	}
}

// The log is a step ahead of the feed while a reading is between the two.
func TestSnapshotAheadOfFeed(t *testing.T) {
	b := newBench(0)
	b.publish("a/x")
	late := b.log.Append(device.Reading{Device: "a", Metric: "x"}, device.Reading{Device: "a", Metric: "x"})
	s := b.subscribe(t, Options{Last: 1})
	got := polled(t, s)
	b.feed.Publish(late[:1])
	got = append(got, polled(t, s)...)
	b.feed.Publish(late[1:])
	got = append(got, polled(t, s)...)
	b.publish("a/x")
	got = append(got, polled(t, s)...)
	if d := cmp.Diff([]string{"readings s-3: 3", "readings s-4: 4"}, got); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

func TestHolesInOffsets(t *testing.T) {
	b := newBench(0)
	b.publish("a/x", "a/x")
	behind := b.subscribe(t, Options{After: at(0)})
	live := b.subscribe(t, Options{})
	b.log.Skip(1000)
	b.publish("a/x", "b/x")
	want := []string{"readings s-1004: 1003 1004"}
	if d := cmp.Diff(want, polled(t, live)); d != "" {
		t.Error("live (-want +got):\n", d)
	}
	want = []string{"readings s-1004: 1 2 1003 1004"}
	if d := cmp.Diff(want, polled(t, behind)); d != "" {
		t.Error("behind (-want +got):\n", d)
	}
	inside := b.subscribe(t, Options{After: at(500)})
	want = []string{"readings s-1004: 1003 1004"}
	if d := cmp.Diff(want, polled(t, inside)); d != "" {
		t.Error("inside (-want +got):\n", d)
	}

	// A hole within one call.
	first := b.log.Append(device.Reading{Device: "a", Metric: "x"})
	b.log.Skip(3)
	b.feed.Publish(append(first, b.log.Append(device.Reading{Device: "a", Metric: "y"})...))
	want = []string{"readings s-1009: 1005 1009"}
	if d := cmp.Diff(want, polled(t, live)); d != "" {
		t.Error("within a call (-want +got):\n", d)
	}
}

func TestRetentionDuringSearch(t *testing.T) {
	b := newBench(256)
	for range 1000 {
		b.publish("a/x")
	}
	b.log.Retain = func() { b.log.Drop(300) }
	s := b.subscribe(t, Options{After: at(100), Limit: 2})
	f, err := s.Poll(t.Context())
	if got := brief(t, f); err != nil || got != "gap s-300 s-100 retention" {
		t.Errorf("got %s, %v: readings that went during the search are passed over in silence", got, err)
	}
	f, err = s.Poll(t.Context())
	if got := brief(t, f); err != nil || got != "readings s-302: 301 302" {
		t.Errorf("then %s, %v", got, err)
	}
}

func TestHistoryFails(t *testing.T) {
	b := newBench(256)
	for range 1000 {
		b.publish("a/x")
	}
	broken := errors.New("the disk is gone")
	b.log.Fail(broken)
	if _, err := b.feed.Subscribe(t.Context(), Options{Last: 1}); !errors.Is(err, broken) {
		t.Errorf("Subscribe: %v", err)
	}
	s := b.subscribe(t, Options{After: at(0), Limit: 1})
	if f, err := s.Poll(t.Context()); f != nil || !errors.Is(err, broken) {
		t.Errorf("Poll = %v, %v", f, err)
	}
	b.log.Fail(nil)
	f, err := s.Poll(t.Context())
	if got := brief(t, f); err != nil || got != "readings s-1: 1" {
		t.Errorf("after the failure: %s, %v", got, err)
	}
	if n := b.feed.Stats().Subscriptions; n != 1 {
		t.Errorf("%d subscriptions, want 1: the failed one is still there", n)
	}
}

// A history that ends below the feed is an error, not a loop.
func TestHistoryEndsEarly(t *testing.T) {
	b := newBench(256)
	s := b.subscribe(t, Options{})
	for i := range uint64(1000) {
		b.feed.Publish([]device.Stored{stored(i+1, "a", "x", device.Int(1))})
	}
	if f, err := s.Poll(t.Context()); f != nil || err == nil {
		t.Errorf("Poll = %v, %v", f, err)
	}
}

func TestPollHonoursContext(t *testing.T) {
	b := newBench(256)
	for range 1000 {
		b.publish("a/x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := b.subscribe(t, Options{After: at(0)})
	cancel()
	if _, err := s.Poll(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Poll: %v", err)
	}
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
	if s.Cursor() != *at(0) {
		t.Errorf("stands at %v", s.Cursor())
	}
}

// The feed is compared with the log, over many random histories: viewers of
// random selections begin, poll, leave and come back with their cursor.
func TestFeedAgainstModel(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			m := newModel(t, rand.New(rand.NewPCG(seed, 1)))
			for range 300 {
				m.step()
			}
			for _, v := range m.viewers {
				m.catchUp(v)
				v.sub.Close()
			}
			if s := m.b.feed.Stats(); s.Topics != 0 || s.Subscriptions != 0 {
				t.Errorf("%d topics and %d subscriptions are left", s.Topics, s.Subscriptions)
			}
			if n := &m.b.feed.interest; len(n.named)+len(n.broad)+len(n.matched) != 0 {
				t.Errorf("%d, %d and %d are still indexed", len(n.named), len(n.broad), len(n.matched))
			}
		})
	}
}

type model struct {
	t       *testing.T
	r       *rand.Rand
	b       *bench
	viewers []*modelViewer
}

// modelViewer has seen all it wants up to the cursor.
type modelViewer struct {
	sel    device.Selector
	sub    *Subscription
	limit  int
	cursor uint64
}

func newModel(t *testing.T, r *rand.Rand) *model {
	m := &model{t: t, r: r, b: newBench(256 * (1 + r.IntN(4)))}
	m.b.log.Window = uint64(r.IntN(3) * 500)
	return m
}

func (m *model) step() {
	switch n := m.r.IntN(100); {
	case n < 50:
		m.publish(1 + m.r.IntN(5))
	case n < 56:
		m.publish(m.r.IntN(1500))
	case n < 58:
		m.b.log.Skip(uint64(m.r.IntN(700)))
	case n < 60:
		floor, head := m.b.log.Bounds()
		m.b.log.Drop(floor + uint64(m.r.IntN(int(head-floor)+1)))
	case n < 70 || len(m.viewers) == 0:
		m.join()
	case n < 90:
		m.look(m.viewers[m.r.IntN(len(m.viewers))])
	case n < 95:
		m.comeBack(m.viewers[m.r.IntN(len(m.viewers))])
	default:
		i := m.r.IntN(len(m.viewers))
		m.viewers[i].sub.Close()
		m.viewers = append(m.viewers[:i], m.viewers[i+1:]...)
	}
}

func (m *model) publish(n int) {
	series := make([]string, n)
	for i := range series {
		series[i] = fmt.Sprintf("d%d/m%d", m.r.IntN(4), m.r.IntN(3))
	}
	if m.r.IntN(10) == 0 { // a long time in which only one device speaks
		for i := range series {
			series[i] = "d0/m0"
		}
	}
	m.b.publish(series...)
}

func (m *model) join() {
	sels := [][2]string{{"", ""}, {"d0", ""}, {"d1 d2", "m0"}, {"d*", "*1"}, {"d3", "m2"}, {"?9", ""}}
	s := sels[m.r.IntN(len(sels))]
	_, head := m.b.log.Bounds()
	v := &modelViewer{sel: selector(m.t, s[0], s[1]), limit: []int{0, 1, 7, 100}[m.r.IntN(4)], cursor: m.b.feed.Head().Offset}
	o := Options{Selector: v.sel, Limit: v.limit}
	if m.r.IntN(2) == 0 {
		v.cursor = uint64(m.r.IntN(int(min(head, v.cursor)) + 1))
		o.After = at(v.cursor)
	}
	v.sub = m.b.subscribe(m.t, o)
	m.viewers = append(m.viewers, v)
}

func (m *model) comeBack(v *modelViewer) {
	v.sub.Close()
	v.sub = m.b.subscribe(m.t, Options{Selector: v.sel, Limit: v.limit, After: at(v.cursor)})
}

// look takes one message and compares it with the log.
func (m *model) look(v *modelViewer) bool {
	m.t.Helper()
	f, err := v.sub.Poll(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	if f == nil {
		if expected := m.b.log.Wanted(v.sel, v.cursor, math.MaxUint64); len(expected) > 0 {
			m.t.Fatalf("nothing behind %d, but %d readings are wanted", v.cursor, len(expected))
		}
		return false
	}
	var got message
	if err := json.Unmarshal(f.JSON(), &got); err != nil {
		m.t.Fatal(err)
	}
	if f.Cursor.Offset <= v.cursor {
		m.t.Fatalf("the cursor went from %d to %d", v.cursor, f.Cursor.Offset)
	}
	if got.Type == "gap" {
		if floor, _ := m.b.log.Bounds(); f.Cursor.Offset > floor || got.From == "" {
			m.t.Fatalf("a gap up to %d, but %d is kept", f.Cursor.Offset, floor)
		}
		v.cursor = f.Cursor.Offset
		return true
	}
	expected := m.b.log.Wanted(v.sel, v.cursor, f.Cursor.Offset)
	for i, r := range got.Readings {
		// What retention took may still be in memory: then it comes.
		if r.Offset <= v.cursor || i > 0 && r.Offset <= got.Readings[i-1].Offset || r.Offset > f.Cursor.Offset {
			m.t.Fatalf("offset %d behind %d in a message up to %d", r.Offset, v.cursor, f.Cursor.Offset)
		}
		if len(expected) > 0 && r.Offset == expected[0].Offset {
			expected = expected[1:]
		} else if floor, _ := m.b.log.Bounds(); r.Offset > floor {
			m.t.Fatalf("offset %d of %s/%s is not wanted, or one is missing before it", r.Offset, r.Device, r.Metric)
		}
	}
	if len(expected) > 0 {
		m.t.Fatalf("offset %d is missing in a message up to %d", expected[0].Offset, f.Cursor.Offset)
	}
	if limit := v.limit; limit > 0 && len(got.Readings) > limit {
		m.t.Fatalf("%d readings, the limit is %d", len(got.Readings), limit)
	}
	v.cursor = f.Cursor.Offset
	return true
}

func (m *model) catchUp(v *modelViewer) {
	m.t.Helper()
	for m.look(v) {
	}
}

// Somebody who never reads holds a cursor, and the feed only its ring.
func TestMemoryIsBounded(t *testing.T) {
	long := strings.Repeat("x", device.MaxTextLen)
	b := newBench(4096)
	s := b.subscribe(t, Options{})
	other := b.subscribe(t, Options{})
	for i := range 20_000 {
		b.feed.Publish([]device.Stored{stored(uint64(i+1), "a", "x", text(t, long))})
		if i%100 == 0 {
			if _, err := other.Poll(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := 0
	for _, c := range b.feed.chunks {
		for i := range c.readings {
			held += len(c.readings[i].Value.Text())
		}
	}
	if held > ringText+chunkSize*device.MaxTextLen || held != b.feed.text {
		t.Errorf("%d bytes of text are held, %d counted, the bound is %d", held, b.feed.text, ringText)
	}
	if len(s.pending) != 0 || s.cursor != 0 {
		t.Errorf("the subscriber that never reads holds %d messages", len(s.pending))
	}
	numbers := newBench(1000)
	for range 10_000 {
		numbers.publish("a/x")
	}
	if n := len(numbers.feed.chunks); n != 1000/chunkSize+1 {
		t.Errorf("%d chunks are held for a ring of 1000", n)
	}
}

// Each reading is encoded once, and viewers at the same place share the frame.
func TestFramesAreShared(t *testing.T) {
	b := newBench(0)
	var all, narrow []*Subscription
	for range 10 {
		all = append(all, b.subscribe(t, Options{}))
		narrow = append(narrow, b.subscribe(t, Options{Selector: selector(t, "a", "")}))
	}
	b.publish("a/x", "b/x", "a/y")
	take := func(s *Subscription) *Frame {
		f, err := s.Poll(t.Context())
		if err != nil || f == nil {
			t.Fatalf("Poll = %v, %v", f, err)
		}
		return f
	}
	for _, group := range [][]*Subscription{all, narrow} {
		first := take(group[0])
		for _, s := range group[1:] {
			if take(s) != first {
				t.Error("a frame was built twice")
			}
		}
	}
	// The chunk holds the JSON of three readings, however many took them.
	want := 0
	for i := range 3 {
		want += len(b.feed.chunks[0].readings[i].AppendJSON(nil))
	}
	if got := len(b.feed.chunks[0].json); got != want {
		t.Errorf("%d bytes are encoded, want %d", got, want)
	}
	if s := b.feed.Stats(); s.Frames != 20 || s.Deliveries != 10*3+10*2 || s.Published != 3 || s.Topics != 2 || s.Subscriptions != 20 {
		t.Errorf("stats are %+v", s)
	}
	alone := b.subscribe(t, Options{Selector: selector(t, "", "x")})
	b.publish("a/x")
	take(alone)
	if alone.topic.frames[0].frame != nil {
		t.Error("a frame is kept for nobody")
	}
}

// Viewers that read while it is published get everything once, in order, and end
// when the feed is closed.
func TestFeedConcurrently(t *testing.T) {
	const readings, viewers = 20_000, 24
	log := &pushtest.Log{}
	b := &bench{log, NewFeed(Config{Store: "s", History: log, Ring: 1024, Gather: 1})}
	sels := []device.Selector{{}, selector(t, "d1", ""), selector(t, "d*", "m2"), selector(t, "none", "")}
	var wg sync.WaitGroup
	for i := range viewers {
		s := b.subscribe(t, Options{Selector: sels[i%len(sels)], Limit: i % 5 * 50})
		wg.Go(func() {
			var got []uint64
			for {
				f, err := s.Next(t.Context())
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					break
				}
				var m message
				if err := json.Unmarshal(f.JSON(), &m); err != nil {
					t.Error(err)
					return
				}
				for _, r := range m.Readings {
					got = append(got, r.Offset)
				}
			}
			var want []uint64
			for _, r := range log.Wanted(sels[i%len(sels)], 0, math.MaxUint64) {
				want = append(want, r.Offset)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("viewer %d of %d: %d readings, want %d", i, viewers, len(got), len(want))
			}
		})
	}
	r := rand.New(rand.NewPCG(1, 2))
	for sent := 0; sent < readings; {
		n := 1 + r.IntN(20)
		series := make([]string, n)
		for i := range series {
			series[i] = fmt.Sprintf("d%d/m%d", r.IntN(3), r.IntN(3))
		}
		b.publish(series...)
		sent += n
	}
	b.feed.Close()
	wg.Wait()
}
