package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{"udp://:8125", "udp :8125 all"},
		{"udp://127.0.0.1:8125?dialect=statsd", "udp 127.0.0.1:8125 statsd"},
		{"tcp://[::1]:2003?dialect=graphite+line", "tcp [::1]:2003 line, graphite"},
		{"tcp://:1?dialect=json&dialect=senml", "tcp :1 json, senml"},
	} {
		e, err := parseEndpoint(c.text)
		if got := e.network + " " + e.addr + " " + e.accept.String(); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		":8125":                  "want udp://host:port or tcp://host:port",
		"http://:80":             "want udp://host:port or tcp://host:port",
		"udp://host":             "want udp://host:port or tcp://host:port",
		"udp://:1/path":          "want udp://host:port or tcp://host:port",
		"udp://:1?dialect=mqtt":  `there is no dialect "mqtt"; there are line,`,
		"udp://:1?dialects=line": `want ?dialect=…, not "dialects"`,
		"udp://:1?dialect=%zz":   "invalid URL escape",
	} {
		if _, err := parseEndpoint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// seriesOf returns device and metric of every series, in order.
func seriesOf(t *testing.T, a addresses) []string {
	t.Helper()
	var answer struct {
		Series []struct{ Device, Metric string }
	}
	if err := json.Unmarshal([]byte(get(t, a.url("/api/v1/series"))), &answer); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range answer.Series {
		out = append(out, s.Device+" "+s.Metric)
	}
	slices.Sort(out)
	return out
}

func TestExtraListeners(t *testing.T) {
	t.Parallel()
	const statsd, graphite = "udp://127.0.0.1:0?dialect=statsd", "tcp://127.0.0.1:0?dialect=graphite"
	data := t.TempDir()
	g := startGateway(t, data, "--listen", statsd, "--listen", graphite)
	text, err := os.ReadFile(filepath.Join(data, addressFile))
	if err != nil {
		t.Fatal(err)
	}
	var ports map[string]string
	if err := json.Unmarshal(text, &ports); err != nil {
		t.Fatal(err)
	}
	sendTo(t, "udp", ports[statsd], "gh1.temp:21.5|g\nclimate,device=gh2 temp=21.5")
	sendTo(t, "tcp", ports[graphite], "gh3.temp 21.5 1764000000\n{\"v\":1}\n")
	eventually(t, "the readings", func() bool { return g.metric(t, "naru_readings_total", "") == 2 })
	eventually(t, "the refusals", func() bool { return g.metric(t, "naru_refused_total", "syntax") == 2 })
	if diff := cmp.Diff([]string{"gh1 temp", "gh3 temp"}, seriesOf(t, g.addresses)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := g.metric(t, "naru_udp_datagrams_total", ""); n != 1 {
		t.Errorf("%v datagrams counted, want 1", n)
	}
}

// TestDialectsOnOnePort sends one datagram of each dialect to the common port.
func TestDialectsOnOnePort(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte("cpu,host=packed usage=1\n")); err != nil || w.Close() != nil {
		t.Fatal("the datagram cannot be packed")
	}
	samples := []string{
		"statsd.temp:21.5|g",
		"graphite.temp 21.5 1764000000",
		"teleplot:5",
		"device=pairs temp=21.5",
		"csv,temp,21.5",
		`tele/tasmota/SENSOR = {"Time":"2024-02-24T22:20:38","AM2301":{"Temperature":21.5}}`,
		`zigbee2mqtt/living room {"temperature":21.5}`,
		`{"src":"shelly","dst":"u","method":"NotifyStatus","params":{"ts":1764000000.5,"switch:0":{"id":0,"apower":5}}}`,
		`<165>1 2025-11-26T07:28:14Z vm rtl_433 - - - {"time":"2025-11-26 07:28:14","model":"Nexus-TH","id":42,"temperature_C":21.5}`,
		"SE\x07esphome\x00\x00\x01\x02\x00\x00\xacA\x01t\x00\x00\x00\x00",
		"\x00\x00\x00\x0dcollectd\x00\x00\x02\x00\x09load\x00\x00\x04\x00\x09load\x00\x00\x06\x00\x0f\x00\x01\x01\x00\x00\x00\x00\x00\x00\xf0\x3f",
		packed.String(),
	}
	for _, s := range samples {
		sendTo(t, "udp", g.UDP, s)
	}
	want := []string{
		"Nexus-TH-42 temperature_C", "collectd load.load", "csv temp", "esphome t", "graphite temp", "ip-127.0.0.1 teleplot",
		"living-room temperature", "packed cpu.usage", "pairs temp", "shelly switch:0.apower", "statsd temp", "tasmota AM2301.Temperature",
	}
	eventually(t, "the readings", func() bool { return g.metric(t, "naru_readings_total", "") >= float64(len(want)) })
	if diff := cmp.Diff(want, seriesOf(t, g.addresses)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sendTo(t, "udp", g.UDP, "SE\x07esphome\x00\x00\x9c\x41\x7f\x20")
	eventually(t, "the refusal", func() bool { return g.metric(t, "naru_refused_total", "encrypted") == 1 })
}
