package fleet

import (
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	day  = 24 * time.Hour
	year = 365*day + 6*time.Hour
)

// weather is what all devices of a fleet share: a temperate place whose clock
// shows UTC.
type weather struct {
	cloud, front, gust, damp, high, breeze, squall, shower noise
}

func newWeather(n noise) *weather {
	return &weather{
		cloud: n.sub("clouds"), front: n.sub("front"), gust: n.sub("gusts"), damp: n.sub("damp"),
		high: n.sub("pressure"), breeze: n.sub("wind"), squall: n.sub("squall"), shower: n.sub("rain"),
	}
}

// turn returns where t stands in the period, as an angle whose sine is highest
// at the moment called peak.
func turn(t device.Time, period, peak time.Duration) float64 {
	p := device.Time(period.Microseconds())
	return 2*math.Pi*float64((t.Add(-peak)%p))/float64(p) + math.Pi/2
}

// hour returns the time of day in hours.
func hour(t device.Time) float64 {
	return float64(t%device.Time(day.Microseconds())) / 3.6e9
}

// season is 1 in the middle of July and -1 in the middle of January.
func (w *weather) season(t device.Time) float64 { return math.Sin(turn(t, year, 196*day)) }

// sun is 0 at night and up to 1 at noon in summer, above the clouds.
func (w *weather) sun(t device.Time) float64 {
	return max(0, 0.62*math.Sin(turn(t, day, 12*time.Hour))+0.1+0.28*w.season(t))
}

// clouds is 0 under a clear sky and 1 under a closed one.
func (w *weather) clouds(t device.Time) float64 {
	x := 0.5 + 0.9*w.cloud.wander(t, 9*time.Hour)
	return min(max(x, 0), 1)
}

// light is the illuminance outside in lux.
func (w *weather) light(t device.Time) float64 {
	return 98_000 * w.sun(t) * (1 - 0.8*w.clouds(t))
}

// temperature is outside, in °C.
func (w *weather) temperature(t device.Time) float64 {
	swing := 4.6 - 2.4*w.clouds(t)
	return 10 + 9*w.season(t) + swing*math.Sin(turn(t, day, 15*time.Hour)) +
		4*w.front.wander(t, 3*day) + 0.5*w.gust.wander(t, 20*time.Minute)
}

// humidity is outside, relative, in percent: low when it is warmer than the
// season has it.
func (w *weather) humidity(t device.Time) float64 {
	warm := w.temperature(t) - 10 - 9*w.season(t)
	return min(max(71-3.2*warm+9*w.damp.wander(t, 8*time.Hour), 18), 99.9)
}

// pressure is at sea level, in hPa, with the two small tides of each day.
func (w *weather) pressure(t device.Time) float64 {
	return 1014 + 17*w.high.wander(t, 4*day) + 0.5*math.Sin(turn(t, day/2, 10*time.Hour))
}

// wind is its speed in m/s.
func (w *weather) wind(t device.Time) float64 {
	x := 1 + w.breeze.wander(t, 5*time.Hour)
	return 2.9*x*x + 0.8*(1+w.squall.wander(t, 90*time.Second))
}

// rainRate is in mm/h, nothing in most hours.
func (w *weather) rainRate(t device.Time) float64 {
	h := int64(t / device.Time(time.Hour.Microseconds()))
	at := device.Time(h * time.Hour.Microseconds())
	return max(0, w.clouds(at)-0.75) * 16 * w.shower.unit(h)
}

// rainToday is what has fallen since midnight, in mm.
func (w *weather) rainToday(t device.Time) float64 {
	midnight := t - t%device.Time(day.Microseconds())
	sum := 0.0
	for h := midnight; h < t; h = h.Add(time.Hour) {
		sum += w.rainRate(h) * min(t.Sub(h).Hours(), 1)
	}
	return sum
}
