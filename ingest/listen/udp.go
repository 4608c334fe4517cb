package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/naru-telemetry/naru/ingest"
)

const (
	// udpBatch is how many datagrams one system call fetches. 16 lose datagrams
	// in a flood where 64 do not; 256 gain nothing.
	udpBatch = 64
	// maxDatagram is the largest UDP payload there is. The buffers are that large
	// each, but only the pages that datagrams fill ever take memory.
	maxDatagram = 65_507
	// DefaultReceiveBuffer is what is asked of the kernel. It holds some 10,000
	// datagrams of 100 bytes, a tenth of a second at 100,000 a second.
	DefaultReceiveBuffer = 4 << 20
)

// UDP serves one datagram socket.
type UDP struct {
	// NewHandler makes the handler of the serving goroutine; reply may be called
	// from any goroutine until Serve's socket is closed.
	NewHandler func(reply ingest.ReplyFunc) Handler
	Logger     *slog.Logger

	datagrams atomic.Int64
	drops     atomic.Int64
}

// Stats counts datagrams since the start.
type UDPStats struct {
	Datagrams int64
	// KernelDrops were lost because the receive buffer was full.
	KernelDrops int64
}

// Stats returns the counts.
func (u *UDP) Stats() UDPStats {
	return UDPStats{Datagrams: u.datagrams.Load(), KernelDrops: u.drops.Load()}
}

// Serve reads datagrams from conn until ctx is done; then it returns nil. It
// does not close conn, so that answers can still be sent.
func (u *UDP) Serve(ctx context.Context, conn *net.UDPConn) error {
	h := u.NewHandler(func(peer ingest.Peer, b []byte) {
		// An answer that cannot be sent is like one that is lost on the way.
		_, _ = conn.WriteToUDPAddrPort(b, peer.Addr)
	})
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	drops := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		u.watchDrops(conn, drops)
	}()
	defer func() {
		close(drops)
		<-watching
	}()

	batch := ipv4.NewPacketConn(conn)
	msgs := make([]ipv4.Message, udpBatch)
	for i := range msgs {
		msgs[i].Buffers = [][]byte{make([]byte, maxDatagram+1)}
	}
	for {
		n, err := batch.ReadBatch(msgs, 0)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if isTransient(err) {
				continue
			}
			return fmt.Errorf("listen: udp: %w", err)
		}
		u.datagrams.Add(int64(n))
		if err := handleBatch(ctx, h, msgs[:n]); err != nil {
			return nil //nolint:nilerr // the only error is that ctx is done
		}
	}
}

func handleBatch(ctx context.Context, h Handler, msgs []ipv4.Message) error {
	for i := range msgs {
		addr, ok := msgs[i].Addr.(*net.UDPAddr)
		if !ok {
			continue
		}
		peer := ingest.Peer{Addr: unmapped(addr.AddrPort()), Transport: "udp"}
		if err := h.Handle(ctx, peer, msgs[i].Buffers[0][:msgs[i].N]); err != nil {
			return err
		}
	}
	return h.Flush(ctx)
}

// isTransient tells errors that concern one peer from those of the socket: an
// answer to a port that is closed comes back as ECONNREFUSED.
func isTransient(err error) bool {
	return errors.Is(err, errConnRefused) || errors.Is(err, errMsgSize)
}

// watchDrops counts what the kernel has dropped, once a second.
func (u *UDP) watchDrops(conn *net.UDPConn, done <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var last uint32
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		now, ok := kernelDrops(conn)
		if !ok {
			return
		}
		if lost := now - last; lost > 0 {
			u.drops.Add(int64(lost))
			u.Logger.Warn("the kernel dropped datagrams: the receive buffer was full",
				"datagrams", lost, "hint", "raise net.core.rmem_max")
		}
		last = now
	}
}

// ListenUDP opens a datagram socket with the largest receive buffer, up to size
// bytes, that the kernel gives, and returns that size; 0 where it is not known.
func ListenUDP(ctx context.Context, addr string, size int) (*net.UDPConn, int, error) {
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, 0, fmt.Errorf("listen: udp: %w", err)
	}
	conn, ok := pc.(*net.UDPConn)
	if !ok {
		return nil, 0, errors.Join(fmt.Errorf("listen: udp %s: not a UDP socket", addr), pc.Close())
	}
	return conn, growReceiveBuffer(conn, size), nil
}

func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
