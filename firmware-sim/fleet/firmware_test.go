package fleet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest/wire"
)

// newFirmware returns that of a door whose next report has this seq.
func newFirmware(t *testing.T, seq uint64) *firmware {
	t.Helper()
	model, err := newVirtual(1, 0, []string{"door"})
	if err != nil {
		t.Fatal(err)
	}
	s := &stats{}
	u := &unit{model: model, format: wire.FormatJSON, interval: sec, numbered: true, seq: seq, stats: s, budget: &budget{}}
	u.begin(time.Unix(1_764_000_000, 0), 0, 0)
	return &firmware{unit: u, stats: s, booted: u.start}
}

func TestFirmwareObeys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, value string
		outcome     string
		effect      effect
		kept        string // of the values that commands have set
	}{
		{"interval", "0.5", "7 every 500ms", replan, "{}"},
		{"interval", "86400", "7 every 24h0m0s", replan, "{}"},
		{"interval", "0", "7 error: want 0.01 to 86400 seconds", noEffect, "{}"},
		{"interval", "1e300", "7 error: want 0.01 to 86400 seconds", noEffect, "{}"},
		{"interval", `"fast"`, "7 error: want 0.01 to 86400 seconds", noEffect, "{}"},
		{"interval", "", "7 error: want 0.01 to 86400 seconds", noEffect, "{}"},
		{"relay", "true", "7 on", noEffect, `{"relay":true}`},
		{"relay", `"off"`, "7 off", noEffect, `{"relay":false}`},
		{"relay", `"toggle"`, "7 on", noEffect, `{"relay":true}`},
		{"relay", "2", "7 error: want true, false or toggle", noEffect, "{}"},
		{"relay", "", "7 error: want true, false or toggle", noEffect, "{}"},
		{"set", "21.5", "7", noEffect, `{"set":21.5}`},
		{"set", "-3", "7", noEffect, `{"set":-3}`},
		{"set", `"eco"`, "7", noEffect, `{"set":"eco"}`},
		{"set", `{"target":21.5}`, "7", noEffect, `{"set.target":21.5}`},
		{"set", `{"a":true,"b":[1]}`, "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"set", `{"":1}`, "7", noEffect, `{"set":1}`},
		{"set", `{"a b":{}}`, "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"set", `"two\nlines"`, "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"set", "{}", "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"set", "null", "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"set", "", "7 error: want a number, a boolean or a text, or an object of such", noEffect, "{}"},
		{"reboot", "", "7", reboot, "{}"},
		{"identify", "", "7 3 sensors, up 1m5s", noEffect, "{}"},
		{"fly", "true", "7 error: unknown command", noEffect, "{}"},
	}
	for _, tt := range tests {
		f := newFirmware(t, 1)
		e := f.obey(&command{ID: 7, Device: "door-front", Name: tt.name, Value: json.RawMessage(tt.value)}, f.booted.Add(65*sec))
		m := message{format: wire.FormatJSON, seq: 1}
		f.report(&m)
		if m.outcome.String() != tt.outcome || e != tt.effect {
			t.Errorf("%s %s: %q, effect %d; want %q, %d", tt.name, tt.value, m.outcome, e, tt.outcome, tt.effect)
		}
		w := wire.Message{}
		for _, k := range f.unit.kept {
			w.Fields = append(w.Fields, k.Field)
		}
		if got := string(wire.AppendJSON(nil, &w)); got != tt.kept {
			t.Errorf("%s %s: keeps %s, want %s", tt.name, tt.value, got, tt.kept)
		}
	}
}

// TestFirmwareIsBounded holds that commands cannot make a device hold ever more.
func TestFirmwareIsBounded(t *testing.T) {
	t.Parallel()
	f := newFirmware(t, 1)
	for id := range uint64(1000) {
		f.obey(&command{ID: id + 1, Name: "set", Value: json.RawMessage(fmt.Sprintf(`{"v%d":1}`, id))}, f.booted)
	}
	if len(f.unit.kept) > maxKept || len(f.done) > remembered || f.stats.failedCommands.Load() != 1000-maxKept {
		t.Errorf("%d values, %d commands, %d failed", len(f.unit.kept), len(f.done), f.stats.failedCommands.Load())
	}
}

// FuzzFirmware holds that whatever a command asks for, the message with its outcome
// is understood in every format.
func FuzzFirmware(f *testing.F) {
	f.Add("set", `{"target":21.5,"mode":"eco"}`)
	f.Add("relay", `"toggle"`)
	f.Add("interval", "1e-2")
	f.Fuzz(func(t *testing.T, name, value string) {
		fw := newFirmware(t, 5)
		fw.obey(&command{ID: 3, Name: name, Value: json.RawMessage(value)}, fw.booted)
		var m message
		if _, ok := fw.unit.next(&m, fw.booted); !ok {
			t.Fatal("no message")
		}
		m.ack = true
		for _, m.format = range formats {
			fw.report(&m)
			for _, stream := range []bool{false, true} {
				payload := appendPayload(nil, &m, stream)
				if diff := cmp.Diff(said(&m), decode(t, payload, stream)); diff != "" {
					t.Errorf("%v %q (-said +heard):\n%s", m.format, payload, diff)
				}
			}
		}
	})
}

// with adds a command to the answers of the messages with these seqs.
func with(id int, name, value string, seqs ...uint64) func(uint64, int) string {
	return func(seq uint64, n int) string {
		if slices.Contains(seqs, seq) {
			return fmt.Sprintf(`{"ack":%d,"command":{"id":%d,"device":"weather-roof","name":%q,"value":%s}}`, seq, id, name, value)
		}
		return ack(seq, n)
	}
}

// TestCommandsAreToldAbout holds what the server hears of commands, and when.
func TestCommandsAreToldAbout(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		answer   func(uint64, int) string
		outcomes []string
		commands int64
		times    []time.Duration // of the messages, from the first; nil: a second apart
		lasts    time.Duration   // 0: four seconds
	}{
		{"once", with(3, "relay", "true", 2), []string{"3 on"}, 1, nil, 0},
		{"told again, done once", with(3, "relay", `"toggle"`, 1, 2, 3), []string{"3 on", "3 on", "3 on"}, 1, nil, 0},
		{"the answer is lost", func(seq uint64, n int) string {
			if seq == 3 && n == 1 {
				return ""
			}
			return with(3, "relay", "true", 2)(seq, n)
		}, []string{"3 on", "3 on"}, 1, []time.Duration{0, sec, 2 * sec, 4 * sec, 4 * sec}, 0},
		{"the message is refused", func(seq uint64, n int) string {
			if seq == 3 {
				return `{"error":"rate","seq":3}`
			}
			return with(3, "relay", "true", 2)(seq, n)
		}, []string{"3 on", "3 on"}, 1, nil, 0},
		{"in a refusal", func(seq uint64, n int) string {
			if seq == 2 {
				return `{"error":"value","seq":2,"command":{"id":9,"name":"fly"}}`
			}
			return ack(seq, n)
		}, []string{"9 error: unknown command"}, 1, nil, 0},
		{"an older one comes late", func(seq uint64, n int) string {
			return with([]int{0, 3, 4, 3, 4, 4}[seq], "relay", `"toggle"`, 1, 2, 3)(seq, n)
		}, []string{"3 on", "4 off", "3 on"}, 2, nil, 0},
		{"another device's", func(seq uint64, n int) string {
			return strings.Replace(with(3, "relay", "true", 2)(seq, n), "weather-roof", "weather-cellar", 1)
		}, nil, 0, nil, 0},
		{"a new interval", with(3, "interval", "4", 2), []string{"3 every 4s"}, 1, []time.Duration{0, sec, 5 * sec, 9 * sec}, 10 * sec},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(t, tt.answer)
				r := runStation(t, srv, max(4*sec, tt.lasts))
				if diff := cmp.Diff(tt.outcomes, srv.outcomes); diff != "" || r.Commands != tt.commands || r.Errors > 0 {
					t.Errorf("outcomes (-want +got):\n%s\nreport %+v", diff, r)
				}
				times := srv.times()
				for i := len(times) - 1; i >= 0; i-- {
					times[i] -= times[0]
				}
				if want := tt.times; want != nil && cmp.Diff(want, times) != "" || want == nil && len(times) != 4 {
					t.Errorf("messages came at %v, want %v", times, want)
				}
			})
		})
	}
}

// runStation runs a weather station over UDP that reports every second.
func runStation(t *testing.T, srv *server, lasts time.Duration) Report {
	t.Helper()
	f, err := New(Config{
		Target:  Target{UDP: "udp:1", Format: wire.FormatJSON, Dial: srv.dial},
		Devices: 1, Kinds: []string{"weather"}, Interval: sec, Duration: lasts, FirstSeq: 1, Acks: Acks{Share: 1, Window: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return f.Report()
}

// TestRebootOnCommand holds that a device that was told to restart does so once,
// in order: it forgets no message, counts from 1, and then tells that it is done.
func TestRebootOnCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, func(seq uint64, n int) string {
			if seq == 3 && n == 1 || seq == 1 && n == 2 {
				return fmt.Sprintf(`{"ack":%d,"command":{"id":5,"name":"reboot"}}`, seq)
			}
			return ack(seq, n)
		})
		r := runStation(t, srv, 12*sec)
		if r.Reboots != 1 || r.Commands != 1 || r.Unacknowledged != 0 || srv.dials != 2 {
			t.Errorf("%d connections, report %+v", srv.dials, r)
		}
		if diff := cmp.Diff([]string{"5", "5"}, srv.outcomes); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		if srv.seen[1] != 2 || srv.seen[2] != 2 || srv.seen[3] != 2 || srv.seen[4] != 1 {
			t.Errorf("messages by seq: %v", srv.seen)
		}
	})
}

// TestOutcomeChangesTheFormat holds that a device whose format has no place for an
// outcome tells it in JSON.
func TestOutcomeChangesTheFormat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, with(3, "relay", "true", 0)) // SenML has no seq
		f, err := New(Config{
			Target:  Target{CoAP: "coap:1", Format: wire.FormatSenML, Dial: srv.dial},
			Devices: 1, Kinds: []string{"weather"}, Interval: sec, Duration: 3 * sec, Acks: Acks{Share: 1}, NoObserve: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"3 on"}, srv.outcomes); diff != "" || f.Report().Acknowledged != 3 {
			t.Errorf("outcomes (-want +got):\n%s\nreport %+v", diff, f.Report())
		}
		if len(srv.payloads) != 3 || srv.payloads[0].Text[0] != '[' || srv.payloads[1].Text[0] != '{' || srv.payloads[2].Text[0] != '[' {
			t.Errorf("payloads %q", srv.payloads)
		}
	})
}
