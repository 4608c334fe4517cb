package storage

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// model is the naive log that the real one is compared with.
type model struct {
	t    *testing.T
	rng  *rand.Rand
	cfg  Config
	now  time.Time
	log  *Log
	all  []device.Stored // every reading that was not lost in a crash
	last map[device.Series]device.Stored
	// top is the largest offset ever handed out, lost ones included.
	top uint64
	// left are stretches of time whose readings retention has taken, up to an
	// offset.
	left []leftPeriod
}

type leftPeriod struct {
	start, end int64
	before     uint64
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_764_000_000, 0), last: map[device.Series]device.Stored{}}
	m.cfg = Config{
		Dir: t.TempDir(), LogAge: 20 * time.Minute, RetainAge: 90 * time.Minute, Period: time.Hour,
		Now: func() time.Time { return m.now },
	}
	m.open()
	t.Cleanup(func() {
		if err := m.log.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func (m *model) open() {
	m.t.Helper()
	var err error
	if m.log, err = Open(m.cfg); err != nil {
		m.t.Fatal(err)
	}
}

// reading makes a reading with a device clock that is wrong at times.
func (m *model) reading() device.Reading {
	received := device.TimeOf(m.now)
	r := device.Reading{
		Device:   device.ID(fmt.Sprintf("d%d", m.rng.IntN(4))),
		Metric:   device.Metric(fmt.Sprintf("m%d", int(m.rng.ExpFloat64()*2))),
		Time:     received - device.Time(m.rng.Int64N(int64(10*time.Minute/time.Microsecond))),
		Received: received,
	}
	switch m.rng.IntN(20) {
	case 0: // late
		r.Time -= device.Time(m.rng.Int64N(int64(8 * time.Hour / time.Microsecond)))
	case 1, 2: // the time of another reading, and perhaps its series
		if len(m.all) > 0 {
			r.Time = m.all[m.rng.IntN(len(m.all))].Time
		}
	}
	switch m.rng.IntN(4) {
	case 0:
		r.Value = device.Int(m.rng.Int64N(1000))
	case 1:
		r.Value = mustText(m.t, fmt.Sprint(m.rng.IntN(100)))
	default:
		r.Value = float(m.t, math.Round(m.rng.NormFloat64()*1e3)/100)
	}
	return r
}

func (m *model) append(n int) {
	m.t.Helper()
	rs := make([]device.Reading, n)
	for i := range rs {
		rs[i] = m.reading()
	}
	last, err := m.log.Append(rs)
	if err != nil {
		m.t.Fatal(err)
	}
	first := last - uint64(n) + 1
	if first <= m.top {
		m.t.Fatalf("offset %d given again, %d was reached", first, m.top)
	}
	m.top = last
	for i, r := range rs {
		s := device.Stored{Offset: first + uint64(i), Reading: r}
		m.all = append(m.all, s)
		m.last[device.Series{Device: r.Device, Metric: r.Metric}] = s
	}
}

func (m *model) commit() {
	m.t.Helper()
	if err := m.log.commit(commitDue); err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) reopen() {
	m.t.Helper()
	_, head := m.log.Bounds()
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.open()
	if _, got := m.log.Bounds(); got != head {
		m.t.Errorf("head %d after a clean end, was %d", got, head)
	}
}

// crash goes on with the files as they are now, without what is pending.
func (m *model) crash() {
	m.t.Helper()
	durable := m.log.Durable()
	dir := m.t.TempDir()
	copyFolder(m.t, m.cfg.Dir, dir)
	if err := m.log.Close(); err != nil {
		m.t.Fatal(err)
	}
	m.cfg.Dir = dir
	m.open()
	m.all = slices.DeleteFunc(m.all, func(r device.Stored) bool { return r.Offset > durable })
	clear(m.last)
	for _, r := range m.all {
		m.last[device.Series{Device: r.Device, Metric: r.Metric}] = r
	}
}

// flush moves readings into blocks: of one device, or all.
func (m *model) flush() {
	m.t.Helper()
	one := device.ID(fmt.Sprintf("d%d", m.rng.IntN(8)))
	err := m.log.flush(m.t.Context(), func(d *deviceState) bool { return one > "d3" || d.id == one })
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *model) seal() {
	m.t.Helper()
	err := m.log.sealDue(m.t.Context())
	if m.rng.IntN(8) == 0 {
		err = m.log.sealAll(m.t.Context())
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// retain lets retention go by age and notes what it took.
func (m *model) retain() {
	m.t.Helper()
	before := m.log.shelf.periods
	if err := m.log.retain(m.t.Context(), nil); err != nil {
		m.t.Fatal(err)
	}
	floor, _ := m.log.Bounds()
	for _, p := range before {
		if p.sealed != nil && !slices.Contains(m.log.shelf.periods, p) {
			m.left = append(m.left, leftPeriod{p.start, p.end, floor})
		}
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// gone reports whether retention took the reading.
func (m *model) gone(r *device.Stored) bool {
	return slices.ContainsFunc(m.left, func(l leftPeriod) bool {
		return int64(r.Time) >= l.start && int64(r.Time) < l.end && r.Offset <= l.before
	})
}

// kept returns what is to be read: of readings of the same series and time the
// last, in the order of offsets.
func (m *model) kept() (kept []device.Stored) {
	type key struct {
		device.Series
		device.Time
	}
	seen := map[key]bool{}
	for i := range slices.Backward(m.all) {
		r := m.all[i]
		k := key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}
		if !m.gone(&r) && !seen[k] {
			seen[k] = true
			kept = append(kept, r)
		}
	}
	slices.Reverse(kept)
	return kept
}

// followed returns what a viewer is to get who goes on from a cursor: what the
// log has, and below it what is in blocks.
func (m *model) followed() []device.Stored {
	floor, _ := m.log.Bounds()
	var out []device.Stored
	for _, r := range m.kept() {
		if r.Offset > floor && r.Offset <= m.log.logFloor {
			out = append(out, r)
		}
	}
	for _, r := range m.all {
		if r.Offset > max(m.log.logFloor, floor) {
			out = append(out, r)
		}
	}
	return out
}

// diffStored is cmp.Diff, but fast where nothing differs. The time of receipt
// is left aside: blocks do not have it.
func diffStored(want, got []device.Stored) string {
	want, got = slices.Clone(want), slices.Clone(got)
	for _, rs := range [][]device.Stored{want, got} {
		for i := range rs {
			rs[i].Received = 0
		}
	}
	if slices.Equal(want, got) {
		return ""
	}
	return gocmp.Diff(want, got, sameValue)
}

func (m *model) selector() device.Selector {
	var devices, metrics []string
	for range m.rng.IntN(3) {
		devices = append(devices, []string{"d1", "d?", "d3", "x"}[m.rng.IntN(4)])
	}
	for range m.rng.IntN(3) {
		metrics = append(metrics, []string{"m0", "m1", "m*", "m?", "m1?"}[m.rng.IntN(5)])
	}
	sel, err := device.NewSelector(devices, metrics)
	if err != nil {
		m.t.Fatal(err)
	}
	return sel
}

func (m *model) query() device.Query {
	q := device.Query{Selector: m.selector(), Desc: m.rng.IntN(2) == 0}
	kept := m.kept()
	pick := func() device.Stored { return kept[m.rng.IntN(len(kept))] }
	if len(kept) > 0 {
		if m.rng.IntN(2) == 0 {
			q.From = pick().Time
		}
		if m.rng.IntN(2) == 0 {
			q.To = pick().Time
		}
		if m.rng.IntN(2) == 0 {
			q.After = pick().Offset
		}
	}
	if m.rng.IntN(3) == 0 {
		q.Limit = 1 + m.rng.IntN(100)
	}
	return q
}

func (m *model) answer(of []device.Stored, q device.Query) (want []device.Stored) {
	for _, r := range of {
		if r.Offset > q.After && q.Selector.Match(r.Device, r.Metric) && q.Covers(r.Time) {
			want = append(want, r)
		}
	}
	if q.Desc {
		slices.Reverse(want)
	}
	if q.Limit > 0 && len(want) > q.Limit {
		want = want[:q.Limit]
	}
	return want
}

func (m *model) check() {
	m.t.Helper()
	q := m.query()
	want := m.answer(m.kept(), q)
	if diff := diffStored(want, readAll(m.t, m.log, q)); diff != "" {
		m.t.Fatalf("Read %+v (-want +got):\n%s", q, diff)
	}
	n, err := m.log.Count(m.t.Context(), q)
	if err != nil || n != int64(len(want)) {
		m.t.Fatalf("Count %+v: %d, %v, want %d", q, n, err, len(want))
	}
	m.checkAfter()
	m.checkLatest()
	m.checkSeries()
}

func (m *model) checkAfter() {
	m.t.Helper()
	sel := m.selector()
	_, head := m.log.Bounds()
	after := m.rng.Uint64N(head + 2)
	want := m.answer(m.followed(), device.Query{Selector: sel, After: after})
	var got []device.Stored
	for next := after; ; {
		limit := 1 + m.rng.IntN(300)
		rs, n, err := m.log.After(m.t.Context(), sel, next, limit)
		if err != nil || len(rs) > limit || n < next || len(rs) > 0 && n < rs[len(rs)-1].Offset {
			m.t.Fatalf("After %d: %d readings, next %d, %v", next, len(rs), n, err)
		}
		got = append(got, rs...)
		if n >= head {
			break
		}
		if n == next {
			m.t.Fatalf("After %d makes no progress", next)
		}
		next = n
	}
	if diff := diffStored(want, got); diff != "" {
		m.t.Fatalf("After %d (-want +got):\n%s", after, diff)
	}
}

func (m *model) checkLatest() {
	m.t.Helper()
	sel := m.selector()
	n := []int{1, 2, 5, 40, MaxLatest}[m.rng.IntN(5)]
	_, wantHead := m.log.Bounds()
	got, head, err := m.log.Latest(m.t.Context(), sel, n)
	if err != nil || head != wantHead {
		m.t.Fatalf("Latest: head %d, %v, want %d", head, err, wantHead)
	}
	left := map[device.Series]int{}
	var want []device.Stored
	there := m.kept()
	floor, _ := m.log.Bounds()
	there = slices.DeleteFunc(there, func(r device.Stored) bool { return r.Offset > max(m.log.logFloor, floor) })
	for _, r := range m.all {
		if r.Offset > max(m.log.logFloor, floor) {
			there = append(there, r)
		}
	}
	for _, r := range slices.Backward(there) {
		s := device.Series{Device: r.Device, Metric: r.Metric}
		if sel.Match(r.Device, r.Metric) && left[s] < n {
			left[s]++
			want = append(want, r)
		}
	}
	for s, r := range m.last {
		if left[s] == 0 && sel.Match(r.Device, r.Metric) {
			want = append(want, r)
		}
	}
	slices.SortFunc(want, byOffset)
	if diff := diffStored(want, got); diff != "" {
		m.t.Fatalf("Latest %d (-want +got):\n%s", n, diff)
	}
}

// vague reports whether the counts of series may be too large: what replaces
// another reading is known when it is flushed, or when its period is sealed anew.
func (m *model) vague() bool {
	return m.log.unflushed > 0 || slices.ContainsFunc(m.log.shelf.periods, func(p *period) bool { return p.sealed != nil && p.cold != nil })
}

func (m *model) checkSeries() {
	m.t.Helper()
	count := map[device.Series]int64{}
	devices := map[device.ID]*device.Info{}
	for _, r := range m.kept() {
		count[device.Series{Device: r.Device, Metric: r.Metric}]++
	}
	var want []device.SeriesInfo
	newest := map[device.ID]uint64{}
	for s, r := range m.last {
		want = append(want, device.SeriesInfo{Series: s, Last: r, Count: count[s]})
		d := devices[s.Device]
		if d == nil {
			d = &device.Info{ID: s.Device}
			devices[s.Device] = d
		}
		d.Series++
		d.Count += count[s]
		if r.Offset > newest[s.Device] {
			newest[s.Device], d.LastTime, d.LastReceived = r.Offset, r.Time, r.Received
		}
	}
	slices.SortFunc(want, func(a, b device.SeriesInfo) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Metric, b.Metric))
	})
	got := m.log.Series(device.Selector{})
	if len(got) == 0 {
		got = nil
	}
	if m.vague() {
		for i := range got {
			if i < len(want) && got[i].Count >= want[i].Count {
				got[i].Count = want[i].Count
			}
		}
	}
	if diff := gocmp.Diff(want, got, sameValue); diff != "" {
		m.t.Fatalf("Series (-want +got):\n%s", diff)
	}
	infos := m.log.Devices()
	if len(infos) != len(devices) {
		m.t.Fatalf("%d devices, want %d", len(infos), len(devices))
	}
	for _, info := range infos {
		one, ok := m.log.Device(info.ID)
		want := *devices[info.ID]
		if m.vague() {
			want.Count = info.Count
		}
		if info != want || !ok || one != want {
			m.t.Fatalf("device %+v, %+v, want %+v", info, one, want)
		}
	}
}

// TestAgainstModel does random things to a log and compares every answer with
// that of a slice.
func TestAgainstModel(t *testing.T) {
	seeds, rounds := uint64(3), 200
	if testing.Short() { // where the processor is emulated
		seeds, rounds = 1, 60
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			for range rounds {
				switch m.rng.IntN(16) {
				case 0, 1, 2, 3, 4:
					m.append(1 + m.rng.IntN(60))
				case 5:
					m.append(m.rng.IntN(2*maxBatchReadings)/(1+m.rng.IntN(20)) + 1)
				case 6, 7, 8:
					m.commit()
				case 9:
					m.now = m.now.Add(time.Duration(m.rng.Int64N(int64(time.Hour))))
				case 10:
					m.reopen()
				case 11:
					m.crash()
				case 12, 13:
					m.flush()
				case 14:
					m.seal()
				case 15:
					m.retain()
				}
				m.check()
			}
			if floor, _ := m.log.Bounds(); !testing.Short() && (floor == 0 || m.log.logFloor <= floor) {
				t.Errorf("floor %d, of the log %d: retention never dropped anything", floor, m.log.logFloor)
			}
		})
	}
}
