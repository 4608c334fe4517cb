package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Defaults and bounds of a stream server.
const (
	// DefaultIdle is how long a stream may go without a whole message. A sensor
	// that reports every ten minutes keeps its connection; one that sends a byte
	// now and then does not.
	DefaultIdle = 15 * time.Minute
	// DefaultMaxPerAddr and DefaultMaxConns bound connections: a gateway behind
	// one address may speak for a few hundred sensors, and a Raspberry Pi has
	// file descriptors and memory, some 10 KiB each while lines are short, for
	// about this many.
	DefaultMaxPerAddr = 256
	DefaultMaxConns   = 2048

	// acceptPause is the wait after an error of Accept that passes, such as too
	// many open files.
	acceptPause = 50 * time.Millisecond
	// refusalTimeout bounds the words to a connection that is not taken. They fit
	// the buffer of a fresh socket.
	refusalTimeout = 100 * time.Millisecond
	// closeGrace is how long CloseConns lets peers read their last answers.
	closeGrace = 2 * time.Second
)

// TCP serves a stream listener.
type TCP struct {
	// NewHandler makes the handler of one connection; reply may be called from
	// any goroutine.
	NewHandler func(reply ingest.ReplyFunc) Handler
	Refuse     RefuseFunc
	// Idle is how long a connection may go without a whole message; 0 means
	// DefaultIdle.
	Idle time.Duration
	// MaxPerAddr and MaxConns bound the open connections; 0 means the defaults.
	MaxPerAddr, MaxConns int
	// TLS takes streams that begin with a ClientHello; nil: they are refused.
	TLS *TLS
	// Logger is told when connections cannot be accepted; nil means nobody.
	Logger *slog.Logger

	accepted atomic.Int64

	mu      sync.Mutex // guards following
	perAddr map[netip.Addr]int
	conns   map[*stream]struct{}
}

// TCPStats counts connections.
type TCPStats struct{ Open, Accepted int64 }

// Stats returns the counts.
func (t *TCP) Stats() TCPStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TCPStats{Open: int64(len(t.conns)), Accepted: t.accepted.Load()}
}

// Serve accepts connections on ln until ctx is done; then it closes ln and
// returns nil once nobody reads any more. The connections stay open for answers
// until CloseConns. An error means that ln has failed; it ends the same way.
func (t *TCP) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = ln.Close()
	})
	defer func() {
		if stop() {
			_ = ln.Close()
		} else {
			<-closed
		}
	}()
	failing := false
	for {
		conn, err := ln.Accept()
		switch {
		case err == nil:
			failing = false
		case ctx.Err() != nil:
			return nil
		case !passes(err):
			return fmt.Errorf("listen: tcp: %w", err)
		default:
			if !failing {
				logger(t.Logger).Warn("connections cannot be accepted at present", "error", err)
			}
			failing = true
			pause(ctx, acceptPause)
			continue
		}
		if s := t.admit(conn); s != nil {
			wg.Go(func() { t.serveConn(ctx, s) })
		}
	}
}

// passes reports whether Accept may succeed later: all errors of the system do,
// but those that say that there is no listening socket.
func passes(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.EBADF && errno != syscall.EINVAL && errno != syscall.ENOTSOCK
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

// admit counts the connection. It refuses it and returns nil when there are too
// many.
func (t *TCP) admit(conn net.Conn) *stream {
	t.accepted.Add(1)
	s := &stream{socket: conn, conn: conn, peer: ingest.Peer{Transport: "tcp"}}
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		s.peer.Addr = unmapped(a)
	}
	addr := s.peer.Addr.Addr()
	t.mu.Lock()
	total, here := len(t.conns), t.perAddr[addr]
	ok := total < orDefault(t.MaxConns, DefaultMaxConns) && here < orDefault(t.MaxPerAddr, DefaultMaxPerAddr)
	if ok {
		if t.conns == nil {
			t.perAddr, t.conns = map[netip.Addr]int{}, map[*stream]struct{}{}
		}
		t.perAddr[addr]++
		t.conns[s] = struct{}{}
	}
	t.mu.Unlock()
	if ok {
		return s
	}
	t.Refuse(s.peer, ingest.TooManyConnections,
		fmt.Sprintf("%d connections are open, %d of them from this address", total, here), nil)
	_ = conn.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_, _ = conn.Write(append(wire.AppendRefusal(nil, ingest.TooManyConnections.String(), 0, false), '\n'))
	_ = conn.Close()
	return nil
}

func orDefault[N int | time.Duration](n, def N) N {
	if n == 0 {
		return def
	}
	return n
}

// release closes the connection and then forgets it, so that what is still
// closing counts.
func (t *TCP) release(s *stream) {
	s.close()
	addr := s.peer.Addr.Addr()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.conns[s]; !ok {
		return
	}
	delete(t.conns, s)
	if t.perAddr[addr]--; t.perAddr[addr] == 0 {
		delete(t.perAddr, addr)
	}
}

// CloseConns closes the connections that Serve has left open for answers, after
// what waits in their outboxes has been sent, as far as the peers read it.
func (t *TCP) CloseConns() {
	t.mu.Lock()
	left := make([]*stream, 0, len(t.conns))
	for s := range t.conns {
		left = append(left, s)
	}
	t.mu.Unlock()
	var wg sync.WaitGroup
	for _, s := range left {
		wg.Go(func() {
			late := time.AfterFunc(closeGrace, func() { _ = s.socket.Close() })
			defer late.Stop()
			t.release(s)
		})
	}
	wg.Wait()
}
