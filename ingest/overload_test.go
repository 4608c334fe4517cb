package ingest

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

func TestDatagramsAreRefusedWithoutRoom(t *testing.T) {
	b := newBench(Config{}, false)
	b.sink.full = true
	first := "t,device=x,seq=1,ack=1 v=1,w=2"
	b.send(t, local, first, "t,device=x,ack=1 v=3", "t,device=/,seq=2,ack=1 v=1", "t,device=x v=4")
	want := []string{`{"error":"overload","seq":1}`, `{"error":"overload"}`, `{"error":"device","seq":2}`}
	if d := cmp.Diff(want, b.settled(t)); d != "" {
		t.Error("answers (-want +got):\n", d)
	}
	if s := b.Stats(); b.Inspector().Total(Overload) != 4 || s.Readings != 0 || s.Acknowledged != 0 {
		t.Errorf("%d refused, %+v", b.Inspector().Total(Overload), s)
	}
	b.sink.full = false
	b.answers = nil
	b.send(t, local, first, first)
	if d := cmp.Diff([]string{`{"ack":1}`, `{"ack":1}`}, b.settled(t)); d != "" {
		t.Error("answers to the retransmission (-want +got):\n", d)
	}
	if d := cmp.Diff([]string{"x t.v=1", "x t.w=2"}, b.sink.texts()); d != "" {
		t.Error("readings (-want +got):\n", d)
	}
}

// TestDuplicateWithoutRoom: what the log holds already is acknowledged also while
// there is no room for more; what was in the lost batch is not.
func TestDuplicateWithoutRoom(t *testing.T) {
	b := newBench(Config{}, false)
	stored, lost := "t,device=x,seq=1,ack=1 v=1", "t,device=y,seq=2,ack=1 v=2"
	b.send(t, local, stored)
	b.sink.full = true
	b.send(t, local, stored, lost, lost)
	want := []string{`{"ack":1}`, `{"ack":1}`, `{"error":"overload","seq":2}`, `{"error":"overload","seq":2}`}
	if d := cmp.Diff(want, b.settled(t)); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

// TestMessageLostInPart: a message longer than a batch whose second half finds no
// room is stored whole when it comes again.
func TestMessageLostInPart(t *testing.T) {
	b := newBench(Config{}, false)
	var lines strings.Builder
	for range sessionBatch + 1 {
		lines.WriteString("t,device=x,seq=1,ack=1 v=")
		lines.WriteString(strings.Repeat("1", 1+lines.Len()%3))
		lines.WriteByte('\n')
	}
	msg := "a,device=x,seq=1,ack=1 v=0\n" + lines.String()
	// The sink has room for the first batch only.
	if err := b.session.Handle(t.Context(), local, []byte(msg)); err != nil {
		t.Fatal(err)
	}
	b.sink.full = true
	if err := b.session.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.sink.full = false
	before := len(b.sink.readings)
	b.answers = nil
	b.send(t, local, msg)
	if got := len(b.sink.readings) - before; got != sessionBatch+2 {
		t.Errorf("stored %d readings of the retransmission, want %d", got, sessionBatch+2)
	}
}

// TestMessageLostAtItsBegin: when the first batch of a message is lost the rest
// is refused too, so that its retransmission counts as new.
func TestMessageLostAtItsBegin(t *testing.T) {
	b := newBench(Config{}, false)
	msg := "a,device=x,seq=1,ack=1 v=0\n" + strings.Repeat("t,device=x,seq=1,ack=1 v=1\n", sessionBatch+9)
	b.sink.refuse = 1
	b.send(t, local, msg)
	if got := len(b.sink.texts()); got != 0 {
		t.Errorf("stored %d readings of half a message", got)
	}
	if got := b.Inspector().Total(Overload); got != sessionBatch+10 {
		t.Errorf("%d refused", got)
	}
	b.send(t, local, msg)
	if got := len(b.sink.texts()); got != sessionBatch+10 {
		t.Errorf("stored %d readings of the retransmission", got)
	}
}

// TestBatchLost: every message of a lost batch is new when it comes again.
func TestBatchLost(t *testing.T) {
	b := newBench(Config{}, false)
	msgs := []string{"t,device=x,seq=1 v=1", "t,device=x,seq=2 v=2", "t,device=y,seq=1 v=3", "t,device=x,seq=3 v=4"}
	b.sink.refuse = 1
	b.send(t, local, msgs...)
	b.send(t, local, msgs...)
	b.send(t, local, msgs...)
	if d := cmp.Diff([]string{"x t.v=1", "x t.v=2", "y t.v=3", "x t.v=4"}, b.sink.texts()); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

func TestStreamsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, true)
		b.sink.full, b.sink.room = true, make(chan struct{})
		done := make(chan struct{})
		go func() {
			b.send(t, local, "t,device=x,seq=1,ack=1 v=1\n")
			b.send(t, local, "t,device=x,seq=2,ack=1 v=2\n")
			close(done)
		}()
		synctest.Wait()
		if got := b.sink.texts(); len(got) > 0 {
			t.Errorf("stored %q without room", got)
		}
		close(b.sink.room)
		<-done
		if d := cmp.Diff([]string{"x t.v=1", "x t.v=2"}, b.sink.texts()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if n := b.Inspector().Total(Overload); n != 0 {
			t.Errorf("%d refused", n)
		}
	})
}

// TestStreamAtTheEnd: what a stream has read is stored when there is room soon
// after its end, and refused when not.
func TestStreamAtTheEnd(t *testing.T) {
	for _, soon := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(Config{}, true)
			b.sink.full, b.sink.room = true, make(chan struct{})
			ctx, cancel := context.WithCancel(t.Context())
			if err := b.session.Handle(ctx, local, []byte("t,device=x,seq=1,ack=1 v=1\n")); err != nil {
				t.Fatal(err)
			}
			flushed := make(chan error)
			go func() { flushed <- b.session.Flush(ctx) }()
			<-time.After(time.Minute)
			begin := time.Now()
			cancel()
			want, took := `{"error":"overload","seq":1}`, grace
			if soon {
				want, took = `{"ack":1}`, time.Second
				time.AfterFunc(time.Second, func() { close(b.sink.room) })
			}
			if err := <-flushed; errors.Is(err, context.Canceled) == soon {
				t.Errorf("soon %t: flush: %v", soon, err)
			}
			if got := time.Since(begin); got != took {
				t.Errorf("soon %t: took %s, want %s", soon, got, took)
			}
			if d := cmp.Diff([]string{want}, b.settled(t)); d != "" {
				t.Errorf("soon %t: answers (-want +got):\n%s", soon, d)
			}
			if stored, refused := len(b.sink.texts()), b.Inspector().Total(Overload); stored+int(refused) != 1 || (stored == 1) != soon {
				t.Errorf("soon %t: %d stored, %d refused", soon, stored, refused)
			}
		})
	}
}

// TestFailingSinkIsLoggedOnce, and again when it fails anew.
func TestFailingSinkIsLoggedOnce(t *testing.T) {
	for _, stream := range []bool{true, false} {
		var log strings.Builder
		b := newBench(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, stream)
		for range 2 {
			b.sink.fail = errSink
			for range 3 {
				b.send(t, local, "t,device=x,ack=1 v=1\n")
			}
			b.sink.fail = nil
			b.send(t, local, "t,device=x,ack=1 v=1\n")
		}
		if got := strings.Count(log.String(), "cannot be stored"); got != 2 {
			t.Errorf("stream %t: logged %d times:\n%s", stream, got, log.String())
		}
		if got := b.Inspector().Total(Overload); got != 6 {
			t.Errorf("stream %t: %d refused", stream, got)
		}
		want := strings.Repeat(`{"error":"overload"} {"error":"overload"} {"error":"overload"} {"ack":null} `, 2)
		if got := strings.Join(b.settled(t), " ") + " "; got != want {
			t.Errorf("stream %t: answers %s", stream, got)
		}
	}
}

// TestDuplicateBySecondSocket: a device that has lost its connection sends again
// by another one what still waits in a session of the first.
func TestDuplicateBySecondSocket(t *testing.T) {
	const msg = "t,device=x,seq=1,ack=1 v=1\n"
	tests := []struct {
		name    string
		fate    func(*bench)
		answers []string
	}{
		{"original stored", func(b *bench) { close(b.sink.room) }, []string{`{"ack":1}`, `{"ack":1}`}},
		{"original lost", func(b *bench) {
			b.sink.set(func() { b.sink.fail = errSink })
			close(b.sink.room)
		}, []string{`{"error":"overload","seq":1}`, `{"error":"overload","seq":1}`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(Config{}, true)
				b.sink.full, b.sink.room = true, make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				defer wg.Wait()
				defer cancel()
				wg.Go(func() { _ = b.Run(ctx) })
				wg.Go(func() { b.send(t, local, msg) })
				synctest.Wait() // the first session waits for room
				second := b.NewSession(false, b.reply)
				if err := errors.Join(second.Handle(ctx, other, []byte(msg)), second.Flush(ctx)); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := b.snapshot(); len(got) > 0 {
					t.Fatalf("answered %q while the original waits for room", got)
				}
				tt.fate(b)
				second.Settle(ctx)
				b.session.Settle(ctx)
				synctest.Wait()
				if d := cmp.Diff(tt.answers, b.snapshot()); d != "" {
					t.Error("(-want +got):\n", d)
				}
				b.sink.set(func() { b.sink.fail = nil })
				if err := errors.Join(second.Handle(ctx, other, []byte(msg)), second.Flush(ctx)); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff([]string{"x t.v=1"}, b.sink.texts()); d != "" {
					t.Error("stored after all (-want +got):\n", d)
				}
			})
		})
	}
}

// TestSessionsAtOnce: many sessions, some of them for the same device, under the
// race detector; each message is sent by two sessions and stored once, and what
// is acknowledged is durable.
func TestSessionsAtOnce(t *testing.T) {
	const devices, messages = 8, 500
	b := newBench(Config{Now: time.Now}, false)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	var wg sync.WaitGroup
	for i := range 2 * devices {
		wg.Go(func() {
			s := b.NewSession(i%4 < 2, b.reply)
			name := string(rune('a' + i/2))
			for seq := range messages {
				line := []byte("t,device=" + name + ",seq=" + strconv.Itoa(seq) + ",ack=1 v=" + strconv.Itoa(seq) + "\n")
				if err := s.Handle(ctx, local, line); err != nil {
					t.Error(err)
				}
				if seq%7 == 0 || seq == messages-1 {
					if err := s.Flush(ctx); err != nil {
						t.Error(err)
					}
				}
				b.Gate().Device("a")
			}
			s.Settle(ctx)
		})
	}
	wg.Wait()
	cancel()
	running.Wait()
	if got := len(b.snapshot()); got != 2*devices*messages {
		t.Errorf("%d answers, want %d", got, 2*devices*messages)
	}
	s := b.Stats()
	if s.Readings != devices*messages || len(b.sink.readings) != devices*messages || s.Duplicates != devices*messages ||
		s.Messages != 2*devices*messages {
		t.Errorf("%d stored, %+v", len(b.sink.readings), s)
	}
	count := map[device.ID]int{}
	for _, r := range b.sink.readings {
		count[r.Device]++
	}
	for d, n := range count {
		if n != messages {
			t.Errorf("device %s: %d readings", d, n)
		}
	}
	if ds := b.Gate().devices["a"]; len(ds.flights) != 0 {
		t.Errorf("%d flights left", len(ds.flights))
	}
}
