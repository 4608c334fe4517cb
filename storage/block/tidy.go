package block

import (
	"cmp"
	"slices"

	"github.com/naru-telemetry/naru/device"
)

// Tidy brings the readings into the order of their times. Of readings with the
// same time only the one with the highest offset stays.
func (s *Series) Tidy() {
	tidy := true
	for i := 1; i < len(s.Times) && tidy; i++ {
		tidy = s.Times[i-1] < s.Times[i]
	}
	if tidy {
		return
	}
	order := make([]int, len(s.Times))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(s.Times[a], s.Times[b]), cmp.Compare(s.Offsets[a], s.Offsets[b]))
	})
	times := make([]int64, 0, len(order))
	offsets := make([]uint64, 0, len(order))
	values := make([]device.Value, 0, len(order))
	for i, k := range order {
		if i+1 < len(order) && s.Times[order[i+1]] == s.Times[k] {
			continue
		}
		times = append(times, s.Times[k])
		offsets = append(offsets, s.Offsets[k])
		values = append(values, s.Values[k])
	}
	s.Times, s.Offsets, s.Values = times, offsets, values
}
