package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

var web = Peer{Addr: netip.MustParseAddrPort("192.168.1.9:5000"), Transport: "http"}

// told renders what came of a payload.
func told(w Written, err error) []string {
	out := []string{fmt.Sprintf("%d taken, %d of %d refused", w.Readings, w.Refused, w.Messages)}
	for _, r := range w.Told {
		out = append(out, fmt.Sprintf("line %d: %s: %s", r.Line, r.Reason, r.Detail))
	}
	if err != nil {
		out = append(out, err.Error())
	}
	return out
}

func TestWrite(t *testing.T) {
	for _, c := range []struct {
		name     string
		unit     wire.Unit
		payloads []string
		want     []string // of the last payload
		stored   []string
	}{
		{"nothing", wire.Ago, []string{""}, []string{"0 taken, 0 of 0 refused"}, nil},
		{"an empty line", wire.Nano, []string{"\n"}, []string{"0 taken, 0 of 0 refused"}, nil},
		{
			"lines", wire.Ago,
			[]string{"t,host=x v=1,w=2i 1764000000000000000\nt v=\"a\nb\" 1763999999\r\n"},
			[]string{"3 taken, 0 of 2 refused"},
			[]string{"x t.v=1 1764000000000000", "x t.w=2 1764000000000000", "ip-192.168.1.9 t.v=a\nb 1763999999000000"},
		},
		{
			"JSON over several lines", wire.Ago,
			[]string{"[\n {\"device\":\"x\",\n  \"v\":1},\n {\"device\":\"x\",\"w\":true}\n]"},
			[]string{"2 taken, 0 of 2 refused"},
			[]string{"x v=1", "x w=true"},
		},
		{
			"the good among the bad", wire.Ago,
			[]string{"t,device=x v=1\nt,device=x v=\n\nt,device=/ v=1\nt,device=x v=2,\x7f=3\nt,device=x w=1e999\nt,device=x v=3"},
			[]string{
				"2 taken, 4 of 6 refused",
				"line 2: syntax: byte 14: a field value is missing",
				`line 4: device: invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`,
				"line 5: syntax: byte 16: a field must be key=value",
				"line 6: syntax: byte 14: a number is malformed or out of range",
			},
			[]string{"x t.v=1", "x t.v=3"},
		},
		{
			"refused in part", wire.Ago,
			[]string{"{\"device\":\"x\",\n\"v\":1,\"a\\u0001\":2}"},
			[]string{"1 taken, 1 of 1 refused", `line 1: metric: invalid metric "a\x01": byte 2 is a control character`},
			[]string{"x v=1"},
		},
		{
			"CBOR", wire.Ago,
			[]string{"\x82\xa2\x66device\x61x\x61v\x01\xa1\x66device\x61x"},
			[]string{"1 taken, 1 of 2 refused", "line 0: empty: the message holds no reading"},
			[]string{"x v=1"},
		},
		{
			"a unit", wire.Minute,
			[]string{"t,device=x v=1 29399999\nt,device=x v=2 -5\nt,device=x v=3 1764000000000000000\nt,device=x v=4"},
			[]string{"4 taken, 0 of 4 refused"},
			[]string{"x t.v=1 1763999940000000", "x t.v=2", "x t.v=3", "x t.v=4"},
		},
		{
			"a unit and JSON", wire.Second,
			[]string{`[{"device":"x","time":1763999999.5,"v":1},{"device":"x","time":"2025-11-24T16:00:00Z","v":2},{"device":"x","time":90,"v":3}]`},
			[]string{"3 taken, 0 of 3 refused"},
			[]string{"x v=1 1763999999500000", "x v=2 1764000000000000", "x v=3"},
		},
		{
			"a unit and SenML, which has its own", wire.Nano,
			[]string{`[{"bn":"x/","n":"v","v":1,"t":-90}]`},
			[]string{"1 taken, 0 of 1 refused"},
			[]string{"x v=1 1763999910123456"},
		},
		{
			"sent again", wire.Ago,
			[]string{"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=8 v=2", "t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=8 v=2\nt,device=x,seq=9 v=3"},
			[]string{"1 taken, 0 of 3 refused"},
			[]string{"x t.v=1", "x t.v=2", "x t.v=3"},
		},
		{
			"refused in part, sent again", wire.Ago,
			[]string{`{"device":"x","seq":7,"a\u0001":1,"v":2}`, `{"device":"x","seq":7,"a\u0001":1,"v":2}`},
			[]string{"0 taken, 1 of 1 refused", "line 1: metric: refused before: metric"},
			[]string{"x v=2"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(Config{}, false)
			var got []string
			for _, p := range c.payloads {
				got = told(b.Write(t.Context(), web, []byte(p), c.unit))
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error("(-want +got):\n", d)
			}
			if d := cmp.Diff(c.stored, b.sink.texts()); d != "" {
				t.Error("readings (-want +got):\n", d)
			}
			if answers := b.settled(t); len(answers) > 0 {
				t.Errorf("answered by itself: %q", answers)
			}
		})
	}
}

// Who may write some devices only is refused the others, message by message, by
// whatever name they come.
func TestWriteWithinLimit(t *testing.T) {
	limit, err := device.NewSelector([]string{"gh*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	limited := web
	limited.Limit = &limit
	b := newBench(Config{}, false)
	payload := "t,device=gh1 v=1\nt,device=shed v=2\nt v=3\nt,host=gh2 v=4\n"
	want := []string{
		"2 taken, 2 of 4 refused",
		`line 2: forbidden: this access may not write device "shed"`,
		`line 3: forbidden: this access may not write device "ip-192.168.1.9"`,
	}
	if d := cmp.Diff(want, told(b.Write(t.Context(), limited, []byte(payload), wire.Ago))); d != "" {
		t.Error("(-want +got):\n", d)
	}
	if d := cmp.Diff([]string{"gh1 t.v=1", "gh2 t.v=4"}, b.sink.texts()); d != "" {
		t.Error("readings (-want +got):\n", d)
	}
	if devices, _ := b.Gate().Known(); devices != 2 {
		t.Errorf("%d devices are known", devices)
	}
	_, err = b.Write(t.Context(), web, []byte("t,device=shed v=5\n"), wire.Ago)
	if got := len(b.sink.texts()); err != nil || got != 3 {
		t.Errorf("without a limit: %d readings, %v", got, err)
	}
}

// Access to HTTP is decided before; a refusal is told to the inspector, and the
// answer is bounded.
func TestWriteRefusals(t *testing.T) {
	b := newBench(Config{}, false)
	far := Peer{Addr: netip.MustParseAddrPort("8.8.8.8:1"), Transport: "http"}
	w, err := b.Write(t.Context(), far, []byte("t v=1\n"+strings.Repeat("t v=\n", maxTold+5)), wire.Ago)
	if err != nil || w.Readings != 1 || w.Refused != maxTold+5 || len(w.Told) != maxTold || w.Told[maxTold-1].Line != maxTold+1 {
		t.Errorf("%+v, %v", w, err)
	}
	if n := b.Inspector().Total(Syntax); n != maxTold+5 {
		t.Errorf("%d counted", n)
	}
	if r := b.Inspector().Newest()[0]; r.Peer != far || r.Format != wire.FormatLine || string(r.Payload) != "t v=" {
		t.Errorf("kept %+v", r)
	}
	if f, ok := b.Gate().Device("ip-8.8.8.8"); !ok || f.Transport != "http" {
		t.Errorf("facts %+v, %v", f, ok)
	}
}

// What cannot be stored is an error, after which everything may come again.
func TestWriteFails(t *testing.T) {
	payload := "t,device=x,seq=1 v=1\nt,device=x,seq=2 v=2"
	for _, c := range []struct {
		name  string
		sink  func(*fakeSink)
		want  error
		after time.Duration
		again int // readings stored when the same comes again
	}{
		{"no room", func(f *fakeSink) { f.full = true }, ErrFull, roomWait, 2},
		{"a disk that is gone", func(f *fakeSink) { f.fail = errSink }, errSink, 0, 2},
		{"a disk that is slow", func(f *fakeSink) { f.disk = make(chan struct{}) }, context.DeadlineExceeded, durableWait, 2},
		{"somebody faster takes the room", func(f *fakeSink) {
			f.refuse, f.room = 3, make(chan struct{})
			close(f.room)
		}, nil, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(Config{}, false)
				c.sink(b.sink)
				start := time.Now()
				w, err := b.Write(t.Context(), web, []byte(payload), wire.Ago)
				if !errors.Is(err, c.want) || time.Since(start) != c.after {
					t.Errorf("%+v, %v after %v; want %v after %v", w, err, time.Since(start), c.want, c.after)
				}
				b.sink.set(func() { b.sink.full, b.sink.fail, b.sink.disk = false, nil, nil })
				if w, err := b.Write(t.Context(), web, []byte(payload), wire.Ago); err != nil || w.Refused != 0 {
					t.Errorf("again: %+v, %v", w, err)
				}
				if got := len(b.sink.texts()); got != c.again {
					t.Errorf("%d readings stored, want %d", got, c.again)
				}
			})
		})
	}
}

// Of a payload of several batches the sender hears that it failed although a
// part was stored, and nothing behind the failure is taken.
func TestWriteFailsInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, false)
		b.sink.disk = make(chan struct{})
		var payload strings.Builder
		for i := range 3 * sessionBatch {
			fmt.Fprintf(&payload, "t,device=x,seq=%d v=1\n", i)
		}
		p := &firstOnly{fakeSink: b.sink}
		b.Pipeline.sink = p
		close(b.sink.disk)
		if w, err := b.Write(t.Context(), web, []byte(payload.String()), wire.Ago); !errors.Is(err, ErrFull) || w.Readings != sessionBatch {
			t.Errorf("%+v, %v", w, err)
		}
		if n := b.Inspector().Total(Overload); n != sessionBatch {
			t.Errorf("%d counted as overload, want %d", n, sessionBatch)
		}
	})
}

// firstOnly has room for one batch.
type firstOnly struct{ *fakeSink }

func (f *firstOnly) Append(rs []device.Reading) (uint64, error) {
	f.set(func() { f.full = f.appends > 0 })
	return f.fakeSink.Append(rs)
}

// A sender that is gone waits for no room, but what has been taken becomes
// durable in peace.
func TestWriterGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		b.sink.full = true
		start := time.Now()
		if _, err := b.Write(ctx, web, []byte("t v=1"), wire.Ago); err == nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		b.sink.full, b.sink.disk = false, make(chan struct{})
		time.AfterFunc(time.Second, func() { close(b.sink.disk) })
		if _, err := b.Write(ctx, web, []byte("t v=1"), wire.Ago); err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// A retransmission over HTTP is not acknowledged before its original, which came
// another way, has landed.
func TestWriteRetransmission(t *testing.T) {
	for _, lost := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(Config{}, false)
			payload := []byte("t,device=x,seq=1 v=1")
			if err := b.session.Handle(t.Context(), local, payload); err != nil {
				t.Fatal(err)
			}
			done := make(chan error)
			go func() {
				_, err := b.Write(t.Context(), web, payload, wire.Ago)
				done <- err
			}()
			synctest.Wait()
			select {
			case err := <-done:
				t.Fatalf("answered %v before the original has landed", err)
			default:
			}
			b.sink.set(func() { b.sink.full = lost })
			if err := b.session.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-done; (err != nil) != lost {
				t.Errorf("original lost %v: %v", lost, err)
			}
		})
	}
}

// FuzzWrite: whatever comes, valid readings only reach the sink, every refusal is
// told with a line that there is, and what came of it adds up.
func FuzzWrite(f *testing.F) {
	for _, seed := range []string{
		"climate,device=gh1,seq=7,ack=1 temp=21.5,hum=40i 1764000000000000000\nnonsense\n",
		"{\"device\":\"x\",\n\"v\":1,\"a\\u0001\":2}\n[{\"seq\":1,\"v\":1},{\"seq\":1,\"v\":2}]",
		"[{\"bn\":\"x/\",\"n\":\"v\",\"v\":1,\"t\":-90},\n{\"v\":2,\"vd\":\"AA\"}]",
		"\x82\xa2\x66device\x61x\x61v\x01\xa1\x66device\x61x",
	} {
		for unit := wire.Ago; unit <= wire.Hour; unit++ {
			f.Add([]byte(seed), uint8(unit))
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, unit uint8) {
		b := newBench(Config{MaxDevices: 8, MaxSeries: 16}, false)
		for range 2 {
			before := len(b.sink.readings)
			w, err := b.Write(t.Context(), web, payload, wire.Unit(unit)%(wire.Hour+1))
			switch {
			case err != nil:
				t.Fatal(err)
			case w.Readings != len(b.sink.readings)-before:
				t.Errorf("%+v, and %d readings stored", w, len(b.sink.readings)-before)
			case w.Refused > w.Messages, len(w.Told) != min(w.Refused, maxTold):
				t.Errorf("%+v", w)
			}
			lines := strings.Count(string(payload), "\n") + 1
			for _, r := range w.Told {
				if r.RefusalError == nil || r.Detail == "" || r.Line < 0 || r.Line > lines {
					t.Errorf("told %+v of %d lines", r, lines)
				}
			}
		}
		checkReadings(t, b.sink.readings)
		if n := len(b.queue.waiting); n > 0 {
			t.Errorf("%d answers in the queue", n)
		}
	})
}
