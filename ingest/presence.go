package ingest

import (
	"context"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// presenceSweep is how often silence is looked for, and presenceRest the
	// shortest time between two looks at all devices.
	presenceSweep = time.Second
	presenceRest  = 100 * time.Millisecond
	// presenceRefresh is how often what is no change of state is told: loss, skew,
	// battery, signal.
	presenceRefresh = 30 * time.Second
)

// role is what a metric tells of the device itself.
type role uint8

const (
	noRole role = iota
	batteryRole
	rssiRole
)

// known is a metric of a device.
type known struct {
	metric device.Metric
	role   role
}

// roles are the names by which firmware sends its battery and its signal: ESPHome,
// Tasmota (Wifi.Signal is in dBm, Wifi.RSSI in percent), Zigbee2MQTT, Shelly,
// LoRaWAN servers. Only what follows the last dot counts, tags left aside.
var roles = map[string]role{
	"battery": batteryRole, "battery_level": batteryRole, "battery_percent": batteryRole, "battery_voltage": batteryRole,
	"batterylevel": batteryRole, "bat": batteryRole, "batt": batteryRole, "vbat": batteryRole, "batt_v": batteryRole, "soc": batteryRole,
	"rssi": rssiRole, "wifi_rssi": rssiRole, "wifi_signal": rssiRole, "signal_strength": rssiRole, "linkquality": rssiRole, "signal": rssiRole,
}

func roleOf(m device.Metric) role {
	name, _, _ := strings.Cut(string(m), "{")
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		name = name[i+1:]
	}
	return roles[strings.ToLower(name)]
}

// addLocked makes a metric known. The caller holds d.mu.
func (d *deviceState) addLocked(m device.Metric) known {
	k := known{m, roleOf(m)}
	if g := d.gauge(k.role); g != nil && g.Metric != "" {
		k.role = noRole // the first one speaks
	} else if g != nil {
		g.Metric = m
	}
	d.metrics[string(m)] = k
	return k
}

func (d *deviceState) gauge(r role) *device.Gauge {
	switch r {
	case batteryRole:
		return &d.battery.Gauge
	case rssiRole:
		return &d.rssi.Gauge
	case noRole:
	}
	return nil
}

// ownGauge is a gauge that is told once it has a value.
type ownGauge struct {
	device.Gauge
	set bool
}

// measureLocked notes what the device says of itself. The caller holds d.mu.
func (d *deviceState) measureLocked(r role, v device.Value) {
	n, ok := v.Number()
	if !ok {
		return
	}
	if r == batteryRole {
		d.battery.Value, d.battery.set = n, true
	} else {
		d.rssi.Value, d.rssi.set = n, true
	}
}

// hearLocked notes that something of the device was taken. The caller holds d.mu.
func (g *Gate) hearLocked(d *deviceState, at int64, now device.Time) {
	d.rhythm.hear(at)
	d.heard = now
	if !d.online {
		g.stir()
	}
}

// stir makes Run look at all devices soon.
func (g *Gate) stir() {
	select {
	case g.stirred <- struct{}{}:
	default:
	}
}

// presenceLocked returns what is known of the device. The caller holds d.mu.
func (d *deviceState) presenceLocked(at int64, now device.Time) device.Presence {
	p := device.Presence{
		ID: d.id, Heard: d.heard, Interval: d.rhythm.interval(), Addr: d.addr, Transport: d.transport,
		ClockWrong: d.clockWrong, Duplicates: d.duplicates, Limited: d.limited,
	}
	if r := d.registration; r != nil {
		p.Name, p.Guarded = r.Name, r.Guarded()
	}
	var since int64
	if p.State, since = d.rhythm.state(at); p.State != device.Unheard {
		p.Since = now.Add(-time.Duration(at - since))
	}
	if p.State == d.told.State && p.State != device.Unheard {
		p.Since = d.told.Since
	}
	p.Skew, p.Skewed = d.skew.value()
	p.Expected, p.Lost = d.window.losses()
	if d.battery.set {
		p.Battery = d.battery.Gauge
	}
	if d.rssi.set {
		p.RSSI = d.rssi.Gauge
	}
	return p
}

// urgent reports whether the change is told at once.
func urgent(p, told *device.Presence) bool {
	return p.State != told.State || p.ClockWrong != told.ClockWrong || p.Addr != told.Addr || p.Name != told.Name || p.Guarded != told.Guarded
}

// Run tells changes in the presence of devices until ctx is done: those of the state
// within a second, others at most every half minute.
func (g *Gate) Run(ctx context.Context) error {
	ticker := time.NewTicker(presenceSweep)
	defer ticker.Stop()
	rest := time.NewTimer(0)
	defer rest.Stop()
	var devices []*deviceState
	for {
		select {
		case <-rest.C:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-g.stirred:
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		devices = g.sweep(devices[:0])
		rest.Reset(presenceRest)
	}
}

// sweep tells what has changed. buf is for the devices.
func (g *Gate) sweep(buf []*deviceState) []*deviceState {
	g.mu.RLock()
	for _, d := range g.devices {
		buf = append(buf, d)
	}
	g.mu.RUnlock()
	now := g.now()
	at := int64(now.Sub(g.begun))
	for i, d := range buf {
		if p, ok := d.news(at, device.TimeOf(now)); ok {
			g.onPresence(p)
		}
		buf[i] = nil
	}
	return buf
}

// news returns the presence when it is to be told, and notes that it is.
func (d *deviceState) news(at int64, now device.Time) (device.Presence, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone || len(d.metrics) == 0 && d.registration == nil {
		return device.Presence{}, false
	}
	p := d.presenceLocked(at, now)
	d.online = p.State == device.Online
	if d.told.ID != "" && !urgent(&p, &d.told) {
		if at-d.toldAt < int64(presenceRefresh) {
			return p, false
		}
		old := d.told
		old.Heard, old.Interval = p.Heard, p.Interval // which change with every message
		if p == old {
			return p, false
		}
	}
	d.told, d.toldAt = p, at
	return p, true
}

// Device returns what is known of a device; false when the gate does not know
// it.
func (g *Gate) Device(id device.ID) (device.Presence, bool) {
	g.mu.RLock()
	d := g.devices[string(id)]
	g.mu.RUnlock()
	if d == nil {
		return device.Presence{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := g.now()
	return d.presenceLocked(int64(now.Sub(g.begun)), device.TimeOf(now)), true
}
