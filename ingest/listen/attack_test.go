package listen

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// helloRecord is a ClientHello as a device begins with, with suites with a key.
func helloRecord(random byte) []byte {
	body := append([]byte{0xfe, 0xfd}, bytes.Repeat([]byte{random}, 32)...)
	body = append(body, 0, 0, 0, 4, 0xc0, 0xa8, 0x00, 0xa8, 1, 0)
	message := append([]byte{clientHello, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	return append(appendHead(nil, typeHandshake, 0, 0, len(message)), message...)
}

// clear is a record without protection.
func inClear(kind byte, seq uint64, payload ...byte) []byte {
	return append(appendHead(nil, kind, 0, seq, len(payload)), payload...)
}

// TestForged: what anybody can send from a device's address does nothing to its
// session.
func TestForged(t *testing.T) {
	hello := helloRecord(7)
	for name, forged := range map[string][]byte{
		"close_notify in clear":         inClear(typeAlert, 1000, alertWarning, closeNotify),
		"fatal alert in clear":          inClear(typeAlert, 1000, alertFatal, handshakeFailure),
		"fatal alert of epoch 1":        append(appendHead(nil, typeAlert, 1, 1000, 26), make([]byte, 26)...),
		"close_notify of epoch 1":       append(appendHead(nil, typeAlert, 1, 1<<47, 10), make([]byte, 10)...),
		"readings in clear":             inClear(typeData, 5, []byte("t v=9")...),
		"readings of epoch 1":           append(appendHead(nil, typeData, 1, 1<<48-1, 40), make([]byte, 40)...),
		"change of cipher in clear":     inClear(typeChangeCipherSpec, 3, 1),
		"a Finished":                    append(appendHead(nil, typeHandshake, 1, 9, 40), make([]byte, 40)...),
		"an epoch to come":              append(appendHead(nil, typeData, 2, 0, 40), make([]byte, 40)...),
		"an empty record":               appendHead(nil, typeData, 1, 9, 0),
		"a short record":                append(appendHead(nil, typeData, 1, 9, 3), 1, 2, 3),
		"a length beyond the datagram":  appendHead(nil, typeData, 1, 9, 1000),
		"an oversize record":            append(appendHead(nil, typeData, 1, 9, 30_000), make([]byte, 30_000)...),
		"an oversize record in clear":   append(appendHead(nil, typeHandshake, 0, 9, 30_000), make([]byte, 30_000)...),
		"another type":                  inClear(25, 3, 1, 2, 3),
		"a ClientHello":                 hello,
		"a ClientHello with a cookie":   inClear(typeHandshake, 0, append([]byte{clientHello, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 9}, make([]byte, 9)...)...),
		"a ClientHello of an old epoch": bytes.Repeat(hello, 3),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newAir(t, &DTLS{Keys: oneDevice()})
				w.rec.answer = func(string) string { return "answer" }
				c := w.dial(t, at, client(deviceID, deviceKey))
				s := w.session(at)
				addr := netip.MustParseAddrPort(at)
				w.inject(addr, forged)
				synctest.Wait()
				write(t, c, "t v=1")
				synctest.Wait()
				if w.session(at) != s {
					t.Error("the session is another")
				}
				if d := cmp.Diff([]string{"t v=1"}, w.rec.all()); d != "" {
					t.Error("(-want +got):\n", d)
				}
				if n, err := c.Read(make([]byte, 100)); err != nil || n != len("answer") {
					t.Errorf("answer of %d bytes, %v", n, err)
				}
				st := w.d.Stats()
				if st.Forged+uint64(st.Strays)+uint64(st.Handshakes) == 0 {
					t.Errorf("it was not counted: %+v", st)
				}
				<-time.After(shakeTimeout + time.Second)
				if w.session(at) != s {
					t.Error("the session has ended later")
				}
			})
		})
	}
}

// TestReplay: every record counts once, in whatever order they come, and the
// numbers tell what has happened on the way.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		w.dial(t, at, client(deviceID, deviceKey))
		s, addr := w.session(at), netip.MustParseAddrPort(at)
		up := s.deviceSide(t)
		records := map[uint64][]byte{}
		for seq := uint64(1); seq <= 200; seq++ {
			records[seq] = seals(t, up, typeData, seq, fmt.Sprint("t v=", seq))
		}
		var want []string
		for _, step := range []struct {
			seq   uint64
			taken bool
		}{
			{1, true},
			{1, false},
			{3, true},
			{2, true},
			{2, false},
			{3, false},
			{5, true},
			{1, false},
			{100, true},
			{37, true},
			{36, false},
			{5, false},
			{101, true},
			{37, false},
			{38, true},
			{200, true},
			{100, false},
			{137, true},
			{136, false},
		} {
			w.inject(addr, records[step.seq])
			if step.taken {
				want = append(want, fmt.Sprint("t v=", step.seq))
			}
		}
		w.inject(addr, bytes.Join([][]byte{records[199], records[199], records[198]}, nil))
		want = append(want, "t v=199", "t v=198")
		synctest.Wait()
		if d := cmp.Diff(want, w.rec.all()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		// Numbers 0 to 200: the Finished and 13 of the readings have come.
		f := w.d.Sessions()[0]
		t.Logf("%d records taken, %d replays counted", f.Records, f.Repeated)
		if f.Records != uint64(1+len(want)) || f.Lost != 201-f.Records || f.Late != 6 || f.Repeated != 10 || f.Forged != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// TestWrongKey: a wrong key and an unknown device look the same from outside, and
// are told apart inside.
func TestWrongKey(t *testing.T) {
	const wrong = "ff0102030405060708090a0b0c0d0e0f"
	for _, s := range pskSuites {
		var looks [][]byte
		for _, tt := range []struct{ id, why string }{
			{deviceID, `handshake: wrong key for device "greenhouse-1" (0)`},
			{"nobody", `handshake: no key for an unknown device "nobody" (0)`},
			{"bad id\n", `handshake: no key for an unknown device "bad id\n" (0)`},
			{"", `handshake: no key for an unknown device "" (0)`},
		} {
			t.Run(s.name+" "+tt.id, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newAir(t, &DTLS{Keys: oneDevice()})
					begin := time.Now()
					if _, err := w.tryDial(t, at, client(tt.id, wrong, s)); err == nil {
						t.Fatal("it got in")
					}
					if took := time.Since(begin); took != wrongKeyGrace {
						t.Errorf("it took %v", took)
					}
					synctest.Wait()
					if d := cmp.Diff([]string{tt.why}, w.refused.all()); d != "" {
						t.Error("refused (-want +got):\n", d)
					}
					if log := w.log.String(); !strings.Contains(log, "a device did not get in") || strings.Contains(log, wrong) {
						t.Errorf("log %q", log)
					}
					if st := w.d.Stats(); st.Failed != 1 || st.Sessions != 0 || st.Handshakes != 0 {
						t.Errorf("%+v", st)
					}
					out := w.sentTo(netip.MustParseAddrPort(at))
					looks = append(looks, out[len(out)-1])
				})
			})
		}
		for _, b := range looks {
			if !bytes.Equal(b, looks[0]) || !bytes.HasSuffix(b, []byte{alertFatal, decryptError}) {
				t.Errorf("%s: the last words are %x and %x", s.name, b, looks[0])
			}
		}
	}
}

// TestLogIsQuiet: many failures make one line a second, which counts the others.
func TestLogIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		for i := range 30 {
			if _, err := w.tryDial(t, address(i).String(), client("nobody", deviceKey)); err == nil {
				t.Fatal("it got in")
			}
		}
		synctest.Wait()
		if n := strings.Count(w.log.String(), "a device did not get in"); n < 3 || n > 4 {
			t.Errorf("%d lines in 3 s", n)
		}
		if n := len(w.refused.all()); n != 30 {
			t.Errorf("%d refused", n)
		}
	})
}

// TestGarbage: handshake records that are none, from many addresses, begin
// nothing.
func TestGarbage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		before := runtime.NumGoroutine()
		whole := helloRecord(1)
		for i := range 10_000 {
			b := bytes.Clone(whole[:recordHead+i%(len(whole)-recordHead)])
			binary.BigEndian.PutUint16(b[11:], uint16(len(b)-recordHead))
			if len(b) > recordHead && i%3 == 0 {
				b[recordHead] = byte(i)
			}
			if len(b) >= recordHead+messageHead+2+32+1 { // else it is one that may begin
				b[recordHead+4] = 1
			}
			w.inject(address(i), b)
		}
		synctest.Wait()
		t.Logf("%d goroutines after 10,000 datagrams, %d before", runtime.NumGoroutine(), before)
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines, %d before", n, before)
		}
		if st := w.d.Stats(); st.Handshakes != 0 || st.Strays != 10_000 {
			t.Errorf("%+v", st)
		}
		w.dial(t, at, client(deviceID, deviceKey))
	})
}

// TestHelloFlood: forged ClientHellos push out each other, but neither a device
// that has had time to return the cookie nor one whose address has a session.
func TestHelloFlood(t *testing.T) {
	for _, tt := range []struct {
		name    string
		known   bool
		between int // forged ClientHellos between two datagrams of the device
		most    time.Duration
	}{
		{"a new device", false, maxShakes - 10, 1500 * time.Millisecond}, // it may have to ask twice
		{"a device that has a session", true, 10 * maxShakes, time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newAir(t, &DTLS{Keys: oneDevice()})
				if tt.known {
					w.dial(t, at, client(deviceID, deviceKey))
				}
				var forged atomic.Int64
				flood := func() {
					for range tt.between {
						i := int(forged.Add(1))
						w.inject(address(i), helloRecord(byte(i)))
					}
				}
				w.hook(func(p packet) []packet {
					go func() {
						flood()
						w.inject(p.addr, p.b)
					}()
					return nil
				}, nil)
				begin := time.Now()
				w.dial(t, "192.168.1.7:6000", client(deviceID, deviceKey))
				if took := time.Since(begin); took > tt.most {
					t.Errorf("the handshake took %v", took)
				}
				w.hook(nil, nil)
				st, n := w.d.Stats(), int(forged.Load())
				t.Logf("%d forged: %d handshakes, %d pushed out or turned away", n, st.Handshakes, st.Evicted)
				if st.Handshakes > maxShakes || n > 2*maxShakes && st.Evicted < int64(n)-maxShakes-10 {
					t.Errorf("%+v after %d forged", st, n)
				}
				<-time.After(shakeTimeout + time.Second)
				if st := w.d.Stats(); st.Handshakes != 0 || st.Strangers > maxShakes {
					t.Errorf("%+v later", st)
				}
				if got := w.refused.all(); len(got) != 0 {
					t.Errorf("addresses that may be anybody's are told of: %q", got)
				}
			})
		})
	}
}

// TestTurnedAway: a stranger who is turned away, because too many begin at once,
// gets in when he asks again.
func TestTurnedAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		w.d.begun.Store(maxBeginning)
		begin := time.Now()
		w.dial(t, at, client(deviceID, deviceKey))
		if took := time.Since(begin); took != time.Second { // the client's retransmission
			t.Errorf("it took %v", took)
		}
		begin = time.Now()
		w.dial(t, "192.168.1.7:6000", client(deviceID, deviceKey)) // its address is known by now
		if took := time.Since(begin); took != 0 {
			t.Errorf("the second time it took %v", took)
		}
		if n := w.d.begun.Load(); n != maxBeginning {
			t.Errorf("%d begin, want %d", n, maxBeginning)
		}
	})
}

// TestHellosOfOneDatagram: one datagram may begin several handshakes, of which the
// last stays, if it is not turned away.
func TestHellosOfOneDatagram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		addr := netip.MustParseAddrPort(at)
		w.inject(addr, bytes.Join([][]byte{helloRecord(1), helloRecord(2), helloRecord(3)}, nil))
		synctest.Wait()
		if st := w.d.Stats(); st.Handshakes != 1 || len(w.sentTo(addr)) == 0 {
			t.Errorf("%+v", st)
		}
		w.d.begun.Store(maxBeginning)
		w.inject(addr, bytes.Join([][]byte{helloRecord(3), helloRecord(4), inClear(typeAlert, 7, alertFatal, 40)}, nil))
		synctest.Wait()
		if st := w.d.Stats(); st.Handshakes != 0 || st.Strays != 2 {
			t.Errorf("%+v", st)
		}
	})
}

// TestGivenUp: a client that goes on with a handshake of which nothing is left is
// told, and begins anew.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		seen := 0
		w.hook(func(p packet) []packet {
			if seen++; seen == 2 {
				w.d.mu.Lock()
				defer w.d.mu.Unlock()
				w.d.evictLocked(w.d.shakes[p.addr])
			}
			return []packet{p}
		}, nil)
		begin := time.Now()
		if _, err := w.tryDial(t, at, client(deviceID, deviceKey)); err == nil || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		w.dial(t, at, client(deviceID, deviceKey))
	})
}

// TestHellosOfOneAddress: one address cannot have more than its share of the
// handshakes.
func TestHellosOfOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		other := netip.MustParseAddrPort("10.9.9.9:1")
		w.inject(other, helloRecord(1))
		for i := range 1000 {
			synctest.Wait()
			w.inject(netip.AddrPortFrom(netip.MustParseAddr("10.0.0.1"), uint16(1000+i)), helloRecord(1))
		}
		synctest.Wait()
		w.d.mu.Lock()
		defer w.d.mu.Unlock()
		if n := len(w.d.shakes); n != maxShakesPerAddr+1 || w.d.shakes[other] == nil {
			t.Errorf("%d handshakes, the other's is %v", n, w.d.shakes[other] != nil)
		}
	})
}

// TestEvictionOrder: the oldest stranger goes first, who has not returned the
// cookie and whose address has no session; then the oldest.
func TestEvictionOrder(t *testing.T) {
	d := &DTLS{}
	d.shakes, d.shakesAt = map[netip.AddrPort]*shake{}, map[netip.Addr]int{}
	var gone []uint64
	for i := range 5 {
		k := &shake{conn: newShakeConn(address(i), nil), number: uint64(i)}
		k.conn.answered = i == 0 || i == 2 || i == 4
		k.cancel = func(err error) {
			if !errors.Is(err, errEvicted) {
				t.Error(err)
			}
			gone = append(gone, k.number)
		}
		d.shakes[address(i)] = k
		d.shakesAt[address(i).Addr()]++
	}
	d.perAddr = map[netip.Addr]int{address(3).Addr(): 1}
	d.evictLocked(d.oldestLocked(address(4).Addr()))
	for range 4 {
		d.evictLocked(d.oldestLocked(netip.Addr{}))
	}
	if want := []uint64{4, 1, 0, 2, 3}; !slices.Equal(gone, want) || len(d.shakes)+len(d.shakesAt) != 0 {
		t.Errorf("order %v, want %v; %d left", gone, want, len(d.shakes))
	}
}

// TestShakeBounds: what a handshake reads and holds back is bounded.
func TestShakeBounds(t *testing.T) {
	c := newShakeConn(address(1), func(netip.AddrPort, []byte) {})
	k := &shake{conn: c}
	r, _, _ := cutRecord(append(appendHead(nil, typeData, 1, 0, 300), make([]byte, 300)...))
	hold := func(n int) int {
		for range n {
			k.hold(r)
		}
		return len(k.held)
	}
	feed := func(n, size int) int {
		before := c.fed
		for range n {
			c.feed(make([]byte, size))
			c.in = c.in[:0]
		}
		return c.fed - before
	}
	if n := hold(10); n != 0 {
		t.Errorf("%d records held of an address that may be anybody's", n)
	}
	if n := feed(100, 500); n != maxStrange/500*500 {
		t.Errorf("%d bytes read of one", n)
	}
	c.answered = true
	if n := hold(1000); n != maxHeldBytes/len(r.whole) || k.heldBytes > maxHeldBytes {
		t.Errorf("%d records held, %d bytes", n, k.heldBytes)
	}
	if n := feed(100, 500); n+maxStrange > maxShake+500 {
		t.Errorf("%d bytes read", n)
	}
	c.fed = 0
	if n := feed(2, maxShakeDatagram+1); n != 0 {
		t.Errorf("a datagram of %d bytes was read", n)
	}
	for range 100 {
		c.feed(make([]byte, 10))
	}
	if len(c.in) != maxShakeDatagrams {
		t.Errorf("%d datagrams wait", len(c.in))
	}
	if len(k.release()) == 0 || hold(1) != len(k.held) {
		t.Error("release")
	}
}

// TestShakeTimeout: a handshake that is not finished ends.
func TestShakeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAir(t, &DTLS{Keys: oneDevice()})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.hook(func(p packet) []packet { // only the ClientHellos arrive
			if r, _, ok := cutRecord(p.b); ok && r.epoch == 0 && r.body[0] == clientHello {
				return []packet{p}
			}
			return nil
		}, nil)
		begin := time.Now()
		go func() { _, _ = w.tryDial(t, at, client(deviceID, deviceKey)) }()
		for w.d.Stats().Failed == 0 && ctx.Err() == nil && time.Since(begin) < time.Minute {
			<-time.After(time.Second)
		}
		if took := time.Since(begin); took < shakeTimeout || took > shakeTimeout+time.Second {
			t.Errorf("it ended after %v", took)
		}
		if got := w.refused.all(); len(got) != 1 || got[0] != "handshake: handshake: it was not finished in time (0)" {
			t.Errorf("refused %q", got)
		}
	})
}
