package listen

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
)

// letters is a mailbox in memory: each command is told once, the next when an
// outcome has come.
type letters struct {
	mu      sync.Mutex
	waiting map[device.ID][]device.Command
	told    map[uint64]bool
	settled []string
}

func (l *letters) post(id device.ID, n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[id] = append(l.waiting[id], device.Command{ID: n, Device: id, Name: "go"})
}

func (l *letters) Next(id device.ID) (device.Command, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting[id]) == 0 || l.told[l.waiting[id][0].ID] {
		return device.Command{}, false
	}
	if l.told == nil {
		l.told = map[uint64]bool{}
	}
	l.told[l.waiting[id][0].ID] = true
	return l.waiting[id][0], true
}

func (l *letters) Settle(id device.ID, o device.Outcome) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = append(l.settled, o.String())
	l.waiting[id] = l.waiting[id][1:]
	return nil
}

func observe(v string) coap.Option { return option(coap.Observe, v) }

// asks is a request for commands, with token t.
func asks(kind coap.Type, id uint16, more ...coap.Option) []byte {
	b := asked(kind, coap.GET, id, "", "")
	var m coap.Message
	if err := coap.Parse(b, &m); err != nil {
		panic(err)
	}
	for _, o := range more {
		if o.Number < coap.URIPath {
			m.Options = append(m.Options, o)
		}
	}
	m.Options = append(m.Options, option(coap.URIPath, "commands"))
	for _, o := range more {
		if o.Number > coap.URIPath {
			m.Options = append(m.Options, o)
		}
	}
	return m.Append(nil)
}

func TestCoAPCommands(t *testing.T) {
	const next = `{"command":{"id":3,"device":"greenhouse-1","name":"go"}}`
	d := func(name string) coap.Option { return option(coap.URIQuery, "d="+name) }
	for _, c := range []struct {
		name    string
		peer    ingest.Peer
		sent    []byte
		answer  string
		settled string
	}{
		{"none", coapDevice, asks(coap.Confirmable, 1), "ACK 2.05 1 t=t 12=32 14=012c {}", ""},
		{"one", coapKnown, asks(coap.Confirmable, 1), "ACK 2.05 1 t=t 12=32 14=012c " + next, ""},
		{"one, by name", coapDevice, asks(coap.Confirmable, 1, d(deviceID)), "ACK 2.05 1 t=t 12=32 14=012c " + next, ""},
		{"a block", coapKnown, asks(coap.Confirmable, 1, option(coap.Block2, "\x10")), `ACK 2.05 1 t=t 12=32 14=012c 23=18 :3,"device":"gre`, ""},
		{"observed", coapKnown, asks(coap.Confirmable, 1, observe("")), "ACK 2.05 1 t=t 6=01 12=32 14=012c " + next, ""},
		{"not confirmable", coapKnown, asks(coap.NonConfirmable, 1, observe("")), "NON 2.05 1001 t=t 6=01 12=32 14=012c " + next, ""},
		{"observed in an unknown way", coapKnown, asks(coap.Confirmable, 1, observe("\x07")), "ACK 2.05 1 t=t 12=32 14=012c " + next, ""},
		{"another's", coapDevice, asks(coap.Confirmable, 1, d("locked")), `ACK 4.01 1 t=t device "locked" is revoked`, ""},
		{"bad name", coapKnown, asks(coap.Confirmable, 1, d("/")), `ACK 4.00 1 t=t d: invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`, ""},
		{"as CBOR", coapKnown, asks(coap.Confirmable, 1, option(coap.Accept, "\x3c")), "ACK 4.06 1 t=t commands are JSON, content format 50", ""},
		{"from a public address", coapPublic, asks(coap.Confirmable, 1), "ACK 4.03 1 t=t plain CoAP is", ""},
		{"in the answer to readings", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t v=1"), "ACK 2.04 1 t=t 12=32 " + next, ""},
		{"to blocks of readings", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t v=1", option(coap.Block1, "")), "ACK 2.04 1 t=t 12=32 27= " + next, ""},
		{"more than may be heard", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", "t,id=greenhouse-1 v=1"), "ACK 2.04 1 t=t", ""},
		{"as much as may be heard", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", "t,device=greenhouse-1 v=1,w=1"), "ACK 2.04 1 t=t 12=32 " + next, ""},
		{"to a refusal", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t v=\nt v=1"), "ACK 4.00 1 t=t line 1: byte 5: a field value is missing", ""},
		{"outcome", coapKnown, asked(coap.Confirmable, coap.POST, 1, "commands", `{"outcome":"3 error: stuck"}`), "ACK 2.04 1 t=t", "3 error: stuck"},
		{"outcome beside readings", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", `{"outcome":3,"v":1}`), "ACK 2.04 1 t=t", "3"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCoAPAir(t, 0)
				w.mail.post(deviceID, 3)
				w.tell(t, c.peer, c.sent)
				got := strings.TrimPrefix(strings.Join(w.heard(), "; "), "0s ")
				if got != c.answer && (!strings.HasPrefix(got, c.answer) || c.peer != coapPublic) {
					t.Errorf("answer %q, want %q", got, c.answer)
				}
				if got := strings.Join(w.mail.settled, "; "); got != c.settled {
					t.Errorf("outcomes %q, want %q", got, c.settled)
				}
				w.stop()
			})
		})
	}
}

// TestCoAPObserve: an observer is told of each command, once more until it
// confirms, and no more when it wants it so or is gone.
func TestCoAPObserve(t *testing.T) {
	const told = `t=t 6=%02x 12=32 14=012c {"command":{"id":%d,"device":"greenhouse-1","name":"go"}}`
	ack := func(id byte) []byte { return []byte{0x60, 0, 0x10, id} }
	reset := func(id byte) []byte { return []byte{0x70, 0, 0x10, id} }
	type step struct {
		do   func(t *testing.T, w *coapAir)
		want []string
	}
	tell := func(peer ingest.Peer, b []byte) func(*testing.T, *coapAir) {
		return func(t *testing.T, w *coapAir) { w.tell(t, peer, b) }
	}
	command := func(n uint64) func(*testing.T, *coapAir) {
		return func(_ *testing.T, w *coapAir) {
			w.mail.post(deviceID, n)
			w.Notify(deviceID)
			synctest.Wait()
		}
	}
	sleep := func(d time.Duration) func(*testing.T, *coapAir) {
		return func(*testing.T, *coapAir) { time.Sleep(d) } //nolint:forbidigo // of the bubble
	}
	begin := step{tell(coapKnown, asks(coap.Confirmable, 1, observe(""))), []string{"ACK 2.05 1 t=t 6=01 12=32 14=012c {}"}}
	first := step{command(3), []string{"CON 2.05 1001 " + fmt.Sprintf(told, 2, 3)}}
	for _, c := range []struct {
		name  string
		steps []step
		left  int // observers
	}{
		{"nobody", []step{{command(3), nil}}, 0},
		{"confirmed", []step{begin, first, {tell(coapKnown, ack(1)), nil}, {sleep(time.Minute), nil}}, 1},
		{"the next after the outcome", []step{
			begin, first,
			{tell(coapKnown, ack(1)), nil},
			{func(*testing.T, *coapAir) {}, nil},
			{command(4), nil},
			{tell(coapKnown, asked(coap.Confirmable, coap.POST, 2, "commands", `{"outcome":3}`)), []string{`ACK 2.04 2 t=t 12=32 {"command":{"id":4,"device":"greenhouse-1","name":"go"}}`}},
		}, 1},
		{"refused", []step{begin, first, {tell(coapKnown, reset(1)), nil}, {sleep(time.Minute), nil}}, 0},
		{"gone", []step{begin, first, {sleep(3 * time.Minute), []string{"retransmissions"}}}, 0},
		{"ended", []step{
			begin,
			{tell(coapKnown, asks(coap.Confirmable, 2, observe("\x01"))), []string{"ACK 2.05 2 t=t 12=32 14=012c {}"}},
			{command(3), nil},
		}, 0},
		{"asked twice with one token", []step{
			begin,
			{tell(coapKnown, asks(coap.Confirmable, 2, observe(""))), []string{"ACK 2.05 2 t=t 6=02 12=32 14=012c {}"}},
			{command(3), []string{"CON 2.05 1001 " + fmt.Sprintf(told, 3, 3)}},
			{tell(coapKnown, ack(1)), nil},
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCoAPAir(t, 0)
				for i, s := range c.steps {
					s.do(t, w)
					var got []string
					for _, line := range w.heard() {
						_, words, _ := strings.Cut(line, " ")
						got = append(got, words)
					}
					if len(s.want) == 1 && s.want[0] == "retransmissions" {
						if len(got) != maxRetransmit {
							t.Errorf("step %d: sent again %d times, want %d", i+1, len(got), maxRetransmit)
						}
						continue
					}
					if d := cmp.Diff(s.want, got); d != "" {
						t.Errorf("step %d (-want +got):\n%s", i+1, d)
					}
				}
				w.mu.Lock()
				w.CoAP.mu.Lock()
				if w.observing != c.left {
					t.Errorf("%d observers left, want %d", w.observing, c.left)
				}
				w.CoAP.mu.Unlock()
				w.mu.Unlock()
				w.stop()
				w.Notify(deviceID) // after the end it does nothing
			})
		})
	}
}

// Observers are bounded, and one device's do not crowd out another's.
func TestCoAPObserversAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 0)
		for i := range 3 * maxObserversPerDevice {
			peer := coapKnown
			peer.Addr = netip.AddrPortFrom(peer.Addr.Addr(), uint16(1000+i))
			w.tell(t, peer, asks(coap.Confirmable, 1, observe("")))
		}
		for i := range maxObservers {
			peer := coapDevice
			peer.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 5683)
			w.tell(t, peer, asks(coap.Confirmable, 1, observe("")))
		}
		w.CoAP.mu.Lock()
		if w.observing != maxObservers || len(w.observers[deviceID]) != maxObserversPerDevice {
			t.Errorf("%d observers, %d of one device", w.observing, len(w.observers[deviceID]))
		}
		w.CoAP.mu.Unlock()
		w.stop()
	})
}

// A plain client's address may be forged: what it hears of commands is bounded by
// what it has confirmed.
func TestCoAPObserverIsNoAmplifier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 0)
		sent, heard := 0, 0
		w.h = w.handler(w.rec, func(_ ingest.Peer, b []byte) { heard += len(b) })
		for i := range 50 {
			w.mail.mu.Lock()
			w.mail.waiting["x"], w.mail.told = []device.Command{{ID: uint64(i + 1), Device: "x", Name: "go", Value: []byte(`"` + strings.Repeat("y", 500) + `"`)}}, nil
			w.mail.mu.Unlock()
			b := asks(coap.Confirmable, uint16(i), observe(""), option(coap.URIQuery, "d=x"))
			sent += len(b)
			w.tell(t, coapDevice, b)
			w.Notify("x")
			synctest.Wait()
		}
		if most := amplification*sent + commandRoom; heard > most {
			t.Errorf("sent %d bytes and heard %d, want at most %d", sent, heard, most)
		}
		w.stop()
	})
}

var _ ingest.Mailbox = (*letters)(nil)
