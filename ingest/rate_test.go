package ingest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// from returns a peer of this address.
func from(addr string) Peer {
	return Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(addr), 9), Transport: "udp"}
}

func TestRates(t *testing.T) {
	type step struct {
		after time.Duration // since the step before
		peer  string
		line  string
		times int // 0 stands for 1
		taken int
		reply string // to the last one
	}
	ack := `{"ack":null}`
	for _, c := range []struct {
		name  string
		rates Rates
		steps []step
	}{
		{"a device: ten seconds' worth at once, and then its rate", Rates{Readings: 2, AddressReadings: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 v=1", times: 30, taken: 21, reply: `{"error":"rate"}`},
			{peer: "10.0.0.2", line: "t,device=a,ack=1 v=1", reply: `{"error":"rate"}`},
			{peer: "10.0.0.1", line: "t,device=b,ack=1 v=1", taken: 1, reply: ack},
			{after: time.Second, peer: "10.0.0.1", line: "t,device=a,ack=1 v=1", times: 10, taken: 2, reply: `{"error":"rate"}`},
			{after: time.Hour, peer: "10.0.0.1", line: "t,device=a,ack=1 v=1", times: 21, taken: 21, reply: ack},
		}},
		{"readings count, not messages", Rates{Readings: 10, AddressReadings: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 " + manyFields(50), times: 4, taken: 3 * 50, reply: `{"error":"rate"}`},
		}},
		{"a message larger than the burst is taken once", Rates{Readings: 1, AddressReadings: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 " + manyFields(60), taken: 60, reply: ack},
			{after: 49 * time.Second, peer: "10.0.0.1", line: "t,device=a,ack=1 a=1", reply: `{"error":"rate"}`},
			{after: time.Second, peer: "10.0.0.1", line: "t,device=a,ack=1 a=1", taken: 1, reply: ack},
		}},
		{"an address: all its devices together", Rates{Readings: -1, AddressReadings: 3}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 v=1", times: 20, taken: 20, reply: ack},
			{peer: "10.0.0.1", line: "t,device=b,ack=1 v=1", times: 20, taken: 11, reply: `{"error":"rate_address"}`},
			{peer: "10.0.0.2", line: "t,device=b,ack=1 v=1", taken: 1, reply: ack},
			{peer: "10.0.0.1", line: "t,device=a,ack=1 v=1", reply: `{"error":"rate_address"}`},
		}},
		{"an address, and loopback, which has no bound", Rates{Readings: -1, AddressReadings: 1, AddressSeries: 1}, []step{
			{peer: "127.0.0.1", line: "t,device=a,ack=1 v=1", times: 50, taken: 50, reply: ack},
			{peer: "::ffff:127.0.0.1", line: "t,device=a,ack=1 v=1", taken: 1, reply: ack},
			{peer: "fd00::1", line: "t,device=a,ack=1 v=1", times: 50, taken: 11, reply: `{"error":"rate_address"}`},
		}},
		{"new metrics", Rates{Series: 5}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 " + manyFields(20), taken: 6, reply: `{"error":"rate_series"}`},
			{peer: "10.0.0.1", line: "t,device=a,ack=1 f0=1", taken: 1, reply: ack},
			{peer: "10.0.0.1", line: "t,device=a,ack=1 f19=1", reply: `{"error":"rate_series"}`},
			{after: 12 * time.Second, peer: "10.0.0.1", line: "t,device=a,ack=1 f18=1,f19=1", taken: 1, reply: `{"error":"rate_series"}`},
		}},
		{"new metrics of an address", Rates{AddressSeries: 3}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 " + manyFields(3), taken: 3, reply: ack},
			{peer: "10.0.0.1", line: "t,device=b,ack=1 " + manyFields(3), taken: 1, reply: `{"error":"rate_series"}`},
			{peer: "10.0.0.1", line: "t,device=c,ack=1 v=1", reply: `{"error":"rate_series"}`},
			{peer: "10.0.0.2", line: "t,device=c,ack=1 v=1", taken: 1, reply: ack},
		}},
		{"no bounds", Rates{Readings: -1, AddressReadings: -1, Series: -1, AddressSeries: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a,ack=1 " + manyFields(4000), times: 50, taken: 50 * 4000, reply: ack},
		}},
		{"a retransmission of what was refused is taken later", Rates{Readings: 1, AddressReadings: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a v=1", times: 11, taken: 11},
			{peer: "10.0.0.1", line: "t,device=a,seq=7,ack=1 v=1", reply: `{"error":"rate","seq":7}`},
			{after: 5 * time.Second, peer: "10.0.0.1", line: "t,device=a,seq=7,ack=1 v=1", taken: 1, reply: `{"ack":7}`},
			{peer: "10.0.0.1", line: "t,device=a,seq=7,ack=1 v=1", reply: `{"ack":7}`},
		}},
		{"a message of several lines is taken whole", Rates{Readings: 1, AddressReadings: -1}, []step{
			{peer: "10.0.0.1", line: "t,device=a v=1", times: 10, taken: 10},
			{peer: "10.0.0.1", line: "t,device=a,seq=7,ack=1 v=1\nt,device=a,seq=7,ack=1 w=1\nt,device=a,seq=7,ack=1 x=1", taken: 3, reply: `{"ack":7}`},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(Config{Rates: c.rates}, false)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			for i, s := range c.steps {
				b.clock = b.clock.Add(s.after)
				before := len(b.sink.readings)
				for range max(s.times, 1) {
					b.send(t, from(s.peer), s.line)
				}
				if got := len(b.sink.readings) - before; got != s.taken {
					t.Errorf("step %d: %d taken, want %d", i+1, got, s.taken)
				}
				if err := b.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if len(b.answers) > 0 && b.answers[len(b.answers)-1] != s.reply {
					t.Errorf("step %d: answered %s, want %s", i+1, b.answers[len(b.answers)-1], s.reply)
				}
			}
		})
	}
}

// manyFields returns n fields of a line, f0=1,f1=1,…
func manyFields(n int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = fmt.Sprintf("f%d=1", i)
	}
	return strings.Join(fields, ",")
}

// Of refusals that follow each other the first is kept, and all are counted.
func TestRatesAreShown(t *testing.T) {
	b := newBench(Config{Rates: Rates{Readings: 1}}, false)
	for range 30 {
		b.send(t, local, "t,device=a v=1")
	}
	b.clock = b.clock.Add(5 * time.Second)
	for range 30 {
		b.send(t, local, "t,device=a v=1")
	}
	want := []string{`rate: more than 1 readings a second of device "a"`, `rate: more than 1 readings a second of device "a"`}
	if d := cmp.Diff(want, b.refusals()); d != "" || b.Inspector().Total(DeviceRate) != 60-11-5 {
		t.Errorf("%d counted (-want +got):\n%s", b.Inspector().Total(DeviceRate), d)
	}
	if p, _ := b.Gate().Device("a"); p.Limited != 60-11-5 {
		t.Errorf("%d of the device", p.Limited)
	}
	limits, devices, series := b.Gate().Limits()
	if limits != (Rates{1, DefaultAddressReadings, DefaultSeries, DefaultAddressSeries}) || devices != DefaultMaxDevices || series != DefaultMaxSeries {
		t.Errorf("limits %+v, %d devices, %d series", limits, devices, series)
	}
}

// Addresses come and go; those that owe something are not forgotten, and beyond
// the bound strangers share.
func TestAddressesAreBounded(t *testing.T) {
	var b addressBook
	r := newRate(1, time.Second, readingsBurst)
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	now := int64(time.Hour)
	owing := b.of(addr(0), now)
	owing.readings.spend(r, now, 100, false)
	for i := range maxAddresses {
		b.of(addr(i), now)
	}
	now += int64(time.Second)
	stranger := b.of(addr(1<<20), now)
	if len(b.all) > maxAddresses || stranger == &b.rest || b.of(addr(0), now) != owing || owing.gone.Load() {
		t.Errorf("%d addresses, the stranger has none of its own: %t", len(b.all), stranger == &b.rest)
	}
	for i := range 2 * maxAddresses {
		a := b.of(addr(1<<20+i), now)
		a.readings.spend(r, now, 100, false)
	}
	if len(b.all) > maxAddresses || b.of(addr(1<<22), now+int64(time.Second)) != &b.rest {
		t.Errorf("%d addresses, and none is shared", len(b.all))
	}
	if a := b.of(addr(1<<22), now+int64(time.Hour)); a == &b.rest || !owing.gone.Load() {
		t.Error("what owes nothing any more is not forgotten")
	}
	if slices.Contains([]*addressState{&b.rest, nil}, b.of(addr(0), now+int64(time.Hour))) {
		t.Error("who was forgotten is not taken up again")
	}
}
