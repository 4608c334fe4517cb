package ingest

import (
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// rhythmGaps is of how many intervals the median is taken: one outage, or two,
	// do not move it.
	rhythmGaps = 9
	// rhythmTurn parts what a device says in one go from what it says the next
	// time.
	rhythmTurn = 500 * time.Millisecond
	// minPatience is the shortest silence that means something, firstPatience that
	// of a device with no intervals yet.
	minPatience   = 5 * time.Second
	firstPatience = time.Minute
	// lateIntervals is how many intervals of silence make a device late. Three times as much make it
	// offline.
	lateIntervals = 3
)

// rhythm is how a device uses to send. Times are nanoseconds of service, which
// no clock that is set can move.
type rhythm struct {
	turn, last int64              // when the present turn began, and when the device was last heard
	gaps       [rhythmGaps]uint32 // milliseconds between turns, a ring
	n          int                // turns after the first
	heard      bool
}

// hear notes that the device was heard.
func (r *rhythm) hear(at int64) {
	r.last = at
	if r.heard && at-r.turn < int64(rhythmTurn) {
		return
	}
	if r.heard {
		r.gaps[r.n%rhythmGaps] = uint32(min((at-r.turn)/int64(time.Millisecond), 1<<32-1))
		r.n++
	}
	r.heard, r.turn = true, at
}

// interval returns the median of the gaps, 0 when there are none.
func (r *rhythm) interval() time.Duration {
	n := min(r.n, rhythmGaps)
	if n == 0 {
		return 0
	}
	sorted := r.gaps
	slices.Sort(sorted[:n])
	return time.Duration(sorted[n/2]) * time.Millisecond
}

// state returns the state at a moment, and when it began.
func (r *rhythm) state(now int64) (s device.State, since int64) {
	if !r.heard {
		return device.Unheard, 0
	}
	patience := int64(firstPatience)
	if i := r.interval(); i > 0 {
		patience = int64(max(lateIntervals*i, minPatience))
	}
	switch silence := now - r.last; {
	case silence <= patience:
		return device.Online, r.last
	case silence <= 3*patience:
		return device.Late, r.last + patience
	default:
		return device.Offline, r.last + 3*patience
	}
}

// skewMessages is of how many messages the largest difference counts: the one
// that was least on the way tells most of the clock.
const skewMessages = 16

// skew is by how much a device's clock is ahead, in microseconds.
type skew struct {
	present, before device.Time // largest differences of this stretch and the one before
	n               uint32
}

// note takes the difference of the device's time and the gateway's.
func (s *skew) note(ahead device.Time) {
	switch {
	case s.n == 0:
		s.present, s.before = ahead, ahead
	case s.n%skewMessages == 0:
		s.before, s.present = s.present, ahead
	default:
		s.present = max(s.present, ahead)
	}
	if s.n++; s.n == 2*skewMessages {
		s.n = skewMessages
	}
}

// value returns the skew; false when no message had a time.
func (s *skew) value() (time.Duration, bool) {
	return time.Duration(max(s.present, s.before)) * time.Microsecond, s.n > 0
}
