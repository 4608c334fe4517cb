package fleet

import (
	"time"

	"github.com/naru-telemetry/naru/device"
)

// noise is an endless table of random numbers that is never stored: every entry
// is computed from its index. That makes a sensor's past and future a function
// of time alone.
type noise uint64

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// sub returns an independent table for the part of a device called name.
func (n noise) sub(name string) noise {
	h := uint64(n) ^ 0xcbf29ce484222325
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return noise(mix(h))
}

func (n noise) at(i int64) uint64 {
	return mix(uint64(n) + uint64(i)*0x9e3779b97f4a7c15)
}

// unit returns entry i, even over [0, 1).
func (n noise) unit(i int64) float64 {
	return float64(n.at(i)>>11) * 0x1p-53
}

// gauss returns entry i with mean 0 and standard deviation 1, between -3.5 and
// 3.5: the sum of four even 16-bit numbers.
func (n noise) gauss(i int64) float64 {
	x := n.at(i)
	sum := x&0xffff + x>>16&0xffff + x>>32&0xffff + x>>48
	return (float64(sum)/0xffff - 2) * 1.7320508
}

// smooth is a curve through one random value between -1 and 1 each period.
func (n noise) smooth(t device.Time, period time.Duration) float64 {
	p := device.Time(period.Microseconds())
	i := t / p
	x := float64(t-i*p) / float64(p)
	a, b := n.unit(int64(i)), n.unit(int64(i)+1)
	return (a+(b-a)*x*x*(3-2*x))*2 - 1
}

// wander is a curve between -1 and 1 that drifts over the period and trembles
// on shorter ones, as a random walk does that comes back.
func (n noise) wander(t device.Time, period time.Duration) float64 {
	return (n.smooth(t, period) + n.smooth(t+period36, period/3)/2 + n.smooth(t, period/9)/4) / 1.75
}

// period36 keeps the octaves of wander from meeting at their lattice values.
const period36 = device.Time(36 * 60 * 1_000_000)

// cycle is something that runs for a fixed time once in every period, at a
// moment that differs from period to period by up to spread. first, spread and
// on together fit into the period.
type cycle struct {
	noise                     noise
	period, first, spread, on time.Duration
}

// start returns when the run of t's period begins.
func (c *cycle) start(t device.Time) device.Time {
	p := device.Time(c.period.Microseconds())
	i := t / p
	return (i * p).Add(c.first + time.Duration(float64(c.spread)*c.noise.unit(int64(i))))
}

// since returns how long the run of t's period has been going on, and whether
// it is going on; a negative time means that it is still to come.
func (c *cycle) since(t device.Time) (time.Duration, bool) {
	d := t.Sub(c.start(t))
	return d, d >= 0 && d < c.on
}

// ago returns how long ago the last run began.
func (c *cycle) ago(t device.Time) time.Duration {
	d := t.Sub(c.start(t))
	if d < 0 {
		d = t.Sub(c.start(t.Add(-c.period)))
	}
	return d
}

// total returns how long it has been running altogether since the epoch.
func (c *cycle) total(t, epoch device.Time) time.Duration {
	return c.sum(t) - c.sum(epoch)
}

func (c *cycle) sum(t device.Time) time.Duration {
	d, _ := c.since(t)
	whole := int64(t / device.Time(c.period.Microseconds()))
	return time.Duration(whole*int64(c.on)) + min(max(d, 0), c.on)
}
