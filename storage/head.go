package storage

import (
	"time"

	"github.com/naru-telemetry/naru/device"
)

// column is the readings of one series that are in no block yet, in the order of
// their offsets. It only grows, so that a copy of the struct is a snapshot.
type column struct {
	times   []int64
	offsets []uint64
	// bits are those of the values as long as all are of one kind, no text;
	// from the first other one on values has all of them.
	bits   []uint64
	kind   device.Kind
	values []device.Value
	// unordered tells that times do not ascend strictly.
	unordered bool
}

func (c *column) add(offset uint64, t device.Time, v device.Value) {
	n := len(c.times)
	if n > 0 && int64(t) <= c.times[n-1] {
		c.unordered = true
	}
	if n == 0 {
		c.kind = v.Kind()
	}
	switch {
	case c.values != nil:
		c.values = append(c.values, v)
	case v.Kind() == c.kind && v.Kind() != device.KindText:
		c.bits = append(c.bits, v.Bits())
	default:
		c.values = append(c.appendValues(make([]device.Value, 0, n+1)), v)
		c.bits = nil
	}
	c.times, c.offsets = append(c.times, int64(t)), append(c.offsets, offset)
}

func (c *column) appendValues(dst []device.Value) []device.Value {
	if c.values != nil {
		return append(dst, c.values...)
	}
	for _, b := range c.bits {
		dst = append(dst, device.FromBits(c.kind, b))
	}
	return dst
}

// head sums up the readings of a device that are in no block yet.
type head struct {
	n     int
	first uint64 // offset of the oldest
	last  uint64
	// minTime and maxTime are valid when n > 0.
	minTime, maxTime int64
	since            time.Time // when the oldest came
}

func (h *head) add(offset uint64, t device.Time) {
	if h.n == 0 {
		*h = head{first: offset, minTime: int64(t), maxTime: int64(t), since: time.Now()}
	}
	h.n++
	h.last = offset
	h.minTime, h.maxTime = min(h.minTime, int64(t)), max(h.maxTime, int64(t))
}
