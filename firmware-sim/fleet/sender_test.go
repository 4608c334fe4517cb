package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest/wire"
)

// script is a source of numbered messages at given moments after the start.
type script struct {
	start time.Time
	at    []time.Duration
	seq   uint64
}

func (s *script) next(m *message, _ time.Time) (time.Time, bool) {
	if len(s.at) == 0 {
		return time.Time{}, false
	}
	due := s.start.Add(s.at[0])
	s.at = s.at[1:]
	s.seq++
	*m = message{
		format: wire.FormatJSON, device: "d", fields: []wire.Field{field("x", integer(int64(s.seq)))},
		seq: s.seq, hasSeq: true,
	}
	return due, true
}

func (s *script) restarted() { s.seq = 0 }

func newSender(srv *server, over Transport, acks bool, at ...time.Duration) *sender {
	target := srv.target()
	rng := rand.New(rand.NewPCG(1, 1))
	s := &sender{
		target: &target, route: route{over, "server:1"}, stats: &stats{}, rng: rng,
		source: &script{start: srv.start, at: at},
	}
	s.link = link{rng: rng, stats: s.stats}
	if acks {
		s.outbox = newOutbox(ackPolicy{timeout: 2 * time.Second, longest: 5 * time.Second, retries: 3, window: 4})
	}
	return s
}

const sec = time.Second

func TestSenderRetransmits(t *testing.T) {
	t.Parallel()
	on := func(n int, answer string) func(uint64, int) string {
		return func(seq uint64, got int) string {
			if got < n {
				return ""
			}
			return fmt.Sprintf(answer, seq)
		}
	}
	tests := []struct {
		name   string
		answer func(uint64, int) string
		at     []time.Duration
		times  []time.Duration
		took   time.Duration
		want   Report
	}{
		{
			"answered at once", ack,
			[]time.Duration{0, sec},
			[]time.Duration{0, sec},
			sec,
			Report{Readings: 2, Messages: 2, AskedForAck: 2, Acknowledged: 2},
		},
		{
			"answered the third time", on(3, `{"ack":%d}`),
			[]time.Duration{sec},
			[]time.Duration{sec, 3 * sec, 7 * sec},
			7 * sec,
			Report{Readings: 1, Messages: 1, AskedForAck: 1, Acknowledged: 1, Retransmitted: 2, P50: 6 * sec, P90: 6 * sec, P99: 6 * sec, Max: 6 * sec},
		},
		{
			"never answered", nil,
			[]time.Duration{0},
			[]time.Duration{0, 2 * sec, 6 * sec, 11 * sec},
			16 * sec,
			Report{Readings: 1, Messages: 1, AskedForAck: 1, Unacknowledged: 1, Retransmitted: 3},
		},
		{
			"refused", on(1, `{"error":"syntax","seq":%d}`),
			[]time.Duration{0},
			[]time.Duration{0},
			0,
			Report{Readings: 1, Messages: 1, AskedForAck: 1, Refused: map[string]int64{"syntax": 1}},
		},
		{
			"overloaded, then taken", func(seq uint64, n int) string {
				if n == 1 {
					return fmt.Sprintf(`{"error":"overload","seq":%d}`, seq)
				}
				return ack(seq, n)
			},
			[]time.Duration{0},
			[]time.Duration{0, 2 * sec},
			2 * sec,
			Report{Readings: 1, Messages: 1, AskedForAck: 1, Acknowledged: 1, Retransmitted: 1, Refused: map[string]int64{"overload": 1}, P50: 2 * sec, P90: 2 * sec, P99: 2 * sec, Max: 2 * sec},
		},
		{
			"the window is full", on(2, `{"ack":%d}`),
			[]time.Duration{0, 0, 0, 0, 0, 0},
			[]time.Duration{0, 0, 0, 0, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 2 * sec, 4 * sec, 4 * sec},
			4 * sec,
			Report{Readings: 6, Messages: 6, AskedForAck: 6, Acknowledged: 6, Retransmitted: 6, P50: 2 * sec, P90: 2 * sec, P99: 2 * sec, Max: 2 * sec},
		},
		{
			"nonsense is an error and no more", func(seq uint64, n int) string {
				if n == 1 {
					return "what?"
				}
				return ack(seq, n)
			},
			[]time.Duration{0},
			[]time.Duration{0, 2 * sec},
			2 * sec,
			Report{
				Readings: 1, Messages: 1, AskedForAck: 1, Acknowledged: 1, Retransmitted: 1, Errors: 1, P50: 2 * sec, P90: 2 * sec, P99: 2 * sec, Max: 2 * sec,
				FirstErrors: []string{`answer "what?\n": invalid character 'w' looking for beginning of value`},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, tt.answer)
				s := newSender(srv, UDP, true, tt.at...)
				if err := s.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if took := time.Since(srv.start); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				if diff := cmp.Diff(tt.times, srv.times()); diff != "" {
					t.Errorf("transmissions (-want +got):\n%s", diff)
				}
				got := s.stats.report()
				got.Bytes = 0
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("report (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestSenderConnectsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, func(seq uint64, n int) string {
			if seq == 2 && n == 1 {
				return hangup
			}
			return ack(seq, n)
		})
		srv.refuse = func(n int) error {
			if n == 2 {
				return errors.New("not now")
			}
			return nil
		}
		s := newSender(srv, TCP, true, 0, sec, 2*sec)
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []time.Duration{0, sec, sec + firstRetry + 2*firstRetry, 2 * sec}
		if diff := cmp.Diff(want, srv.times()); diff != "" {
			t.Errorf("transmissions (-want +got):\n%s", diff)
		}
		if r := s.stats.report(); r.Acknowledged != 3 || r.Reconnects != 2 || r.Errors != 2 || r.Unacknowledged != 0 {
			t.Errorf("report %+v", r)
		}
	})
}

func TestSenderWithoutServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		srv := newServer(t, ack)
		srv.refuse = func(int) error { return refused }
		if err := newSender(srv, TCP, true, 0).run(t.Context()); !errors.Is(err, refused) {
			t.Errorf("error %v, want %v", err, refused)
		}
	})
}

// TestStrictSender holds that a stream that breaks while nothing is acknowledged
// is an error where every reading counts.
func TestStrictSender(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(t, nil)
			srv.hangupAfter = 1
			s := newSender(srv, TCP, false, 0, sec, 2*sec)
			s.strict = strict
			if err := s.run(t.Context()); (err != nil) != strict {
				t.Errorf("strict %t: error %v", strict, err)
			}
		})
	}
}

func TestSenderStopsAtOnce(t *testing.T) {
	t.Parallel()
	for _, network := range []Transport{UDP, TCP} {
		synctest.Test(t, func(t *testing.T) {
			srv := newServer(t, nil)
			s := newSender(srv, network, true, 0, sec, 2*sec, 3*sec, 100*sec)
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			if err := s.run(ctx); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(srv.start); took != 2500*time.Millisecond {
				t.Errorf("it took %v", took)
			}
			if r := s.stats.report(); r.AskedForAck != 3 || r.Unacknowledged != 3 {
				t.Errorf("%s: report %+v", network, r)
			}
		})
	}
}

func TestSenderReboots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		at := make([]time.Duration, 60)
		for i := range at {
			at[i] = time.Duration(i) * sec
		}
		srv := newServer(t, ack)
		s := newSender(srv, UDP, true, at...)
		s.reboot = 20 * sec
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := s.stats.report()
		if r.Reboots < 1 || r.Reboots > 10 || int(r.Reboots) != srv.dials-1 {
			t.Errorf("%d reboots, %d connections", r.Reboots, srv.dials)
		}
		if srv.seen[1] != srv.dials {
			t.Errorf("seq 1 was heard %d times in %d lives", srv.seen[1], srv.dials)
		}
		if r.Acknowledged+r.Unacknowledged != r.AskedForAck {
			t.Errorf("report %+v", r)
		}
	})
}
