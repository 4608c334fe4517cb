package listen

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v2"

	"github.com/naru-telemetry/naru/ingest"
)

// air joins a DTLS server with devices without a socket, so that the clock may
// be a fake one. It loses, changes and keeps datagrams as the test likes.
type air struct {
	d       *DTLS
	rec     *recorder
	arrive  chan packet
	refused refusals
	log     logLines
	cancel  context.CancelFunc
	ended   chan struct{}

	mu sync.Mutex // guards following
	// up and down, when set, see every datagram and return what goes on instead.
	up, down func(p packet) []packet
	links    map[netip.AddrPort]*link
	out      []packet // all that the server has sent
}

// packet is a datagram from or to the device at addr.
type packet struct {
	addr netip.AddrPort
	b    []byte
}

// newAir starts the server; the test's end stops it.
func newAir(t testing.TB, d *DTLS) *air {
	w := &air{
		d: d, rec: newRecorder(), arrive: make(chan packet, 4096), ended: make(chan struct{}), links: map[netip.AddrPort]*link{},
	}
	d.Refuse, d.Logger = w.refused.refuse, w.log.logger()
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(t.Context())
	reply := func(p ingest.Peer, b []byte) { d.answer(p, b) }
	w.rec.reply = reply
	end := d.open(w.rec.handler, reply, w.send)
	go func() {
		defer close(w.ended)
		defer end()
		l := &lane{d: d, h: w.rec}
		for {
			select {
			case p := <-w.arrive:
				if isRecord(p.b) {
					_ = l.datagram(ctx, p.addr, p.b)
					_ = l.h.Flush(ctx)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *air) stop() {
	w.cancel()
	<-w.ended
}

func (w *air) send(to netip.AddrPort, b []byte) {
	p := packet{to, bytes.Clone(b)}
	w.mu.Lock()
	w.out = append(w.out, p)
	on := []packet{p}
	if w.down != nil {
		on = w.down(p)
	}
	w.mu.Unlock()
	for _, p := range on {
		w.mu.Lock()
		l := w.links[p.addr]
		w.mu.Unlock()
		if l != nil {
			l.put(p.b)
		}
	}
}

// inject lets a datagram arrive at the server.
func (w *air) inject(addr netip.AddrPort, b []byte) { w.arrive <- packet{addr, bytes.Clone(b)} }

// sentTo returns what the server has sent to an address.
func (w *air) sentTo(addr netip.AddrPort) (out [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.out {
		if p.addr == addr {
			out = append(out, p.b)
		}
	}
	return out
}

func (w *air) hook(up, down func(p packet) []packet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.down = up, down
}

// link is a device's end: a connection for pion's client.
type link struct {
	w    *air
	addr netip.AddrPort
	wake chan struct{}

	mu              sync.Mutex // guards following
	in              [][]byte
	expired, closed bool
}

func (w *air) link(addr string) *link {
	l := &link{w: w, addr: netip.MustParseAddrPort(addr), wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links[l.addr] = l
	return l
}

func (l *link) put(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.in = append(l.in, b)
	l.signal()
}

func (l *link) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) Read(b []byte) (int, error) {
	for {
		l.mu.Lock()
		switch {
		case l.closed:
			l.mu.Unlock()
			return 0, io.EOF
		case l.expired:
			l.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(l.in) > 0:
			n := copy(b, l.in[0])
			l.in = l.in[1:]
			l.mu.Unlock()
			return n, nil
		}
		l.mu.Unlock()
		<-l.wake
	}
}

func (l *link) Write(b []byte) (int, error) {
	p := packet{l.addr, bytes.Clone(b)}
	on := []packet{p}
	l.w.mu.Lock()
	if l.w.up != nil {
		on = l.w.up(p)
	}
	l.w.mu.Unlock()
	for _, p := range on {
		select {
		case l.w.arrive <- p:
		case <-l.w.ended:
		}
	}
	return len(b), nil
}

func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.signal()
	return nil
}

func (l *link) SetReadDeadline(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.expired = !t.IsZero() && !t.After(time.Now())
	l.signal()
	return nil
}

func (l *link) SetWriteDeadline(time.Time) error { return nil }
func (l *link) SetDeadline(t time.Time) error    { return l.SetReadDeadline(t) }
func (l *link) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(l.addr) }
func (l *link) RemoteAddr() net.Addr             { return &net.UDPAddr{} }

// client returns the configuration of a device with a key, which speaks these
// suites only.
func client(id, key string, suites ...*suite) *dtls.Config {
	c := &dtls.Config{
		PSK: func([]byte) ([]byte, error) {
			b, err := hex.DecodeString(key)
			return b, err
		},
		PSKIdentityHint: []byte(id),
		CipherSuites:    []dtls.CipherSuiteID{},
		LoggerFactory:   listener{cancel: func(error) {}, once: new(sync.Once)},
	}
	if len(suites) == 0 {
		suites = pskSuites
	}
	c.CipherSuites = builtIn(suites)
	c.CustomCipherSuites = func() []dtls.CipherSuite {
		var own []dtls.CipherSuite
		for _, s := range suites {
			if s == pskChaCha || s == ecdhePSKChaCha {
				own = append(own, &chachaSuite{suite: s})
			}
		}
		return own
	}
	return c
}

// dial shakes hands with the server from an address, in a bubble.
func (w *air) dial(t testing.TB, addr string, c *dtls.Config) *dtls.Conn {
	t.Helper()
	conn, err := w.tryDial(t, addr, c)
	if err != nil {
		t.Fatalf("handshake: %v; refused: %q", err, w.refused.all())
	}
	synctest.Wait() // until the server has its session too
	return conn
}

func (w *air) tryDial(t testing.TB, addr string, c *dtls.Config) (*dtls.Conn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l := w.link(addr)
	conn, err := dtls.ClientWithContext(ctx, l, c)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, nil
}

// session returns the server's session with an address; nil when there is none.
func (w *air) session(addr string) *session {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	return w.d.sessions[netip.MustParseAddrPort(addr)]
}

// device returns the device's side of the record layer of a session, for records
// that no client would make.
func (s *session) deviceSide(t testing.TB) *half {
	t.Helper()
	up, _, err := s.suite.newHalves(s.keys)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

// seals returns a record of a device.
func seals(t testing.TB, h *half, kind byte, seq uint64, payload string) []byte {
	t.Helper()
	b, err := h.seal(nil, kind, epoch, seq, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keptSessions is a store in memory. It fails when told to.
type keptSessions struct {
	mu      sync.Mutex
	kept    map[string][]byte
	failing bool
	saves   int
}

var errDisk = errors.New("the disk is full")

func (k *keptSessions) LoadSessions() (map[string][]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string][]byte{}
	for name, b := range k.kept {
		out[name] = bytes.Clone(b)
	}
	return out, nil
}

func (k *keptSessions) SaveSessions(changes map[string][]byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.saves++
	if k.failing {
		return errDisk
	}
	if k.kept == nil {
		k.kept = map[string][]byte{}
	}
	for name, b := range changes {
		if b == nil {
			delete(k.kept, name)
		} else {
			k.kept[name] = bytes.Clone(b)
		}
	}
	return nil
}

// copy returns the store as a crash would leave it now.
func (k *keptSessions) copy() *keptSessions {
	kept, _ := k.LoadSessions()
	return &keptSessions{kept: kept}
}

func (k *keptSessions) fail(on bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.failing = on
}

func (k *keptSessions) names() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for name := range k.kept {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// address returns the nth of many addresses.
func address(n int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:%d", n>>16&255, n>>8&255, n&255, 1024+n%60_000))
}
