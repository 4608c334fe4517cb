package ingest

import (
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Rates bound how much is taken; 0 means the default, less than 0 no bound.
type Rates struct {
	Readings        int // a second, of a device
	AddressReadings int // the same of all devices that send from an address
	Series          int // new ones a minute, of a device
	AddressSeries   int
}

// Defaults of Rates: far above what sensors do, and what a small machine stores
// besides the others. Loopback has none for the address, since what runs on the
// gateway itself, such as a bridge, speaks for many.
const (
	DefaultReadings        = 200_000
	DefaultAddressReadings = 500_000
	DefaultSeries          = 20_000
	DefaultAddressSeries   = 50_000
)

const (
	// readingsBurst and seriesBurst are how long a rate may be exceeded after a
	// pause: a device that comes back sends what it has kept, and one that is new
	// all its metrics.
	readingsBurst = 10 * time.Second
	seriesBurst   = time.Minute
	// maxAddresses bounds the addresses that are counted; beyond it the new ones
	// share one count.
	maxAddresses = 4096
)

func (r Rates) withDefaults() Rates {
	for field, d := range map[*int]int{
		&r.Readings: DefaultReadings, &r.AddressReadings: DefaultAddressReadings,
		&r.Series: DefaultSeries, &r.AddressSeries: DefaultAddressSeries,
	} {
		if *field == 0 {
			*field = d
		}
	}
	return r
}

// rate is how much a budget gives.
type rate struct {
	each  int64 // nanoseconds that one costs; 0: no bound
	burst int64 // nanoseconds that may be owed
}

func newRate(n int, per, burst time.Duration) rate {
	if n <= 0 {
		return rate{}
	}
	return rate{max(int64(per)/int64(n), 1), int64(burst)}
}

// budget is what a device has used up of a rate: the moment at which it will owe
// nothing (the generic cell rate algorithm), in nanoseconds of service.
type budget int64

// spend takes n and reports true unless too much is owed already. What is asked
// for at once may exceed the burst, so that no message is too large for ever.
func (b *budget) spend(r rate, now int64, n int) bool {
	if r.each == 0 {
		return true
	}
	if int64(*b)-now > r.burst {
		return false
	}
	b.charge(r, now, n)
	return true
}

// charge takes n, whatever is owed.
func (b *budget) charge(r rate, now int64, n int) {
	if r.each != 0 {
		*b = budget(min(max(int64(*b), now)+min(int64(n), math.MaxInt32)*r.each, now+2*r.burst+int64(time.Hour)))
	}
}

// sharedBudget is a budget of several goroutines.
type sharedBudget struct{ at atomic.Int64 }

func (s *sharedBudget) spend(r rate, now int64, n int, must bool) bool {
	if r.each == 0 {
		return true
	}
	for {
		old := s.at.Load()
		b := budget(old)
		if must {
			b.charge(r, now, n)
		} else if !b.spend(r, now, n) {
			return false
		}
		if s.at.CompareAndSwap(old, int64(b)) {
			return true
		}
	}
}

// addressState is what an address has used up.
type addressState struct {
	free             bool // loopback: nothing is counted
	gone             atomic.Bool
	readings, series sharedBudget
}

// idle reports whether nothing is owed, so that forgetting it changes nothing.
func (a *addressState) idle(now int64) bool {
	return max(a.readings.at.Load(), a.series.at.Load()) <= now
}

// addressBook knows the addresses that send.
type addressBook struct {
	rest addressState // of those for which there is no room

	mu     sync.Mutex // guards following
	all    map[netip.Addr]*addressState
	pruned int64 // when idle ones were last looked for
}

var freeAddress = &addressState{free: true}

// of returns the state of an address, made if there is none.
func (b *addressBook) of(addr netip.Addr, now int64) *addressState {
	addr = addr.Unmap()
	if addr.IsLoopback() {
		return freeAddress
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.all[addr]; a != nil {
		return a
	}
	if len(b.all) >= maxAddresses && now-b.pruned >= int64(time.Second) {
		b.pruned = now
		for k, a := range b.all {
			if a.idle(now) {
				a.gone.Store(true)
				delete(b.all, k)
			}
		}
	}
	if len(b.all) >= maxAddresses {
		return &b.rest
	}
	if b.all == nil {
		b.all = map[netip.Addr]*addressState{}
	}
	a := &addressState{}
	b.all[addr] = a
	return a
}

// rates are those of a gate.
type rates struct {
	limits                                           Rates
	readings, addressReadings, series, addressSeries rate
}

func newRates(r Rates) rates {
	r = r.withDefaults()
	return rates{
		limits:   r,
		readings: newRate(r.Readings, time.Second, readingsBurst), addressReadings: newRate(r.AddressReadings, time.Second, readingsBurst),
		series: newRate(r.Series, time.Minute, seriesBurst), addressSeries: newRate(r.AddressSeries, time.Minute, seriesBurst),
	}
}

// spendLocked takes n readings from the budgets of the device and its address. A
// message of which a part has been taken is not refused in the middle: must. The
// caller holds d.mu.
func (g *Gate) spendLocked(d *deviceState, at int64, n int, must bool) *RefusalError {
	r := &g.rates
	if d.readings.spend(r.readings, at, n) {
		if d.address.free || d.address.readings.spend(r.addressReadings, at, n, must) {
			d.over = false
			return nil
		}
		return g.overLocked(d, &RefusalError{Reason: AddressRate, Detail: fmt.Sprintf("more than %d readings a second from %s", r.limits.AddressReadings, d.addr)})
	}
	if must {
		d.readings.charge(r.readings, at, n)
		return nil
	}
	return g.overLocked(d, &RefusalError{Reason: DeviceRate, Detail: fmt.Sprintf("more than %d readings a second of device %q", r.limits.Readings, d.id)})
}

// spendSeriesLocked does the same for a new series.
func (g *Gate) spendSeriesLocked(d *deviceState, at int64) *RefusalError {
	r := &g.rates
	if d.newSeries.spend(r.series, at, 1) && (d.address.free || d.address.series.spend(r.addressSeries, at, 1, false)) {
		return nil
	}
	d.choked = true
	return g.overLocked(d, &RefusalError{Reason: SeriesRate, Detail: fmt.Sprintf("device %q has too many new metrics a minute", d.id)})
}

// overLocked counts a refusal for a rate. Of those that follow each other the
// inspector keeps the first.
func (g *Gate) overLocked(d *deviceState, e *RefusalError) *RefusalError {
	d.limited++
	e.alike = d.over
	d.over = true
	return e
}

// Limits returns the rates, and how many devices and series are taken in all.
func (g *Gate) Limits() (r Rates, devices, series int) {
	return g.rates.limits, g.maxDevices, g.maxSeries
}

// Known returns how many devices and series the gate knows.
func (g *Gate) Known() (devices, series int) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.devices), int(g.series.Load())
}
