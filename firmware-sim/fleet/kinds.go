package fleet

import (
	"math"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// kind is a type of device: how often it reports and what it has for sensors.
type kind struct {
	name     string
	interval time.Duration
	build    func(noise, *weather) []sensor
}

var kinds = map[string]kind{
	"greenhouse": {"greenhouse", 2 * time.Second, greenhouse},
	"room":       {"room", 5 * time.Second, room},
	"weather":    {"weather", 3 * time.Second, weatherStation},
	"meter":      {"meter", time.Second, powerMeter},
	"fridge":     {"fridge", 10 * time.Second, fridge},
	"freezer":    {"freezer", 10 * time.Second, freezer},
	"door":       {"door", time.Second, door},
	"pump":       {"pump", 2 * time.Second, pump},
}

// roster is in which order devices join a fleet, so that a small fleet is a
// varied one. A larger one goes through it again, with a number behind the name.
var roster = []struct{ kind, name string }{
	{"greenhouse", "greenhouse-1"},
	{"room", "room-kitchen"},
	{"weather", "weather-roof"},
	{"meter", "meter-house"},
	{"fridge", "fridge-kitchen"},
	{"door", "door-front"},
	{"pump", "pump-well"},
	{"room", "room-living"},
	{"greenhouse", "greenhouse-2"},
	{"freezer", "freezer-cellar"},
	{"room", "room-office"},
	{"door", "door-garage"},
	{"room", "room-bedroom"},
	{"meter", "meter-workshop"},
	{"pump", "pump-cistern"},
	{"room", "room-bath"},
}

// since2024 is when the counters of the fleet were at zero.
const since2024 = device.Time(1_704_067_200_000_000)

func greenhouse(n noise, w *weather) []sensor {
	under := n.sub("glass")
	temperature := func(t device.Time) float64 {
		return max(w.temperature(t), 4) + 4 + 14*w.sun(t)*(1-0.6*w.clouds(t)) + 0.6*under.wander(t, time.Hour)
	}
	humidity := func(t device.Time) float64 { return 96 - 1.5*(temperature(t)-8) + 4*under.wander(t+1, 2*time.Hour) }
	watering := &cycle{noise: n.sub("water"), period: 12 * time.Hour, first: 6 * time.Hour, spread: 20 * time.Minute, on: 15 * time.Minute}
	soil := func(t device.Time) float64 {
		wet := min(watering.ago(t).Minutes()/15, 1)
		return 31 + 27*wet*math.Exp(-watering.ago(t).Hours()/7) + 5*(1-wet)
	}
	vent := func(t device.Time) wire.Value { return truth(temperature(t-t%60_000_000) > 25) }
	return []sensor{
		analog("air.temperature", 1, probe{noise: n.sub("t"), perUnit: 100, tremble: 0.03, drift: 0.2, low: -40, high: 85}, temperature),
		analog("air.humidity", 1, probe{noise: n.sub("h"), perUnit: 10, tremble: 0.25, drift: 1.5, low: 5, high: 100}, humidity),
		analog("soil.moisture", 5, probe{noise: n.sub("s"), perUnit: 10, tremble: 0.2, drift: 2, low: 0, high: 100}, soil),
		whole("light.lux", 1, probe{noise: n.sub("l"), tremble: 3, low: 0, high: 120_000}, func(t device.Time) float64 { return 0.7 * w.light(t) }),
		event("vent.open", 30, vent),
		solarBattery(n, w, 15),
		radio(n, 15, -71),
	}
}

func room(n noise, w *weather) []sensor {
	habits, air := n.sub("people"), n.sub("air")
	people := func(t device.Time) float64 { return occupancy(habits, t) }
	heater := &cycle{noise: n.sub("heat"), period: 26 * time.Minute, first: time.Minute, spread: 14 * time.Minute, on: 9 * time.Minute}
	heating := func(t device.Time) string {
		if w.temperature(t-t%600_000_000) > 17 {
			return "off"
		}
		d, on := heater.since(t)
		switch {
		case on && d < 90*time.Second:
			return "starting"
		case on:
			return "heating"
		}
		return "idle"
	}
	state := texts("idle", "off", "starting", "heating")
	temperature := func(t device.Time) float64 {
		evening := 0.7 * math.Sin(turn(t, day, 19*time.Hour))
		return 20.8 + evening + 0.06*(w.temperature(t)-10) + 0.35*crowd(people, t) + 0.3*n.wander(t, 50*time.Minute)
	}
	return []sensor{
		analog("climate.temperature", 1, probe{noise: n.sub("t"), perUnit: 100, tremble: 0.015, drift: 0.15, low: -20, high: 60, single: true}, temperature),
		analog("climate.humidity", 1, probe{noise: n.sub("h"), perUnit: 10, tremble: 0.15, drift: 1, low: 5, high: 100}, func(t device.Time) float64 {
			return 44 - 2.1*(temperature(t)-20.8) + 0.1*(w.humidity(t)-70) + 1.7*crowd(people, t)
		}),
		whole("climate.co2", 2, probe{noise: n.sub("c"), tremble: 6, drift: 25, low: 400, high: 5000}, func(t device.Time) float64 {
			return 428 + 235*crowd(people, t) + 12*air.wander(t, time.Hour)
		}),
		event("room.occupants", 12, func(t device.Time) wire.Value { return integer(int64(people(t))) }),
		event("heating.state", 12, func(t device.Time) wire.Value { return state(heating(t)) }),
	}
}

// occupancy is how many people are in a room, decided anew every half hour;
// nobody at night.
func occupancy(n noise, t device.Time) float64 {
	slot := device.Time(30 * time.Minute.Microseconds())
	h := hour(t)
	if h < 6.5 || h > 23 {
		return 0
	}
	x := n.unit(int64(t / slot))
	if h > 16 {
		x += 0.25
	}
	return math.Floor(max(0, x-0.45) * 5.5)
}

// crowd follows the number of people as the air in a room does: over the last
// hour and a half.
func crowd(people func(device.Time) float64, t device.Time) float64 {
	slot := device.Time(30 * time.Minute.Microseconds())
	into := float64(t%slot) / float64(slot)
	fresh, stale := people(t), people(t-3*slot)
	return (people(t-slot) + people(t-2*slot) + fresh*into + stale*(1-into)) / 3
}

func weatherStation(n noise, w *weather) []sensor {
	vane := n.sub("vane")
	return []sensor{
		analog("outdoor.temperature", 1, probe{noise: n.sub("t"), perUnit: 10, tremble: 0.05, drift: 0.2, low: -40, high: 65}, w.temperature),
		analog("outdoor.humidity", 1, probe{noise: n.sub("h"), perUnit: 1, tremble: 0.4, drift: 2, low: 1, high: 100}, w.humidity),
		analog("outdoor.pressure", 5, probe{noise: n.sub("p"), perUnit: 100, tremble: 0.04, drift: 0.3, low: 540, high: 1100}, w.pressure),
		analog("wind.speed", 1, probe{noise: n.sub("w"), perUnit: 10, tremble: 0.5, low: 0, high: 60}, w.wind),
		analog("wind.gust", 1, probe{noise: n.sub("g"), perUnit: 10, tremble: 0.9, low: 0, high: 80}, func(t device.Time) float64 { return 1.4*w.wind(t) + 0.6 }),
		whole("wind.direction", 1, probe{noise: n.sub("d"), tremble: 9, low: 0, high: 359}, func(t device.Time) float64 { return 205 + 120*vane.wander(t, 7*time.Hour) }),
		whole("outdoor.lux", 2, probe{noise: n.sub("l"), tremble: 5, low: 0, high: 120_000}, w.light),
		analog("rain.today", 10, probe{noise: n.sub("r"), perUnit: 5, low: 0, high: 500}, w.rainToday),
		solarBattery(n, w, 20),
	}
}

// solarBattery is a lithium cell that sinks over night and is charged by day.
func solarBattery(n noise, w *weather, every int) sensor {
	p := probe{noise: n.sub("battery"), perUnit: 100, tremble: 0.004, low: 2.9, high: 4.22}
	return analog("battery.voltage", every, p, func(t device.Time) float64 {
		return 3.86 + 0.19*math.Sin(turn(t, day, 17*time.Hour)) + 0.08*w.season(t) - 0.07*w.clouds(t) + 0.06*w.sun(t)
	})
}

// cell is a battery that is replaced when it is empty, after some months.
func cell(n noise, every int) sensor {
	life := device.Time((120 * day).Microseconds())
	p := probe{noise: n.sub("battery"), perUnit: 100, tremble: 0.004, low: 1.8, high: 3.3}
	return analog("battery.voltage", every, p, func(t device.Time) float64 {
		used := float64((t+device.Time(n.at(0)%uint64(life)))%life) / float64(life)
		return 3.05 - 0.25*used - 0.35*used*used*used*used*used
	})
}

// radio is the strength of the signal at the access point, in dBm.
func radio(n noise, every int, strength float64) sensor {
	p, fading := probe{noise: n.sub("rssi"), tremble: 1.4, low: -95, high: -30}, n.sub("fading")
	return whole("wifi.rssi", every, p, func(t device.Time) float64 {
		return strength + 5*fading.wander(t, 25*time.Minute)
	})
}
