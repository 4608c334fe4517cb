package storage

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// History calls yield with each series that q selects and that has numeric
// readings in the range, sorted by device and metric. Booleans count as 0 and
// 1. What yield gets is valid until it returns; an error from it ends the
// reading and is returned as it is.
func (l *Log) History(ctx context.Context, q device.HistoryQuery, yield func(*device.History) error) error {
	if q.Points < 1 {
		return fmt.Errorf("storage: history: %d points", q.Points)
	}
	for _, info := range l.Series(q.Selector) {
		sel, err := device.NewSelector([]string{string(info.Device)}, []string{string(info.Metric)})
		if err != nil {
			return fmt.Errorf("storage: history: %w", err)
		}
		var times []device.Time
		var values []float64
		lo, hi := device.Time(math.MaxInt64), device.Time(math.MinInt64)
		err = l.Read(ctx, device.Query{Selector: sel, From: q.From, To: q.To}, func(s *device.Stored) error {
			var v float64
			switch s.Value.Kind() {
			case device.KindFloat:
				v = s.Value.Float()
			case device.KindInt:
				v = float64(s.Value.Int())
			case device.KindBool:
				if s.Value.Bool() {
					v = 1
				}
			default:
				return nil
			}
			times, values = append(times, s.Time), append(values, v)
			lo, hi = min(lo, s.Time), max(hi, s.Time)
			return nil
		})
		if err != nil {
			return err
		}
		if len(times) == 0 {
			continue
		}
		from, to := q.From, q.To
		if from == 0 {
			from = lo
		}
		if to == 0 {
			to = hi + 1
		}
		step := max((int64(to-from)+int64(q.Points)-1)/int64(q.Points), 1000)
		step = (step + 999) / 1000 * 1000
		buckets := map[int64]int{}
		h := device.History{Series: info.Series, Step: time.Duration(step) * time.Microsecond}
		for b := int64(lo) / step; b <= int64(hi)/step; b++ {
			buckets[b] = -1
		}
		for i, t := range times {
			if k := int64(t) / step; buckets[k] < 0 {
				buckets[k] = 1
			}
			_ = i
		}
		for b := int64(lo) / step; b <= int64(hi)/step; b++ {
			if buckets[b] < 0 {
				continue
			}
			buckets[b] = len(h.Start)
			h.Start = append(h.Start, device.Time(b*step))
			h.Min, h.Max = append(h.Min, math.Inf(1)), append(h.Max, math.Inf(-1))
			h.Avg, h.Count = append(h.Avg, 0), append(h.Count, 0)
		}
		for i, t := range times {
			k := buckets[int64(t)/step]
			h.Min[k], h.Max[k] = min(h.Min[k], values[i]), max(h.Max[k], values[i])
			h.Avg[k] += values[i]
			h.Count[k]++
		}
		for k := range h.Avg {
			h.Avg[k] /= float64(h.Count[k])
		}
		if err := yield(&h); err != nil {
			return err
		}
	}
	return nil
}
