package fleet

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// runFleet runs a fleet against a server that acknowledges everything.
func runFleet(t *testing.T, cfg Config) (*server, Report) {
	t.Helper()
	srv := newServer(t, ack)
	cfg.Dial = srv.dial
	if cfg.UDP == "" && cfg.TCP == "" {
		cfg.UDP, cfg.TCP = "server:1", "server:1"
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for the server to hear the rest
	return srv, f.Report()
}

// TestFleetSendsItsModel runs all kinds of device for ten minutes, half of them
// with acknowledgements, and compares what the server hears with the sensors.
func TestFleetSendsItsModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Devices: 16, Seed: 5, Acks: Acks{Share: 0.5}, Duration: 10 * time.Minute, FirstSeq: 1}
		srv, r := runFleet(t, cfg)
		if int64(len(srv.heard)) != r.Readings || r.Readings < 5000 {
			t.Errorf("heard %d of %d readings", len(srv.heard), r.Readings)
		}
		if r.AskedForAck == 0 || r.AskedForAck == r.Messages || r.Acknowledged != r.AskedForAck {
			t.Errorf("report %+v", r)
		}
		models := map[string]*virtual{}
		for i := range 16 {
			v := mustVirtual(t, 5, i)
			models[string(v.id)] = v
		}
		for _, h := range srv.heard {
			if !slices.ContainsFunc(models[h.Device].all(nil, h.At), func(f wire.Field) bool {
				return string(f.Metric) == h.Metric && f.Value.Kind == h.Kind && f.Value.Bits == h.Bits && string(f.Value.Text) == h.Text
			}) {
				t.Fatalf("%+v is not what the sensor shows", h)
			}
		}
		for id := range models {
			if !slices.ContainsFunc(srv.heard, func(h heard) bool { return h.Device == id }) {
				t.Errorf("nothing was heard of %s", id)
			}
		}
	})
}

func TestFleetIsDeterministic(t *testing.T) {
	t.Parallel()
	cfg := Config{
		Devices: 8, Seed: 9, Rate: 3, Duration: time.Minute, FirstSeq: 1, Acks: Acks{Share: 1},
		Loss: 0.1, Duplicate: 0.1, Reorder: 0.1, Jitter: 300 * time.Millisecond, Target: Target{UDP: "server:1"},
	}
	var runs [2]map[string][]heard
	for i := range runs {
		synctest.Test(t, func(t *testing.T) {
			srv, _ := runFleet(t, cfg)
			runs[i] = map[string][]heard{}
			for _, h := range srv.heard {
				runs[i][h.Device] = append(runs[i][h.Device], h)
			}
		})
	}
	if diff := cmp.Diff(runs[0], runs[1]); diff != "" {
		t.Errorf("two runs of one seed differ:\n%s", diff)
	}
}

// TestFleetOverABadLink holds that acknowledged readings arrive whatever the
// link does.
func TestFleetOverABadLink(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, r := runFleet(t, Config{
			Target: Target{UDP: "server:1"}, Devices: 6, Rate: 5, Duration: 2 * time.Minute, Acks: Acks{Share: 1},
			Loss: 0.3, Duplicate: 0.1, Reorder: 0.1, Jitter: 100 * time.Millisecond,
		})
		if r.Unacknowledged != 0 || r.Acknowledged != r.AskedForAck || r.Messages != r.AskedForAck {
			t.Errorf("report %+v", r)
		}
		if r.Retransmitted < r.Messages/4 || r.Lost == 0 || r.Duplicated == 0 || r.Reordered == 0 {
			t.Errorf("the link was not bad: %+v", r)
		}
		unique := map[heard]bool{}
		for _, h := range srv.heard {
			unique[h] = true
		}
		if int64(len(unique)) != r.Readings {
			t.Errorf("%d different readings were heard, %d were sent", len(unique), r.Readings)
		}
	})
}

func TestFleetEnds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		cfg      Config
		readings int64 // 0: not said
		took     time.Duration
	}{
		{"after a count", Config{Count: 1000}, 1000, 0},
		{"after a count, one reading a message", Config{Count: 101, Batch: 1}, 101, 0},
		{"after a time", Config{Duration: 90 * time.Second}, 0, 90 * time.Second},
		{"at a rate of readings", Config{ReadingsPerSecond: 200, Duration: 100 * time.Second}, 0, 100 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv, r := runFleet(t, tt.cfg)
				if tt.readings != 0 && r.Readings != tt.readings {
					t.Errorf("%d readings, want %d", r.Readings, tt.readings)
				}
				if int64(len(srv.heard)) != r.Readings {
					t.Errorf("heard %d of %d", len(srv.heard), r.Readings)
				}
				if tt.took != 0 && (r.Elapsed > tt.took || r.Elapsed < tt.took-12*time.Second) {
					t.Errorf("it took %v, want about %v", r.Elapsed, tt.took)
				}
				if want := tt.cfg.ReadingsPerSecond; want != 0 && (r.Rate() < 0.9*want || r.Rate() > 1.2*want) {
					t.Errorf("%v readings/s, want about %v", r.Rate(), want)
				}
				if tt.cfg.Batch == 1 && r.Messages != r.Readings {
					t.Errorf("%d messages for %d readings", r.Messages, r.Readings)
				}
			})
		})
	}
}

func TestFleetBackfill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := device.TimeOf(time.Now())
		srv, _ := runFleet(t, Config{Backfill: 10 * time.Minute, Duration: sec})
		type series struct{ device, metric string }
		past, oldest := map[series]int{}, map[string]device.Time{}
		for i, h := range srv.heard {
			if h.At < start {
				past[series{h.Device, h.Metric}]++
			}
			if i == 0 || oldest[h.Device] == 0 || h.At < oldest[h.Device] {
				oldest[h.Device] = h.At
			}
		}
		for id, at := range oldest {
			if ago := start.Sub(at); ago > 10*time.Minute || ago < 8*time.Minute {
				t.Errorf("%s begins %v ago", id, ago)
			}
		}
		for s, n := range past {
			if n > backfillReports {
				t.Errorf("%v has %d readings in the past", s, n)
			}
		}
		if n := past[series{"greenhouse-1", "air.temperature"}]; n != backfillReports {
			t.Errorf("greenhouse-1 has %d temperatures in the past, want %d", n, backfillReports)
		}
		if n := past[series{"room-kitchen", "climate.temperature"}]; n != 120 {
			t.Errorf("room-kitchen has %d temperatures in the past, want 120", n)
		}
		last := time.Duration(0)
		for _, p := range srv.payloads {
			last = max(last, p.At)
		}
		if last > sec {
			t.Errorf("the backfill took %v", last)
		}
	})
}

func TestSequenceNumbers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv, _ := runFleet(t, Config{Devices: 12, Seq: true, FirstSeq: 100, Duration: 20 * sec})
		messages := map[string]map[uint64]string{} // by device: which measurement has which seq
		for _, h := range srv.heard {
			if messages[h.Device] == nil {
				messages[h.Device] = map[uint64]string{}
			}
			if !h.HasSeq || h.Ack {
				t.Fatalf("%+v has no seq or wants an answer", h)
			}
			messages[h.Device][h.Seq] = h.Metric
		}
		for id, m := range messages {
			seqs := slices.Sorted(maps.Keys(m))
			if seqs[0] != 100 || seqs[len(seqs)-1] != 99+uint64(len(seqs)) {
				t.Errorf("%s counts from %d to %d over %d messages", id, seqs[0], seqs[len(seqs)-1], len(seqs))
			}
		}
		for _, p := range srv.payloads {
			if strings.Contains(p.Text, ",seq=") && strings.Contains(p.Text, "\n") && !strings.HasSuffix(p.Text, "\n") {
				t.Errorf("two lines with a seq in one datagram: %q", p.Text)
			}
		}
	})
}

func TestShareOfAcknowledgedDevices(t *testing.T) {
	t.Parallel()
	for _, share := range []float64{0, 0.25, 0.5, 0.9, 1} {
		n := 0
		for i := range 1000 {
			if (&Acks{Share: share}).asks(i) {
				n++
			}
		}
		if want := int(share * 1000); n < want-3 || n > want+3 {
			t.Errorf("share %v: %d of 1000 devices", share, n)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	udp := Target{UDP: "127.0.0.1:7700"}
	tests := []struct {
		name string
		cfg  Config
	}{
		{"no address", Config{}},
		{"unknown kind", Config{Target: udp, Kinds: []string{"toaster"}}},
		{"loss above 1", Config{Target: udp, Loss: 1.5}},
		{"loss that is no number", Config{Target: udp, Loss: math.NaN()}},
		{"negative duplicates", Config{Target: udp, Duplicate: -0.1}},
		{"ack share above 1", Config{Target: udp, Acks: Acks{Share: 2}}},
		{"negative devices", Config{Target: udp, Devices: -1}},
		{"too many devices", Config{Target: udp, Devices: maxDevices + 1}},
		{"negative rate", Config{Target: udp, Rate: -1}},
		{"negative backfill", Config{Target: udp, Backfill: -time.Second}},
		{"format that devices do not send", Config{Target: Target{UDP: "127.0.0.1:7700", Format: wire.FormatGraphite}}},
	}
	for _, tt := range tests {
		if _, err := New(tt.cfg); !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}
