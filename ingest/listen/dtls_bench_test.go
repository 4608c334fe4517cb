//go:build unix

package listen

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/dtls/v2"

	"github.com/naru-telemetry/naru/ingest"
)

// sealedBench is a server with a sink that keeps nothing.
type sealedBench struct {
	d    *DTLS
	sink *counting
	tick chan struct{}
	to   netip.AddrPort
	stop func()
}

func newSealedBench(b *testing.B, d *DTLS) *sealedBench {
	s := &sealedBench{d: d, sink: new(counting), tick: make(chan struct{}, 1)}
	p := ingest.New(ingest.Config{Sink: s.sink})
	conn, _, err := ListenUDP(b.Context(), "127.0.0.1:0", 0)
	if err != nil {
		b.Fatal(err)
	}
	if d.Keys == nil {
		d.Keys = func([]byte) []Key { return oneDevice()([]byte(deviceID)) }
	}
	u := &UDP{DTLS: d, NewHandler: func(reply ingest.ReplyFunc) Handler { return &ticking{p.NewSession(false, reply), s.tick} }}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- u.Serve(ctx, conn) }()
	s.to = addrOf(conn)
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
		_ = conn.Close()
	})
	b.Cleanup(s.stop)
	return s
}

// dial shakes hands over a socket, from the nth address of this machine.
func (s *sealedBench) dial(b *testing.B, n int, suites ...*suite) *dtls.Conn {
	b.Helper()
	conn, err := s.tryDial(b, n, suites...)
	if err != nil {
		b.Fatal(err)
	}
	return conn
}

func (s *sealedBench) tryDial(b *testing.B, n int, suites ...*suite) (*dtls.Conn, error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	from := &net.UDPAddr{IP: net.IPv4(127, 1+byte(n>>16), byte(n>>8), byte(n))}
	l, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(s.to))
	if err != nil {
		b.Fatal(err)
	}
	return dtls.ClientWithContext(ctx, l, client(fmt.Sprint("d", n), deviceKey, suites...))
}

// BenchmarkHandshake shakes hands four at a time over loopback; an operation is a
// handshake, and the clients, which are pion's, have their share of the time.
func BenchmarkHandshake(b *testing.B) {
	for _, cs := range []*suite{pskSuites[2], pskSuites[4], ecdhePSKChaCha} {
		b.Run(cs.name, func(b *testing.B) {
			s := newSealedBench(b, &DTLS{MaxSessions: 100_000, MaxPerAddr: 100_000})
			var next atomic.Int64
			var wg sync.WaitGroup
			b.ResetTimer()
			before := cpu(b)
			for range 4 {
				wg.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(b.N) {
							return
						}
						c := s.dial(b, int(i), cs)
						_ = c.Close()
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "handshakes/s")
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e3, "cpu-µs/handshake")
		})
	}
}

// sealedLine is a reading in 80 bytes.
func sealedLine() []byte {
	line := []byte("climate,device=" + deviceID + ",room= temp=21.5 1764000000000000000")
	return bytes.Replace(line, []byte("room="), []byte("room="+strings.Repeat("x", 80-len(line))), 1)
}

// BenchmarkRecord opens a record of 80 bytes, as the server does, and takes its
// reading through the pipeline; the device's side is not measured.
func BenchmarkRecord(b *testing.B) {
	for _, cs := range pskSuites {
		b.Run(cs.name, func(b *testing.B) {
			d := &DTLS{}
			p := ingest.New(ingest.Config{Sink: new(counting), Rates: unbounded})
			end := d.open(nil, nil, func(netip.AddrPort, []byte) {})
			defer end()
			s, err := newSession(address(1), deviceID, cs, make([]byte, cs.keyLength()), time.Now())
			if err != nil {
				b.Fatal(err)
			}
			d.addLocked(s)
			up, _, err := cs.newHalves(s.keys)
			if err != nil {
				b.Fatal(err)
			}
			line := sealedLine()
			const run = 4096
			records := make([][]byte, run)
			l := &lane{d: d, h: p.NewSession(false, func(ingest.Peer, []byte) {})}
			b.ReportAllocs()
			seq := uint64(0)
			var used int64
			b.ResetTimer()
			for done := 0; done < b.N; done += run {
				b.StopTimer()
				for i := range records {
					seq++
					if records[i], err = up.seal(records[i][:0], typeData, epoch, seq, line); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
				before := cpu(b)
				for i := range min(run, b.N-done) {
					if err := l.datagram(b.Context(), s.addr, records[i]); err != nil {
						b.Fatal(err)
					}
					if i%udpBatch == udpBatch-1 {
						_ = l.h.Flush(b.Context())
					}
				}
				_ = l.h.Flush(b.Context())
				used += cpu(b) - before
			}
			if n := p.Stats().Readings; n != int64(b.N) {
				b.Fatalf("%d readings of %d records", n, b.N)
			}
			b.ReportMetric(float64(used)/float64(b.N), "cpu-ns/record")
		})
	}
}

// BenchmarkSecuredUDP sends one record a reading over loopback; an operation is a
// reading, and the sealing and sending, by our own record layer, are part of it.
func BenchmarkSecuredUDP(b *testing.B) {
	for _, cs := range []*suite{pskSuites[2], pskSuites[4], pskChaCha} {
		b.Run(cs.name, func(b *testing.B) {
			s := newSealedBench(b, &DTLS{})
			_ = s.dial(b, 1, cs).Close() // it serves by now
			l, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.to))
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close() //nolint:errcheck // nothing to lose
			session, err := newSession(netip.MustParseAddrPort(l.LocalAddr().String()), deviceID, cs, make([]byte, cs.keyLength()), time.Now())
			if err != nil {
				b.Fatal(err)
			}
			s.d.mu.Lock()
			s.d.addLocked(session)
			s.d.mu.Unlock()
			up, _, err := cs.newHalves(session.keys)
			if err != nil {
				b.Fatal(err)
			}
			line := sealedLine()
			var buf []byte
			b.ResetTimer()
			before := cpu(b)
			for i := range b.N {
				if buf, err = up.seal(buf[:0], typeData, epoch, uint64(i), line); err != nil {
					b.Fatal(err)
				}
				if _, err := l.Write(buf); err != nil {
					b.Fatal(err)
				}
				if i%512 == 511 && i > 1024 {
					s.sink.await(uint64(i-512), s.tick)
				}
			}
			s.sink.await(uint64(b.N), s.tick)
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/record")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// resident returns the memory that the process has, in bytes.
func resident(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("needs /proc: ", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb * 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// heap returns what is in use after a collection.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkSessions makes 2,000 sessions by handshakes and tells what each keeps,
// then restores them from the store.
func BenchmarkSessions(b *testing.B) {
	const sessions = 2000
	for range b.N {
		store := &keptSessions{}
		s := newSealedBench(b, &DTLS{Store: store})
		runtime.GC()
		before, rss, goroutines := heap(), resident(b), runtime.NumGoroutine()
		for i := range sessions {
			if err := s.dial(b, i, pskSuites[i%len(pskSuites)]).Close(); err != nil {
				b.Fatal(err)
			}
		}
		for s.d.Stats().Sessions < sessions {
			runtime.Gosched()
		}
		s.d.mu.Lock()
		for _, k := range s.d.sessions { // the devices have fallen silent, and not said goodbye
			k.mu.Lock()
			k.closing = false
			k.mu.Unlock()
		}
		s.d.mu.Unlock()
		b.ReportMetric((heap()-before)/sessions, "heap-B/session")
		b.ReportMetric((resident(b)-rss)/sessions, "RSS-B/session")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
		s.stop()
		begin := time.Now()
		again := &DTLS{Store: store, Keys: s.d.Keys}
		end := again.open(nil, nil, func(netip.AddrPort, []byte) {})
		b.ReportMetric(float64(time.Since(begin).Microseconds())/1e3, "ms/restore")
		if n := len(again.Sessions()); n != sessions {
			b.Fatalf("%d sessions restored", n)
		}
		end()
	}
}

// BenchmarkHelloFlood sends 10,000 ClientHellos from as many addresses that go on
// with nothing, while a device shakes hands again and again, the first time as a
// stranger. Both ends are in the process, and count.
func BenchmarkHelloFlood(b *testing.B) {
	const forged = 10_000
	for range b.N {
		s := newSealedBench(b, &DTLS{})
		runtime.GC()
		rss := resident(b)
		flooded := make(chan struct{})
		go func() {
			defer close(flooded)
			for i := range forged {
				from := &net.UDPAddr{IP: net.IPv4(127, 9, byte(i>>8), byte(i))}
				c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(s.to))
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = c.Write(helloRecord(byte(i)))
				_ = c.Close()
			}
		}()
		var first, slowest time.Duration
		most := rss
		n, tries := 0, 0
		for over := false; !over; n++ {
			select {
			case <-flooded:
				over = true
			default:
			}
			begin := time.Now()
			for {
				c, err := s.tryDial(b, 1<<17, pskSuites[2])
				if err == nil {
					_ = c.Close()
					break
				}
				tries++ // a device that is told begins anew
			}
			took := time.Since(begin)
			if n == 0 {
				first = took
			}
			slowest, most = max(slowest, took), max(most, resident(b))
		}
		b.ReportMetric(float64(n), "handshakes")
		b.ReportMetric(float64(tries), "told-to-begin-anew")
		b.ReportMetric(float64(first.Microseconds())/1e3, "ms/first")
		b.ReportMetric(float64(slowest.Microseconds())/1e3, "ms/slowest")
		b.ReportMetric((most-rss)/1e6, "RSS-MB")
		b.ReportMetric(float64(s.d.Stats().Evicted), "evicted")
		s.stop()
	}
}

// unbounded are rates that one device of a benchmark cannot exceed.
var unbounded = ingest.Rates{Readings: 500_000_000, AddressReadings: 500_000_000}
