package listen

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

func openSocket(t *testing.T, addr string) *Socket {
	t.Helper()
	s, _, err := ListenUDP(t.Context(), addr, 0)
	if err != nil {
		t.Skip("no socket of this family here:", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// Datagrams are read that come while somebody waits, and those that have come before,
// any number of times; answers arrive, from a socket of either family or both.
func TestSocket(t *testing.T) {
	for _, c := range []struct{ at, from string }{
		{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {":0", "127.0.0.1"}, {":0", "::1"},
	} {
		t.Run(c.at+" from "+c.from, func(t *testing.T) {
			s := openSocket(t, c.at)
			peer := dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(c.from), addrOf(s).Port()))
			r := newBatchReader(s)
			for i, waiting := range []bool{false, true, true, false, false, true} {
				got := make(chan string, 1)
				read := func() {
					n, err := r.read()
					if err != nil || n != 1 {
						t.Errorf("read: %d, %v", n, err)
					}
					payload, from := r.datagram(0)
					if want := peer.LocalAddr().String(); from.String() != want {
						t.Errorf("it came from %v, want %s", from, want)
					}
					got <- string(payload)
					if err := s.send([]byte("answer"), from); err != nil {
						t.Error(err)
					}
				}
				if waiting {
					go read()
				}
				want := string(rune('a' + i))
				write(t, peer, want)
				if !waiting {
					read()
				}
				if got := <-got; got != want {
					t.Errorf("read %q, want %q", got, want)
				}
				b := make([]byte, 16)
				if n, err := peer.Read(b); err != nil || string(b[:n]) != "answer" {
					t.Errorf("the answer is %q, %v", b[:n], err)
				}
			}
		})
	}
}

// No datagram is slept through, whenever it comes: here the second of two comes about when
// the socket begins to wait behind the first.
func TestSocketWakes(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0")
	peer := dialUDP(t, addrOf(s))
	const rounds = 5000
	served := make(chan error, 1)
	go func() {
		r := newBatchReader(s)
		for n := 0; n < 2*rounds; {
			got, err := r.read()
			if err != nil {
				served <- err
				return
			}
			for i := range got {
				payload, from := r.datagram(i)
				if err := s.send(payload, from); err != nil {
					served <- err
					return
				}
			}
			n += got
		}
		served <- nil
	}()
	b := make([]byte, 16)
	for i := range rounds {
		if err := peer.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		write(t, peer, "first")
		for begin, pause := time.Now(), rand.N(30*time.Microsecond); time.Since(begin) < pause; {
			runtime.Gosched()
		}
		write(t, peer, "second")
		for range 2 {
			if _, err := peer.Read(b); err != nil {
				s.interrupt()
				t.Fatalf("round %d: %v; the socket: %v", i, err, <-served)
			}
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// Who waits is interrupted, as is who waits later; who need not wait is not.
func TestSocketInterrupted(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0")
	r := newBatchReader(s)
	failed := make(chan error, 1)
	go func() {
		_, err := r.read()
		failed <- err
	}()
	<-time.After(time.Millisecond) // by then it waits, most of the time
	s.interrupt()
	if <-failed == nil {
		t.Error("who waited was not told")
	}
	if _, err := r.read(); err == nil {
		t.Error("who waits later is not told")
	}
}

// What cannot be sent is an error, and the next can.
func TestSocketSend(t *testing.T) {
	s := openSocket(t, "127.0.0.1:0")
	peer, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	for _, c := range []struct {
		to   netip.AddrPort
		size int
		ok   bool
	}{
		{addrOf(peer), 10, true},
		{netip.MustParseAddrPort("[::1]:9"), 10, false},
		{netip.MustParseAddrPort("[fe80::1%nowhere]:9"), 10, false},
		{addrOf(peer), 70_000, false},
		{netip.AddrPortFrom(netip.AddrFrom16(addrOf(peer).Addr().As16()), addrOf(peer).Port()), 20, true}, // mapped
	} {
		if err := s.send(make([]byte, c.size), c.to); (err == nil) != c.ok {
			t.Errorf("%d bytes to %v: %v", c.size, c.to, err)
		}
	}
	for _, want := range []int{10, 20} {
		if n, err := peer.Read(make([]byte, 100)); n != want || err != nil {
			t.Errorf("got %d bytes, %v; want %d", n, err, want)
		}
	}
}
