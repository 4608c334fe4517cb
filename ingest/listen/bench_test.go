//go:build unix

package listen

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// counting is a sink that keeps nothing.
type counting struct{ readings atomic.Uint64 }

func (c *counting) Append(rs []device.Reading) (uint64, error) {
	return c.readings.Add(uint64(len(rs))), nil
}
func (c *counting) Room(context.Context, int) error           { return nil }
func (c *counting) WaitDurable(context.Context, uint64) error { return nil }

// await returns once the sink has n readings.
func (c *counting) await(n uint64, tick <-chan struct{}) {
	for c.readings.Load() < n {
		<-tick
	}
}

// ticking tells after each Flush of a session.
type ticking struct {
	*ingest.Session
	tick chan struct{}
}

func (s *ticking) Flush(ctx context.Context) error {
	err := s.Session.Flush(ctx)
	select {
	case s.tick <- struct{}{}:
	default:
	}
	return err
}

func benchLines() [][]byte {
	lines := make([][]byte, 1024)
	for i := range lines {
		lines[i] = fmt.Appendf(nil, "climate,device=greenhouse-%d,room=a temp=%d.5 %d\n", i%100, i%40, int64(1_764_000_000_000_000_000)+int64(i))
	}
	return lines
}

// cpu returns the processor time of this process, in ns.
func cpu(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// report gives what a reading cost both ends together.
func report(b *testing.B, before int64) {
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/reading")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "readings/s")
}

// BenchmarkUDP sends one reading a datagram over loopback; an operation is a
// reading. At most 1,024 are on the way, so that none is lost.
func BenchmarkUDP(b *testing.B) {
	sink := new(counting)
	p := ingest.New(ingest.Config{Sink: sink})
	conn, _, err := ListenUDP(b.Context(), "127.0.0.1:0", 0)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // nothing to lose
	tick := make(chan struct{}, 1)
	u := &UDP{NewHandler: func(reply ingest.ReplyFunc) Handler { return &ticking{p.NewSession(false, reply), tick} }}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, conn) }()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addrOf(conn)))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing to lose
	lines := benchLines()
	b.ResetTimer()
	before := cpu(b)
	for i := range b.N {
		if _, err := c.Write(lines[i%len(lines)]); err != nil {
			b.Fatal(err)
		}
		if i%512 == 511 && i > 1024 {
			sink.await(uint64(i-512), tick)
		}
	}
	sink.await(uint64(b.N), tick)
	report(b, before)
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// BenchmarkTCP sends lines over loopback, 64 KiB a write; an operation is a
// reading.
func BenchmarkTCP(b *testing.B) {
	sink := new(counting)
	p := ingest.New(ingest.Config{Sink: sink})
	var lc net.ListenConfig
	ln, err := lc.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	tick := make(chan struct{}, 1)
	server := &TCP{NewHandler: func(reply ingest.ReplyFunc) Handler { return &ticking{p.NewSession(true, reply), tick} }, Refuse: p.Refuse}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, ln) }()
	var d net.Dialer
	c, err := d.DialContext(b.Context(), "tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // nothing to lose
	lines := benchLines()
	all := bytes.Join(lines, nil)
	b.ResetTimer()
	before := cpu(b)
	for left := b.N; left > 0; left -= len(lines) {
		payload := all
		if left < len(lines) {
			payload = bytes.Join(lines[:left], nil)
		}
		if _, err := c.Write(payload); err != nil {
			b.Fatal(err)
		}
	}
	sink.await(uint64(b.N), tick)
	report(b, before)
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	server.CloseConns()
}
