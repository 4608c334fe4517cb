// Package pushtest is a log in memory, for the tests of package push and of the
// techniques on top of it. It is a model: the plainest thing that keeps the
// promises of [push.History].
package pushtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/naru-telemetry/naru/device"
)

// Log keeps readings. The zero Log is empty and ready for use.
type Log struct {
	// Window bounds the offsets that one After looks at; 0 means no bound.
	Window uint64
	// Retain is called by After before it looks; nil means not at all.
	Retain func()

	mu       sync.Mutex // guards following
	readings []device.Stored
	floor    uint64
	head     uint64
	failure  error
	searches int
}

// Append gives the readings offsets and keeps them.
func (l *Log) Append(rs ...device.Reading) []device.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	stored := make([]device.Stored, len(rs))
	for i, r := range rs {
		l.head++
		stored[i] = device.Stored{Offset: l.head, Reading: r}
	}
	l.readings = append(l.readings, stored...)
	return stored
}

// Skip leaves n offsets out, as a crash does.
func (l *Log) Skip(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head += n
}

// Drop forgets the readings up to floor, as retention does.
func (l *Log) Drop(floor uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, floor)
	l.readings = slices.DeleteFunc(l.readings, func(s device.Stored) bool { return s.Offset <= l.floor })
}

// Fail makes searches return err until it is nil again.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

// Searches returns how often After and Latest were called.
func (l *Log) Searches() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.searches
}

// Wanted returns all that sel wants with after < offset <= upTo.
func (l *Log) Wanted(sel device.Selector, after, upTo uint64) []device.Stored {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []device.Stored
	for _, s := range l.behindLocked(after) {
		if s.Offset > upTo {
			break
		}
		if sel.Match(s.Device, s.Metric) {
			out = append(out, s)
		}
	}
	return out
}

// behindLocked returns the readings with larger offsets than after.
func (l *Log) behindLocked(after uint64) []device.Stored {
	i, _ := slices.BinarySearchFunc(l.readings, after+1, func(s device.Stored, offset uint64) int {
		return cmp.Compare(s.Offset, offset)
	})
	return l.readings[i:]
}

// Bounds returns floor and head.
func (l *Log) Bounds() (floor, head uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.floor, l.head
}

// After returns readings behind after and how far it has looked.
func (l *Log) After(ctx context.Context, sel device.Selector, after uint64, limit int) ([]device.Stored, uint64, error) {
	if l.Retain != nil {
		l.Retain()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.searches++
	if l.failure != nil {
		return nil, 0, l.failure
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, fmt.Errorf("pushtest: %w", err)
	}
	next := l.head
	if l.Window > 0 {
		next = min(next, max(after, l.floor)+l.Window)
	}
	var out []device.Stored
	for _, s := range l.behindLocked(after) {
		if s.Offset > next {
			break
		}
		if !sel.Match(s.Device, s.Metric) {
			continue
		}
		if out = append(out, s); len(out) == limit {
			return out, s.Offset, nil
		}
	}
	return out, next, nil
}

// Latest returns the n newest readings of each series.
func (l *Log) Latest(_ context.Context, sel device.Selector, n int) ([]device.Stored, uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.searches++
	if l.failure != nil {
		return nil, 0, l.failure
	}
	taken := map[device.Series]int{}
	var out []device.Stored
	for _, s := range slices.Backward(l.readings) {
		series := device.Series{Device: s.Device, Metric: s.Metric}
		if sel.Match(s.Device, s.Metric) && taken[series] < n {
			taken[series]++
			out = append(out, s)
		}
	}
	slices.Reverse(out)
	return out, l.head, nil
}
