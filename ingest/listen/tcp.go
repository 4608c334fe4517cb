package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Defaults and bounds of a stream server.
const (
	// MaxLine bounds a line or CBOR item of a stream.
	MaxLine = 64 << 10
	// DefaultIdle is how long a stream may say nothing. A sensor that reports
	// every ten minutes keeps its connection.
	DefaultIdle = 15 * time.Minute
	// DefaultMaxPerAddr and DefaultMaxConns bound connections: a gateway behind
	// one address may speak for a few hundred sensors, and a Raspberry Pi has
	// file descriptors and 8 KiB each for about this many.
	DefaultMaxPerAddr = 256
	DefaultMaxConns   = 2048

	firstBuffer = 4 << 10
	maxBuffer   = MaxLine + len("\n")
	// maxOutbox bounds the answers that wait for a peer which does not read.
	maxOutbox    = 64 << 10
	writeTimeout = 10 * time.Second
	// answerGrace is how long a connection stays for answers after the device has
	// closed its side.
	answerGrace = 5 * time.Second
)

// TCP serves a stream listener.
type TCP struct {
	// NewHandler makes the handler of one connection; reply may be called from
	// any goroutine.
	NewHandler func(reply ingest.ReplyFunc) Handler
	Refuse     RefuseFunc
	// Idle is how long a connection may say nothing; 0 means DefaultIdle.
	Idle time.Duration
	// MaxPerAddr and MaxConns bound the open connections; 0 means the defaults.
	MaxPerAddr, MaxConns int

	open     atomic.Int64
	accepted atomic.Int64

	mu      sync.Mutex // guards following
	perAddr map[netip.Addr]int
	conns   map[*stream]struct{}
}

// TCPStats counts connections.
type TCPStats struct{ Open, Accepted int64 }

// Stats returns the counts.
func (t *TCP) Stats() TCPStats {
	return TCPStats{Open: t.open.Load(), Accepted: t.accepted.Load()}
}

// Serve accepts connections on ln until ctx is done; then it closes ln and
// returns nil once nobody reads any more. The connections stay open for answers
// until CloseConns.
func (t *TCP) Serve(ctx context.Context, ln net.Listener) error {
	t.mu.Lock()
	t.perAddr, t.conns = map[netip.Addr]int{}, map[*stream]struct{}{}
	t.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !pause(ctx, err) {
				return fmt.Errorf("listen: tcp: %w", err)
			}
			continue
		}
		s, ok := t.admit(conn)
		if !ok {
			_ = conn.Close()
			continue
		}
		wg.Go(func() { t.serveConn(ctx, s) })
	}
}

// pause waits a moment after an error of Accept that passes, such as too many
// open files. It reports false for any other.
func pause(ctx context.Context, err error) bool {
	var ne net.Error
	if !errors.As(err, &ne) || errors.Is(err, net.ErrClosed) {
		return false
	}
	timer := time.NewTimer(50 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
	return true
}

// admit counts the connection and refuses it when there are too many.
func (t *TCP) admit(conn net.Conn) (*stream, bool) {
	t.accepted.Add(1)
	s := &stream{conn: conn, peer: ingest.Peer{Transport: "tcp"}}
	if a, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		s.peer.Addr = unmapped(a)
	}
	addr := s.peer.Addr.Addr()
	t.mu.Lock()
	total, here := len(t.conns), t.perAddr[addr]
	ok := total < orDefault(t.MaxConns, DefaultMaxConns) && here < orDefault(t.MaxPerAddr, DefaultMaxPerAddr)
	if ok {
		t.perAddr[addr]++
		t.conns[s] = struct{}{}
	}
	t.mu.Unlock()
	if !ok {
		t.Refuse(s.peer, ingest.TooManyConnections,
			fmt.Sprintf("%d connections are open, %d of them from this address", total, here), nil)
		return nil, false
	}
	t.open.Add(1)
	return s, true
}

func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return n
}

func (t *TCP) release(s *stream) {
	addr := s.peer.Addr.Addr()
	t.mu.Lock()
	delete(t.conns, s)
	if t.perAddr[addr]--; t.perAddr[addr] == 0 {
		delete(t.perAddr, addr)
	}
	t.mu.Unlock()
	t.open.Add(-1)
	s.close()
}

// CloseConns closes the connections that Serve has left open for answers, after
// what waits in their outboxes has been sent.
func (t *TCP) CloseConns() {
	t.mu.Lock()
	left := make([]*stream, 0, len(t.conns))
	for s := range t.conns {
		left = append(left, s)
	}
	t.mu.Unlock()
	for _, s := range left {
		t.release(s)
	}
}

// serveConn reads one connection to its end. When ctx is done it only stops
// reading.
func (t *TCP) serveConn(ctx context.Context, s *stream) {
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	h := t.NewHandler(s.reply)
	err := t.read(ctx, s, h)
	if errors.Is(err, io.EOF) {
		// The device has said all it has to say; it may still wait for answers.
		wait, cancel := context.WithTimeout(ctx, answerGrace)
		h.Settle(wait)
		cancel()
	}
	if ctx.Err() != nil {
		return
	}
	var bad *frameError
	if errors.As(err, &bad) {
		t.Refuse(s.peer, bad.reason, bad.detail, bad.payload)
		s.reply(s.peer, wire.AppendRefusal(nil, bad.reason.String(), 0, false))
	}
	t.release(s)
}

// frameError ends a stream that cannot be parted into messages any further.
type frameError struct {
	reason  ingest.Reason
	detail  string
	payload []byte
}

func (e *frameError) Error() string { return e.detail }

// stream is one connection: a reader, and an outbox for answers that a writer
// goroutine empties while there is something in it.
type stream struct {
	conn net.Conn
	peer ingest.Peer
	// skipping is set while the rest of a line that is too long goes by; owned by
	// the reader.
	skipping bool

	mu      sync.Mutex // guards following
	outbox  []byte
	writing bool
	closed  bool
	done    sync.WaitGroup // the writer
}

// read hands whole messages to h as they arrive, all that one read brought
// together. The buffer grows with the longest line, up to its bound.
func (t *TCP) read(ctx context.Context, s *stream, h Handler) error {
	idle := t.Idle
	if idle == 0 {
		idle = DefaultIdle
	}
	buf := make([]byte, firstBuffer)
	used := 0
	for {
		if err := s.conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return err
		}
		if ctx.Err() != nil { // the deadline that ends the reading may just have been moved
			return ctx.Err()
		}
		n, err := s.conn.Read(buf[used:])
		used += n
		rest, ferr := t.messages(ctx, s, h, buf[:used], errors.Is(err, io.EOF))
		if ferr == nil {
			ferr = h.Flush(ctx)
		}
		if ferr != nil {
			return ferr
		}
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
				s.reply(s.peer, []byte(`{"error":"idle"}`))
			}
			return err
		}
		used = copy(buf, rest)
		if used == len(buf) || n == len(buf) && len(buf) < maxBuffer {
			buf = append(buf, make([]byte, min(len(buf), maxBuffer-len(buf)))...)
		}
	}
}

// messages hands on the whole messages in buf and returns what is left, always
// less than a full buffer. At the end of the stream a last line needs no newline.
func (t *TCP) messages(ctx context.Context, s *stream, h Handler, buf []byte, atEnd bool) ([]byte, error) {
	if s.skipping {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			return nil, nil
		}
		buf, s.skipping = buf[i+1:], false
	}
	for len(buf) > 0 {
		n, err := wire.Frame(buf)
		if err != nil {
			return nil, &frameError{ingest.Syntax, err.Error(), buf}
		}
		if n == 0 && atEnd {
			n = len(buf)
		}
		if n == 0 {
			break
		}
		if err := h.Handle(ctx, s.peer, buf[:n]); err != nil {
			return nil, err
		}
		buf = buf[n:]
	}
	if len(buf) < maxBuffer {
		return buf, nil
	}
	long := &frameError{ingest.TooLong, fmt.Sprintf("a line or item exceeds %d bytes", MaxLine), buf}
	if buf[0] >= 0x80 {
		return nil, long // nothing tells where the next CBOR item begins
	}
	t.Refuse(s.peer, long.reason, long.detail, long.payload)
	s.skipping = true
	return nil, nil
}

// reply queues an answer and a newline. A peer that does not read its answers
// loses the connection.
func (s *stream) reply(_ ingest.Peer, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case len(s.outbox)+len(b) >= maxOutbox:
		s.closed = true
		_ = s.conn.Close()
		return
	}
	s.outbox = append(append(s.outbox, b...), '\n')
	if !s.writing {
		s.writing = true
		s.done.Go(s.write)
	}
}

// write empties the outbox.
func (s *stream) write() {
	var b []byte
	for {
		s.mu.Lock()
		b, s.outbox = s.outbox, b[:0]
		if len(b) == 0 {
			s.writing = false
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		_ = s.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := s.conn.Write(b); err != nil {
			_ = s.conn.Close()
			return
		}
	}
}

// close waits for the writer and closes the connection.
func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.done.Wait()
	_ = s.conn.Close()
}
