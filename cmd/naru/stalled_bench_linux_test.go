package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stallFor is how long viewers of BenchmarkSystemStalled do not read.
var stallFor = flag.Duration("stall", time.Minute, "for how long viewers of BenchmarkSystemStalled do not read")

// BenchmarkSystemStalled has some of 200 viewers stop reading for a minute at 250
// readings a second, and then go on: who has been cut off comes back with the cursor it
// has. It measures what that costs the gateway in memory and the others in time, beside
// the same minute without it; each viewer must get every reading once and in order.
// Those who stop have just come, as the kernel keeps the more for a connection the more
// has gone over it.
func BenchmarkSystemStalled(b *testing.B) {
	for _, w := range narrowWays {
		for _, stalled := range []int{0, 10} {
			b.Run(fmt.Sprintf("stalled=%d/by=%s", stalled, w.name), func(b *testing.B) {
				for b.Loop() {
					stall(b, w, stalled)
				}
			})
		}
	}
}

// narrowWays are the ways with how viewers come for whom the kernels keep little.
var narrowWays = []narrowWay{{ways[0], dialViewerBy}, {ways[1], dialSocketIOBy}}

type narrowWay struct {
	way
	dialBy func(ctx context.Context, d *net.Dialer, addr, query string) (*rawViewer, error)
}

// narrow makes connections with segments as over Ethernet. Of one with loopback's, which
// have 64 KiB, the gateway's kernel takes megabytes that nobody reads, and the gateway
// would not learn of the viewer's stall.
var narrow = net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
	const segment, received = 1460, 4096
	var err error
	refused := conn.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, segment),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, received),
		)
	})
	return errors.Join(refused, err)
}}

// stall is one run of BenchmarkSystemStalled.
func stall(b *testing.B, w narrowWay, stalled int) {
	b.Helper()
	const viewers, rate, calm = 200, 250, 10 * 250 // calm: readings before, and after
	during := int(stallFor.Seconds() * rate)
	total := calm + during + calm
	delays := new([3]latencies) // before, stalled, after
	s := gatewayBy(w.way)
	c := newCrowd(b, s, load{viewers: viewers - stalled, rate: rate}, total, func(i int) *latencies {
		switch {
		case i < calm:
			return &delays[0]
		case i < calm+during:
			return &delays[1]
		default:
			return &delays[2]
		}
	})
	p := s.start(b)
	c.come(p)
	s.subscribed(b, p, viewers-stalled)
	flood, sent := newFlood(b, p.UDP), 0
	send := func(n int) (rss float64) {
		flood.send(rate, n, func(dst []byte, i int) []byte { return c.payload(dst, sent+i) })
		sent += n
		return p.procStatus(b, "VmRSS") / 1e6
	}
	send(calm)
	a := &absentees{w: w, addr: p.HTTP, first: calm, total: total, back: make(chan struct{})}
	a.come(b, stalled)
	s.subscribed(b, p, viewers)
	before := p.procStatus(b, "VmRSS") / 1e6
	atEnd := send(during)
	close(a.back)
	after := send(calm)
	c.wait()
	a.watching.Wait()
	for i, when := range []string{"before", "stalled", "after"} {
		b.ReportMetric(delays[i].quantile(0.99), "p99-ms-"+when)
	}
	b.ReportMetric(before, "MB-rss-before")
	b.ReportMetric(atEnd-before, "MB-more-stalled")
	b.ReportMetric(after-before, "MB-more-after")
	b.ReportMetric(p.procStatus(b, "VmHWM")/1e6, "MB-peak")
	b.ReportMetric(100*float64(c.delivered())/float64((viewers-stalled)*total), "%delivered")
	if stalled > 0 {
		b.ReportMetric(100*float64(a.seen.Load())/float64(stalled*(total-calm)), "%delivered-stalled")
		b.ReportMetric(float64(a.cameAgain.Load()), "came-again")
	}
	s.end(b, p)
}

// absentees are viewers who stop reading for a while.
type absentees struct {
	w            narrowWay
	addr         string
	first, total int           // the readings that there are to see: from first to before total
	back         chan struct{} // closed when they go on
	seen         atomic.Int64  // readings, by all of them
	cameAgain    atomic.Int64  // how often one has been cut off, and dialled again
	watching     sync.WaitGroup
}

// come has n of them watch until they have seen everything.
func (a *absentees) come(b *testing.B, n int) {
	b.Helper()
	for range n {
		v, err := a.w.dialBy(b.Context(), &narrow, a.addr, "device=d0")
		if err != nil {
			b.Fatal(err)
		}
		a.watching.Go(func() {
			if err := a.watch(b.Context(), v); err != nil {
				b.Error("a viewer who had stopped reading: ", err)
			}
		})
	}
}

// watch has v stop reading behind its first message, and sees to it that v, and who comes
// in its place, gets every reading once and in order.
func (a *absentees) watch(ctx context.Context, v *rawViewer) error {
	defer func() { v.close() }()
	cursor := ""
	for next := a.first; next < a.total; {
		if err := v.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		message, err := v.next()
		if err == nil {
			next, cursor, err = a.see(message, next)
		} else if cursor != "" && !errors.Is(err, os.ErrDeadlineExceeded) {
			v.close()
			var again *rawViewer
			if again, err = a.w.dialBy(ctx, &narrow, a.addr, "device=d0&after="+cursor); err == nil {
				v = again
				a.cameAgain.Add(1)
			}
		}
		if err != nil {
			return fmt.Errorf("at reading %d of %d: %w", next, a.total, err)
		}
		select {
		case <-a.back: // closed once and for all
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// see takes a message that is to begin with reading next, and returns which is to follow
// and the cursor behind the message.
func (a *absentees) see(message []byte, next int) (following int, cursor string, err error) {
	eachValue(message, func(value int) {
		if value != next && err == nil {
			err = fmt.Errorf("got reading %d", value)
		}
		next++
		a.seen.Add(1)
	})
	if err == nil {
		cursor, err = cursorOf(message)
	}
	return next, cursor, err
}
