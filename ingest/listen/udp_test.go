package listen

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest"
)

// udpServer serves a socket with the handler.
func udpServer(t *testing.T, addr string, h func(ingest.ReplyFunc) Handler) (u *UDP, to netip.AddrPort, stop func() error) {
	t.Helper()
	conn, _, err := ListenUDP(t.Context(), addr, 0)
	if err != nil {
		t.Skip("no socket of this family here:", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	u = &UDP{NewHandler: h}
	return u, addrOf(conn), served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
}

func addrOf(conn interface{ LocalAddr() net.Addr }) netip.AddrPort {
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func dialUDP(t *testing.T, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Skip("no route:", err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func write(t *testing.T, c net.Conn, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if _, err := c.Write([]byte(p)); err != nil {
			t.Fatal("write:", err)
		}
	}
}

func count(n int) func([]string) bool { return func(p []string) bool { return len(p) >= n } }

func TestUDPDatagrams(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(at, func(t *testing.T) {
			r := newRecorder()
			u, to, stop := udpServer(t, at, r.handler)
			c := dialUDP(t, to)
			largest := 65_507
			if to.Addr().Is6() {
				largest = 65_527
			}
			want := []string{"t v=1", "", strings.Repeat("x", 2000), strings.Repeat("y", largest), "\x00\xff"}
			for _, p := range want {
				write(t, c, p)
			}
			got := r.wait(t, count(len(want)))
			if d := cmp.Diff(want, got); d != "" {
				t.Error("(-want +got):\n", d)
			}
			peer := ingest.Peer{Addr: addrOf(c), Transport: "udp"}
			if p, _ := r.state(); p != peer {
				t.Errorf("peer %v, want %v", p, peer)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if s := u.Stats(); s.Datagrams != int64(len(want)) || s.KernelDrops != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestUDPDualStack: one socket for both families; the old one looks like itself.
func TestUDPDualStack(t *testing.T) {
	r := newRecorder()
	r.answer = func(p string) string { return "answer to " + p }
	_, to, _ := udpServer(t, ":0", r.handler)
	for _, addr := range []string{"127.0.0.1", "::1"} {
		c := dialUDP(t, netip.AddrPortFrom(netip.MustParseAddr(addr), to.Port()))
		write(t, c, addr)
		buf := make([]byte, 100)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(buf[:n]); got != "answer to "+addr {
			t.Errorf("answer %q", got)
		}
		if got, _ := r.state(); got.Addr.Addr() != netip.MustParseAddr(addr) {
			t.Errorf("peer %v, want %s", got, addr)
		}
	}
}

// TestUDPBatches: datagrams that wait together are handed on together, at most
// 64 at once, in order.
func TestUDPBatches(t *testing.T) {
	conn, _, err := ListenUDP(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := dialUDP(t, addrOf(conn))
	var want []string
	for i := range 150 {
		want = append(want, fmt.Sprint(i))
	}
	write(t, c, want...)
	r := newRecorder()
	u := &UDP{NewHandler: r.handler}
	stop := served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
	got := r.wait(t, count(len(want)))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("(-want +got):\n", d)
	}
	last := 0
	_, runs := r.state()
	for _, n := range runs {
		if n-last > udpBatch {
			t.Errorf("%d datagrams in one run", n-last)
		}
		last = n
	}
}

// TestUDPAnswersToNobody: an answer to a port that is closed does not disturb the
// socket.
func TestUDPAnswersToNobody(t *testing.T) {
	r := newRecorder()
	r.answer = func(string) string { return "answer" }
	_, to, _ := udpServer(t, "127.0.0.1:0", r.handler)
	gone := dialUDP(t, to)
	write(t, gone, "first")
	r.wait(t, count(1))
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	peer, _ := r.state()
	for range 10 {
		r.reply(peer, []byte("nobody hears this"))
	}
	c := dialUDP(t, to)
	write(t, c, "second", "third")
	if got := r.wait(t, count(3)); got[2] != "third" {
		t.Errorf("got %q", got)
	}
}

// TestUDPErrorsThatPass: on a connected socket the kernel reports the closed
// port; the server goes on.
func TestUDPErrorsThatPass(t *testing.T) {
	peer, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	addr := net.UDPAddrFromAddrPort(addrOf(peer))
	dialed, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := newSocket(dialed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	r := newRecorder()
	u := &UDP{NewHandler: r.handler}
	served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
	for range 3 {
		_ = conn.send([]byte("to nobody"), addr.AddrPort()) // each makes the next read fail
	}
	peer, err = net.ListenUDP("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	if _, err := peer.WriteToUDPAddrPort([]byte("t v=1"), addrOf(conn)); err != nil {
		t.Fatal(err)
	}
	r.wait(t, count(1))
}

func TestUDPClosedSocketIsAnError(t *testing.T) {
	conn, _, err := ListenUDP(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	err = (&UDP{NewHandler: newRecorder().handler}).Serve(t.Context(), conn)
	if err == nil || !strings.HasPrefix(err.Error(), "listen: udp: ") {
		t.Errorf("serve: %v", err)
	}
}

// blocker holds up its first payload.
type blocker struct {
	*recorder
	entered chan struct{}
	release chan struct{}
	first   atomic.Bool
}

func newBlocker() *blocker {
	return &blocker{recorder: newRecorder(), entered: make(chan struct{}), release: make(chan struct{})}
}

func (b *blocker) handler(reply ingest.ReplyFunc) Handler {
	b.reply = reply
	return b
}

func (b *blocker) Handle(ctx context.Context, peer ingest.Peer, payload []byte) error {
	if b.first.CompareAndSwap(false, true) {
		close(b.entered)
		<-b.release
	}
	return b.recorder.Handle(ctx, peer, payload)
}

// TestUDPKernelDrops floods a tiny receive buffer: what is read and what is
// counted as dropped is what was sent.
func TestUDPKernelDrops(t *testing.T) {
	conn, size, err := ListenUDP(t.Context(), "127.0.0.1:0", 4096)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, ok := kernelDrops(conn); !ok {
		t.Skip("this system does not count")
	}
	if size < 4096 || size > 64<<10 {
		t.Errorf("receive buffer of %d bytes, asked for 4096", size)
	}
	b := newBlocker()
	var log logLines
	u := &UDP{NewHandler: b.handler, Logger: log.logger()}
	stop := served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
	c := dialUDP(t, addrOf(conn))
	const sent = 5000
	write(t, c, "first")
	<-b.entered // nobody reads from here on
	payload := string(bytes.Repeat([]byte("x"), 90))
	for range sent - 2 {
		write(t, c, payload)
	}
	close(b.release)
	total, last := int64(sent-1), ""
	b.wait(t, func(got []string) bool { // until there was room for the last one written
		if last != "" && slices.Contains(got, last) {
			return true
		}
		total++
		last = fmt.Sprint("last ", total)
		write(t, c, last)
		return false
	})
	if err := stop(); err != nil {
		t.Error(err)
	}
	s := u.Stats()
	if s.KernelDrops < sent/2 {
		t.Errorf("%d dropped of %d, in a buffer of %d bytes", s.KernelDrops, sent, size)
	}
	if read := int64(len(b.all())); read != s.Datagrams || read+s.KernelDrops != total {
		t.Errorf("%d read, %d counted as read and %d as dropped of %d", read, s.Datagrams, s.KernelDrops, total)
	}
	if !strings.Contains(log.String(), "the kernel dropped datagrams") {
		t.Errorf("log %q", log.String())
	}
}

// TestUDPStop: what has been read when the server is stopped is handed on, and
// answers can still be sent.
func TestUDPStop(t *testing.T) {
	b := newBlocker()
	_, to, stop := udpServer(t, "127.0.0.1:0", b.handler)
	c := dialUDP(t, to)
	write(t, c, "first")
	<-b.entered
	stopped := make(chan error)
	go func() { stopped <- stop() }()
	close(b.release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	peer, runs := b.state()
	if got := b.all(); len(got) != 1 || len(runs) != 1 {
		t.Errorf("got %q in runs of %v", got, runs)
	}
	b.reply(peer, []byte("late"))
	buf := make([]byte, 100)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "late" {
		t.Errorf("answer %q, %v", buf[:n], err)
	}
}

func TestListenUDP(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 16, 1 << 31 / 2, 1<<31 - 1} {
		conn, got, err := ListenUDP(t.Context(), "127.0.0.1:0", size)
		if err != nil {
			t.Fatal(err)
		}
		if got <= 0 {
			t.Errorf("size %d: effective size %d", size, got)
		}
		_ = conn.Close()
	}
	if _, _, err := ListenUDP(t.Context(), "nonsense", 0); err == nil || !strings.HasPrefix(err.Error(), "listen: udp: ") {
		t.Errorf("error %v", err)
	}
}

func TestGatherTime(t *testing.T) {
	for size, want := range map[int]time.Duration{
		0:             time.Millisecond, // not known
		212_992:       time.Millisecond, // as Linux gives it
		768_000:       2 * time.Millisecond,
		32 << 20:      4 * time.Millisecond,
		math.MaxInt32: 4 * time.Millisecond,
	} {
		if got := gatherTime(size); got != want {
			t.Errorf("%d: %v, want %v", size, got, want)
		}
	}
}
