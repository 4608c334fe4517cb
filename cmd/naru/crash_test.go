package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crashesEnv is how often the gateway is killed; more take longer.
const crashesEnv = "NARU_TEST_CRASHES"

// TestKilled kills the gateway in the middle of streams whose devices want
// acknowledgements, again and again. Whatever was acknowledged must be there; no
// offset may mean two readings; viewers that resume must see every reading that
// survived exactly once, in order.
func TestKilled(t *testing.T) {
	t.Parallel()
	crashes := 3
	if s := os.Getenv(crashesEnv); s != "" {
		var err error
		if crashes, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c := crashTest{data: t.TempDir()}
	p := startProcess(t, "", c.data)
	c.at = p.addresses

	senders := []*ackingDevice{
		{name: "by-udp", network: "udp", addr: p.UDP}, {name: "by-tcp", network: "tcp", addr: p.TCP},
	}
	begin := presentCursor(t, p.addresses)
	viewers := []*resumingViewer{{watch: c.watchWebSocket, cursor: begin}, {watch: c.watchSSE, cursor: begin}}
	var running, loading sync.WaitGroup
	loadCtx, endLoad := context.WithCancel(ctx)
	defer endLoad()
	load := &loadingDevice{addr: p.TCP}
	loading.Go(func() { load.run(loadCtx) })
	for _, s := range senders {
		running.Go(func() { s.run(ctx) })
	}
	for _, v := range viewers {
		running.Go(func() { v.run(ctx) })
	}
	for crash := range crashes {
		// Each crash falls into another phase of the second between two commits.
		goal := senders[0].acked.Load() + int64(20+crash*7)
		eventually(t, "acknowledgements", func() bool { return senders[0].acked.Load() >= goal && senders[1].acked.Load() >= goal })
		p.kill()
		p = startProcess(t, "", c.data, "--http", p.HTTP, "--udp", p.UDP, "--tcp", p.TCP)
	}
	goal := senders[0].acked.Load() + 20
	eventually(t, "acknowledgements", func() bool { return senders[0].acked.Load() >= goal && senders[1].acked.Load() >= goal })
	endLoad()
	loading.Wait()
	t.Logf("load: %d readings", load.sent)
	for _, s := range senders {
		s.stop.Store(true)
	}
	head := c.drained(t, senders)
	for _, v := range viewers {
		eventually(t, "the viewers", func() bool { return v.seenUpTo() >= head })
	}
	cancel()
	running.Wait()
	c.check(t, senders, viewers)
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.output)
	}
}

// crashTest is a gateway that keeps its addresses over crashes.
type crashTest struct {
	data string
	at   addresses
}

// stored is a reading as the API tells it.
type stored struct {
	Offset uint64  `json:"offset"`
	Device string  `json:"device"`
	Metric string  `json:"metric"`
	Time   float64 `json:"time"`
	Value  int64   `json:"value"`
}

// readings fetches all that is stored.
func (c *crashTest) readings(t *testing.T) []stored {
	t.Helper()
	var all []stored
	for line := range strings.Lines(get(t, c.at.url("/api/v1/readings?format=ndjson"))) {
		var s stored
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, s)
	}
	return all
}

// drained waits until the devices have what they wanted and returns the newest
// offset.
func (c *crashTest) drained(t *testing.T, senders []*ackingDevice) (head uint64) {
	t.Helper()
	eventually(t, "the last acknowledgements", func() bool {
		for _, s := range senders {
			if s.acked.Load() < s.sent.Load() {
				return false
			}
		}
		return true
	})
	all := c.readings(t)
	return all[len(all)-1].Offset
}

func (c *crashTest) check(t *testing.T, senders []*ackingDevice, viewers []*resumingViewer) {
	t.Helper()
	all := c.readings(t)
	byOffset, times := map[uint64]stored{}, map[string]map[int64]int{}
	last := uint64(0)
	for _, s := range all {
		if s.Offset <= last {
			t.Errorf("offset %d comes after %d", s.Offset, last)
		}
		last = s.Offset
		byOffset[s.Offset] = s
		if times[s.Device] == nil {
			times[s.Device] = map[int64]int{}
		}
		times[s.Device][s.Value]++
	}
	for _, s := range senders {
		twice := 0
		for seq := range s.acked.Load() {
			switch n := times[s.name][seq+1]; {
			case n == 0:
				t.Errorf("%s: reading %d was acknowledged and is gone", s.name, seq+1)
			case n > 1:
				twice++ // the crash came between the commit and the answer
			}
		}
		t.Logf("%s: %d readings acknowledged, %d sent again, %d stored twice", s.name, s.acked.Load(), s.again.Load(), twice)
	}
	for i, v := range viewers {
		v.check(t, i, byOffset)
	}
}

// ackingDevice sends numbered readings, each until it is acknowledged. The value
// is the number.
type ackingDevice struct {
	name, network, addr string
	stop                atomic.Bool
	sent, acked, again  atomic.Int64
}

// inFlight is how many readings may wait for an answer, and resendAfter for how
// long before they are sent again.
const (
	inFlight    = 8
	resendAfter = 300 * time.Millisecond
)

func (d *ackingDevice) run(ctx context.Context) {
	for ctx.Err() == nil {
		if d.session(ctx) == nil {
			return
		}
		select { // the gateway is away
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// session sends until the connection breaks or, without error, all is done.
func (d *ackingDevice) session(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, d.network, d.addr)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	next := d.acked.Load() + 1
	for ctx.Err() == nil {
		for ; next <= d.acked.Load()+inFlight && (!d.stop.Load() || next <= d.sent.Load()); next++ {
			if next <= d.sent.Load() {
				d.again.Add(1)
			}
			d.sent.Store(max(d.sent.Load(), next))
			_, err := fmt.Fprintf(conn, `{"device":%q,"seq":%d,"ack":true,"time":%d,"n":%d}`+"\n", d.name, next, 1764000000000+next, next)
			if err != nil {
				return err
			}
		}
		if d.stop.Load() && d.acked.Load() >= d.sent.Load() {
			return nil
		}
		if err := d.answer(conn, answers); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// answer takes one acknowledgement. They come in the order of the readings.
func (d *ackingDevice) answer(conn net.Conn, r *bufio.Reader) error {
	if err := conn.SetReadDeadline(time.Now().Add(resendAfter)); err != nil {
		return err
	}
	var a struct {
		Ack   int64
		Error string
	}
	var line []byte
	var err error
	if d.network == "tcp" {
		line, err = r.ReadBytes('\n')
	} else {
		line = make([]byte, 1500)
		var n int
		n, err = conn.Read(line)
		line = line[:n]
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, &a); err != nil || a.Error != "" || a.Ack > d.sent.Load() {
		return fmt.Errorf("unexpected answer %s", line)
	}
	// An answer to a datagram that was sent twice may come twice.
	if a.Ack == d.acked.Load()+1 {
		d.acked.Store(a.Ack)
	}
	return nil
}

// loadingDevice sends readings for which it wants no answer, so that every commit
// has many.
type loadingDevice struct {
	addr string
	sent int64
}

// loadEvery is the pause after loadLines readings: 2,000 a second.
const (
	loadEvery = 10 * time.Millisecond
	loadLines = 20
)

func (d *loadingDevice) run(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		_ = d.session(ctx, tick.C) // it ends with every crash
		<-tick.C
	}
}

// session sends until the connection breaks. When ctx ends it returns once the
// gateway has read everything.
func (d *loadingDevice) session(ctx context.Context, tick <-chan time.Time) error {
	conn, err := net.Dial("tcp", d.addr) //nolint:noctx // on loopback it is at once there or refused
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	for ctx.Err() == nil {
		var lines []byte
		for range loadLines {
			d.sent++
			lines = fmt.Appendf(lines, "load,device=load n=%di %d\n", d.sent, 1764000000000+d.sent)
		}
		if _, err := conn.Write(lines); err != nil {
			return err
		}
		<-tick
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.CloseWrite(); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}

// resumingViewer comes back with its newest cursor whenever the stream ends.
type resumingViewer struct {
	watch func(ctx context.Context, v *resumingViewer) error

	mu     sync.Mutex // guards following
	cursor string
	seen   []stored
	bad    []string // messages that were not readings
}

func (v *resumingViewer) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = v.watch(ctx, v) // it ends with every crash
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (v *resumingViewer) take(b []byte) {
	var m struct {
		Type, Cursor string
		Readings     []stored
	}
	err := json.Unmarshal(b, &m)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil || m.Type != "readings" {
		v.bad = append(v.bad, string(b))
		return
	}
	v.cursor = m.Cursor
	v.seen = append(v.seen, m.Readings...)
}

func (v *resumingViewer) position() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cursor
}

func (v *resumingViewer) seenUpTo() uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.seen) == 0 {
		return 0
	}
	return v.seen[len(v.seen)-1].Offset
}

// check wants every reading that survived exactly once and in order. A viewer
// has also seen readings that were lost with the crash, under offsets that
// nothing else has.
func (v *resumingViewer) check(t *testing.T, number int, byOffset map[uint64]stored) {
	t.Helper()
	if len(v.bad) > 0 {
		t.Errorf("viewer %d: unexpected messages: %q", number, v.bad)
	}
	last, lost := uint64(0), 0
	seen := map[uint64]bool{}
	for _, s := range v.seen {
		if s.Offset <= last {
			t.Errorf("viewer %d: offset %d after %d", number, s.Offset, last)
		}
		last = s.Offset
		seen[s.Offset] = true
		kept, ok := byOffset[s.Offset]
		if !ok {
			lost++
		} else if kept != s {
			t.Errorf("viewer %d: offset %d was %v and is %v", number, s.Offset, s, kept)
		}
	}
	missing := 0
	for offset := range byOffset {
		if !seen[offset] {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("viewer %d has missed %d of %d readings", number, missing, len(byOffset))
	}
	t.Logf("viewer %d: %d readings, %d of them seen before a crash took them", number, len(v.seen), lost)
}

func (c *crashTest) watchWebSocket(ctx context.Context, v *resumingViewer) error {
	raw, err := dialViewer(ctx, c.at.HTTP, "after="+v.position())
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, raw.close)
	defer stop()
	return raw.watch(v.take)
}

func (c *crashTest) watchSSE(ctx context.Context, v *resumingViewer) error {
	events, err := openSSE(ctx, c.at, "", v.position())
	if err != nil {
		return err
	}
	defer events.close()
	for {
		b, err := events.next()
		if err != nil {
			return err
		}
		if v.take(b); events.id != v.position() {
			return errors.New("the event's id is not its cursor")
		}
	}
}
