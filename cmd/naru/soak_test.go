package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// soakFor is how long TestSoak runs: go test -run TestSoak ./cmd/naru -soak 30m
var soakFor = flag.Duration("soak", 5*time.Second, "how long TestSoak has viewers come and go")

const (
	soakDevices = 20
	soakRate    = 500 // readings a second of all devices
	soakViewers = 40
)

// TestSoak has viewers come and go at random, by WebSocket and Socket.IO, some of whom
// do not read for a while, are cut off or go on later. Each sees every reading of its
// selection once and in order, and in the end the gateway is as it was before.
func TestSoak(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "", t.TempDir())
	calm := p.metric(t, "go_goroutines", "")
	total := int(soakFor.Seconds() * soakRate)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan struct{})
	var watching, sampling sync.WaitGroup
	viewers := make([]*soakViewer, soakViewers)
	for i := range viewers {
		viewers[i] = &soakViewer{random: rand.New(rand.NewPCG(1, uint64(i))), addr: p.HTTP, total: total}
		watching.Go(func() {
			if err := viewers[i].run(ctx, sent); err != nil {
				t.Errorf("viewer %d: %v", i, err)
			}
		})
	}
	var rss []float64
	sampling.Go(func() {
		tick := time.NewTicker(max(*soakFor/100, 100*time.Millisecond))
		defer tick.Stop()
		for {
			rss = append(rss, p.procStatus(t, "VmRSS"))
			select {
			case <-tick.C:
			case <-sent:
				return
			}
		}
	})
	sendSoak(t, p, total)
	close(sent)
	sampling.Wait()
	if got := waitFor(t, p, total); got != total {
		t.Fatalf("%d readings are stored, %d were sent", got, total)
	}
	watching.Wait()
	seen, came := 0, 0
	for _, v := range viewers {
		seen, came = seen+v.seen, came+v.came
	}
	eventually(t, "goroutines of viewers to end", func() bool { return p.metric(t, "go_goroutines", "") <= calm+5 })
	half := len(rss) / 2
	slices.Sort(rss[:half])
	slices.Sort(rss[half:])
	before, after := rss[half/2]/1e6, rss[half+half/2]/1e6
	t.Logf("%d readings, %d viewings that saw %d of them; RSS %.1f MB in the first half, %.1f in the second (medians)", total, came, seen, before, after)
	if *soakFor >= 5*time.Minute && after > 1.25*before+8 {
		t.Errorf("memory grows: %.1f MB, then %.1f", before, after)
	}
}

// sendSoak sends readings over TCP: of datagrams the kernel may lose some, which is not
// what is looked at here.
func sendSoak(t *testing.T, p *process, total int) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // everything has been written, or the test has failed
	var lines []byte
	steadily(soakRate, total, func(from, to int) {
		lines = lines[:0]
		for i := from; i < to; i++ {
			lines = append(lines, "soak,device=s"...)
			lines = strconv.AppendInt(lines, int64(i%soakDevices), 10)
			lines = append(lines, " n="...)
			lines = append(strconv.AppendInt(lines, int64(i/soakDevices), 10), "i\n"...)
		}
		if _, err := conn.Write(lines); err != nil {
			t.Fatal(err)
		}
	})
}

// waitFor waits until so many readings are stored, or no more come.
func waitFor(t *testing.T, p *process, want int) (stored int) {
	t.Helper()
	eventually(t, "the readings", func() bool {
		stored = p.count(t, "")
		return stored >= want
	})
	return stored
}

// soakViewer is somebody who comes and goes.
type soakViewer struct {
	random *rand.Rand
	addr   string
	total  int // readings that are sent in all

	query  string // the selection
	one    int    // its device; -1: all
	cursor string // to go on from; empty: from now
	next   map[int]int
	seen   int
	came   int
}

// run watches until everything is sent, and then until everything is seen.
func (v *soakViewer) run(ctx context.Context, sent <-chan struct{}) error {
	for last := false; ; {
		if v.cursor == "" || !last && v.random.IntN(3) == 0 {
			v.begin()
		}
		select {
		case <-sent:
			last = true
		default:
		}
		if last && v.cursor == "" {
			return nil // nothing was seen that something could be missing of
		}
		if err := v.visit(ctx, last); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// begin makes the viewer somebody else.
func (v *soakViewer) begin() {
	v.one, v.query = -1, "device=s*"
	if v.random.IntN(2) == 0 {
		v.one = v.random.IntN(soakDevices)
		v.query = fmt.Sprintf("device=s%d", v.one)
	}
	v.cursor, v.next = "", map[int]int{}
}

// visit watches for a while, or with all until everything is seen.
func (v *soakViewer) visit(ctx context.Context, all bool) error {
	dial := ways[v.random.IntN(len(ways))].dial
	query := v.query
	if v.cursor != "" {
		query += "&after=" + v.cursor
	}
	conn, err := dial(ctx, v.addr, query)
	if err != nil {
		return err
	}
	defer conn.close()
	v.came++
	limit := patience
	if !all {
		limit = time.Duration(v.random.Int64N(int64(min(*soakFor/4, 20*time.Second))))
	}
	if err := conn.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for !all || !v.complete() {
		message, err := conn.next()
		if err != nil {
			if all {
				return fmt.Errorf("%w, next %v of %q", err, v.next, v.query)
			}
			return nil // the time is over, or the gateway has cut off who reads slowly
		}
		if err := v.take(message); err != nil {
			return err
		}
		if v.random.IntN(200) == 0 && !all { // looks away
			select {
			case <-ctx.Done():
			case <-time.After(time.Duration(v.random.Int64N(int64(limit/2 + 1)))):
			}
		}
	}
	return nil
}

// take looks at a message of either technique.
func (v *soakViewer) take(message []byte) error {
	for rest := message; ; {
		_, reading, ok := bytes.Cut(rest, []byte(`"device":"s`))
		if !ok {
			break
		}
		device, rest2 := number(reading)
		_, value, ok := bytes.Cut(rest2, []byte(`"value":`))
		if !ok {
			return fmt.Errorf("a reading without a value: %s", message)
		}
		n, behind := number(value)
		want, known := v.next[device]
		switch {
		case v.one >= 0 && device != v.one:
			return fmt.Errorf("device s%d in %q", device, v.query)
		case known && n != want:
			return fmt.Errorf("s%d: reading %d, want %d", device, n, want)
		}
		v.next[device] = n + 1
		v.seen++
		rest = behind
	}
	cursor, err := cursorOf(message)
	if err != nil {
		return err
	}
	v.cursor = cursor
	return nil
}

// cursorOf returns where to go on behind a message of either technique: the cursor is
// the last text of an event, and the first member of its name elsewhere.
func cursorOf(message []byte) (string, error) {
	if _, text, ok := bytes.Cut(message, []byte(`"cursor":"`)); ok {
		text, _, _ = bytes.Cut(text, []byte{'"'})
		return string(text), nil
	}
	parts := bytes.Split(message, []byte{'"'})
	if len(parts) < 3 {
		return "", errors.New("no cursor in " + string(message))
	}
	return string(parts[len(parts)-2]), nil
}

// complete reports whether the last reading of each device that the viewer has begun
// with has been seen.
func (v *soakViewer) complete() bool {
	for device, next := range v.next {
		if next < (v.total-device+soakDevices-1)/soakDevices {
			return false
		}
	}
	return true
}

func number(b []byte) (n int, rest []byte) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = 10*n + int(b[i]-'0')
	}
	return n, b[i:]
}
