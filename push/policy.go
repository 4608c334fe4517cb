package push

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// Bounds of a Policy.
const (
	MinEvery = 100 * time.Millisecond
	MaxEvery = time.Hour
	// maxTracked bounds the series of which a viewer's deadband remembers the last
	// reading. Of others everything passes.
	maxTracked = 10_000
)

// Policy says which of the readings that a viewer has selected he gets. The zero
// Policy is all of them.
type Policy struct {
	// Latest leaves out all but the newest reading of each series wherever several
	// are to be delivered at once.
	Latest bool
	// Every is how far messages are apart at least, each with the newest reading of
	// each series: nobody gets more than one in that time. 0: as they come.
	Every time.Duration
	// Changes leaves out readings that do not differ from the last of their series
	// that was delivered; numbers differ when they are Deadband apart.
	Changes  bool
	Deadband float64
}

// ParsePolicy reads what a viewer asks for: policy is all, latest or nothing, every a
// duration and deadband a number, or nothing. Its errors are for the viewer.
func ParsePolicy(policy, every, deadband string) (Policy, error) {
	var p Policy
	switch policy {
	case "", "all":
	case "latest":
		p.Latest = true
	default:
		return Policy{}, fmt.Errorf(`policy: want all or latest, not %q`, policy)
	}
	if every != "" {
		d, err := time.ParseDuration(every)
		if err != nil || d < MinEvery || d > MaxEvery {
			return Policy{}, fmt.Errorf("every: want a duration from %s to %s, such as 1s", MinEvery, MaxEvery)
		}
		p.Every, p.Latest = d, true
	}
	if deadband != "" {
		f, err := strconv.ParseFloat(deadband, 64)
		if err != nil || !(f >= 0) || math.IsInf(f, 0) {
			return Policy{}, errors.New("deadband: want a number, not negative")
		}
		p.Changes, p.Deadband = true, f
	}
	return p, nil
}

// key tells apart the topics of one selector.
func (p *Policy) key() string {
	if !p.Latest {
		return ""
	}
	return "\x02" + p.Every.String()
}

// newest returns the offsets of the newest readings of each series among those of
// ascending offsets, ascending.
func newest(offsets []uint64, at func(offset uint64) *device.Stored) []uint64 {
	last := map[device.Series]uint64{}
	for _, offset := range offsets {
		s := at(offset)
		last[device.Series{Device: s.Device, Metric: s.Metric}] = offset
	}
	return slices.Sorted(maps.Values(last))
}

// deadband remembers what a viewer has got last of each series.
type deadband struct {
	width float64
	last  map[device.Series]device.Value
}

// passes reports whether the reading differs enough, and remembers it then.
func (d *deadband) passes(s *device.Stored) bool {
	series := device.Series{Device: s.Device, Metric: s.Metric}
	old, known := d.last[series]
	if known && !differs(old, s.Value, d.width) {
		return false
	}
	if known || len(d.last) < maxTracked {
		if d.last == nil {
			d.last = map[device.Series]device.Value{}
		}
		d.last[series] = s.Value
	}
	return true
}

// differs reports whether b is another value than a, and as numbers at least width
// away.
func differs(a, b device.Value, width float64) bool {
	x, isNumber := a.Number()
	y, both := b.Number()
	if isNumber && both {
		return x != y && math.Abs(x-y) >= width
	}
	return cmp.Or(a.Kind() != b.Kind(), a.String() != b.String())
}
