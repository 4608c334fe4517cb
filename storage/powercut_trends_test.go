package storage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// trendKey is a bucket of a series.
type trendKey struct {
	device.Series
	start int64
}

// sumUp returns the sums over readings in buckets of so many microseconds, as
// History has them.
func sumUp(all []device.Stored, step int64, want func(*device.Stored) bool) map[trendKey]*sums {
	out := map[trendKey]*sums{}
	for i := range all {
		r := &all[i]
		x, ok := r.Value.Number()
		if !ok || !want(r) {
			continue
		}
		k := trendKey{device.Series{Device: r.Device, Metric: r.Metric}, floorTo(int64(r.Time), step)}
		s := out[k]
		if s == nil {
			s = &sums{min: x, max: x}
			out[k] = s
		}
		s.min, s.max, s.sum, s.count = min(s.min, x), max(s.max, x), s.sum+x, s.count+1
	}
	return out
}

// trendQueries are for all that is there, by minutes and by hours, and for
// a part of it.
func (k *cutChecker) trendQueries(all []device.Stored) (qs []device.HistoryQuery) {
	lo, hi := all[0].Time, all[0].Time
	for i := range all {
		lo, hi = min(lo, all[i].Time), max(hi, all[i].Time)
	}
	hour := stretch.ByHour.Length()
	from := floorTo(int64(lo), hour)
	hours := (floorTo(int64(hi), hour) + hour - from) / hour
	query := func(from, hours, perHour int64) device.HistoryQuery {
		return device.HistoryQuery{From: device.Time(from), To: device.Time(from + hours*hour), Points: int(hours * perHour)}
	}
	part := 1 + k.rng.Int64N(hours)
	return []device.HistoryQuery{
		query(from, hours, 60), query(from, hours, 1), query(from+k.rng.Int64N(hours-part+1)*hour, part, 1+k.rng.Int64N(60)),
	}
}

// checkTrends compares what History says with sums over the readings that can be
// read. Where retention has taken some it may say more, but not more than all that
// ever came.
func (k *cutChecker) checkTrends(ctx context.Context, l *Log, read []device.Stored) error {
	if len(read) == 0 {
		return nil
	}
	exact := l.unflushed == 0
	for _, q := range k.trendQueries(read) {
		var got []device.History
		err := l.History(ctx, q, func(h *device.History) error {
			got = append(got, device.History{
				Series: h.Series, Step: h.Step, Start: slices.Clone(h.Start), Min: slices.Clone(h.Min),
				Max: slices.Clone(h.Max), Avg: slices.Clone(h.Avg), Count: slices.Clone(h.Count),
			})
			return nil
		})
		if err == nil {
			err = k.compareTrends(q, got, read, exact)
		}
		if err != nil {
			return fmt.Errorf("%d points from %d to %d: %w", q.Points, q.From, q.To, err)
		}
	}
	return nil
}

// compareTrends compares each series at its own step: it is an hour where retention
// has left nothing finer of some time.
func (k *cutChecker) compareTrends(q device.HistoryQuery, got []device.History, read []device.Stored, exact bool) error {
	_, fine := resolution(int64(q.From), int64(q.To), int64(q.Points), stretch.Readings)
	_, coarse := resolution(int64(q.From), int64(q.To), int64(q.Points), stretch.ByHour)
	coarser := map[device.Series]bool{}
	var wrong []error
	for i := range got {
		switch step := got[i].Step.Microseconds(); {
		case step == fine:
		case step == coarse && len(k.gone) > 0:
			coarser[got[i].Series] = true
		default:
			wrong = append(wrong, fmt.Errorf("step %d µs, want %d", step, fine))
		}
	}
	for _, step := range []int64{fine, coarse} {
		if step == coarse && len(coarser) == 0 {
			break
		}
		covered := func(r *device.Stored) bool {
			return r.Time >= q.From && r.Time < q.To && (exact || r.Metric != powercutAgain) &&
				coarser[keyOf(&r.Reading).Series] == (step != fine)
		}
		wrong = append(wrong, k.compareBuckets(step, got, sumUp(read, step, covered), k.everGiven(read, step, covered), exact)...)
	}
	if n := len(wrong); n > 3 {
		wrong = append(wrong[:3], fmt.Errorf("and %d more of %d series", n-3, len(got)))
	}
	return errors.Join(wrong...)
}

// compareBuckets compares the series of a step with what is wanted, or, where
// retention has taken readings, with most.
func (k *cutChecker) compareBuckets(step int64, got []device.History, want map[trendKey]*sums, most map[trendKey]int64, exact bool) (wrong []error) {
	for i := range got {
		h := &got[i]
		if h.Step.Microseconds() != step || !exact && h.Metric == powercutAgain {
			continue
		}
		for j, start := range h.Start {
			key := trendKey{h.Series, int64(start)}
			w := want[key]
			delete(want, key)
			switch {
			case !k.reached(int64(start), step):
				if w == nil || w.count != h.Count[j] || w.min != h.Min[j] || w.max != h.Max[j] || !nearly(w.sum/float64(w.count), h.Avg[j]) {
					wrong = append(wrong, fmt.Errorf("%s of %s at %d: min %g, max %g, avg %g, count %d, want %+v",
						h.Metric, h.Device, start, h.Min[j], h.Max[j], h.Avg[j], h.Count[j], w))
				}
			case h.Count[j] > most[key] || w != nil && h.Count[j] < w.count:
				wrong = append(wrong, fmt.Errorf("%s of %s at %d: count %d, can be read %+v, at most %d",
					h.Metric, h.Device, start, h.Count[j], w, most[key]))
			}
		}
	}
	for key, w := range want {
		wrong = append(wrong, fmt.Errorf("%s of %s at %d is not there, want %+v", key.Metric, key.Device, key.start, *w))
	}
	return wrong
}

func nearly(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b)) }

// reached reports whether retention has taken any of the bucket's readings.
func (k *cutChecker) reached(start, step int64) bool {
	return slices.ContainsFunc(k.gone, func(g gone) bool { return g.reaches(start, start+step) })
}

// everGiven counts all that ever came in the buckets of which retention has taken
// readings.
func (k *cutChecker) everGiven(read []device.Stored, step int64, covered func(*device.Stored) bool) map[trendKey]int64 {
	most := map[trendKey]int64{}
	count := func(r *device.Stored) {
		if _, ok := r.Value.Number(); ok && covered(r) {
			most[trendKey{device.Series{Device: r.Device, Metric: r.Metric}, floorTo(int64(r.Time), step)}]++
		}
	}
	for o, r := range k.readings {
		if k.reached(floorTo(int64(r.Time), step), step) && o <= k.left.head {
			count(&device.Stored{Offset: o, Reading: r})
		}
	}
	for i := range read {
		if read[i].Offset > k.left.head {
			count(&read[i])
		}
	}
	return most
}
