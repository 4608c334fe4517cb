package fleet

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

const t0 = 1_764_000_000_000 // ms, the time of the files of these tests

func runReplay(t *testing.T, cfg ReplayConfig, answer func(uint64, int) string, lines ...string) (*server, Report) {
	t.Helper()
	srv := newServer(t, answer)
	cfg.Dial = srv.dial
	if cfg.TCP == "" {
		cfg.UDP = "server:1"
	}
	r, err := NewReplay(cfg, strings.NewReader(header+strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for the server to hear the rest
	return srv, r.Report()
}

func row(dev, metric string, ms int, value string) string {
	return fmt.Sprintf("%s,%s,%d,%s", dev, metric, t0+int64(ms), value)
}

func TestReplayKeepsKindsAndTimes(t *testing.T) {
	t.Parallel()
	lines := []string{
		row("a", "temp", 0, "20.48"), row("a", "count", 0, "7"), row("a", "door", 0, "true"), row("a", "state", 0, "n/a"),
		row("b", "time", 0, "5"), row("b", "x.value", 0, "6.0360000000000005"), row("b", "note", 0, `"two`+"\nlines\""),
		row("a", "big", 4, "38732600.0"), fmt.Sprintf("a,big,%d.125,-0.0", int64(t0+5)), row("a", "cpu{cpu=cpu0}", 6, "9223372036854775807"),
		row("a", "empty", 6, ""),
	}
	ms := func(ms, us int64) device.Time { return device.Time((t0+ms)*1000 + us) }
	want := map[heard]int{
		{Device: "a", Metric: "temp", At: ms(0, 0), Kind: device.KindFloat, Bits: math.Float64bits(20.48)}:                 1,
		{Device: "a", Metric: "count", At: ms(0, 0), Kind: device.KindInt, Bits: 7}:                                        1,
		{Device: "a", Metric: "door", At: ms(0, 0), Kind: device.KindBool, Bits: 1}:                                        1,
		{Device: "a", Metric: "state", At: ms(0, 0), Kind: device.KindText, Text: "n/a"}:                                   1,
		{Device: "b", Metric: "time", At: ms(0, 0), Kind: device.KindInt, Bits: 5}:                                         1,
		{Device: "b", Metric: "x.value", At: ms(0, 0), Kind: device.KindFloat, Bits: math.Float64bits(6.0360000000000005)}: 1,
		{Device: "b", Metric: "note", At: ms(0, 0), Kind: device.KindText, Text: "two\nlines"}:                             1,
		{Device: "a", Metric: "big", At: ms(4, 0), Kind: device.KindFloat, Bits: math.Float64bits(38732600)}:               1,
		{Device: "a", Metric: "big", At: ms(5, 125), Kind: device.KindFloat, Bits: 1 << 63}:                                1,
		{Device: "a", Metric: "cpu{cpu=cpu0}", At: ms(6, 0), Kind: device.KindInt, Bits: math.MaxInt64}:                    1,
		{Device: "a", Metric: "empty", At: ms(6, 0), Kind: device.KindText}:                                                1,
	}
	for _, format := range []wire.Format{0, wire.FormatLine, wire.FormatJSON, wire.FormatCBOR} {
		for _, tcp := range []string{"", "server:1"} {
			synctest.Test(t, func(t *testing.T) {
				srv, r := runReplay(t, ReplayConfig{Target: Target{TCP: tcp, Format: format}}, nil, lines...)
				got := map[heard]int{}
				for _, h := range srv.heard {
					got[h]++
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("format %v, tcp %q (-want +got):\n%s", format, tcp, diff)
				}
				if r.Readings != int64(len(lines)) || r.Errors != 0 {
					t.Errorf("report %+v", r)
				}
			})
		}
	}
}

// TestReplayOverTransports holds that a file arrives whole over each transport that it
// may take.
func TestReplayOverTransports(t *testing.T) {
	t.Parallel()
	var file strings.Builder
	file.WriteString(header)
	for i := range 100 {
		file.WriteString(row(fmt.Sprint("d", i%3), "x", i, fmt.Sprint(i)) + "\n")
	}
	for _, over := range transports {
		t.Run(string(over), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, ack)
				r, err := NewReplay(ReplayConfig{Target: srv.targetOver(over), Acks: Acks{Share: 1, Window: 4}}, strings.NewReader(file.String()))
				if over.keyed() {
					if !errors.Is(err, ErrInvalidConfig) {
						t.Errorf("a session is of one device: error %v", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if got := r.Report(); got.Acknowledged != 100 || got.Errors > 0 || len(srv.heard) != 100 {
					t.Errorf("%d readings were heard, report %+v", len(srv.heard), got)
				}
			})
		})
	}
}

func TestReplayGroups(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 500)
	tests := []struct {
		name     string
		cfg      ReplayConfig
		lines    []string
		messages int64
	}{
		{"one device, one time", ReplayConfig{}, []string{row("a", "x", 0, "1"), row("a", "y", 0, "2"), row("a", "z", 0, "3")}, 1},
		{"another time", ReplayConfig{}, []string{row("a", "x", 0, "1"), row("a", "y", 1, "2")}, 2},
		{"another device", ReplayConfig{}, []string{row("a", "x", 0, "1"), row("b", "y", 0, "2"), row("a", "z", 0, "2")}, 3},
		{"a metric twice", ReplayConfig{}, []string{row("a", "x", 0, "1"), row("a", "x", 0, "2")}, 2},
		{"too large for a datagram", ReplayConfig{}, []string{row("a", "x", 0, long), row("a", "y", 0, long), row("a", "z", 0, long)}, 3},
		{
			"lines with a seq are of one measurement",
			ReplayConfig{Seq: true, Target: Target{Format: wire.FormatLine}},
			[]string{row("a", "air.x", 0, "1"), row("a", "air.y", 0, "2"), row("a", "soil.x", 0, "3")},
			2,
		},
		{
			"lines without are not",
			ReplayConfig{Target: Target{Format: wire.FormatLine}},
			[]string{row("a", "air.x", 0, "1"), row("a", "air.y", 0, "2"), row("a", "soil.x", 0, "3")},
			1,
		},
		{"bad lines between", ReplayConfig{}, []string{row("a", "x", 0, "1"), "what?", row("a", "y", 0, "2")}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, r := runReplay(t, tt.cfg, nil, tt.lines...)
				if r.Messages != tt.messages || r.Readings+r.Errors != int64(len(tt.lines)) || int64(len(srv.heard)) != r.Readings {
					t.Errorf("%d messages, want %d; report %+v", r.Messages, tt.messages, r)
				}
			})
		})
	}
}

func TestReplayPace(t *testing.T) {
	t.Parallel()
	lines := []string{row("a", "x", 0, "1"), row("a", "x", 1000, "1"), row("a", "x", 500, "1"), row("a", "x", 61_000, "1"), row("a", "x", 62_000, "1")}
	ms, tcp := time.Millisecond, Target{TCP: "server:1"} // a stream gets in one write what is due at once
	tests := []struct {
		name string
		cfg  ReplayConfig
		want []time.Duration
	}{
		{"real time; what is late goes at once", ReplayConfig{Target: tcp, Speed: 1}, []time.Duration{0, sec, 61 * sec, 62 * sec}},
		{"ten times", ReplayConfig{Target: tcp, Speed: 10}, []time.Duration{0, sec / 10, 6100 * ms, 6200 * ms}},
		{"half", ReplayConfig{Target: tcp, Speed: 0.5}, []time.Duration{0, 2 * sec, 122 * sec, 124 * sec}},
		{"as fast as possible", ReplayConfig{Target: tcp}, []time.Duration{0}},
		{"shorter gaps", ReplayConfig{Target: tcp, Speed: 1, MaxGap: 5 * sec}, []time.Duration{0, sec, 6 * sec, 7 * sec}},
		{"a rate", ReplayConfig{Rate: 10}, []time.Duration{0, sec / 10, sec / 5, 3 * sec / 10, 4 * sec / 10}},
		{"a rate and real time", ReplayConfig{Speed: 1, Rate: 0.5}, []time.Duration{0, 2 * sec, 4 * sec, 61 * sec, 63 * sec}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, r := runReplay(t, tt.cfg, nil, lines...)
				if diff := cmp.Diff(tt.want, srv.times()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if r.Readings != 5 {
					t.Errorf("%d readings", r.Readings)
				}
			})
		})
	}
}

func TestReplayShift(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := deviceTime(time.Now())
		tests := []struct {
			name string
			cfg  ReplayConfig
			want []device.Time
		}{
			{"none", ReplayConfig{}, []device.Time{t0 * 1000, t0*1000 + 1_000_000}},
			{"an hour", ReplayConfig{Shift: time.Hour}, []device.Time{t0*1000 + 3_600_000_000, t0*1000 + 3_601_000_000}},
			{"to now", ReplayConfig{ToNow: true}, []device.Time{now, now + 1_000_000}},
			{"an hour ago", ReplayConfig{ToNow: true, Shift: -time.Hour}, []device.Time{now - 3_600_000_000, now - 3_599_000_000}},
		}
		for _, tt := range tests {
			srv, _ := runReplay(t, tt.cfg, nil, row("a", "x", 0, "1"), row("a", "x", 1000, "2"))
			got := []device.Time{srv.heard[0].At, srv.heard[1].At}
			if tt.cfg.ToNow { // the clock of a bubble moves while the earlier cases run
				late := (got[0] - tt.want[0]) / 1000 * 1000
				tt.want[0], tt.want[1] = tt.want[0]+late, tt.want[1]+late
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.name, diff)
			}
		}
	})
}

// TestReplayOverABadLink holds that with acknowledgements each reading of a file
// arrives, each device counts without a hole, and no two messages share a seq.
func TestReplayOverABadLink(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 3000 {
		lines = append(lines, row(fmt.Sprintf("d%d", i%7), "x", i, fmt.Sprint(i)))
	}
	synctest.Test(t, func(t *testing.T) {
		srv, r := runReplay(t, ReplayConfig{
			FirstSeq: 1, Acks: Acks{Share: 1}, Loss: 0.1, Duplicate: 0.05, Reorder: 0.1, Jitter: 3 * time.Millisecond, Seed: 3,
		}, ack, lines...)
		if r.Acknowledged != 3000 || r.Unacknowledged != 0 || r.Retransmitted == 0 {
			t.Errorf("report %+v", r)
		}
		if len(srv.seen) != 3000 {
			t.Errorf("%d different seqs", len(srv.seen))
		}
		for i := range uint64(7) {
			for n := range uint64(3000 / 7) {
				if srv.seen[1+i*seqStride+n] == 0 {
					t.Fatalf("message %d of device %d is missing", n, i)
				}
			}
		}
	})
}

func TestReplayErrors(t *testing.T) {
	t.Parallel()
	for _, cfg := range []ReplayConfig{
		{},
		{Target: Target{UDP: "a:1", TCP: "a:1"}},
		{Target: Target{UDP: "a:1"}, Speed: -1},
		{Target: Target{UDP: "a:1"}, Loss: 2},
	} {
		if _, err := NewReplay(cfg, strings.NewReader(header)); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%+v: error %v", cfg, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		_, r := runReplay(t, ReplayConfig{}, nil, "a,x,5,1", "a,x,9000000000000,1", row("a", "x", 0, "1"))
		want := []string{
			"line 2: time 1970-01-01T00:00:00Z lies outside of 1973-03-03 to 2200-01-01",
			"line 3: time 2255-03-14T16:00:00Z lies outside of 1973-03-03 to 2200-01-01",
		}
		if diff := cmp.Diff(want, r.FirstErrors); diff != "" || r.Readings != 1 {
			t.Errorf("%d readings (-want +got):\n%s", r.Readings, diff)
		}
	})
}
