package fleet

import "time"

// pacer grants readings at a steady rate, in small bursts and without drift. It
// has no clock. It belongs to one goroutine.
type pacer struct {
	rate    float64 // readings a second; 0: no bound
	start   time.Time
	last    time.Time
	granted float64
}

// Bounds of catching up after a pause: at most at this many times the rate, and
// no longer ago than the patience, since the rest would only be a burst.
const (
	catchUp        = 2
	catchUpOver    = time.Second
	pacerTick      = time.Millisecond // between two bursts
	unboundedGrant = 4096
)

func newPacer(rate float64, start time.Time) *pacer {
	return &pacer{rate: rate, start: start, last: start}
}

// grant returns how many readings may be sent at the moment now, and how many
// were due too long ago to be sent at all.
func (p *pacer) grant(now time.Time) (n, missed int64) {
	if p.rate == 0 {
		return unboundedGrant, 0
	}
	owed := p.rate*now.Sub(p.start).Seconds() - p.granted
	if most := max(p.rate*catchUpOver.Seconds(), 1); owed > most {
		missed = int64(owed - most)
		p.granted += float64(missed)
		owed = most
	}
	owed = min(owed, max(catchUp*p.rate*now.Sub(p.last).Seconds(), p.rate*pacerTick.Seconds(), 1))
	if owed < 1 {
		return 0, missed
	}
	p.last = now
	n = int64(owed)
	p.granted += float64(n)
	return n, missed
}

// overdraw counts readings that were sent beyond a grant, because a message is
// not cut in two.
func (p *pacer) overdraw(n int64) { p.granted += float64(n) }

// wait returns how long after now the next grant should be asked for.
func (p *pacer) wait(now time.Time) time.Duration {
	next := p.start.Add(time.Duration((p.granted + 1) / p.rate * 1e9))
	return max(next.Sub(now), pacerTick)
}
