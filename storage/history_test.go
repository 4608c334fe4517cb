package storage

import (
	"cmp"
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

var historyRounds = flag.Int("history-rounds", 1, "how often TestHistoryAgainstSums does each of its cases")

// past is a model whose readings come in series of several shapes, and which
// knows what History is to answer with.
type past struct {
	*model
	clock device.Time // the series have been made up to here
	// gone are the readings that only rollups still have.
	gone []device.Stored
	// doubled says that a reading replaces another and is in no block: History may
	// count both.
	doubled bool
}

// shape is a series that has a reading every step, give or take jitter, or with
// every only where a random number is below it.
type shape struct {
	device.Series
	step, jitter time.Duration
	every        float64
	value        func(p *past, n int) device.Value
}

func shapes(t *testing.T) []shape {
	walk := func(p *past, n int) device.Value {
		return float(t, math.Round(100*(20+5*math.Sin(float64(n)/50)+p.rng.NormFloat64()))/100)
	}
	mixed := func(p *past, n int) device.Value {
		switch p.rng.IntN(4) {
		case 0:
			return mustText(t, "n/a")
		case 1:
			return device.Bool(n%2 == 0)
		case 2:
			return device.Int(int64(n))
		}
		return float(t, p.rng.NormFloat64())
	}
	of := func(d device.ID, m device.Metric) device.Series { return device.Series{Device: d, Metric: m} }
	return []shape{
		{of("a", "second"), time.Second, 0, 1, walk},
		{of("a", "packet.one"), 4 * time.Second, 100 * time.Millisecond, 1, walk},
		{of("a", "packet.two"), 4 * time.Second, 100 * time.Millisecond, 1, func(_ *past, n int) device.Value { return device.Int(int64(n)) }},
		{of("a", "sparse"), 5 * time.Minute, 20 * time.Second, 1, walk},
		{of("b", "change"), 10 * time.Second, 9 * time.Second, 0.1, func(_ *past, n int) device.Value { return device.Bool(n%2 == 0) }},
		{of("b", "mixed"), 3 * time.Second, time.Second, 0.9, mixed},
		{of("b", "text"), time.Minute, 0, 1, func(_ *past, n int) device.Value { return mustText(t, fmt.Sprint(n)) }},
		{of("c", "bursts"), 20 * time.Minute, 19 * time.Minute, 1, walk},
		{of("c", "huge"), 2 * time.Second, 0, 1, func(_ *past, n int) device.Value { return float(t, math.MaxFloat64/float64(1+n%3)) }},
	}
}

func newPast(t *testing.T, seed uint64, keep time.Duration) *past {
	p := &past{model: newModel(t, seed)}
	p.log.cfg.RetainAge, p.cfg.RetainAge = keep, keep
	p.clock = device.TimeOf(p.now)
	return p
}

// grow appends what the series measure in d.
func (p *past) grow(d time.Duration) {
	p.t.Helper()
	end := p.clock.Add(d)
	var rs []device.Reading
	for _, s := range shapes(p.t) {
		step := int64(s.step / time.Microsecond)
		for n := (int64(p.clock) + step - 1) / step; n*step < int64(end); n++ {
			at := device.Time(n * step)
			if s.jitter > 0 {
				at = at.Add(time.Duration(p.rng.Int64N(int64(s.jitter))))
			}
			if p.rng.Float64() < s.every {
				rs = append(rs, device.Reading{Device: s.Device, Metric: s.Metric, Time: at, Received: at, Value: s.value(p, int(n))})
			}
		}
	}
	slices.SortStableFunc(rs, func(a, b device.Reading) int { return cmp.Compare(a.Time, b.Time) })
	p.clock = end
	p.now = end.Std()
	p.add(rs)
}

func (p *past) add(rs []device.Reading) {
	p.t.Helper()
	for part := range slices.Chunk(rs, 10_000) {
		last, err := p.log.Append(part)
		if err != nil {
			p.t.Fatal(err)
		}
		p.top = last
		for i, r := range part {
			s := device.Stored{Offset: last - uint64(len(part)-1-i), Reading: r}
			p.all = append(p.all, s)
			p.last[device.Series{Device: r.Device, Metric: r.Metric}] = s
		}
		if len(part) > 5000 || p.rng.IntN(2) == 0 {
			p.commit()
		}
	}
}

// late appends readings that come hours late, some with the time of another.
func (p *past) late() {
	p.t.Helper()
	var rs []device.Reading
	of := shapes(p.t)
	for range 1 + p.rng.IntN(40) {
		s := of[p.rng.IntN(len(of))]
		at := p.clock.Add(-time.Duration(p.rng.Int64N(int64(4 * time.Hour))))
		r := device.Reading{Device: s.Device, Metric: s.Metric, Time: at, Received: p.clock, Value: s.value(p, p.rng.IntN(100))}
		old := p.all[max(len(p.all)-1-int(p.rng.ExpFloat64()*5000), 0)]
		if p.rng.IntN(2) == 0 && !p.partly(old.Time) {
			r.Device, r.Metric, r.Time = old.Device, old.Metric, old.Time
			p.doubled = true
		}
		rs = append(rs, r)
	}
	p.add(rs)
}

// parted reports whether retention took readings from about this time: what comes
// for it later cannot be told from what went.
func (p *past) partly(t device.Time) bool {
	return slices.ContainsFunc(p.left, func(l leftPeriod) bool { return int64(t) >= l.start && int64(t) < l.end })
}

func (p *past) flushAll() {
	p.t.Helper()
	if err := p.log.flush(p.t.Context(), allDevices); err != nil {
		p.t.Fatal(err)
	}
	p.doubled = false
}

func (p *past) letGo() {
	p.t.Helper()
	if p.doubled { // what goes before it is replaced stays in the rollups
		p.flushAll()
	}
	before := p.kept()
	p.retain()
	for _, r := range before {
		if p.model.gone(&r) {
			p.gone = append(p.gone, r)
		}
	}
}

// bucket is what History tells of one.
type bucket struct {
	start    device.Time
	min, max float64
	avg      float64
	count    int64
}

// naive sums the readings up as History is to do with this step.
func naive(rs []device.Stored, s device.Series, q device.HistoryQuery, step int64) (out []bucket) {
	from, to := rangeOf(q.From, q.To)
	for _, whole := range []int64{3600e6, 60e6} { // of rollups
		if step >= whole {
			if q.From != 0 {
				from = floorTo(from, whole)
			}
			if q.To != 0 {
				to = floorTo(to, whole) + whole - 1
			}
			break
		}
	}
	by := map[int64]*bucket{}
	for i := range rs {
		r := &rs[i]
		x, ok := r.Value.Number()
		if !ok || r.Device != s.Device || r.Metric != s.Metric || int64(r.Time) < from || int64(r.Time) > to {
			continue
		}
		at := floorTo(int64(r.Time), step)
		b := by[at]
		if b == nil {
			b = &bucket{start: device.Time(at), min: x, max: x}
			by[at] = b
		}
		b.min, b.max, b.count = min(b.min, x), max(b.max, x), b.count+1
		b.avg = finite(b.avg + x) // divided below
	}
	for _, b := range by {
		b.avg /= float64(b.count)
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b bucket) int { return cmp.Compare(a.start, b.start) })
	return out
}

func bucketsOf(h *device.History) (out []bucket) {
	for i := range h.Start {
		out = append(out, bucket{h.Start[i], h.Min[i], h.Max[i], h.Avg[i], h.Count[i]})
	}
	return out
}

// near reports whether a and b are the same but for the order in which floats
// were added.
func near(a, b bucket) bool {
	most := max(math.Abs(a.min), math.Abs(a.max)) * 1e-9
	return a.start == b.start && a.min == b.min && a.max == b.max && a.count == b.count && math.Abs(a.avg-b.avg) <= most
}

// checkHistory asks for a range and compares with the naive sums.
func checkHistory(t *testing.T, l *Log, q device.HistoryQuery, kept, gone []device.Stored) {
	t.Helper()
	all := append(slices.Clone(kept), gone...)
	seen := map[device.Series]bool{}
	var last device.Series
	err := l.History(t.Context(), q, func(h *device.History) error {
		step := h.Step.Microseconds()
		checkStep(t, q, h)
		of := kept
		if step >= stretch.ByMinute.Length() {
			of = all
		}
		want, got := naive(of, h.Series, q, step), bucketsOf(h)
		if !slices.EqualFunc(want, got, near) {
			t.Fatalf("%v of %+v, step %v:\n%s", h.Series, q, h.Step, diffBuckets(want, got))
		}
		if seen[h.Series] || len(seen) > 0 && cmp.Or(cmp.Compare(last.Device, h.Device), cmp.Compare(last.Metric, h.Metric)) >= 0 {
			t.Fatalf("%v after %v", h.Series, last)
		}
		seen[h.Series], last = true, h.Series
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// What is gone shows in its rollups, unless something late has come instead.
	there := append(slices.Clone(kept), slices.DeleteFunc(slices.Clone(gone), func(r device.Stored) bool { return l.periodAt(int64(r.Time)) != nil })...)
	from, to := rangeOf(q.From, q.To)
	for _, r := range there {
		_, number := r.Value.Number()
		s := device.Series{Device: r.Device, Metric: r.Metric}
		if number && !seen[s] && q.Selector.Match(r.Device, r.Metric) && int64(r.Time) >= from && int64(r.Time) <= to {
			t.Fatalf("%v is missing in %+v", s, q)
		}
	}
}

// checkStep checks the step of an answer against what was asked.
func checkStep(t *testing.T, q device.HistoryQuery, h *device.History) {
	t.Helper()
	step, n := h.Step.Microseconds(), len(h.Start)
	unit := int64(1000)
	if step >= 3600e6 {
		unit = 3600e6
	} else if step >= 60e6 {
		unit = 60e6
	}
	if step <= 0 || step%unit != 0 {
		t.Fatalf("%+v: step %v", q, h.Step)
	}
	if n == 0 || n > q.Points {
		t.Fatalf("%+v: %d buckets of %v", q, n, h.Step)
	}
	if n != len(h.Min) || n != len(h.Max) || n != len(h.Avg) || n != len(h.Count) {
		t.Fatalf("%+v: columns differ in length", q)
	}
}

func diffBuckets(want, got []bucket) (out string) {
	for i := range max(len(want), len(got)) {
		var w, g bucket
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if !near(w, g) {
			out += fmt.Sprintf("%d: want %+v\n   got  %+v\n", i, w, g)
			if len(out) > 2000 {
				return out
			}
		}
	}
	return out
}

// check asks for random ranges, series and numbers of buckets.
func (p *past) check() {
	p.t.Helper()
	if p.doubled || len(p.all) == 0 {
		return
	}
	kept := p.kept()
	lo, hi := p.all[0].Time.Add(-5*time.Hour), p.clock.Add(time.Hour)
	moment := func() device.Time {
		at := lo + device.Time(p.rng.Int64N(int64(hi-lo)))
		if p.rng.IntN(4) == 0 {
			at = device.Time(floorTo(int64(at), []int64{60e6, 3600e6}[p.rng.IntN(2)]))
		}
		return at
	}
	for range 4 {
		q := device.HistoryQuery{
			Selector: p.pick(),
			Points:   []int{1, 2, 7, 50, 500, 3000}[p.rng.IntN(6)],
		}
		switch p.rng.IntN(6) {
		case 0:
			q.From = moment()
		case 1:
			q.To = moment()
		case 2, 3:
			q.From, q.To = moment(), moment()
		case 4: // a short one
			q.From = moment()
			q.To = q.From.Add(time.Duration(p.rng.Int64N(int64(10 * time.Minute))))
		}
		checkHistory(p.t, p.log, q, kept, p.gone)
	}
}

func (p *past) pick() device.Selector {
	p.t.Helper()
	of := [][2][]string{
		{}, {{"a"}, nil}, {{"?"}, {"*e*"}}, {{"c"}, {"huge"}}, {nil, {"sparse", "bursts"}}, {{"x"}, nil},
	}[p.rng.IntN(6)]
	sel, err := device.NewSelector(of[0], of[1])
	if err != nil {
		p.t.Fatal(err)
	}
	return sel
}

// TestHistoryAgainstSums does random things to a log and compares what History
// says after each with sums over the readings.
func TestHistoryAgainstSums(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	for name, c := range map[string]struct {
		keep  time.Duration
		skip  time.Duration // how long at most nothing is measured between two steps
		check func(*past) bool
	}{
		"leaving":      {90 * time.Minute, 0, func(p *past) bool { return len(p.gone) > 10_000 }},
		"leaving more": {90 * time.Minute, 20 * time.Minute, func(p *past) bool { return len(p.gone) > 10_000 }},
		"staying":      {-1, 0, func(p *past) bool { return len(p.log.shelf.tiers[stretch.ByHour]) > 0 }},
		// Files that join: their stretch of time is longer than a period.
		"joining": {-1, 6 * 24 * time.Hour, func(p *past) bool {
			return slices.ContainsFunc(p.log.shelf.periods, func(q *period) bool { return q.end-q.start > 24*3600e6 })
		}},
		"joining and leaving": {4 * 24 * time.Hour, 3 * 24 * time.Hour, func(p *past) bool { return len(p.gone) > 100 }},
	} {
		for round := range *historyRounds {
			t.Run(fmt.Sprint(name, round), func(t *testing.T) {
				t.Parallel()
				p := newPast(t, uint64(round), c.keep)
				for range 70 {
					p.step(c.skip)
					p.check()
				}
				if round == 0 && !c.check(p) {
					t.Errorf("it did not come to what is to be seen: %d readings, %d gone", len(p.all), len(p.gone))
				}
			})
		}
	}
}

// step does one of the things that happen to a log.
func (p *past) step(skip time.Duration) {
	p.t.Helper()
	switch p.rng.IntN(14) {
	case 0, 1, 2, 3:
		if skip > 0 && p.rng.IntN(3) == 0 {
			p.clock = p.clock.Add(time.Duration(p.rng.Int64N(int64(skip))))
			p.now = p.clock.Std()
			p.letGo()
		}
		p.grow(time.Duration(1+p.rng.IntN(30)) * time.Minute)
	case 4:
		if len(p.all) > 0 {
			p.late()
		}
	case 5:
		p.commit()
	case 6:
		p.flush()
	case 7, 8:
		p.flushAll()
	case 9, 10, 11:
		p.seal()
		p.letGo()
	case 12:
		p.reopen()
	case 13:
		p.crash()
	}
}

// TestHistoryRanges lists ranges over ten minutes with a reading every ten
// seconds, from an hour on: what each gives is the same wherever the readings are.
func TestHistoryRanges(t *testing.T) {
	const s, begin = 1_000_000, 490_000 * 3600 * 1_000_000
	l := openLog(t, Config{RetainAge: -1})
	var rs []device.Reading
	for i := range 60 {
		at := begin + device.Time(i*10*s)
		rs = append(
			rs,
			device.Reading{Device: "d", Metric: "n", Time: at, Value: device.Int(int64(i))},
			device.Reading{Device: "d", Metric: "on", Time: at, Value: device.Bool(i%3 == 0)},
			device.Reading{Device: "d", Metric: "words", Time: at, Value: mustText(t, "none")},
			device.Reading{Device: "old", Metric: "n", Time: at - begin - 300*s, Value: device.Int(int64(i))},
		)
	}
	if _, err := l.Append(rs); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		device, metric string
		from, to       device.Time // after begin; 0: open
		points         int
		step           time.Duration // 0: not to be checked, nor are starts
		starts         []device.Time // after begin
		count          []int64
		avg            []float64
	}{
		"a minute each": {"d", "n", -1, 120 * s, 2, time.Minute, []device.Time{0, 60 * s}, []int64{6, 6}, []float64{2.5, 8.5}},
		"all":           {"d", "n", 0, 0, 1, 10 * time.Minute, []device.Time{0}, []int64{60}, []float64{29.5}},
		"open end":      {"d", "n", 540 * s, 0, 100, 0, make([]device.Time, 6), []int64{1, 1, 1, 1, 1, 1}, []float64{54, 55, 56, 57, 58, 59}},
		"open begin":    {"d", "n", 0, 60 * s, 1, time.Minute, []device.Time{0}, []int64{6}, []float64{2.5}},
		// Minutes are whole, and two more of them are cut than fit into two buckets.
		"cut minutes":        {"d", "n", 30 * s, 150 * s, 2, 2 * time.Minute, []device.Time{0, 120 * s}, []int64{12, 6}, []float64{5.5, 14.5}},
		"one of cut minutes": {"d", "n", 30 * s, 90 * s, 1, 2 * time.Minute, []device.Time{0}, []int64{12}, []float64{5.5}},
		"cut seconds":        {"d", "n", 15 * s, 45 * s, 3, 15 * time.Second, []device.Time{15 * s, 30 * s}, []int64{1, 2}, []float64{2, 3.5}},
		"one reading":        {"d", "n", 20 * s, 20*s + 1, 1000, time.Millisecond, []device.Time{20 * s}, []int64{1}, []float64{2}},
		"between readings":   {"d", "n", 20*s + 1, 30 * s, 10, 0, nil, nil, nil},
		"before all":         {"d", "n", -7200 * s, -3600 * s, 10, 0, nil, nil, nil},
		"behind all":         {"d", "n", 3600 * s, 7200 * s, 10, 0, nil, nil, nil},
		"upside down":        {"d", "n", 60 * s, 30 * s, 10, 0, nil, nil, nil},
		"booleans":           {"d", "on", 0, 0, 1, 10 * time.Minute, []device.Time{0}, []int64{60}, []float64{1.0 / 3}},
		"texts":              {"d", "words", 0, 0, 1, 0, nil, nil, nil},
		"around the epoch":   {"old", "n", -begin - 300*s, -begin + 300*s, 2, 5 * time.Minute, []device.Time{-begin - 300*s, -begin}, []int64{30, 30}, []float64{14.5, 44.5}},
		"two for one":        {"old", "n", -begin - 300*s, -begin + 300*s, 1, 10 * time.Minute, []device.Time{-begin - 600*s, -begin}, []int64{30, 30}, []float64{14.5, 44.5}},
		"nobody":             {"x", "n", 0, 0, 1, 0, nil, nil, nil},
		"for ever":           {"d", "n", -begin - farthest, farthest - begin, 10, 0, []device.Time{0}, []int64{60}, []float64{29.5}},
	}
	check := func(t *testing.T) {
		for name, c := range cases {
			sel, err := device.NewSelector([]string{c.device}, []string{c.metric})
			if err != nil {
				t.Fatal(err)
			}
			q := device.HistoryQuery{Selector: sel, Points: c.points}
			if c.from != 0 {
				q.From = c.from + begin
			}
			if c.from == -1 { // at begin, which 0 would leave open
				q.From = begin
			}
			if c.to != 0 {
				q.To = c.to + begin
			}
			var got []device.History
			if err := l.History(t.Context(), q, func(h *device.History) error { got = append(got, *h); return nil }); err != nil {
				t.Fatal(err)
			}
			if len(c.starts) == 0 {
				if len(got) != 0 {
					t.Errorf("%s: %+v, want nothing", name, got)
				}
				continue
			}
			if len(got) != 1 || len(got[0].Start) != len(c.starts) || c.step != 0 && got[0].Step != c.step {
				t.Errorf("%s: %+v, want %d buckets of %v", name, got, len(c.starts), c.step)
				continue
			}
			for i := range c.starts {
				b := bucketsOf(&got[0])[i]
				if c.step != 0 && b.start != c.starts[i]+begin || b.count != c.count[i] || math.Abs(b.avg-c.avg[i]) > 1e-9 {
					t.Errorf("%s: bucket %d is %+v, %v after the begin", name, i, b, b.start.Sub(begin))
				}
			}
		}
	}
	t.Run("in heads", check)
	if err := l.flush(t.Context(), allDevices); err != nil {
		t.Fatal(err)
	}
	t.Run("flushed", check)
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("sealed", check)
}
