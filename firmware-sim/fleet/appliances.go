package fleet

import (
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// appliance draws its watts while its cycle runs.
type appliance struct {
	cycle
	watts float64
}

// powerMeter sums up appliances, so that its counter is the exact integral of
// the power without the noise.
func powerMeter(n noise, _ *weather) []sensor {
	const base = 86 // watts that are always drawn
	load, grid := n.sub("load"), n.sub("grid")
	cycleOf := func(name string, period, first, spread, on time.Duration) cycle {
		return cycle{noise: n.sub(name), period: period, first: first, spread: spread, on: on}
	}
	appliances := []appliance{
		{cycleOf("fridge", 42*time.Minute, 0, 20*time.Minute, 15*time.Minute), 74},
		{cycleOf("lights", day, 17*time.Hour, time.Hour, 5*time.Hour), 132},
		{cycleOf("kettle", 4*time.Hour, 20*time.Minute, 3*time.Hour, 3*time.Minute), 1985},
		{cycleOf("oven", day, 17*time.Hour, 90*time.Minute, 45*time.Minute), 2260},
		{cycleOf("washing", 2*day, 33*time.Hour, 4*time.Hour, 80*time.Minute), 640},
		{cycleOf("screen", day, 19*time.Hour, 40*time.Minute, 3*time.Hour), 118},
		{cycleOf("pump", 31*time.Minute, 0, 10*time.Minute, 7*time.Minute), 45},
	}
	watts := func(t device.Time) float64 {
		sum := base + 5*load.wander(t, 3*time.Minute)
		for i := range appliances {
			if _, on := appliances[i].since(t); on {
				sum += appliances[i].watts
			}
		}
		return sum
	}
	wattHours := func(t device.Time) wire.Value {
		sum := base * t.Sub(since2024).Hours()
		for i := range appliances {
			sum += appliances[i].watts * appliances[i].total(t, since2024).Hours()
		}
		return integer(int64(sum))
	}
	voltage := func(t device.Time) float64 {
		return 231.5 + 2.4*grid.wander(t, 40*time.Minute) - watts(t)/1500
	}
	return []sensor{
		analog("power.watts", 1, probe{noise: n.sub("w"), perUnit: 10, tremble: 0.6, low: 0, high: 12_000}, watts),
		analog("power.voltage", 1, probe{noise: n.sub("v"), perUnit: 10, tremble: 0.12, low: 180, high: 260}, voltage),
		analog("power.current", 1, probe{noise: n.sub("a"), perUnit: 1000, tremble: 0.003, low: 0, high: 63}, func(t device.Time) float64 {
			return watts(t) / voltage(t) * 1.04
		}),
		newSensor("energy.wh", 10, wattHours),
	}
}

func fridge(n noise, _ *weather) []sensor {
	return cooler(n, 4.6, 1.1, 9*time.Minute, probe{perUnit: 16, low: -55, high: 125})
}

func freezer(n noise, _ *weather) []sensor {
	return cooler(n, -18.4, 0.8, 55*time.Minute, probe{perUnit: 16, low: -55, high: 125})
}

// cooler warms up while its compressor rests and cools down while it runs; a
// door that is opened, once in a while given by rare, lets warm air in. The probe
// is a DS18B20, which counts sixteenths of a degree.
func cooler(n noise, middle, swing float64, rare time.Duration, p probe) []sensor {
	compressor := &cycle{noise: n.sub("compressor"), period: 42 * time.Minute, on: 15 * time.Minute}
	shift := device.Time(n.at(1) % uint64(compressor.period.Microseconds()))
	opened := &opening{noise: n.sub("door"), slot: rare}
	temperature := func(t device.Time) float64 {
		d, on := compressor.since(t + shift)
		x := 1 - 2*d.Minutes()/15
		if !on {
			x = 2*(d.Minutes()-15)/27 - 1
		}
		return middle + swing*x + 1.6*math.Exp(-opened.ago(t).Minutes()/5)
	}
	state := texts("idle", "cooling")
	p.noise, p.tremble = n.sub("t"), 0.02
	return []sensor{
		analog("temperature", 1, p, temperature),
		event("compressor.state", 30, func(t device.Time) wire.Value {
			if _, on := compressor.since(t + shift); on {
				return state("cooling")
			}
			return state("idle")
		}),
		event("door.open", 30, func(t device.Time) wire.Value { return truth(opened.at(t)) }),
		radio(n, 6, -63),
	}
}

// opening is a door that is opened at most once a slot, more often by day, for
// 4 to 40 seconds.
type opening struct {
	noise noise
	slot  time.Duration
}

// last returns the beginning and the end of the opening in the slot i slots
// before that of t.
func (o *opening) last(t device.Time, i int64) (from, to device.Time, ok bool) {
	slot := device.Time(o.slot.Microseconds())
	k := int64(t/slot) - i
	from = device.Time(k) * slot
	chance := 0.12
	if h := hour(from); h > 6 && h < 23 {
		chance = 0.55
	}
	if o.noise.unit(4*k) > chance {
		return 0, 0, false
	}
	from += device.Time(0.8 * float64(slot) * o.noise.unit(4*k+1))
	long := o.noise.unit(4*k + 2)
	return from, from.Add(4*time.Second + time.Duration(36*long*long*float64(time.Second))), true
}

// at reports whether the door stands open.
func (o *opening) at(t device.Time) bool {
	from, to, ok := o.last(t, 0)
	return ok && t >= from && t < to
}

// ago returns how long ago the door was last opened, or a day.
func (o *opening) ago(t device.Time) time.Duration {
	for i := range int64(4) {
		if from, _, ok := o.last(t, i); ok && from <= t {
			return t.Sub(from)
		}
	}
	return day
}

func door(n noise, _ *weather) []sensor {
	opened := &opening{noise: n.sub("door"), slot: 5 * time.Minute}
	return []sensor{
		event("door.open", 60, func(t device.Time) wire.Value { return truth(opened.at(t)) }),
		cell(n, 120),
		radio(n, 60, -77),
	}
}

func pump(n noise, _ *weather) []sensor {
	run := &cycle{noise: n.sub("run"), period: 18 * time.Minute, first: time.Minute, spread: 8 * time.Minute, on: 5 * time.Minute}
	const litres = 22.0 // a minute
	motor := n.sub("motor")
	words := texts("idle", "priming", "pumping", "stopping")
	state := func(t device.Time) wire.Value {
		d, on := run.since(t)
		switch {
		case on && d < 6*time.Second:
			return words("priming")
		case on:
			return words("pumping")
		case d >= run.on && d < run.on+20*time.Second:
			return words("stopping")
		}
		return words("idle")
	}
	pressure := func(t device.Time) float64 {
		d := run.ago(t)
		if d < run.on {
			return 2.1 + 1.5*(1-math.Exp(-d.Seconds()/20))
		}
		return 2.1 + 1.5*math.Exp(-(d-run.on).Seconds()/240)
	}
	flow := func(t device.Time) float64 {
		if d, on := run.since(t); on {
			return litres * (1 - math.Exp(-d.Seconds()/4))
		}
		return 0
	}
	return []sensor{
		event("pump.state", 15, state),
		analog("water.pressure", 1, probe{noise: n.sub("p"), perUnit: 100, tremble: 0.012, drift: 0.05, low: 0, high: 10}, pressure),
		analog("water.flow", 1, probe{noise: n.sub("f"), perUnit: 10, low: 0, high: 60}, flow),
		newSensor("water.litres", 5, func(t device.Time) wire.Value {
			return integer(int64(run.total(t, since2024).Minutes() * litres))
		}),
		analog("motor.temperature", 5, probe{noise: n.sub("m"), perUnit: 2, tremble: 0.2, low: -20, high: 150}, func(t device.Time) float64 {
			return 24 + 14*(pressure(t)-2.1) + 2*motor.wander(t, time.Hour)
		}),
	}
}
