package ingest

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswers(t *testing.T) {
	tests := []struct {
		name     string
		stream   bool
		payloads []string
		answers  []string
		stored   int
	}{
		{"no ack, no answer", false, []string{"t,device=x,seq=1 v=1", "nonsense", "t,device=/ v=1"}, nil, 1},
		{
			"acknowledged", false,
			[]string{"t,device=x,seq=7,ack=1 v=1", `{"device":"x","seq":8,"ack":true,"v":1}`},
			[]string{`{"ack":7}`, `{"ack":8}`},
			2,
		},
		{"largest seq", false, []string{"t,device=x,seq=9223372036854775807,ack=1 v=1"}, []string{`{"ack":9223372036854775807}`}, 1},
		{
			"without seq each message has its own", false,
			[]string{"t,device=x,ack=1 v=1\nt,device=x,ack=1 v=2", "t,device=x,ack=1 v=3"},
			[]string{`{"ack":null}`, `{"ack":null}`, `{"ack":null}`},
			3,
		},
		{
			"refused in whole", false,
			[]string{"t,device=/,seq=7,ack=1 v=1", "t,device=x,seq=8,ack=1 v=", `{"device":"x","seq":9,"ack":true}`},
			[]string{`{"error":"device","seq":7}`, `{"error":"syntax","seq":8}`, `{"error":"empty","seq":9}`},
			0,
		},
		{"refused without seq", false, []string{"t,device=/,ack=1 v=1"}, []string{`{"error":"device"}`}, 0},
		{"refused in part", false, []string{`{"device":"x","seq":7,"ack":true,"a\u0001":1,"v":2}`}, []string{`{"error":"metric","seq":7}`}, 1},
		{"refused in part, sent again", false, []string{
			`{"device":"x","seq":7,"ack":true,"a\u0001":1,"v":2}`, `{"device":"x","seq":7,"ack":true,"a\u0001":1,"v":2}`,
		}, []string{`{"error":"metric","seq":7}`, `{"error":"metric","seq":7}`}, 1},
		{
			"refused in whole, sent again", false,
			[]string{`{"device":"x","seq":7,"ack":true,"a\u0001":1}`, `{"device":"x","seq":7,"ack":true,"a\u0001":1}`},
			[]string{`{"error":"metric","seq":7}`, `{"error":"metric","seq":7}`},
			0,
		},
		{
			"refused in whole, sent right", false,
			[]string{`{"device":"x","seq":7,"ack":true,"a\u0001":1}`, `{"device":"x","seq":7,"ack":true,"a":1}`},
			[]string{`{"error":"metric","seq":7}`, `{"ack":7}`},
			1,
		},
		{
			"in the order of the messages", false,
			[]string{"t,device=x,seq=3,ack=1 v=1\nt,device=/,seq=2,ack=1 v=1\nt,device=x,seq=1,ack=1 v=1"},
			[]string{`{"ack":3}`, `{"error":"device","seq":2}`, `{"ack":1}`},
			2,
		},

		{"sent again", false, []string{"t,device=x,seq=7,ack=1 v=1", "t,device=x,seq=7,ack=1 v=1"}, []string{`{"ack":7}`, `{"ack":7}`}, 1},
		{"sent again in one datagram", false, []string{"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 v=1"}, []string{`{"ack":7}`, `{"ack":7}`}, 1},
		{"the same seq of another device", false, []string{"t,device=x,seq=7,ack=1 v=1\nt,device=y,seq=7,ack=1 v=1"}, []string{`{"ack":7}`, `{"ack":7}`}, 2},
		{"sent again with another content", false, []string{"t,device=x,seq=7,ack=1 v=1", "t,device=x,seq=7,ack=1 v=2"}, []string{`{"ack":7}`, `{"ack":7}`}, 1},
		{"asked for the second time only", false, []string{"t,device=x,seq=7 v=1", "t,device=x,seq=7,ack=1 v=1"}, []string{`{"ack":7}`}, 1},

		{"lines of one message", false, []string{"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 w=2\nu,device=x,seq=7 v=3"}, []string{`{"ack":7}`}, 3},
		{"lines of one message again", false, []string{
			"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 w=2",
			"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 w=2",
		}, []string{`{"ack":7}`, `{"ack":7}`}, 2},
		{"lines of one message again on a stream", true, []string{
			"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 w=2\nt,device=x,seq=7,ack=1 v=1\n", "t,device=x,seq=7,ack=1 w=2\n",
		}, []string{`{"ack":7}`, `{"ack":7}`}, 2},
		{
			"lines of one message in two reads", true,
			[]string{"t,device=x,seq=7,ack=1 v=1\n", "t,device=x,seq=7,ack=1 w=2\nt,device=x,seq=8,ack=1 v=2\n"},
			[]string{`{"ack":7}`, `{"ack":8}`},
			3,
		},
		{"last line of a message bad", false, []string{"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=7,ack=1 v="}, []string{`{"error":"syntax","seq":7}`}, 1},
		{"first line of a message bad", false, []string{"t,device=x,seq=7,ack=1 v=\nt,device=x,seq=7,ack=1 v=1"}, []string{`{"error":"syntax","seq":7}`}, 1},
		{"a line between that nothing is known of", false, []string{"t,device=x,seq=7,ack=1 v=1\nnonsense\nt,device=x,seq=7,ack=1 w=1"}, []string{`{"ack":7}`}, 2},
		{"first line without a good reading", false, []string{
			"{\"device\":\"x\",\"seq\":7,\"ack\":true,\"a\\u0001\":1}\n{\"device\":\"x\",\"seq\":7,\"ack\":true,\"b\":1}",
			"{\"device\":\"x\",\"seq\":7,\"ack\":true,\"a\\u0001\":1}\n{\"device\":\"x\",\"seq\":7,\"ack\":true,\"b\":1}",
		}, []string{`{"error":"metric","seq":7}`, `{"error":"metric","seq":7}`}, 1},
		{
			"not neighbours", false,
			[]string{"t,device=x,seq=7,ack=1 v=1\nt,device=x,seq=8,ack=1 v=1\nt,device=x,seq=7,ack=1 w=1"},
			[]string{`{"ack":7}`, `{"ack":8}`, `{"ack":7}`},
			2,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(Config{}, tt.stream)
			b.send(t, local, tt.payloads...)
			if d := cmp.Diff(tt.answers, b.settled(t), equal...); d != "" {
				t.Error("answers (-want +got):\n", d)
			}
			if got := b.sink.texts(); len(got) != tt.stored {
				t.Errorf("stored %q, want %d readings", got, tt.stored)
			}
			acks := int64(strings.Count(strings.Join(tt.answers, ""), "ack"))
			if s := b.Stats(); s.Acknowledged != acks || s.LostAcks != 0 {
				t.Errorf("%d acknowledged, %d lost; want %d, 0", s.Acknowledged, s.LostAcks, acks)
			}
		})
	}
}

// TestDuplicateParts counts each line once: as admitted, refused or duplicate.
func TestDuplicateParts(t *testing.T) {
	b := newBench(Config{}, false)
	msg := "t,device=x,seq=7 v=1\nt,device=x,seq=7 w=2\nt,device=x,seq=7 v="
	b.send(t, local, msg, msg)
	s := b.Stats()
	if s.Messages != 6 || s.Readings != 2 || s.Duplicates != 2 || b.Inspector().Total(Syntax) != 2 {
		t.Errorf("%+v, %d refused", s, b.Inspector().Total(Syntax))
	}
}

func TestAnswersWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, true)
		disk := make(chan struct{})
		b.sink.disk = disk
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.Run(ctx) })
		b.send(t, local, "t,device=/,seq=1,ack=1 v=1\nt,device=x,seq=2,ack=1 v=1\nt,device=/,seq=3,ack=1 v=1\n")
		synctest.Wait()
		got := b.snapshot()
		if d := cmp.Diff([]string{`{"error":"device","seq":1}`}, got); d != "" {
			t.Error("before the commit (-want +got):\n", d)
		}
		settled := make(chan struct{})
		go func() {
			b.session.Settle(ctx)
			close(settled)
		}()
		synctest.Wait()
		select {
		case <-settled:
			t.Error("settled before the commit")
		default:
		}
		close(disk)
		<-settled
		want := []string{`{"error":"device","seq":1}`, `{"ack":2}`, `{"error":"device","seq":3}`}
		if d := cmp.Diff(want, b.snapshot()); d != "" {
			t.Error("after the commit (-want +got):\n", d)
		}
		cancel()
		wg.Wait()
	})
}

func (b *bench) snapshot() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.answers...)
}

func TestRunDrains(t *testing.T) {
	tests := []struct {
		name    string
		commit  time.Duration // after the end of ctx; 0: never
		answers int
		lost    int64
		took    time.Duration
	}{
		{"in time", time.Second, 3, 0, time.Second},
		{"too late", 0, 0, 3, grace},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				b := newBench(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, false)
				b.sink.disk = make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { _ = b.Run(ctx) })
				b.send(t, local, "t,device=x,seq=1,ack=1 v=1")
				synctest.Wait() // Run waits for the disk now
				b.send(t, local, "t,device=x,seq=2,ack=1 v=1\nt,device=x,seq=3,ack=1 v=1")
				begin := time.Now()
				cancel()
				if tt.commit > 0 {
					time.AfterFunc(tt.commit, func() { close(b.sink.disk) })
				}
				wg.Wait()
				if got := b.snapshot(); len(got) != tt.answers || b.Stats().LostAcks != tt.lost {
					t.Errorf("answers %q, %d lost", got, b.Stats().LostAcks)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if got := strings.Contains(log.String(), "answers=3"); got != (tt.lost > 0) {
					t.Errorf("log %q", log.String())
				}
				b.session.Settle(t.Context()) // nothing is on its way any more
			})
		})
	}
}

// TestRunOutlivesAFailingSink: what cannot become durable costs its own answer
// only.
func TestRunOutlivesAFailingSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, false)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		b.send(t, local, "t,device=x,seq=1,ack=1 v=1")
		b.sink.set(func() { b.sink.readings = nil }) // WaitDurable knows nothing of it
		wg.Go(func() { _ = b.Run(ctx) })
		synctest.Wait()
		b.send(t, local, "t,device=/,seq=2,ack=1 v=1")
		b.session.Settle(ctx)
		if d := cmp.Diff([]string{`{"error":"device","seq":2}`}, b.snapshot()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if s := b.Stats(); s.LostAcks != 1 || s.Acknowledged != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	b := newBench(Config{}, false)
	const each = 64
	for range maxAnswers/each + 1 {
		b.send(t, local, strings.Repeat("t,device=x,ack=1 v=1\n", each))
	}
	if got := b.Stats().LostAcks; got != each {
		t.Errorf("%d lost, want %d", got, each)
	}
	if got := len(b.settled(t)); got != maxAnswers {
		t.Errorf("%d answers, want %d", got, maxAnswers)
	}
}

// TestStreamWaitsForItsAnswers: a stream is not read while too many of its
// answers wait for the disk.
func TestStreamWaitsForItsAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(Config{}, true)
		// One is durable soon, all the others later.
		b.sink.disk, b.sink.only, b.sink.rest = make(chan struct{}), 1, make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		b.send(t, local, "t,device=x,ack=1 v=1\n")
		wg.Go(func() { _ = b.Run(ctx) })
		synctest.Wait()
		b.send(t, local, strings.Repeat("t,device=x,ack=1 v=1\n", maxUnanswered-1))
		sent := make(chan struct{})
		go func() {
			b.send(t, local, "t,device=x,ack=1 v=1\n")
			close(sent)
		}()
		synctest.Wait()
		select {
		case <-sent:
			t.Fatal("the stream went on with 1025 answers due")
		default:
		}
		close(b.sink.disk)
		<-sent
		if got := len(b.snapshot()); got != 1 {
			t.Errorf("%d answers before the second commit", got)
		}
		close(b.sink.rest)
		b.session.Settle(ctx)
		if got := len(b.snapshot()); got != maxUnanswered+1 {
			t.Errorf("%d answers", got)
		}
	})
}
