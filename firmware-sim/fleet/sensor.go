package fleet

import (
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// sensor measures one metric. What it says is a function of time alone.
type sensor struct {
	metric []byte
	// every is how many reports of the device pass from one reading of the
	// sensor to the next.
	every int
	// onChange adds a reading to the first report after a change.
	onChange bool
	value    func(device.Time) wire.Value
}

func newSensor(metric string, every int, value func(device.Time) wire.Value) sensor {
	return sensor{metric: []byte(metric), every: every, value: value}
}

// event is a sensor that speaks up when its value changes, and every so many
// reports anyway.
func event(metric string, every int, value func(device.Time) wire.Value) sensor {
	s := newSensor(metric, every, value)
	s.onChange = true
	return s
}

// due reports whether the sensor is part of report k, measured at the moment
// at; the report before it was measured at the moment before.
func (s *sensor) due(k int64, at, before device.Time) bool {
	if k%int64(s.every) == 0 {
		return true
	}
	return s.onChange && !sameValue(s.value(at), s.value(before))
}

func sameValue(a, b wire.Value) bool {
	return a.Kind == b.Kind && a.Bits == b.Bits && string(a.Text) == string(b.Text)
}

// Values as real sensors give them.

func float(x float64) wire.Value {
	return wire.Value{Kind: device.KindFloat, Bits: math.Float64bits(x)}
}

func integer(i int64) wire.Value {
	return wire.Value{Kind: device.KindInt, Bits: uint64(i)}
}

func truth(b bool) wire.Value {
	v := wire.Value{Kind: device.KindBool}
	if b {
		v.Bits = 1
	}
	return v
}

// texts returns a function that gives the value of each of the words without
// allocating; the first word stands for any unknown one.
func texts(words ...string) func(string) wire.Value {
	values := make([]wire.Value, len(words))
	for i, w := range words {
		values[i] = wire.Value{Kind: device.KindText, Text: []byte(w)}
	}
	return func(w string) wire.Value {
		for _, v := range values {
			if string(v.Text) == w {
				return v
			}
		}
		return values[0]
	}
}

// probe is what stands between a quantity and its digits: a step of resolution,
// noise, drift, limits, and the faults of cheap hardware.
type probe struct {
	noise noise
	// perUnit is how many steps of resolution make one unit: 100 for 0.01.
	perUnit float64
	// tremble is the standard deviation of the measurement; drift is how far it
	// strays in the course of weeks.
	tremble, drift float64
	low, high      float64
	// single gives the digits of a 32-bit float, as firmware does that prints
	// one as a double.
	single bool
}

// Faults of a probe, rare enough that a chart shows one now and then: about one
// reading in 15,000 is a spike, and about once in five days a probe repeats its
// last value for up to 20 minutes.
const (
	spikeOneIn = 15_000
	stuckSpan  = 6 * time.Hour
	stuckOneIn = 20
	stuckFor   = 20 * time.Minute
)

// reading returns the number that the probe shows for the quantity at t.
func (p *probe) reading(t device.Time, quantity func(device.Time) float64) float64 {
	t = p.unstuck(t)
	x := quantity(t) + p.tremble*p.noise.gauss(int64(t))
	if p.drift != 0 {
		x += p.drift * p.noise.smooth(t, 20*day)
	}
	if fault := p.noise.at(^int64(t)); fault%spikeOneIn == 0 {
		x += (p.high - p.low) * (0.1 + 0.2*float64(fault>>48)/0xffff)
	}
	x = math.Round(min(max(x, p.low), p.high)*p.perUnit) / p.perUnit
	if p.single {
		return float64(float32(x))
	}
	return x
}

// unstuck returns the moment whose value is shown at t: t itself, or the moment
// when the probe got stuck.
func (p *probe) unstuck(t device.Time) device.Time {
	span := device.Time(stuckSpan.Microseconds())
	i := int64(t / span)
	h := p.noise.at(-i)
	if h%stuckOneIn != 0 {
		return t
	}
	from := device.Time(i)*span + device.Time(h>>8)%(span/2)
	if d := t.Sub(from); d < 0 || d >= stuckFor {
		return t
	}
	return from
}

// analog is a sensor that gives floats.
func analog(metric string, every int, p probe, quantity func(device.Time) float64) sensor {
	return newSensor(metric, every, func(t device.Time) wire.Value { return float(p.reading(t, quantity)) })
}

// whole is a sensor that gives integers.
func whole(metric string, every int, p probe, quantity func(device.Time) float64) sensor {
	p.perUnit = 1
	return newSensor(metric, every, func(t device.Time) wire.Value {
		return integer(int64(p.reading(t, quantity)))
	})
}
