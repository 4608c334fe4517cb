package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/ingest"
)

const (
	// udpBatch is how many datagrams one system call fetches. 16 lose datagrams
	// in a flood where 64 do not; 256 gain nothing.
	udpBatch = 64
	// maxDatagram is the largest UDP payload there is: 65,507 bytes over IPv4,
	// some more over IPv6. The buffers are that large each, but only the pages
	// that datagrams fill ever take memory.
	maxDatagram = 65_527
	// DefaultReceiveBuffer is what is asked of the kernel, which may give less and
	// takes memory only for what waits. It holds some 40,000 datagrams of 100
	// bytes: a machine that is busy elsewhere for most of a second at 50,000 a
	// second loses nothing.
	DefaultReceiveBuffer = 16 << 20

	// maxReadErrors is how many errors of the socket may follow each other, a
	// readPause between them, before it is given up.
	maxReadErrors = 100
	readPause     = 100 * time.Millisecond
)

// UDP serves one datagram socket.
type UDP struct {
	// NewHandler makes the handler of the serving goroutine; reply may be called
	// from any goroutine until Serve's socket is closed.
	NewHandler func(reply ingest.ReplyFunc) Handler
	// DTLS takes the records of DTLS; nil leaves them to the handler, which can make
	// nothing of them.
	DTLS *DTLS
	// CoAP takes the datagrams that are CoAP, plain and over DTLS; nil leaves them
	// to the handler, which can make nothing of them. It serves this socket only.
	CoAP *CoAP
	// Logger is told of datagrams that were lost; nil means nobody.
	Logger *slog.Logger

	datagrams atomic.Int64
	drops     atomic.Int64
}

// UDPStats counts datagrams since the start.
type UDPStats struct {
	Datagrams int64
	// KernelDrops were lost because the receive buffer was full. It is brought up
	// to date once a second and at the end.
	KernelDrops int64
}

// Stats returns the counts.
func (u *UDP) Stats() UDPStats {
	return UDPStats{Datagrams: u.datagrams.Load(), KernelDrops: u.drops.Load()}
}

// Serve reads datagrams from conn until ctx is done; then it returns nil. It
// does not close conn, so that answers can still be sent.
func (u *UDP) Serve(ctx context.Context, conn *Socket) error {
	send := func(to netip.AddrPort, b []byte) {
		// An answer that cannot be sent is like one that is lost on the way.
		_ = conn.send(b, to)
	}
	reply := func(peer ingest.Peer, b []byte) {
		if peer.Transport == dtlsTransport {
			u.DTLS.answer(peer, b)
			return
		}
		send(peer.Addr, b)
	}
	ctx, cancel := context.WithCancel(ctx)
	newHandler := u.NewHandler
	if u.CoAP != nil {
		end := u.CoAP.open(ctx)
		defer end()
		newHandler = func(reply ingest.ReplyFunc) Handler { return u.CoAP.handler(u.NewHandler(reply), reply) }
	}
	h := newHandler(reply)
	var secured *lane
	if u.DTLS != nil {
		end := u.DTLS.open(newHandler, reply, send)
		defer end()
		secured = &lane{d: u.DTLS, h: h}
	}
	defer cancel() // ends handshakes and exchanges, when the socket has failed
	stop := context.AfterFunc(ctx, conn.interrupt)
	defer stop()
	done := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		u.watchDrops(conn, done)
	}()
	defer func() {
		close(done)
		<-watching
	}()
	return u.receive(ctx, conn, h, secured)
}

// receive hands datagrams to the session that they belong to until ctx is done.
func (u *UDP) receive(ctx context.Context, conn *Socket, h Handler, secured *lane) error {
	r := newBatchReader(conn)
	rest := newRest(conn)
	failed := 0
	for ctx.Err() == nil {
		n, err := r.read()
		switch {
		case err == nil:
			failed = 0
			u.datagrams.Add(int64(n))
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to end
		case errors.Is(err, net.ErrClosed), errors.Is(err, fs.ErrClosed), failed == maxReadErrors:
			return fmt.Errorf("listen: udp: %w", err)
		default:
			// Most concern one peer: an answer to a port that is closed comes back
			// as an error of the socket.
			if failed++; failed > 1 {
				pause(ctx, readPause)
			}
			continue
		}
		for i := range n {
			payload, from := r.datagram(i)
			var err error
			if secured != nil && isRecord(payload) {
				err = secured.datagram(ctx, from, payload)
			} else {
				err = h.Handle(ctx, ingest.Peer{Addr: from, Transport: "udp"}, payload)
			}
			if err != nil {
				break
			}
		}
		if h.Flush(ctx) != nil {
			return nil //nolint:nilerr // the only error is that ctx is done
		}
		rest.after(n)
	}
	return nil
}

const (
	// closely is how far apart datagrams are, in the mean, of which several are
	// worth one system call, and one waking of all who have to do with them.
	closely = 500 * time.Microsecond
	// shortGather and longGather are for how long they gather then: as long as half
	// of the receive buffer holds what a flood brings meanwhile. As Linux gives it
	// unasked, that is the former. Nobody sees the latter.
	shortGather = time.Millisecond
	longGather  = 4 * time.Millisecond
	// floodRate is datagrams a second, and floodSize what the kernel takes a short one
	// for, in bytes.
	floodRate = 250_000
	floodSize = 768
)

// gatherTime is for how long datagrams gather in a receive buffer of size bytes.
func gatherTime(size int) time.Duration {
	holds := time.Duration(size) * time.Second / (2 * floodRate * floodSize)
	return min(max(holds, shortGather), longGather)
}

// rest lets datagrams that follow each other closely gather in the kernel.
type rest struct {
	gather time.Duration
	last   time.Time
	timer  *time.Timer
}

func newRest(conn *Socket) *rest {
	r := &rest{gather: gatherTime(receiveBuffer(conn)), last: time.Now(), timer: time.NewTimer(0)}
	<-r.timer.C
	return r
}

// after is called when n datagrams of one read have been handled.
func (r *rest) after(n int) {
	now := time.Now()
	busy := now.Sub(r.last) < time.Duration(n)*closely
	r.last = now
	if busy && n < udpBatch {
		r.timer.Reset(r.gather)
		<-r.timer.C
	}
}

// watchDrops counts what the kernel has dropped, once a second and at the end.
func (u *UDP) watchDrops(conn *Socket, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last uint32
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		case <-tick.C:
		}
		now, ok := kernelDrops(conn)
		if !ok {
			return
		}
		if lost := now - last; lost > 0 {
			u.drops.Add(int64(lost))
			logger(u.Logger).Warn("the kernel dropped datagrams: the receive buffer was full",
				"datagrams", lost, "hint", "raise net.core.rmem_max")
		}
		last = now
	}
}

// ListenUDP opens a datagram socket with the largest receive buffer, up to size
// bytes, that the kernel gives, and returns that size; 0 where it is not known.
// A size of 0 means DefaultReceiveBuffer.
//
//nolint:revive // UDP is the server; this opens a socket for it.
func ListenUDP(ctx context.Context, addr string, size int) (*Socket, int, error) {
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, 0, fmt.Errorf("listen: udp: %w", err)
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("listen: udp %s: not a UDP socket", addr), pc.Close())
	}
	// The kernel takes 31 bits, and doubles them.
	size = growReceiveBuffer(conn, min(size, math.MaxInt32/2))
	socket, err := newSocket(conn)
	if err != nil {
		return nil, 0, fmt.Errorf("listen: udp %s: %w", addr, err)
	}
	return socket, size, nil
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
