package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/ingest"
)

// TestMain fails when a server has left a goroutine behind.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if left := leaked(); left != "" {
			fmt.Fprintln(os.Stderr, "goroutines left:\n"+left)
			code = 1
		}
	}
	os.Exit(code)
}

// leaked returns the stacks of goroutines that run code of this package, once
// those that are about to end have had the time.
func leaked() string {
	buf := make([]byte, 1<<20)
	var left []string
	for range 100 {
		left = left[:0]
		for g := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if strings.Contains(g, "ingest/listen.") && !strings.Contains(g, "listen.leaked") {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		<-time.After(10 * time.Millisecond)
	}
	return strings.Join(left, "\n\n")
}

// recorder is a handler that keeps what it gets.
type recorder struct {
	reply ingest.ReplyFunc
	// answer, when set, is what Handle replies at once.
	answer func(payload string) string
	// settle, when set, is what Settle does.
	settle func(ctx context.Context)

	mu       sync.Mutex
	payloads []string
	peer     ingest.Peer   // of the last payload
	runs     []int         // payloads before each Flush
	got      chan struct{} // told after each Flush
}

func newRecorder() *recorder { return &recorder{got: make(chan struct{}, 1)} }

func (r *recorder) handler(reply ingest.ReplyFunc) Handler {
	r.mu.Lock() // a handshake that ends makes another handler
	defer r.mu.Unlock()
	r.reply = reply
	return r
}

func (r *recorder) Handle(_ context.Context, peer ingest.Peer, payload []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.payloads = append(r.payloads, string(payload))
	r.peer = peer
	if r.answer != nil {
		r.reply(peer, []byte(r.answer(string(payload))))
	}
	return nil
}

func (r *recorder) Flush(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = append(r.runs, len(r.payloads))
	select {
	case r.got <- struct{}{}:
	default:
	}
	return nil
}

func (r *recorder) Settle(ctx context.Context) {
	if r.settle != nil {
		r.settle(ctx)
	}
}

// state returns the peer of the last payload and the runs.
func (r *recorder) state() (peer ingest.Peer, runs []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peer, slices.Clone(r.runs)
}

func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.payloads)
}

// wait returns once done is true of what r has got.
func (r *recorder) wait(t *testing.T, done func(payloads []string) bool) []string {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		if all := r.all(); done(all) {
			return all
		}
		select {
		case <-r.got:
		case <-late:
			t.Fatalf("got only %d payloads", len(r.all()))
		}
	}
}

// refusals keeps what a listener refuses, as "reason: detail (size)".
type refusals struct {
	mu   sync.Mutex
	kept []string
}

func (r *refusals) refuse(_ ingest.Peer, reason ingest.Reason, detail string, payload []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, fmt.Sprintf("%s: %s (%d)", reason, detail, len(payload)))
}

func (r *refusals) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.kept)
}

// logLines is a log that can be read while it is written.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// pipeListener is a listener of connections over pipes; what is sent to errs is
// what Accept returns.
type pipeListener struct {
	conns chan net.Conn
	errs  chan error
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), errs: make(chan error), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return pipeAddr("pipe") }

// dial connects to the listener as the device at addr.
func (l *pipeListener) dial(addr string) net.Conn {
	near, far := net.Pipe()
	l.conns <- pipeConn{far, pipeAddr(addr)}
	return near
}

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }

type pipeConn struct {
	net.Conn
	addr pipeAddr
}

func (c pipeConn) RemoteAddr() net.Addr { return c.addr }

// served runs a server until stop, which returns its error.
func served(t *testing.T, serve func(ctx context.Context) error) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil && !errors.Is(err, errFatal) {
			t.Error("serve:", err)
		}
	})
	return stop
}

var errFatal = errors.New("the listener is broken")
