package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// listenUDP starts a server that acknowledges what asks for it, unless it is
// silent. It returns the server's address.
func listenUDP(t *testing.T, silent bool) string {
	t.Helper()
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1<<16)
		var d wire.Decoder
		for {
			n, peer, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			d.Reset(buf[:n], false)
			for d.Next() {
				m, err := d.Message()
				if err != nil {
					t.Errorf("%q: %v", buf[:n], err)
				}
				if m.Ack && !silent {
					_, _ = conn.WriteTo(wire.AppendAck(nil, m.Seq, true), peer)
				}
			}
		}
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return conn.LocalAddr().String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "readings.csv")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestCommands(t *testing.T) {
	t.Parallel()
	csv := "device,metric,unix_ms,value\na,x,1764000000000,1\na,y,1764000000000,2.5\nwhat?\na,x,1764000001000,on\n"
	tests := []struct {
		name   string
		silent bool
		args   []string // SERVER and FILE stand for the address and the file
		code   int
		want   fleet.Report // what is compared
	}{
		{"the default runs a fleet", false, []string{"--count", "50", "--rate", "10000"}, 0, fleet.Report{Readings: 50}},
		{
			"run with acknowledgements", false,
			[]string{"run", "--count", "50", "--rate", "10000", "--ack", "--batch", "5", "--devices", "2", "--format", "json"},
			0,
			fleet.Report{Readings: 50},
		},
		{
			"run without answers", true,
			[]string{"run", "--count", "3", "--batch", "1", "--rate", "10000", "--ack", "--ack-timeout", "1ms", "--ack-retries", "-1"},
			1,
			fleet.Report{Readings: 3, AskedForAck: 3, Unacknowledged: 3},
		},
		{"replay", false, []string{"replay", "FILE", "--speed", "0"}, 0, fleet.Report{Readings: 3, Errors: 1}},
		{
			"replay with acknowledgements", false,
			[]string{"replay", "FILE", "--speed", "1000", "--ack", "--format", "cbor"},
			0,
			fleet.Report{Readings: 3, AskedForAck: 2, Acknowledged: 2, Errors: 1},
		},
		{"load", false, []string{"load", "--count", "200", "--batch", "1"}, 0, fleet.Report{Readings: 200}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			args := append(tt.args, "--udp", listenUDP(t, tt.silent), "--json")
			for i := range args {
				if args[i] == "FILE" {
					args[i] = writeFile(t, csv)
				}
			}
			var stdout, stderr strings.Builder
			if code := execute(t.Context(), args, &stdout, &stderr); code != tt.code {
				t.Fatalf("exit code %d, want %d: %s", code, tt.code, stderr.String())
			}
			var got fleet.Report
			if err := json.Unmarshal([]byte(stdout.String()), &got); err != nil {
				t.Fatal(err)
			}
			if got.Acknowledged+got.Unacknowledged != got.AskedForAck {
				t.Errorf("report %+v", got)
			}
			compared := fleet.Report{Readings: got.Readings, Errors: got.Errors}
			if tt.want.AskedForAck > 0 {
				compared.AskedForAck, compared.Acknowledged, compared.Unacknowledged = got.AskedForAck, got.Acknowledged, got.Unacknowledged
			}
			if diff := cmp.Diff(tt.want, compared); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCommandErrors(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"fly"}, `unknown command "fly"`},
		{[]string{"run", "--format", "xml"}, "want mixed, or json, line, cbor, senml, senml-cbor, statsd"},
		{[]string{"run", "--rate", "0"}, "want 10x for ten times as often"},
		{[]string{"run", "--kind", "toaster"}, `no kind "toaster", there are [door freezer`},
		{[]string{"run", "--loss", "2"}, "loss 2, want 0 to 1"},
		{[]string{"replay"}, "accepts 1 arg(s), received 0"},
		{[]string{"replay", "no-such-file.csv"}, "no such file"},
		{[]string{"replay", "no-such-file.csv", "--shift", "yesterday"}, "invalid argument"},
		{[]string{"load", "--sockets", "-1"}, "-1 sockets"},
	}
	for _, tt := range tests {
		var stdout, stderr strings.Builder
		if code := execute(t.Context(), tt.args, &stdout, &stderr); code != 1 {
			t.Errorf("%q: exit code %d", tt.args, code)
		}
		if !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%q: %q does not say %q", tt.args, stderr.String(), tt.want)
		}
	}
}

func TestHelpTeaches(t *testing.T) {
	t.Parallel()
	tests := []struct {
		args []string
		want []string
	}{
		{[]string{"--help"}, []string{"firmware-sim run", "firmware-sim replay", "firmware-sim load", "Examples:", "--udp", "--ack", "--loss"}},
		{[]string{"run", "--help"}, []string{"greenhouse", "--rate", "--reboot", "--backfill"}},
		{[]string{"replay", "--help"}, []string{"device,metric,unix_ms,value", "--speed", "--to-now"}},
		{[]string{"load", "--help"}, []string{"--rate", "--sockets", "--pack"}},
	}
	for _, tt := range tests {
		var stdout, stderr strings.Builder
		if code := execute(t.Context(), tt.args, &stdout, &stderr); code != 0 || stderr.Len() > 0 {
			t.Errorf("%q: exit code %d, %s", tt.args, code, stderr.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%q: help does not mention %s", tt.args, want)
			}
		}
	}
}

func TestReportText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		report fleet.Report
		want   string
	}{
		{
			"plain",
			fleet.Report{Readings: 1_110_307, Messages: 283_329, Bytes: 44_973_693, Elapsed: 2 * time.Second},
			"sent            1,110,307 readings in 283,329 messages, 44,973,693 bytes\n" +
				"time            2s, 555,153 readings/s\n",
		},
		{
			"all",
			fleet.Report{
				Readings: 12, Messages: 9, Bytes: 900, Elapsed: time.Second, AskedForAck: 9, Acknowledged: 7, Unacknowledged: 1,
				Refused: map[string]int64{"syntax": 1, "overload": 2}, Retransmitted: 3, Lost: 4, Duplicated: 5, Reordered: 6,
				Missed: 7, Commands: 11, FailedCommands: 10, Reboots: 8, Reconnects: 9, Errors: 1002, FirstErrors: []string{"line 2: what?"},
				P50: time.Millisecond, P90: 2 * time.Millisecond, P99: 3 * time.Millisecond, Max: time.Second,
			},
			"sent            12 readings in 9 messages, 900 bytes\n" +
				"time            1s, 12 readings/s\n" +
				"acknowledged    7 of 9 messages\n" +
				"latency         p50 1ms  p90 2ms  p99 3ms  max 1s\n" +
				"refused         2: \"overload\"\n" +
				"refused         1: \"syntax\"\n" +
				"unacknowledged  1 messages\n" +
				"sent again      3 messages\n" +
				"lost            4 datagrams, on purpose\n" +
				"duplicated      5 datagrams, on purpose\n" +
				"reordered       6 datagrams, on purpose\n" +
				"missed          7 reports were due while nothing could be sent\n" +
				"carried out     11 commands\n" +
				"failed          10 commands of these\n" +
				"rebooted        8 times\n" +
				"reconnected     9 times\n" +
				"errors          1,002\n" +
				"                line 2: what?\n" +
				"                and 1,001 more\n",
		},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, reportText(&tt.report)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestProgressLine(t *testing.T) {
	t.Parallel()
	before := fleet.Report{Elapsed: 1500 * time.Millisecond, Readings: 1000}
	now := fleet.Report{Elapsed: 2 * time.Second, Readings: 4000, AskedForAck: 9, Acknowledged: 8, Retransmitted: 7, Errors: 6}
	want := "    2s  4,000 readings  6,000/s  8 acknowledged  7 sent again  6 errors"
	if got := progressLine(&before, &now); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want rateValue
		ok   bool
	}{
		{"10x", rateValue{times: 10}, true},
		{"0.5x", rateValue{times: 0.5}, true},
		{"700000", rateValue{perSecond: 700_000}, true},
		{"0", rateValue{}, false},
		{"-1x", rateValue{}, false},
		{"x", rateValue{}, false},
		{"NaN", rateValue{}, false},
		{"1e99", rateValue{}, false},
	}
	for _, tt := range tests {
		var got rateValue
		if err := got.Set(tt.in); got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: %+v, error %v", tt.in, got, err)
		}
		if again := new(rateValue); tt.ok {
			if err := again.Set(got.String()); err != nil || *again != got {
				t.Errorf("%q is written %q", tt.in, got.String())
			}
		}
	}
}
