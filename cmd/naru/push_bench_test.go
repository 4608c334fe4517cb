package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// latencies counts delays in steps of 0.1 ms, up to the 15 s that fanOut takes.
type latencies [150_000]atomic.Int64

func (l *latencies) add(d time.Duration) {
	l[min(int(d/(100*time.Microsecond)), len(l)-1)].Add(1)
}

func (l *latencies) quantile(q float64) (ms float64) {
	total := int64(0)
	for i := range l {
		total += l[i].Load()
	}
	left := q * float64(total)
	for i := range l {
		if left -= float64(l[i].Load()); left <= 0 {
			return float64(i+1) / 10
		}
	}
	return float64(len(l)) / 10
}

// ways are how viewers come to the gateway.
var ways = []way{{"websocket", dialViewer}, {"socketio", dialSocketIO}}

type way struct {
	name string
	dial func(ctx context.Context, addr, query string) (*rawViewer, error)
}

// subject is what the benchmarks of pushing measure: the gateway, or a peer that is
// asked to do the same.
type subject struct {
	way
	start func(b *testing.B) *process
	// peer is a program of others. It may lose readings, which is counted; its dial
	// returns when the viewer is subscribed.
	peer bool
}

// gatewayBy is the gateway, watched in that way.
func gatewayBy(w way) subject {
	return subject{way: w, start: func(b *testing.B) *process {
		b.Helper()
		return startForBench(b, b.TempDir())
	}}
}

// subscribed waits until so many viewers are.
func (s subject) subscribed(b *testing.B, p *process, viewers int) {
	b.Helper()
	if !s.peer {
		eventually(b, "the subscriptions", func() bool { return int(p.metric(b, "naru_subscriptions", "")) == viewers })
	}
}

func (s subject) end(b *testing.B, p *process) {
	b.Helper()
	if !s.peer {
		endBench(b, p)
		return
	}
	select {
	case <-p.ended:
		b.Errorf("the peer ended: %v\n%s", p.err, p.output)
	default:
		p.kill() // one that lags behind would take its time
	}
	b.ReportMetric(0, "ns/op")
}

// load is what a crowd of viewers watches.
type load struct {
	viewers, rate int  // readings a second
	apart         bool // each viewer watches one device, else all the same
}

// BenchmarkSystemFanout has viewers see readings for 10 s, all of them the same, or
// each those of one device. The delay is measured from sending the datagram to the
// viewer's having read the message.
func BenchmarkSystemFanout(b *testing.B) {
	for _, l := range []load{
		{viewers: 500, rate: 100},
		{viewers: 200, rate: 1000},
		{viewers: 1000, rate: 100},
		{viewers: 9500, rate: 10}, // of 10,000 that there may be
		{viewers: 1000, rate: 5000, apart: true},
	} {
		for _, w := range ways {
			b.Run(fmt.Sprintf("viewers=%d/rate=%d/apart=%v/by=%s", l.viewers, l.rate, l.apart, w.name), func(b *testing.B) {
				for b.Loop() {
					fanOut(b, gatewayBy(w), l)
				}
			})
		}
	}
}

// fanOut is one run with a subject of its own.
func fanOut(b *testing.B, s subject, l load) {
	b.Helper()
	const seconds = 10
	p := s.start(b)
	empty := p.procStatus(b, "VmRSS")
	all := new(latencies)
	c := newCrowd(b, s, l, seconds*l.rate, func(int) *latencies { return all })
	c.come(p)
	s.subscribed(b, p, l.viewers)
	before, end := p.cpu(b), watchStalls(b)
	newFlood(b, p.UDP).send(l.rate, c.total, c.payload)
	c.wait()
	end()
	cpu := float64((p.cpu(b) - before).Microseconds())
	delivered, rss := c.delivered(), p.procStatus(b, "VmRSS")
	b.ReportMetric(100*float64(delivered)/float64(c.total*l.viewers/c.devices), "%delivered")
	b.ReportMetric(cpu/float64(max(delivered, 1)), "µs-cpu/delivery")
	b.ReportMetric(cpu/float64(c.total), "µs-cpu/reading")
	b.ReportMetric(all.quantile(0.5), "p50-ms")
	b.ReportMetric(all.quantile(0.99), "p99-ms")
	b.ReportMetric(all.quantile(1), "max-ms")
	b.ReportMetric(rss/1e6, "MB-rss")
	b.ReportMetric((rss-empty)/float64(l.viewers)/1024, "KiB-rss/viewer")
	s.end(b, p)
}

// crowd is viewers and what they have seen of the readings of one run. Reading i has
// the value i, and is of device i modulo devices.
type crowd struct {
	b              *testing.B
	subject        subject
	devices, total int
	delays         func(reading int) *latencies // where the reading's delays are counted
	epoch          time.Time
	sentAt         []atomic.Int64 // since epoch, by reading
	seen           []atomic.Int64 // by viewer
	left           atomic.Int64   // viewers who have not seen all
	done           chan struct{}  // closed when there are none
}

func newCrowd(b *testing.B, s subject, l load, total int, delays func(reading int) *latencies) *crowd {
	b.Helper()
	c := &crowd{
		b: b, subject: s, devices: 1, total: total, delays: delays, epoch: time.Now(), done: make(chan struct{}),
		sentAt: make([]atomic.Int64, total), seen: make([]atomic.Int64, l.viewers),
	}
	if l.apart {
		c.devices = l.viewers
	}
	return c
}

// come has the viewers watch, until the end of the run.
func (c *crowd) come(p *process) {
	c.b.Helper()
	c.left.Store(int64(len(c.seen)))
	for i := range c.seen {
		v, err := c.subject.dial(c.b.Context(), p.HTTP, fmt.Sprintf("device=d%d", i%c.devices))
		if err != nil {
			c.b.Fatal(err)
		}
		c.b.Cleanup(v.close)
		go func() {
			_ = v.watch(func(message []byte) {
				now := time.Since(c.epoch)
				eachValue(message, func(value int) { c.see(i, value, now) })
			})
		}()
	}
}

// see notes that viewer i has seen a reading. It must be the next, or with a peer one
// behind that.
func (c *crowd) see(i, value int, now time.Duration) {
	seen := int(c.seen[i].Add(1))
	want := (seen-1)*c.devices + i%c.devices
	if (value < want || value > want && !c.subject.peer) && !c.b.Failed() {
		c.b.Errorf("viewer %d: reading %d, want %d", i, value, want)
	}
	c.delays(value).add(now - time.Duration(c.sentAt[value].Load()))
	if seen == c.total/c.devices && c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// payload appends the datagram of reading i, which is about to be sent.
func (c *crowd) payload(dst []byte, i int) []byte {
	c.sentAt[i].Store(int64(time.Since(c.epoch)))
	dst = append(dst, "climate,device=d"...)
	dst = strconv.AppendInt(dst, int64(i%c.devices), 10)
	dst = append(dst, " temperature="...)
	return append(strconv.AppendInt(dst, int64(i), 10), 'i')
}

// wait gives the viewers time to see the last readings.
func (c *crowd) wait() {
	select {
	case <-c.done:
	case <-time.After(5 * time.Second):
	}
}

// delivered returns how many readings all viewers together have seen.
func (c *crowd) delivered() int {
	n := 0
	for i := range c.seen {
		n += int(c.seen[i].Load())
	}
	return n
}

// BenchmarkSystemIdleViewers measures what a viewer costs who gets nothing.
func BenchmarkSystemIdleViewers(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			for b.Loop() {
				idleViewers(b, gatewayBy(w), 5000)
			}
		})
	}
}

// dialers is how many viewers connect at a time, as when a gateway comes back.
const dialers = 8

// idleViewers is one run with a subject of its own.
func idleViewers(b *testing.B, s subject, viewers int) {
	b.Helper()
	p := s.start(b)
	before, cpu, start := p.procStatus(b, "VmRSS"), p.cpu(b), time.Now()
	var dialing sync.WaitGroup
	var came atomic.Int64
	for range dialers {
		dialing.Go(func() {
			for came.Add(1) <= int64(viewers) {
				v, err := s.dial(b.Context(), p.HTTP, "device=nobody")
				if err != nil {
					b.Error(err)
					return
				}
				b.Cleanup(v.close)
				go func() { _ = v.watch(func([]byte) {}) }()
			}
		})
	}
	dialing.Wait()
	if b.Failed() {
		b.FailNow()
	}
	s.subscribed(b, p, viewers)
	b.ReportMetric(float64(viewers)/time.Since(start).Seconds(), "connects/s")
	b.ReportMetric(float64((p.cpu(b)-cpu).Microseconds())/float64(viewers), "µs-cpu/connect")
	<-time.After(15 * time.Second)
	const pings = 25 // seconds from one to the next, with the gateway and its peers
	cpu = p.cpu(b)
	<-time.After(pings * time.Second)
	b.ReportMetric(100*(p.cpu(b)-cpu).Seconds()/pings, "%cpu")
	b.ReportMetric((p.procStatus(b, "VmRSS")-before)/float64(viewers)/1024, "KiB-rss/viewer")
	s.end(b, p)
}
