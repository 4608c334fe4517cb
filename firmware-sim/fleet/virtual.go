package fleet

import (
	"bytes"
	"fmt"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// virtual is a device as the model knows it: a name, a clock rate and sensors.
type virtual struct {
	id       device.ID
	noise    noise
	interval time.Duration
	sensors  []sensor
}

// newVirtual returns device number i of the fleet that grows from seed. The
// names of kinds, when there are any, limit the roster.
func newVirtual(seed uint64, i int, names []string) (*virtual, error) {
	list := roster
	if len(names) > 0 {
		list = nil
		for _, r := range roster {
			for _, name := range names {
				if r.kind == name {
					list = append(list, r)
				}
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: no device is of kind %q", ErrInvalidConfig, names)
	}
	r := list[i%len(list)]
	name := r.name
	if round := i / len(list); round > 0 {
		name = fmt.Sprintf("%s-%d", bytes.TrimRight([]byte(r.name), "-0123456789"), round*len(list)+i%len(list)+1)
	}
	id, err := device.ParseID(name)
	if err != nil {
		return nil, err
	}
	k := kinds[r.kind]
	world := noise(mix(seed))
	n := world.sub(name)
	return &virtual{id: id, noise: n, interval: k.interval, sensors: k.build(n, newWeather(world.sub("weather")))}, nil
}

// report appends the readings of report k, measured at the moment at, when the
// report before it was measured at the moment before.
func (v *virtual) report(dst []wire.Field, k int64, at, before device.Time) []wire.Field {
	for i := range v.sensors {
		if s := &v.sensors[i]; s.due(k, at, before) {
			dst = append(dst, wire.Field{Metric: s.metric, Value: s.value(at)})
		}
	}
	return dst
}

// all appends a reading of every sensor.
func (v *virtual) all(dst []wire.Field, at device.Time) []wire.Field {
	for i := range v.sensors {
		dst = append(dst, wire.Field{Metric: v.sensors[i].metric, Value: v.sensors[i].value(at)})
	}
	return dst
}

// readingsPerSecond is the mean rate of the device, changes left out.
func (v *virtual) readingsPerSecond() float64 {
	perReport := 0.0
	for i := range v.sensors {
		perReport += 1 / float64(v.sensors[i].every)
	}
	return perReport / v.interval.Seconds()
}
