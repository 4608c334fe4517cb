package fleet

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// impairment is what a bad radio does to datagrams. The zero value does nothing.
type impairment struct {
	loss, duplicate, reorder float64       // chances for each datagram, 0 to 1
	jitter                   time.Duration // delay of each datagram: even between 0 and jitter
}

// link decides what becomes of each datagram. It has no clock and no socket. Its
// methods may be called concurrently.
type link struct {
	impairment
	stats *stats

	// mu is held over write: the network takes a datagram at once or not at all.
	mu  sync.Mutex // guards following
	rng *rand.Rand
	// write puts a datagram on the network. It does not keep it.
	write func([]byte) error
	held  []byte    // to be overtaken by the next datagram
	late  []delayed // by time
}

// through makes write what puts datagrams on the network from now on.
func (l *link) through(write func([]byte) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.write = write
}

// delayed is a datagram on its way.
type delayed struct {
	at      time.Time
	payload []byte
}

// send passes a datagram on: at once, later, after the next one, twice or never.
// It does not keep payload.
func (l *link) send(payload []byte, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.impairment == (impairment{}) {
		return l.write(payload)
	}
	if l.chance(l.loss) {
		l.stats.lost.Add(1)
		return nil
	}
	overtaken := l.held
	l.held = nil
	if overtaken == nil && l.chance(l.reorder) {
		l.stats.reordered.Add(1)
		l.held = bytes.Clone(payload)
		return nil
	}
	if err := l.forwardLocked(payload, now); err != nil || overtaken == nil {
		return err
	}
	return l.forwardLocked(overtaken, now)
}

// forwardLocked sends a datagram once or twice.
func (l *link) forwardLocked(payload []byte, now time.Time) error {
	if l.chance(l.duplicate) {
		l.stats.duplicated.Add(1)
		if err := l.delayLocked(payload, now); err != nil {
			return err
		}
	}
	return l.delayLocked(payload, now)
}

// delayLocked sends a datagram after its share of the jitter.
func (l *link) delayLocked(payload []byte, now time.Time) error {
	if l.jitter <= 0 {
		return l.write(payload)
	}
	at := now.Add(upTo(l.rng, l.jitter))
	i, _ := slices.BinarySearchFunc(l.late, at, func(d delayed, at time.Time) int {
		if d.at.After(at) {
			return 1
		}
		return -1
	})
	l.late = slices.Insert(l.late, i, delayed{at, bytes.Clone(payload)})
	return nil
}

// release sends the delayed datagrams whose moment has come.
func (l *link) release(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.late) > 0 && !l.late[0].at.After(now) {
		payload := l.late[0].payload
		l.late = slices.Delete(l.late, 0, 1)
		if err := l.write(payload); err != nil {
			return err
		}
	}
	return nil
}

// next returns when the next delayed datagram is due; false when there is none.
func (l *link) next() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.late) == 0 {
		return time.Time{}, false
	}
	return l.late[0].at, true
}

// letGo sends the datagram that waits to be overtaken: no other is coming.
func (l *link) letGo(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		return nil
	}
	payload := l.held
	l.held = nil
	return l.forwardLocked(payload, now)
}

// forget drops what is on its way.
func (l *link) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.late = nil, nil
}

func (l *link) chance(p float64) bool { return p > 0 && l.rng.Float64() < p }
