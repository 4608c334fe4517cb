package listen

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// TestReboot: a device that has restarted on the same port gets in at once. Its
// old session is good until the new one is there.
func TestReboot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		w.dial(t, at, client(deviceID, deviceKey))
		old, addr := w.session(at), netip.MustParseAddrPort(at)
		up := old.deviceSide(t)
		w.hook(func(p packet) []packet { // a reading of the old session with each datagram of the handshake
			r := seals(t, up, typeData, uint64(100+len(p.b)), "t v=1")
			return []packet{{addr, r}, p}
		}, nil)
		begin := time.Now()
		c := w.dial(t, at, client(deviceID, deviceKey))
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %v", took)
		}
		w.hook(nil, nil)
		if now := w.session(at); now == old || now == nil {
			t.Error("the session is the old one")
		}
		write(t, c, "t v=2")
		w.inject(addr, seals(t, up, typeData, 5000, "t v=3")) // the old keys are gone
		synctest.Wait()
		if d := cmp.Diff([]string{"t v=1", "t v=1", "t v=1", "t v=2"}, w.rec.all()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if st := w.d.Stats(); st.Sessions != 1 || st.Shaken != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// TestRebootFails: a handshake beside a session that does not get far, or fails,
// leaves it alone.
func TestRebootFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		w.dial(t, at, client(deviceID, deviceKey))
		old := w.session(at)
		if _, err := w.tryDial(t, at, client(deviceID, "ff"+deviceKey[2:])); err == nil {
			t.Error("it got in with a wrong key")
		}
		w.inject(netip.MustParseAddrPort(at), helloRecord(9))
		<-time.After(shakeTimeout + time.Second)
		w.inject(netip.MustParseAddrPort(at), seals(t, old.deviceSide(t), typeData, 7, "t v=1"))
		synctest.Wait()
		if w.session(at) != old || len(w.rec.all()) != 1 {
			t.Errorf("the session is %v; %q", w.session(at) == old, w.rec.all())
		}
	})
}

// TestRebootInHandshake: a device that restarts in the middle of its handshake
// begins anew.
func TestRebootInHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		w.inject(netip.MustParseAddrPort(at), helloRecord(9))
		synctest.Wait()
		begin := time.Now()
		w.dial(t, at, client(deviceID, deviceKey))
		if took := time.Since(begin); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestLoss: a handshake survives the loss of any of its datagrams, the last one
// of either side too.
func TestLoss(t *testing.T) {
	for _, s := range pskSuites {
		for _, up := range []bool{true, false} {
			for lost := range 3 {
				t.Run(fmt.Sprintf("%s, datagram %d, up %v", s.name, lost, up), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newAir(t, &DTLS{Keys: oneDevice()})
						seen := 0
						lose := func(p packet) []packet {
							if seen++; seen == lost+1 {
								return nil
							}
							return []packet{p}
						}
						if up {
							w.hook(lose, nil)
						} else {
							w.hook(nil, lose)
						}
						begin := time.Now()
						c := w.dial(t, at, client(deviceID, deviceKey, s))
						if took := time.Since(begin); took > 3*time.Second {
							t.Errorf("it took %v", took)
						}
						write(t, c, "t v=1")
						synctest.Wait()
						if got := w.rec.all(); len(got) != 1 {
							t.Errorf("got %q", got)
						}
					})
				})
			}
		}
	}
}

// TestSleepy: a device shakes hands, sends one datagram and says goodbye, all at
// once and in any order: nothing is lost.
func TestSleepy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		for i, s := range append(pskSuites, pskSuites...) {
			addr := fmt.Sprint("192.168.1.7:", 5000+i)
			c := w.dial(t, addr, client(deviceID, deviceKey, s))
			write(t, c, fmt.Sprint("t v=", i))
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if n := len(w.rec.all()); n != 2*len(pskSuites) {
			t.Errorf("%d readings", n)
		}
		<-time.After(2 * sweepEvery)
		// Now and then pion's client closes its socket before it has said goodbye: its
		// device comes once more.
		for again := 0; again < 5 && w.d.Stats().Sessions > 0; again++ {
			for _, addr := range w.addresses() {
				if err := w.dial(t, addr.String(), client(deviceID, deviceKey)).Close(); err != nil {
					t.Error(err)
				}
			}
			<-time.After(2 * sweepEvery)
		}
		if st := w.d.Stats(); st.Sessions != 0 || st.Handshakes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// addresses returns those that have a session.
func (w *air) addresses() []netip.AddrPort {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return slices.Collect(maps.Keys(w.d.sessions))
}

// TestEarly: readings and the goodbye that overtake the last datagram of the
// handshake are held back for it.
func TestEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		var finished []packet
		w.hook(func(p packet) []packet {
			// The flight with the Finished waits until a second of everything after it.
			for rest := p.b; ; {
				r, after, ok := cutRecord(rest)
				if !ok {
					return []packet{p}
				}
				if rest = after; r.epoch == epoch && r.kind == typeHandshake && finished == nil {
					finished = []packet{p}
					return nil
				}
			}
		}, nil)
		// The records that the device would send next are made from its keys, which
		// the server has once the Finished has come: a first handshake tells them.
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.dial(t, at, client(deviceID, deviceKey))
		}()
		synctest.Wait()
		w.hook(nil, nil)
		addr := netip.MustParseAddrPort(at)
		w.d.mu.Lock()
		k := w.d.shakes[addr]
		w.d.mu.Unlock()
		for i := range 2 * maxHeld {
			b := append(appendHead(nil, typeData, epoch, uint64(i), 20), make([]byte, 20)...)
			w.inject(addr, b) // not authentic: they take up room, and are dropped in the end
		}
		synctest.Wait()
		k.mu.Lock()
		if len(k.held) != maxHeld {
			t.Errorf("%d records are held", len(k.held))
		}
		k.held, k.heldBytes = nil, 0
		k.mu.Unlock()
		w.inject(addr, finished[0].b)
		<-done
		if got := w.rec.all(); len(got) != 0 {
			t.Errorf("got %q", got)
		}
	})
}

// TestHeldBack: what was held back is taken when the handshake is done, the
// Finished among it once.
func TestHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		var held [][]byte
		w.hook(func(p packet) []packet {
			if held != nil {
				return []packet{p}
			}
			for rest := p.b; ; {
				r, after, ok := cutRecord(rest)
				if !ok {
					return []packet{p}
				}
				if rest = after; r.epoch == epoch {
					held = append(held, bytes.Clone(r.whole))
				}
			}
		}, nil)
		w.dial(t, at, client(deviceID, deviceKey))
		s := w.session(at)
		up := s.deviceSide(t)
		for i, text := range []string{"t v=1", "t v=2"} {
			held = append(held, seals(t, up, typeData, uint64(2+i), text))
		}
		held = append(held, held[0], seals(t, up, typeAlert, 4, string([]byte{alertWarning, closeNotify})))
		// As if the session were new.
		again, err := newSession(s.addr, s.device, s.suite, s.keys, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		again.flight, again.limit = []byte("the last flight"), maxSeq
		before := len(w.sentTo(s.addr))
		l := &lane{d: w.d, h: w.rec}
		l.sessionRecords(t.Context(), again, bytes.Join(held, nil))
		if d := cmp.Diff([]string{"t v=1", "t v=2"}, w.rec.all()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if out := w.sentTo(s.addr)[before:]; len(out) != 1 || out[0][0] != typeAlert {
			t.Errorf("sent %x, want a goodbye", out)
		}
		if _, over := again.idle(time.Now()); !over || again.window.again != 1 {
			t.Errorf("over %v, %+v", over, again.window)
		}
	})
}

// TestRotation: both keys are valid; the one that was used is told, and a device
// that has the other gets in with its second attempt at the latest.
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const newKey = "ffeeddccbbaa99887766554433221100"
		var used []string
		w := newAir(t, &DTLS{
			Keys: ring(map[string][]string{deviceID: {newKey, deviceKey}}),
			Used: func(id device.ID, k Key) { used = append(used, string(id)+" "+k.Name) },
		})
		for _, step := range []struct {
			key     string
			addr    string
			refused int // attempts before it gets in
		}{
			{deviceKey, at, 1},
			{deviceKey, at, 0},
			{deviceKey, at, 0}, // it is remembered
			{newKey, at, 1},
			{newKey, at, 0},
			{newKey, "192.168.1.8:5000", 0},
			{deviceKey, "192.168.1.9:5000", 1}, // for each address
		} {
			for range step.refused {
				if _, err := w.tryDial(t, step.addr, client(deviceID, step.key)); err == nil {
					t.Errorf("%+v: it got in at once", step)
				}
				synctest.Wait()
			}
			w.dial(t, step.addr, client(deviceID, step.key))
		}
		if got := strings.Join(used, ", "); got != strings.Join([]string{
			"greenhouse-1 1", "greenhouse-1 1", "greenhouse-1 1", "greenhouse-1 0", "greenhouse-1 0", "greenhouse-1 0", "greenhouse-1 1",
		}, ", ") {
			t.Errorf("used %s", got)
		}
		if got := w.refused.all(); len(got) != 3 || !strings.Contains(got[0], "number 1 of 2 was tried") {
			t.Errorf("refused %q", got)
		}
	})
}

// TestBounds: of one device, one address and in all there are so many sessions;
// those that have been silent for the longest time are told that they are over.
func TestBounds(t *testing.T) {
	keys := func([]byte) []Key { return oneDevice()([]byte(deviceID)) }
	for _, tt := range []struct {
		name string
		d    *DTLS
		who  func(i int) (addr, id string)
		most int
	}{
		{"a device", &DTLS{}, func(i int) (string, string) { return address(i).String(), "x" }, maxSessionsPerDevice},
		{"an address", &DTLS{MaxPerAddr: 5}, func(i int) (string, string) { return fmt.Sprint("10.0.0.1:", 1000+i), fmt.Sprint("d", i) }, 5},
		{"all", &DTLS{MaxSessions: 7}, func(i int) (string, string) { return address(i).String(), fmt.Sprint("d", i) }, 7},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.d.Keys = keys
				w := newAir(t, tt.d)
				for i := range tt.most + 3 {
					addr, id := tt.who(i)
					w.dial(t, addr, client(id, deviceKey))
					<-time.After(time.Second)
					first, _ := tt.who(0)
					s := w.session(first) // it stays, for it goes on sending
					w.inject(s.addr, seals(t, s.deviceSide(t), typeData, uint64(10+i), "t v=1"))
					synctest.Wait()
				}
				if n := len(w.d.Sessions()); n != tt.most {
					t.Errorf("%d sessions, want %d", n, tt.most)
				}
				for i := range tt.most + 3 {
					addr, _ := tt.who(i)
					out := w.sentTo(netip.MustParseAddrPort(addr))
					there, want := w.session(addr) != nil, i == 0 || i > 3
					if there != want || there == (out[len(out)-1][0] == typeAlert) {
						t.Errorf("session %d is there: %v, want %v; the last record is of type %d", i, there, want, out[len(out)-1][0])
					}
				}
				w.d.mu.Lock()
				defer w.d.mu.Unlock()
				n := 0
				for _, list := range w.d.devices {
					n += len(list)
				}
				if n != tt.most {
					t.Errorf("%d sessions are listed by device", n)
				}
			})
		})
	}
}

// TestIdle: a session that is silent for too long ends, and the device is told;
// one that is not, and forged records do not count, goes on.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice(), Idle: time.Hour})
		w.dial(t, at, client(deviceID, deviceKey))
		s := w.session(at)
		up := s.deviceSide(t)
		for i := range 5 {
			<-time.After(55 * time.Minute)
			w.inject(s.addr, seals(t, up, typeData, uint64(i+1), "t v=1"))
			synctest.Wait()
		}
		if w.session(at) != s {
			t.Fatal("it has ended too early")
		}
		forged := seals(t, up, typeData, 100, "t v=1")
		forged[len(forged)-1] ^= 1
		for range 12 {
			w.inject(s.addr, forged)
			<-time.After(5 * time.Minute)
		}
		<-time.After(2 * sweepEvery)
		if w.session(at) != nil {
			t.Error("it has not ended")
		}
		out := w.sentTo(s.addr)
		if last := out[len(out)-1]; last[0] != typeAlert {
			t.Errorf("the last record is %x", last)
		}
		if st := w.d.Stats(); st.Forged != 12 {
			t.Errorf("%+v", st)
		}
	})
}

// TestForget: a device that is no longer welcome is told.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice(), Store: &keptSessions{}})
		c := w.dial(t, at, client(deviceID, deviceKey))
		w.d.Forget("another")
		if w.session(at) == nil {
			t.Error("another's session has ended")
		}
		w.d.Forget(deviceID)
		synctest.Wait()
		if n, err := c.Read(make([]byte, 10)); err == nil {
			t.Errorf("the device has read %d bytes", n)
		}
		if w.session(at) != nil || len(w.d.devices)+len(w.d.perAddr) != 0 {
			t.Error("something is left")
		}
	})
}

// TestRevokedMeanwhile: a device whose key is taken away while it shakes hands has no
// session in the end.
func TestRevokedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		w := newAir(t, &DTLS{Store: &keptSessions{}, Keys: func(identity []byte) []Key {
			if asked++; asked > 1 {
				return nil
			}
			return oneDevice()(identity)
		}})
		_, _ = w.tryDial(t, at, client(deviceID, deviceKey)) // the device may have been content
		synctest.Wait()
		if st := w.d.Stats(); w.session(at) != nil || st.Shaken != 0 || st.Failed != 1 {
			t.Errorf("%+v", st)
		}
		if d := cmp.Diff([]string{"handshake: handshake: the device has lost its credential meanwhile (0)"}, w.refused.all()); d != "" {
			t.Error("refused (-want +got):\n", d)
		}
	})
}

// TestAnswerToAnother: an answer to a device whose address is another's by now
// goes to nobody.
func TestAnswerToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: ring(map[string][]string{"a": {deviceKey}, "b": {deviceKey}})})
		c := w.dial(t, at, client("a", deviceKey))
		write(t, c, "t v=1")
		synctest.Wait()
		peer, _ := w.rec.state()
		w.dial(t, at, client("b", deviceKey))
		before := len(w.sentTo(peer.Addr))
		w.rec.reply(peer, []byte("secret of a"))
		if n := len(w.sentTo(peer.Addr)); n != before {
			t.Errorf("%d datagrams were sent", n-before)
		}
		if st := w.d.Stats(); st.Unsent != 1 {
			t.Errorf("%+v", st)
		}
	})
}

// restarted returns a server that has the sessions of another, whose store is as
// it is now, as after a crash.
func restarted(t *testing.T, store *keptSessions, d *DTLS) *air {
	d.Store = store.copy()
	if d.Keys == nil {
		d.Keys = oneDevice()
	}
	return newAir(t, d)
}

// TestRestart: a session goes on after crashes and clean ends, with counts and
// window; no number is used twice, however often the server crashes, and answers
// before and after the end of serving count too.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptSessions{}
		d := &DTLS{Keys: oneDevice(), Store: store}
		w := newAir(t, d)
		w.dial(t, at, client(deviceID, deviceKey))
		s := w.session(at)
		up := s.deviceSide(t)
		numbers := map[uint64]bool{}
		next := uint64(1)
		for round := range 20 {
			for range 3 {
				w.inject(s.addr, seals(t, up, typeData, next, "t v=1"))
				next++
				synctest.Wait()
				peer, _ := w.rec.state()
				w.rec.reply(peer, []byte("answer"))
			}
			if n := len(w.rec.all()); n != 3 {
				t.Fatalf("round %d: %d readings", round, n)
			}
			if round%2 == 0 {
				<-time.After(windowEvery + 2*saveDelay)
			} else {
				w.stop()
				peer, _ := w.rec.state()
				w.rec.reply(peer, []byte("after the end"))
			}
			for _, b := range w.sentTo(s.addr) {
				r, _, _ := cutRecord(b)
				if r.epoch != epoch {
					continue
				}
				if numbers[r.seq] || binary.BigEndian.Uint64(r.body) != epoch<<48|r.seq && s.suite.explicit > 0 {
					t.Fatalf("round %d: number %d was used twice", round, r.seq)
				}
				numbers[r.seq] = true
			}
			last := w
			w = restarted(t, last.d.Store.(*keptSessions), &DTLS{}) //nolint:errcheck,forcetypeassert // it is
			last.stop()
			w.inject(s.addr, seals(t, up, typeData, 1, "t v=1")) // a replay
			synctest.Wait()
			if n := len(w.rec.all()); round > 0 && n != 0 {
				t.Fatalf("round %d: a replay was taken", round)
			}
			w.rec.mu.Lock()
			w.rec.payloads = nil
			w.rec.mu.Unlock()
		}
		if len(numbers) < 60 {
			t.Errorf("%d answers", len(numbers))
		}
		if f := w.d.Sessions(); len(f) != 1 || f[0].Device != deviceID || f[0].Records != next || f[0].Lost != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// TestStoreFails: without the disk nothing is sent beyond what was reserved, but
// readings are taken; when it is back all goes on.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptSessions{}
		first := newAir(t, &DTLS{Keys: oneDevice(), Store: store})
		first.dial(t, at, client(deviceID, deviceKey))
		s := first.session(at)
		first.stop()
		up := s.deviceSide(t)
		d := &DTLS{}
		failing := store.copy()
		failing.fail(true)
		d.Store, d.Keys = failing, oneDevice()
		w := newAir(t, d)
		sent := func() int { return len(w.sentTo(s.addr)) }
		w.rec.answer = func(string) string { return "answer" }
		w.inject(s.addr, seals(t, up, typeData, 1, "t v=1"))
		synctest.Wait()
		if len(w.rec.all()) != 1 || sent() != 0 {
			t.Errorf("%d readings, %d answers", len(w.rec.all()), sent())
		}
		failing.fail(false)
		<-time.After(2 * saveDelay)
		w.inject(s.addr, seals(t, up, typeData, 2, "t v=2"))
		synctest.Wait()
		if len(w.rec.all()) != 2 || sent() != 1 {
			t.Errorf("%d readings, %d answers", len(w.rec.all()), sent())
		}
		if log := w.log.String(); strings.Count(log, "cannot be kept") != 1 {
			t.Errorf("log %s", log)
		}
	})
}

// TestReserve: half of the reserved numbers are left when more are asked for, and
// the last is never passed.
func TestReserve(t *testing.T) {
	s, err := newSession(address(1), deviceID, pskSuites[2], make([]byte, pskSuites[2].keyLength()), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s.limit = reserveAhead
	for i := range uint64(reserveAhead) {
		_, low, err := s.seal(typeData, nil)
		if err != nil || low != (i >= reserveAhead/2) {
			t.Fatalf("record %d: low %v, %v", i, low, err)
		}
	}
	if _, low, err := s.seal(typeData, nil); err == nil || !low {
		t.Error("beyond the reserved ones:", low, err)
	}
	saved, limit := s.save(time.Now())
	if limit != 2*reserveAhead || s.limit != reserveAhead {
		t.Errorf("limit %d", limit)
	}
	r, err := restore(s.addr, saved, time.Now())
	if err != nil || r.next != limit || r.limit != limit {
		t.Errorf("restored: next %d, limit %d, %v", r.next, r.limit, err)
	}
	s.next, s.limit = maxSeq-1, maxSeq
	if _, _, err := s.seal(typeData, nil); err != nil {
		t.Error(err)
	}
	if _, _, err := s.seal(typeData, nil); err == nil {
		t.Error("a number beyond the last was used")
	}
}

// TestRestored: which sessions go on after a restart.
func TestRestored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &keptSessions{}
		first := newAir(t, &DTLS{Keys: ring(map[string][]string{"a": {deviceKey}, "b": {deviceKey}, "gone": {deviceKey}}), Store: store})
		first.dial(t, "10.0.0.1:1", client("a", deviceKey))
		first.dial(t, "10.0.0.2:2", client("b", deviceKey))
		<-time.After(30 * time.Minute)
		first.dial(t, "10.0.0.3:3", client("gone", deviceKey))
		s := first.session("10.0.0.1:1")
		first.inject(s.addr, seals(t, s.deviceSide(t), typeData, 9, "t v=1"))
		synctest.Wait()
		first.stop()
		store.kept["nonsense"] = []byte("x")
		store.kept["10.0.0.4:4"] = store.kept["10.0.0.1:1"][:20]
		store.kept["10.0.0.5:5"] = nil
		w := restarted(t, store, &DTLS{Keys: ring(map[string][]string{"a": {deviceKey}, "b": {deviceKey}}), Idle: 20 * time.Minute})
		var got []string
		for _, f := range w.d.Sessions() {
			got = append(got, f.Addr.String()+" "+string(f.Device))
		}
		if d := cmp.Diff([]string{"10.0.0.1:1 a"}, got); d != "" {
			t.Error("(-want +got):\n", d)
		}
		kept, ok := w.d.Store.(*keptSessions)
		if d := cmp.Diff([]string{"10.0.0.1:1"}, kept.names()); d != "" || !ok {
			t.Error("kept (-want +got):\n", d)
		}
		if !strings.Contains(w.log.String(), "sessions=3") {
			t.Errorf("log %s", w.log.String())
		}
	})
}
