package listen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// coapAir joins a CoAP server with a pipeline, and writes down what it sends.
type coapAir struct {
	*CoAP
	mail *letters
	h    Handler
	rec  *recorder // what is left to others
	sink *memory
	stop func()

	mu    sync.Mutex
	write func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error) // instead of the pipeline's
	sent  []string
	began time.Time
}

// newCoAPAir starts a server in a bubble.
func newCoAPAir(t testing.TB, delay time.Duration) *coapAir {
	w := &coapAir{rec: newRecorder(), sink: &memory{delay: delay}, began: time.Now()}
	w.mail = &letters{waiting: map[device.ID][]device.Command{}}
	p := ingest.New(ingest.Config{Sink: w.sink, Mailbox: w.mail})
	p.Gate().Register("locked", &device.Registration{ID: "locked", Revoked: true})
	w.write = func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error) {
		return p.Write(ctx, peer, payload, wire.Ago)
	}
	w.CoAP = &CoAP{Refuse: p.Refuse, Listener: p.Gate().Listener, Next: w.mail.Next, Write: func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error) {
		return w.write(ctx, peer, payload)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	end := w.open(ctx)
	w.id = 0x1000 // so that what is sent can be written down here
	w.h = w.handler(w.rec, func(_ ingest.Peer, b []byte) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sent = append(w.sent, fmt.Sprintf("%gs %s", time.Since(w.began).Round(10*time.Millisecond).Seconds(), words(b)))
	})
	w.stop = func() {
		cancel()
		end()
	}
	t.Cleanup(w.stop)
	return w
}

var (
	coapDevice = ingest.Peer{Addr: netip.MustParseAddrPort("192.168.1.9:5683"), Transport: "udp"}
	coapKnown  = ingest.Peer{Addr: netip.MustParseAddrPort("192.168.1.9:5684"), Transport: "dtls", Device: deviceID}
	coapPublic = ingest.Peer{Addr: netip.MustParseAddrPort("203.0.113.9:5683"), Transport: "udp"}
)

// tell sends a datagram and waits for what it causes at once.
func (w *coapAir) tell(t testing.TB, peer ingest.Peer, b []byte) {
	if err := w.h.Handle(t.Context(), peer, b); err != nil {
		t.Error(err)
	}
	synctest.Wait()
}

// heard returns what was sent since it was called last.
func (w *coapAir) heard() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.sent
	w.sent = nil
	return out
}

// words writes a message in one line.
func words(b []byte) string {
	var m coap.Message
	if err := coap.Parse(b, &m); err != nil {
		return err.Error()
	}
	out := fmt.Sprintf("%s %s %x", [...]string{"CON", "NON", "ACK", "RST"}[m.Type], m.Code, m.ID)
	if len(m.Token) > 0 {
		out += fmt.Sprintf(" t=%s", m.Token)
	}
	for _, o := range m.Options {
		out += fmt.Sprintf(" %d=%x", o.Number, o.Value)
	}
	if len(m.Payload) > 0 {
		out += " " + string(m.Payload)
	}
	return out
}

// asked makes a request of token t with path, options and payload.
func asked(kind coap.Type, code coap.Code, id uint16, path string, payload string, more ...coap.Option) []byte {
	m := coap.Message{Type: kind, Code: code, ID: id, Token: []byte("t"), Payload: []byte(payload)}
	for part := range strings.SplitSeq(path, "/") {
		if path != "" {
			m.Options = append(m.Options, coap.Option{Number: coap.URIPath, Value: []byte(part)})
		}
	}
	m.Options = append(m.Options, more...)
	return m.Append(nil)
}

// held is what a server remembers.
type held struct{ Peers, Heard, Exchanges, Uploading, Pending, Bytes, Separate int }

func (w *coapAir) held() held {
	synctest.Wait()
	c := w.CoAP
	c.mu.Lock()
	defer c.mu.Unlock()
	return held{len(c.peers), c.heard.Len(), c.exchanges, c.uploading, c.pendingAll + len(c.pending), c.pendingBytes, len(c.separate)}
}

func option(n uint16, v string) coap.Option { return coap.Option{Number: n, Value: []byte(v)} }

func TestCoAPAnswers(t *testing.T) {
	const line = "climate,device=a temp=21.5"
	format := func(n uint32) coap.Option { return coap.UintOption(coap.ContentFormat, n) }
	pad := option(coap.URIQuery, strings.Repeat("x", 80)) // so that much may be answered
	for _, c := range []struct {
		name     string
		peer     ingest.Peer
		sent     []byte
		answer   string
		readings string
	}{
		{"POST", coapDevice, asked(coap.Confirmable, coap.POST, 1, "readings", line), "ACK 2.04 1 t=t", "a climate.temp=21.5"},
		{"PUT, short path", coapDevice, asked(coap.Confirmable, coap.PUT, 1, "r", line, format(0)), "ACK 2.04 1 t=t", "a climate.temp=21.5"},
		{"no path, JSON", coapDevice, asked(coap.Confirmable, coap.POST, 1, "", `{"temp":1}`, format(50), option(coap.URIQuery, "d=q")), "ACK 2.04 1 t=t", "q temp=1"},
		{"CBOR", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", "\xa1\x61v\x01", format(60)), "ACK 2.04 1 t=t", "ip-192.168.1.9 v=1"},
		{"SenML", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", `[{"bn":"s/","n":"v","v":2}]`, format(110)), "ACK 2.04 1 t=t", "s v=2"},
		{"SenML in CBOR", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", "\x81\xa3\x21\x62s/\x00\x61v\x02\x02", format(112)), "ACK 2.04 1 t=t", "s v=2"},
		{"NON", coapDevice, asked(coap.NonConfirmable, coap.POST, 1, "r", line), "NON 2.04 1001 t=t", "a climate.temp=21.5"},
		{"proved device", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t v=1", option(coap.URIQuery, "d=q")), "ACK 2.04 1 t=t", deviceID + " t.v=1"},
		{"in another's name", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t,device=x v=1"), `ACK 4.03 1 t=t device "greenhouse-1" may not speak for "x"`, ""},
		{"syntax", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", "t v=1\nt v=\n"), "ACK 4.00 1 t=t line 2: byte 5: a field value is missing", deviceID + " t.v=1"},
		{"nothing", coapDevice, asked(coap.Confirmable, coap.POST, 1, "readings", ""), "ACK 4.00 1 t=t no reading in the payload", ""},
		{"bad name", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", line, option(coap.URIQuery, "d=/")), `ACK 4.00 1 t=t d: invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`, ""},
		{"format", coapKnown, asked(coap.Confirmable, coap.POST, 1, "r", line, format(41)), "ACK 4.15 1 t=t content formats: 0 text, 50 JSON, 60 CBOR, 110 and 112 SenML", ""},
		{"path", coapKnown, asked(coap.Confirmable, coap.POST, 1, "a/b", line), "ACK 4.04 1 t=t there is no /a/b; readings go to /readings", ""},
		{"method", coapKnown, asked(coap.Confirmable, 4, 1, "r", ""), "ACK 4.05 1 t=t only POST and PUT", ""},
		{"method of time", coapKnown, asked(coap.Confirmable, coap.POST, 1, "time", ""), "ACK 4.05 1 t=t only GET", ""},
		{"time", coapDevice, asked(coap.Confirmable, coap.GET, 1, "time", ""), "ACK 2.05 1 t=t 12= 14= 946684800.000", ""},
		{"core", coapDevice, asked(coap.Confirmable, coap.GET, 1, ".well-known/core", ""), `ACK 2.05 1 t=t 12=28 ` + coreLinks, ""},
		{"a block of core", coapDevice, asked(coap.Confirmable, coap.GET, 1, ".well-known/core", "", option(coap.Block2, "\x10")), `ACK 2.05 1 t=t 12=28 23=18 0 50 60 110 112"`, ""},
		{"not acceptable", coapKnown, asked(coap.Confirmable, coap.GET, 1, "time", "", option(coap.Accept, "\x32")), "ACK 4.06 1 t=t there is content format 0 only", ""},
		{"critical option", coapKnown, asked(coap.Confirmable, coap.GET, 1, "time", "", option(65, "")), "ACK 4.02 1 t=t option 65 is not known here, or not twice", ""},
		{"critical option, NON", coapKnown, asked(coap.NonConfirmable, coap.GET, 1, "time", "", option(65, "")), "RST 0.00 1", ""},
		{"elective option", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", line, option(2048, "x")), "ACK 2.04 1 t=t", "a climate.temp=21.5"},
		{"proxy", coapKnown, asked(coap.Confirmable, coap.GET, 1, "", "", option(coap.ProxyURI, "coap://x")), "ACK 5.05 1 t=t this is no proxy", ""},
		{"public address", coapPublic, asked(coap.Confirmable, coap.POST, 1, "r", line, pad), "ACK 4.03 1 t=t plain CoAP is for private addresses: use DTLS", ""},
		{"no success wanted", coapDevice, asked(coap.Confirmable, coap.POST, 1, "r", line, option(coap.NoResponse, "\x02")), "ACK 0.00 1", "a climate.temp=21.5"},
		{"no success wanted, NON", coapDevice, asked(coap.NonConfirmable, coap.POST, 1, "r", line, option(coap.NoResponse, "\x02")), "", "a climate.temp=21.5"},
		{"ping", coapDevice, []byte("\x40\x00\x00\x07"), "RST 0.00 7", ""},
		{"malformed", coapDevice, []byte("\x40\x02\x00\x07\xff"), "RST 0.00 7", ""},
		{"malformed, NON", coapDevice, []byte("\x50\x02\x00\x07\xff"), "", ""},
		{"request as an acknowledgement", coapDevice, []byte("\x60\x02\x00\x07"), "", ""},
		{"nobody's acknowledgement", coapDevice, []byte("\x60\x00\x00\x07"), "", ""},
		{"cut to what may be heard", coapDevice, []byte("\x40\x01\x00\x07\xb1x"), "ACK 4.04 7 there is no /", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCoAPAir(t, 0)
				w.tell(t, c.peer, c.sent)
				got := strings.TrimPrefix(strings.Join(w.heard(), "; "), "0s ")
				if got != c.answer {
					t.Errorf("answer %q, want %q", got, c.answer)
				}
				if got := strings.Join(w.sink.texts(), "; "); got != c.readings {
					t.Errorf("readings %q, want %q", got, c.readings)
				}
				w.stop()
			})
		})
	}
}

// TestCoAPOthers: what is no CoAP goes to the other dialects, and what nobody
// waits for to the session, with the name that the query gives.
func TestCoAPOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 0)
		w.tell(t, coapDevice, []byte("P,a=b v=1"))
		w.tell(t, coapDevice, asked(coap.NonConfirmable, coap.POST, 1, "r", "t v=1", option(coap.URIQuery, "d=q"), option(coap.NoResponse, "\x1a")))
		if d := cmp.Diff([]string{"P,a=b v=1", "t v=1"}, w.rec.all()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		want := coapDevice
		want.Transport, want.Name = "coap", "q"
		if peer, _ := w.rec.state(); peer != want || len(w.heard()) > 0 {
			t.Errorf("peer %+v", peer)
		}
		w.stop()
	})
}

// TestCoAPTimes: what is sent when, while the disk is slow and messages are lost.
func TestCoAPTimes(t *testing.T) {
	request := func(kind coap.Type, id uint16) []byte {
		return asked(kind, coap.POST, id, "readings", "climate,device=a temperature=21.5")
	}
	ack := []byte("\x60\x00\x10\x01")
	for _, c := range []struct {
		name     string
		delay    time.Duration
		sent     map[time.Duration][]byte
		until    time.Duration
		want     []string
		readings int
	}{
		{"on the acknowledgement", time.Second, nil, 5 * time.Second, []string{"1s ACK 2.04 1 t=t"}, 1},
		{"repeated while it waits", time.Second, map[time.Duration][]byte{500 * time.Millisecond: request(0, 1)}, 5 * time.Second, []string{"1s ACK 2.04 1 t=t"}, 1},
		{"repeated", 0, map[time.Duration][]byte{2 * time.Second: request(0, 1), 246 * time.Second: request(0, 1)}, 250 * time.Second, []string{"0s ACK 2.04 1 t=t", "2s ACK 2.04 1 t=t", "246s ACK 2.04 1 t=t"}, 1},
		{"repeated after its life", 0, map[time.Duration][]byte{247 * time.Second: request(0, 1)}, 250 * time.Second, []string{"0s ACK 2.04 1 t=t", "247s ACK 2.04 1 t=t"}, 2},
		{"the id of another message", 0, map[time.Duration][]byte{time.Second: asked(0, coap.POST, 1, "r", "t,device=b v=1")}, 5 * time.Second, []string{"0s ACK 2.04 1 t=t", "1s ACK 2.04 1 t=t"}, 2},
		{"separate response", 3 * time.Second, map[time.Duration][]byte{2 * time.Second: request(0, 1), 4 * time.Second: ack}, 200 * time.Second, []string{"1.5s ACK 0.00 1", "2s ACK 0.00 1", "3s CON 2.04 1001 t=t"}, 1},
		{"separate response, reset", 3 * time.Second, map[time.Duration][]byte{4 * time.Second: []byte("\x70\x00\x10\x01")}, 200 * time.Second, []string{"1.5s ACK 0.00 1", "3s CON 2.04 1001 t=t"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newCoAPAir(t, c.delay)
				w.tell(t, coapDevice, request(0, 1))
				for _, at := range slices.Sorted(maps.Keys(c.sent)) {
					time.Sleep(at - time.Since(w.began)) //nolint:forbidigo // of the bubble
					w.tell(t, coapDevice, c.sent[at])
				}
				time.Sleep(c.until - time.Since(w.began)) //nolint:forbidigo // of the bubble
				synctest.Wait()
				if d := cmp.Diff(c.want, w.heard()); d != "" {
					t.Error("(-want +got):\n", d)
				}
				if n := len(w.sink.texts()); n != c.readings {
					t.Errorf("%d readings, want %d", n, c.readings)
				}
				w.stop()
			})
		})
	}
}

// TestCoAPInsists: a response of its own is sent five times, with growing pauses.
func TestCoAPInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 2*time.Second)
		w.tell(t, coapDevice, asked(0, coap.POST, 1, "readings", "climate,device=a temperature=21.5"))
		time.Sleep(5 * time.Minute) //nolint:forbidigo // of the bubble
		synctest.Wait()
		all := w.heard()
		if len(all) != 6 {
			t.Fatal(all)
		}
		var at []float64
		for _, s := range all[1:] {
			var when float64
			_, _ = fmt.Sscanf(s, "%fs", &when)
			at = append(at, when)
		}
		first := at[1] - at[0]
		if first < 2 || first > 3 || (at[4]-at[3])/first < 7.9 || (at[4]-at[3])/first > 8.1 {
			t.Error(at)
		}
		if s := w.held(); s != (held{}) {
			t.Errorf("%+v stay", s)
		}
		w.stop()
	})
}

// TestCoAPPressure: what a device hears when there is no room or no disk, and when
// too many wait.
func TestCoAPPressure(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{ingest.ErrFull, "0s ACK 4.29 1 t=t 14=02 no room at present; send it again later"},
		{errors.New("the disk is gone"), "0s ACK 5.03 1 t=t 14=05 readings cannot be stored at present"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newCoAPAir(t, 0)
			w.write = func(context.Context, ingest.Peer, []byte) (ingest.Written, error) { return ingest.Written{}, c.err }
			w.tell(t, coapKnown, asked(0, coap.POST, 1, "r", "t v=1"))
			if d := cmp.Diff([]string{c.want}, w.heard()); d != "" {
				t.Error("(-want +got):\n", d)
			}
			w.stop()
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, time.Second)
		for i := range maxPendingPerAddr + 1 {
			w.tell(t, coapKnown, asked(0, coap.POST, uint16(i), "r", fmt.Sprintf("t v=%d", i)))
		}
		if got := w.heard(); len(got) != 1 || !strings.Contains(got[0], "ACK 4.29 40 t=t 14=01 ") {
			t.Error(got)
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if n := len(w.heard()); n != maxPendingPerAddr || w.held().Pending+w.held().Bytes != 0 {
			t.Errorf("%d answers, %+v", n, w.held())
		}
		w.stop()
	})
}

// TestCoAPFlood: many addresses hold bounded memory, and hear no more than three
// times what they sent.
func TestCoAPFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newCoAPAir(t, 0)
		heard, told := map[ingest.Peer]int{}, map[ingest.Peer]int{}
		w.h = w.handler(w.rec, func(p ingest.Peer, b []byte) { heard[p] += len(b) })
		requests := [][]byte{
			[]byte("\x40\x00\x00\x01"), []byte("\x40\x01\x00\x02\x81x"), []byte("\x40\x01\x00\x03\xb4time"), []byte("\x40\x01\x00\x03\xb4time"),
			[]byte("\x40\x02\x00\x04"), []byte("\x50\x01\x00\x05\x91y"), []byte("\x40\x01\x00\x06\xbb.well-known\x04core"), []byte("\x40\x02\x00\x01\xff"),
		}
		for i := range 2 * maxCoAPPeers {
			p := coapDevice
			p.Addr = netip.AddrPortFrom(p.Addr.Addr(), uint16(1+i))
			for id, b := range requests {
				if b[1] == 2 && len(b) == 4 {
					continue // answered from another goroutine
				}
				told[p] += len(b)
				if err := w.h.Handle(t.Context(), p, b); err != nil {
					t.Fatal(id, err)
				}
			}
		}
		for p, n := range heard {
			if n > amplification*told[p] {
				t.Fatalf("%d bytes answered to %d", n, told[p])
			}
		}
		if s := w.held(); s.Peers != maxCoAPPeers || s.Exchanges > maxExchanges || s.Heard != s.Peers {
			t.Errorf("%+v", s)
		}
		time.Sleep(exchangeLife + sweepEvery) //nolint:forbidigo // of the bubble
		synctest.Wait()
		if s := w.held(); s != (held{}) {
			t.Errorf("%+v stay", s)
		}
		w.stop()
	})
}

// FuzzCoAP: no datagram is answered with more than three times its length, none
// panics, and valid requests only reach the disk.
func FuzzCoAP(f *testing.F) {
	f.Add(asked(0, coap.POST, 1, "r", "t v=1"))
	f.Add(asked(1, coap.PUT, 1, "", "{\"v\":1}", option(coap.URIQuery, "d=/"), option(coap.Block1, "\x08")))
	f.Add(asked(0, coap.GET, 1, ".well-known/core", "", option(coap.Block2, "\x10")))
	f.Add([]byte("\x40\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newCoAPAir(t, 0)
		sent := 0
		var mu sync.Mutex
		h := w.handler(w.rec, func(_ ingest.Peer, b []byte) {
			mu.Lock()
			defer mu.Unlock()
			sent += len(b)
		})
		for range 2 {
			if err := h.Handle(t.Context(), coapDevice, b); err != nil {
				t.Fatal(err)
			}
		}
		w.stop()
		if sent > 2*amplification*len(b) {
			t.Errorf("%d bytes answered to %d", sent, len(b))
		}
	})
}
