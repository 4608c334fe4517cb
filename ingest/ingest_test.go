package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// now is the gateway's clock in tests that do not run it.
var now = time.UnixMicro(1_764_000_000_123_456)

var (
	local = Peer{Addr: netip.MustParseAddrPort("192.168.1.7:4711"), Transport: "udp"}
	other = Peer{Addr: netip.MustParseAddrPort("192.168.1.8:4712"), Transport: "udp"}
)

var errSink = errors.New("the disk is gone")

// fakeSink keeps what it gets. The zero fakeSink has room and is durable at
// once.
type fakeSink struct {
	mu       sync.Mutex
	readings []device.Reading
	appends  int
	fail     error         // what Append returns
	full     bool          // Append returns ErrFull,
	room     chan struct{} // and Room waits for this to close, which ends full
	entered  chan struct{} // Room tells that it waits
	disk     chan struct{} // WaitDurable waits for this to close; nil: at once
	refuse   int           // so many Appends from now on return ErrFull
	only     uint64        // when not 0, disk closed makes durable up to here only,
	rest     chan struct{} // and this the rest
}

func (f *fakeSink) Append(rs []device.Reading) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.fail != nil:
		return 0, f.fail
	case f.full:
		return 0, ErrFull
	case f.refuse > 0:
		f.refuse--
		return 0, ErrFull
	}
	f.appends++
	f.readings = append(f.readings, rs...)
	return uint64(len(f.readings)), nil
}

func (f *fakeSink) Room(ctx context.Context, _ int) error {
	if f.entered != nil {
		f.entered <- struct{}{}
	}
	select {
	case <-f.room:
		f.mu.Lock()
		defer f.mu.Unlock()
		f.full = false
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fakeSink) WaitDurable(ctx context.Context, offset uint64) error {
	f.mu.Lock()
	last, disk := uint64(len(f.readings)), f.disk
	f.mu.Unlock()
	if offset > last {
		return fmt.Errorf("offset %d was never given, the last is %d", offset, last)
	}
	waits := []chan struct{}{disk}
	if f.only > 0 && offset > f.only {
		waits = append(waits, f.rest)
	}
	for _, w := range waits {
		if w == nil {
			continue
		}
		select {
		case <-w:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *fakeSink) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// texts returns the readings as "device metric=value" and the time as far as it
// is not now.
func (f *fakeSink) texts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, r := range f.readings {
		s := fmt.Sprintf("%s %s=%s", r.Device, r.Metric, r.Value)
		if r.Time != r.Received {
			s += fmt.Sprint(" ", int64(r.Time))
		}
		out = append(out, s)
	}
	return out
}

// bench is a pipeline over a fake sink with one session, and a record of what it
// answers.
type bench struct {
	*Pipeline
	sink    *fakeSink
	session *Session
	clock   time.Time

	mu      sync.Mutex
	answers []string
}

func newBench(cfg Config, stream bool) *bench {
	b := &bench{sink: &fakeSink{}, clock: now}
	cfg.Sink = b.sink
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return b.clock }
	}
	b.Pipeline = New(cfg)
	b.session = b.NewSession(stream, b.reply)
	return b
}

func (b *bench) reply(_ Peer, body []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers = append(b.answers, string(body))
}

// send gives payloads to the session, all before one Flush.
func (b *bench) send(t *testing.T, peer Peer, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := b.session.Handle(t.Context(), peer, []byte(p)); err != nil {
			t.Fatal("handle:", err)
		}
	}
	if err := b.session.Flush(t.Context()); err != nil {
		t.Fatal("flush:", err)
	}
}

// settled runs the pipeline until all answers are out and returns them.
func (b *bench) settled(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal("run:", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.answers)
}

// refusals returns the kept refusals, oldest first, as "reason: detail".
func (b *bench) refusals() []string {
	var out []string
	for _, r := range b.Inspector().Newest() {
		out = append(out, r.Reason.String()+": "+r.Detail)
	}
	slices.Reverse(out)
	return out
}

func long(n int) string { return strings.Repeat("x", n) }
