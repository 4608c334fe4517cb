package listen

import (
	"bytes"
	"context"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzRecords: whatever a datagram holds, the records taken off it are the
// datagram, and nothing that reads them panics.
func FuzzRecords(f *testing.F) {
	f.Add(helloRecord(1))
	f.Add(bytes.Repeat(inClear(typeAlert, 1, 1, 0), 3))
	f.Add(append(helloRecord(2), 0x17, 0xfe, 0xfd))
	f.Add(appendHead(nil, typeHandshake, 0, 1<<48-1, 0xffff))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := newShakeConn(address(1), nil)
		c.note(b)
		for rest := b; len(rest) > 0; {
			r, after, ok := cutRecord(rest)
			if !ok {
				return
			}
			if !bytes.Equal(append(bytes.Clone(r.whole), after...), rest) || len(r.body)+recordHead != len(r.whole) {
				t.Errorf("%x was cut into %x and %x", rest, r.whole, after)
			}
			if head := appendHead(nil, r.kind, r.epoch, r.seq, len(r.body)); !bytes.Equal(head[3:], r.whole[3:recordHead]) {
				t.Errorf("header %x read as %x", r.whole[:recordHead], head)
			}
			if h, ok := parseHello(r); ok {
				if len(h.random) != 32 {
					t.Errorf("random %x", h.random)
				}
				h.offers(pskSuites)
			}
			rest = after
		}
	})
}

// FuzzSession: no record that was not sealed under the keys is taken, what is
// sealed comes back, and what is saved is restored.
func FuzzSession(f *testing.F) {
	f.Add(uint8(0), byte(typeData), uint64(1), []byte("t v=1"), []byte{0, 1, 2})
	f.Add(uint8(2), byte(typeAlert), uint64(1<<48-1), []byte{1, 0}, []byte{})
	f.Add(uint8(4), byte(typeHandshake), uint64(64), []byte{}, bytes.Repeat([]byte{1}, 60))
	f.Fuzz(func(t *testing.T, which uint8, kind byte, seq uint64, text, noise []byte) {
		cs := pskSuites[int(which)%len(pskSuites)]
		s, err := newSession(address(1), deviceID, cs, bytes.Repeat([]byte{which}, cs.keyLength()), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		up := s.deviceSide(t)
		seq &= maxSeq
		sealed, err := up.seal(nil, kind, epoch, seq, text)
		if len(text) > maxPlain {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		forged := append([]byte(nil), sealed...)
		for i, b := range noise {
			forged[i%len(forged)] ^= b
		}
		if r, _, ok := cutRecord(forged); ok && !bytes.Equal(forged[3:], sealed[3:]) {
			if _, v := s.take(nil, r, time.Now()); v != notOurs {
				t.Fatalf("a forged record is %v", v)
			}
		}
		r, _, ok := cutRecord(sealed)
		if !ok {
			return // a type that there is not
		}
		got, v := s.take([]byte("x"), r, time.Now())
		if v == notOurs || v == payload && string(got) != "x"+string(text) || v != payload && string(got) != "x" {
			t.Fatalf("%q, %v", got, v)
		}
		if _, v := s.take(nil, r, time.Now()); v != repeated {
			t.Fatalf("again: %v", v)
		}
		saved, limit := s.save(time.Now())
		if again, err := restore(s.addr, saved, time.Now()); err != nil || again.window != s.window || again.next != limit {
			t.Fatalf("restored %+v, %v", again, err)
		}
	})
}

// FuzzRestore: what a store gives back may be anything.
func FuzzRestore(f *testing.F) {
	s, err := newSession(address(1), deviceID, pskSuites[0], make([]byte, pskSuites[0].keyLength()), time.Now())
	if err != nil {
		f.Fatal(err)
	}
	saved, _ := s.save(time.Now())
	f.Add(saved)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := restore(address(1), b, time.Now())
		if err != nil {
			return
		}
		r, _, _ := cutRecord(append(appendHead(nil, typeData, epoch, 1, 40), make([]byte, 40)...))
		s.take(nil, r, time.Now())
		s.idle(time.Now())
		s.facts(time.Now())
		if _, _, err := s.seal(typeData, nil); err == nil {
			t.Error("it sends without a reservation")
		}
	})
}

// FuzzHandshake: datagrams of any kind, cut at 0xff 0x00, from one address, into
// the whole server with its handshakes. The word cookie stands for the ClientHello
// that answers what was sent last.
func FuzzHandshake(f *testing.F) {
	cut := []byte{0xff, 0x00}
	f.Add(helloRecord(1))
	f.Add(bytes.Join([][]byte{helloRecord(1), helloRecord(2), inClear(typeAlert, 9, 2, 40)}, cut))
	f.Add(bytes.Join([][]byte{helloRecord(1), appendHead(nil, typeData, 1, 0, 0), inClear(typeChangeCipherSpec, 4, 1)}, cut))
	keyExchange := append([]byte{16, 0, 0, 6, 0, 2, 0, 0, 0, 0, 0, 6, 0, 4}, "gh-1"...)
	f.Add(bytes.Join([][]byte{
		helloRecord(1),
		[]byte("cookie"),
		inClear(typeHandshake, 2, keyExchange...),
		append(inClear(typeChangeCipherSpec, 3, 1), append(appendHead(nil, typeHandshake, 1, 0, 40), make([]byte, 40)...)...),
	}, cut))
	f.Fuzz(func(t *testing.T, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			d := &DTLS{Keys: oneDevice()}
			r := newRecorder()
			var last []byte
			end := d.open(r.handler, d.answer, func(_ netip.AddrPort, b []byte) { last = b })
			ctx, cancel := context.WithCancel(t.Context())
			l := &lane{d: d, h: r}
			for p := range bytes.SplitSeq(b, cut) {
				if bytes.Equal(p, []byte("cookie")) && len(last) > recordHead+15 {
					p = withCookie(helloRecord(1), last[recordHead+messageHead+3:])
				}
				if isRecord(p) {
					_ = l.datagram(ctx, address(1), p)
					synctest.Wait()
				}
			}
			cancel()
			end()
			if len(r.all()) != 0 || len(d.Sessions()) != 0 {
				t.Error("somebody got in without a key")
			}
		})
	})
}

// withCookie returns the ClientHello that answers a HelloVerifyRequest.
func withCookie(hello, cookie []byte) []byte {
	body := bytes.Clone(hello[recordHead+messageHead:])
	at := 2 + 32 + 1
	body = append(append(append(bytes.Clone(body[:at]), byte(len(cookie))), cookie...), body[at+1:]...)
	message := append([]byte{clientHello, 0, 0, byte(len(body)), 0, 1, 0, 0, 0, 0, 0, byte(len(body))}, body...)
	return append(appendHead(nil, typeHandshake, 0, 1, len(message)), message...)
}
