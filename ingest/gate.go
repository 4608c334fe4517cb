package ingest

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Peer is who sent a payload and how.
type Peer struct {
	Addr      netip.AddrPort
	Transport string // udp, dtls, tcp, tls, http, coap, coaps
	// Device is who the peer has proved to be; empty: nobody has asked. It speaks
	// for this device only.
	Device device.ID
	// Limit is the selector of the devices that it may speak for; nil: any.
	Limit *device.Selector
	// Name is what it calls itself beside the payload: the device of messages that
	// name none. It proves nothing, and Device counts more.
	Name device.ID
}

// Allowed reports whether readings are taken from the peer: from private
// addresses, from those who have proved to be a device, and over TLS, where nobody
// on the way has seen or changed them.
func (p Peer) Allowed() bool {
	return p.Device != "" || p.Transport == "tls" || mayBePlain(p.Addr.Addr())
}

// Default bounds of the gate. A gateway in a house has tens of devices; these
// keep an intruder on the local network from filling the catalogue.
const (
	DefaultMaxDevices = 10_000
	DefaultMaxSeries  = 100_000
)

// Times outside are clock errors: nothing was measured with Naru before 2020.
const (
	earliest = device.Time(1_577_836_800_000_000) // 2020-01-01T00:00:00Z
	ahead    = 24 * time.Hour
)

// Gate decides who may send and what is admitted, and remembers the facts of
// each device that only the socket side sees. Its methods may be called
// concurrently.
type Gate struct {
	maxDevices, maxSeries int
	admission             Admission
	rates                 rates
	seed                  maphash.Seed // of the prints by which messages are compared
	now                   func() time.Time
	begun                 time.Time // the time of service counts from here
	onPresence            func(device.Presence)
	stirred               chan struct{} // tells Run to look; capacity 1

	waiting   waitingRoom
	addresses addressBook

	series     atomic.Int64 // in all devices together
	duplicates atomic.Int64
	wrongClock atomic.Int64 // readings whose time was replaced

	mu      sync.RWMutex // guards following
	devices map[string]*deviceState
}

// deviceState is what the gate knows of one device. What every message touches
// stands together.
type deviceState struct {
	id device.ID

	mu           sync.Mutex // guards following; never held together with another device's
	gone         bool       // forgotten: who holds it looks for the device again
	online       bool       // and Run has told so
	clockWrong   bool
	over         bool // the last message was refused for a rate
	choked       bool // a new metric has been
	registration *device.Registration
	metrics      map[string]known
	addr         netip.Addr
	address      *addressState // of addr
	transport    string
	readings     budget
	heard        device.Time
	skew         skew
	rhythm       rhythm

	window        window
	flights       []*flight // batches that hold messages marked in window
	duplicates    int64
	limited       int64 // messages and readings refused for a rate
	newSeries     budget
	battery, rssi ownGauge
	told          device.Presence // what Run has told last,
	toldAt        int64           // and when
}

func newGate(cfg Config) *Gate {
	return &Gate{
		maxDevices: cfg.MaxDevices, maxSeries: cfg.MaxSeries, admission: cfg.Admission, rates: newRates(cfg.Rates),
		seed: maphash.MakeSeed(), now: cfg.Now, begun: cfg.Now(), onPresence: cfg.OnPresence,
		stirred: make(chan struct{}, 1), devices: map[string]*deviceState{},
	}
}

// Seed makes a series known that the store already holds, so that it counts
// towards the limits and is always admitted.
func (g *Gate) Seed(s device.Series) {
	d := g.lock([]byte(s.Device), true)
	defer d.mu.Unlock()
	if _, ok := d.metrics[string(s.Metric)]; !ok {
		d.addLocked(s.Metric)
		g.series.Add(1)
	}
}

// Introduce makes a series known that comes to the store another way than
// through a Session, or returns why it may not: a *RefusalError.
func (g *Gate) Introduce(s device.Series) error {
	d := g.lock([]byte(s.Device), false)
	if d == nil {
		return g.tooManyDevices([]byte(s.Device))
	}
	defer d.mu.Unlock()
	if _, refusal := g.metricLocked(d, []byte(s.Metric)); refusal != nil {
		g.dropLocked(d)
		return refusal
	}
	return nil
}

// device returns the state of a device, made if there is none; nil when there
// are too many. id has been checked.
func (g *Gate) device(id []byte, force bool) *deviceState {
	g.mu.RLock()
	d, full := g.devices[string(id)], len(g.devices) >= g.maxDevices && !force
	g.mu.RUnlock()
	if d != nil || full {
		return d
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := g.devices[string(id)]; d != nil {
		return d
	}
	if len(g.devices) >= g.maxDevices && !force {
		return nil
	}
	d = &deviceState{id: device.ID(id), metrics: map[string]known{}, address: freeAddress}
	g.devices[string(id)] = d
	return d
}

// forget takes back a device of which nothing has been admitted, so that refused
// messages do not use up the devices that are taken.
func (g *Gate) forget(d *deviceState) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.devices[string(d.id)] == d {
		delete(g.devices, string(d.id))
	}
}

// identify returns the state of the device that a message speaks for: the one
// it names, else the one that the peer has proved to be or calls itself, else
// ip-<remote address>.
func (g *Gate) identify(name []byte, peer Peer) (*deviceState, *RefusalError) {
	if peer.Device != "" && len(name) > 0 && string(name) != string(peer.Device) {
		return nil, &RefusalError{Reason: Forbidden, Detail: fmt.Sprintf("device %q may not speak for %q", peer.Device, name)}
	}
	name = nameOf(name, peer)
	if err := device.CheckID(name); err != nil {
		return nil, refuse(BadDevice, err)
	}
	if peer.Limit != nil && !peer.Limit.MatchDevice(device.ID(name)) {
		return nil, &RefusalError{Reason: Forbidden, Detail: fmt.Sprintf("this access may not write device %q", name)}
	}
	d := g.device(name, false)
	if d == nil {
		return nil, g.tooManyDevices(name)
	}
	return d, nil
}

// nameOf returns the name of the device that a message with this name, which may
// be empty, speaks for.
func nameOf(name []byte, peer Peer) []byte {
	switch {
	case peer.Device != "":
		return []byte(peer.Device)
	case len(name) > 0:
		return name
	case peer.Name != "":
		return []byte(peer.Name)
	}
	return append([]byte("ip-"), peer.Addr.Addr().Unmap().WithZone("").String()...)
}

func (g *Gate) tooManyDevices(name []byte) *RefusalError {
	return &RefusalError{Reason: TooManyDevices, Detail: fmt.Sprintf("device %q is new, and there are %d devices already", name, g.maxDevices)}
}

// metricLocked returns the device's metric of this name. The caller holds d.mu.
func (g *Gate) metricLocked(d *deviceState, name []byte) (known, *RefusalError) {
	if k, ok := d.metrics[string(name)]; ok {
		return k, nil
	}
	if err := device.CheckMetric(name); err != nil {
		return known{}, refuse(BadMetric, err)
	}
	if g.series.Add(1) > int64(g.maxSeries) {
		g.series.Add(-1)
		return known{}, &RefusalError{Reason: TooManySeries, Detail: fmt.Sprintf("metric %q is new, and there are %d series already", name, g.maxSeries)}
	}
	return d.addLocked(device.Metric(name)), nil
}

// heardMetricLocked does the same for what a device sends, whose new metrics have
// a rate. The caller holds d.mu.
func (g *Gate) heardMetricLocked(d *deviceState, name []byte, at int64) (known, *RefusalError) {
	if k, ok := d.metrics[string(name)]; ok {
		return k, nil
	}
	if device.CheckMetric(name) == nil && g.series.Load() < int64(g.maxSeries) {
		if refusal := g.spendSeriesLocked(d, at); refusal != nil {
			return known{}, refusal
		}
	}
	return g.metricLocked(d, name)
}

// refusedLocked returns the reason why metricLocked has refused this name
// before, if it has. The caller holds d.mu.
func (g *Gate) refusedLocked(d *deviceState, name []byte) (Reason, bool) {
	if _, ok := d.metrics[string(name)]; ok {
		return 0, false
	}
	switch {
	case device.CheckMetric(name) != nil:
		return BadMetric, true
	case g.series.Load() >= int64(g.maxSeries):
		return TooManySeries, true
	}
	return SeriesRate, d.choked
}

// moment resolves the time of a message. absolute is the device's own time when
// it is to be believed and not relative, else 0. Before the gateway itself has
// the time of day, any that a device tells is better than its own.
func moment(t wire.Time, now device.Time) (at, absolute device.Time, wrong bool) {
	if !t.Set {
		return now, 0, false
	}
	at = t.At(now)
	relative := t.Unit() == wire.Ago
	switch {
	case relative && now < earliest:
		if at <= 0 { // before 1970
			at = now
		}
		return at, 0, false
	case at < earliest, now >= earliest && at > now.Add(ahead):
		return now, 0, true
	case relative:
		return at, 0, false
	}
	return at, at, false
}

// mayBePlain reports whether readings without encryption are taken from addr:
// loopback, private and link-local addresses.
func mayBePlain(addr netip.Addr) bool {
	a := addr.Unmap()
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}
