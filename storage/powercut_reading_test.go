package storage

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	powercutBegin = device.Time(1_764_000_000_000_000)
	// powercutBurst is how many readings come one after the other before there is
	// a pause, so that a few thousand reach over many periods.
	powercutBurst = 300
	powercutPause = 40 * time.Minute
	// powercutAgain is the metric whose readings replace others.
	powercutAgain = "again"
)

// powercutTime is when the reading with this number is received.
func powercutTime(n int64) device.Time {
	return powercutBegin.Add(time.Duration(n/powercutBurst)*powercutPause + time.Duration(n%powercutBurst)*500*time.Millisecond)
}

// powercutReading is the reading with this number. Values are of every kind,
// and series come up little by little: those of d0 have enough readings for
// rollups of minutes, those of d1 for rollups of hours, the others for none, as a
// rule. Some readings are late. Only those of powercutAgain have the time of
// another of their series.
func powercutReading(n int64) device.Reading {
	r := device.Reading{Received: powercutTime(n)}
	times := n // number of the reading that it has the time of
	switch k := n % 20; {
	case k < 8:
		r.Device, r.Metric = "d0", device.Metric(fmt.Sprintf("m%d", k%2))
	case k < 12:
		r.Device, r.Metric = "d1", device.Metric(fmt.Sprintf("m%d", k-8))
	case k < 16:
		r.Device, r.Metric = "d2", device.Metric(fmt.Sprintf("m%d", k+n/3000%3*4))
	case k < 18:
		r.Device, r.Metric = "d3", device.Metric(fmt.Sprintf("m%d", k%2))
	case k == 18:
		r.Device, r.Metric = "d1", powercutAgain
		times = powercutAgainOf(n)
	default:
		r.Device, r.Metric = device.ID(fmt.Sprintf("rare%d", n/20%7)), "m"
	}
	r.Time = powercutMeasured(times)
	r.Value = powercutValue(n)
	return r
}

// powercutAgainOf returns the number of the reading that the nth, one of
// powercutAgain, replaces, or n: of three one replaces a recent one, one an older
// one.
func powercutAgainOf(n int64) int64 {
	back := []int64{0, 20, 62 * 20}[n/20%3]
	if back > n {
		return n
	}
	return n - back
}

// powercutMeasured is the time of the reading with this number; the microseconds
// make it the only one.
func powercutMeasured(n int64) device.Time {
	t := powercutTime(n).Add(-time.Duration(n%3)*time.Second + time.Duration(n%100_000)*time.Microsecond)
	for _, late := range []struct {
		every int64
		by    time.Duration
	}{{41, time.Hour}, {97, 7 * time.Hour}, {401, 31 * time.Hour}} {
		if n%late.every == 0 {
			t = t.Add(-late.by)
		}
	}
	return t
}

func powercutValue(n int64) (v device.Value) {
	var err error
	switch k := n % 20; {
	case k == 16:
		v, err = device.Text(strings.Repeat("t", int(n%60)) + strconv.FormatInt(n, 10))
	case k == 17:
		v = device.Bool(n/20%2 == 0)
	case k%2 == 0 || k == 9 && n/20%2 == 0:
		v = device.Int(n)
	default:
		v, err = device.Float(float64(n) / 8)
	}
	if err != nil {
		panic(err) // texts are short and plain, quotients of small numbers finite
	}
	return v
}
