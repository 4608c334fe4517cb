package storage

import (
	"slices"

	"github.com/naru-telemetry/naru/storage/stretch"
)

// shelf holds the files of the history. Its fields are guarded by Log.mu and
// change by the keeper only; a slice that was handed out does not change.
type shelf struct {
	periods []*period // ascending; they do not overlap
	// tiers are the sealed files of the rollups, ascending, which do not overlap.
	tiers [stretch.Tiers][]*volume
}

// period is a stretch of time with its readings. The files are guarded by
// Log.mu and set by the keeper only.
type period struct {
	start, end int64
	// sealed has what was there when the period was over, nil before; cold has
	// what came before that or came late after it. What is in both counts as it
	// is in cold.
	sealed, cold *volume
	// unrolled says that the file with the rollups of the sealed one was lost: they
	// are to be made anew.
	unrolled bool
}

// volumes returns the files with the readings of the period, that which counts
// where both have one last.
func (p *period) volumes() []*volume {
	return slices.DeleteFunc([]*volume{p.sealed, p.cold}, func(v *volume) bool { return v == nil })
}

// uncovered reports whether the sealed file of a period has rollups that are in no
// file.
func (s *shelf) uncovered(p *period) bool {
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if p.sealed != nil && p.sealed.rolled[t] && !covers(s.tiers[t], p) {
			return true
		}
	}
	return false
}

// covers reports whether one of the files has all times of the period.
func covers(files []*volume, p *period) bool {
	return slices.ContainsFunc(files, func(v *volume) bool { return v.meta.Start <= p.start && v.meta.End >= p.end })
}

// place puts a file where it belongs and reports whether the place was free.
// Files come in the order of their starts.
func (s *shelf) place(v *volume) bool {
	for t := stretch.ByMinute; int(t) < stretch.Tiers; t++ {
		if v.meta.Kind != t.Kind() {
			continue
		}
		if n := len(s.tiers[t]); n > 0 && s.tiers[t][n-1].meta.End > v.meta.Start {
			return false
		}
		s.tiers[t] = append(s.tiers[t], v)
		return true
	}
	var last *period
	if n := len(s.periods); n > 0 {
		last = s.periods[n-1]
	}
	if last == nil || last.end <= v.meta.Start {
		last = &period{start: v.meta.Start, end: v.meta.End}
		s.periods = append(s.periods, last)
	}
	switch {
	case last.start != v.meta.Start || last.end != v.meta.End:
		return false
	case v.meta.Kind == stretch.Cold && last.cold == nil:
		last.cold = v
	case v.meta.Kind == stretch.Raw && last.sealed == nil:
		last.sealed = v
	default:
		return false
	}
	return true
}

// covering returns the index of the period that has the time, or where it would
// stand.
func (s *shelf) covering(t int64) (int, bool) {
	i, _ := slices.BinarySearchFunc(s.periods, t, func(p *period, t int64) int {
		if p.end <= t {
			return -1
		}
		return 1
	})
	return i, i < len(s.periods) && s.periods[i].start <= t
}

// volumes returns all files.
func (s *shelf) volumes() (all []*volume) {
	for _, p := range s.periods {
		all = append(all, p.volumes()...)
	}
	for _, t := range s.tiers {
		all = append(all, t...)
	}
	return all
}

// done returns the offset up to which the readings of the device with this time
// are in blocks.
func (s *shelf) done(number uint32, t int64) (offset uint64) {
	i, ok := s.covering(t)
	if !ok {
		return 0
	}
	p := s.periods[i]
	for _, v := range []*volume{p.sealed, p.cold} { // without allocating: opening asks for every reading
		if v == nil {
			continue
		}
		if r := v.devices[number]; r != nil {
			offset = max(offset, r.done)
		}
	}
	return offset
}
