package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/api"
)

// asking is a device that sends and reads the answer.
type asking struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func ask(t *testing.T, network, addr string) *asking {
	t.Helper()
	conn := dial(t, network, addr)
	return &asking{t, conn, bufio.NewReader(conn)}
}

func (a *asking) send(payload string) string {
	a.t.Helper()
	if _, err := fmt.Fprint(a.conn, payload+"\n"); err != nil {
		a.t.Fatal(err)
	}
	answer := make([]byte, 200)
	n, err := a.in.Read(answer)
	if err != nil {
		a.t.Fatalf("%s: %v", payload, err)
	}
	return strings.TrimSpace(string(answer[:n]))
}

// register runs naru device and returns what it gives.
func register(t *testing.T, g *gatewayUnderTest, args ...string) (r api.Registered) {
	t.Helper()
	code, stdout, stderr := command(t, nil, append(append([]string{"device"}, args...), "--json", "--url", g.url("/"))...)
	if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil {
		t.Fatalf("naru device %q: exit code %d, %v: %s%s", args, code, err, stdout, stderr)
	}
	return r
}

// Each admission, over both transports: what is not taken is answered, not stored, and
// goes on at once when somebody approves it.
func TestAdmission(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		admission, before string
		waiting           int
	}{
		{"open", `{"ack":1}`, 0}, {"approve", `{"error":"approval","seq":1}`, 2}, {"known", `{"error":"unknown","seq":1}`, 0},
	} {
		t.Run(c.admission, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			g := startGateway(t, data, "--admission", c.admission)
			devices := map[string]*asking{"udp": ask(t, "udp", g.UDP), "tcp": ask(t, "tcp", g.TCP)}
			line := func(id string, seq int) string { return fmt.Sprintf("t,device=%s,seq=%d,ack=1 v=%d", id, seq, seq) }
			for id, d := range devices {
				if got := d.send(line(id, 1)); got != c.before {
					t.Errorf("%s: answered %s, want %s", id, got, c.before)
				}
			}
			var all struct {
				Admission string
				Waiting   []struct {
					ID     string
					Values []struct {
						Metric string
						Value  float64
					}
				}
			}
			if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/registry"))), &all); err != nil {
				t.Fatal(err)
			}
			if all.Admission != c.admission || len(all.Waiting) != c.waiting {
				t.Errorf("%+v", all)
			}
			for _, w := range all.Waiting {
				if len(w.Values) != 1 || w.Values[0].Metric != "t.v" || w.Values[0].Value != 1 {
					t.Errorf("%+v", w)
				}
			}
			_, stdout, _ := command(t, nil, "device", "list", "--url", g.url("/"))
			if got := strings.Count(stdout, "(naru device approve "); got != c.waiting {
				t.Errorf("the list tells of %d that wait, want %d:\n%s", got, c.waiting, stdout)
			}
			for id, d := range devices {
				register(t, g, "approve", id)
				if got := d.send(line(id, 2)); got != `{"ack":2}` {
					t.Errorf("%s, approved: answered %s", id, got)
				}
			}
			g.stop(t)
			// What is stored is known, whether it is registered or not.
			for id := range devices {
				if code, _, stderr := command(t, nil, "device", "remove", id, "--data", data); code != 0 {
					t.Fatal(stderr)
				}
			}
			g = startGateway(t, data, "--admission", c.admission)
			want := map[string]int{"open": 6, "approve": 4, "known": 4}[c.admission]
			for network, addr := range map[string]string{"udp": g.UDP, "tcp": g.TCP} {
				if got := ask(t, network, addr).send(line(network, 3)); got != `{"ack":3}` {
					t.Errorf("%s, after the restart: answered %s", network, got)
				}
			}
			if got := get(t, g.url("/api/v1/readings/count")); got != fmt.Sprintf("{\"count\":%d}\n", want) {
				t.Errorf("stored: %s, want %d", got, want)
			}
		})
	}
}

// A device with a token is spoken for, over both transports, at once and after
// kill -9.
func TestSpokenFor(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	plain := func(seq int) string { return fmt.Sprintf("t,device=gh1,seq=%d,ack=1 v=1", seq) }
	with := func(seq int, token string) string {
		return fmt.Sprintf(`{"device":"gh1","seq":%d,"ack":true,"token":%q,"v":1}`, seq, token)
	}
	udp, tcp := ask(t, "udp", g.UDP), ask(t, "tcp", g.TCP)
	expect := func(d *asking, payload, want string) {
		t.Helper()
		if got := d.send(payload); got != want {
			t.Errorf("%s: answered %s, want %s", payload, got, want)
		}
	}
	expect(udp, plain(1), `{"ack":1}`)
	old := register(t, g, "add", "gh1", "--token").Secrets.Token
	expect(udp, plain(2), `{"error":"credential","seq":2}`)
	expect(tcp, plain(2), `{"error":"credential","seq":2}`)
	expect(udp, with(2, "x"), `{"error":"credential","seq":2}`)
	expect(udp, with(2, old), `{"ack":2}`)
	expect(tcp, with(3, old), `{"ack":3}`)
	expect(tcp, plain(4), `{"ack":4}`) // the stream has proved it
	expect(udp, plain(5), `{"error":"credential","seq":5}`)
	token := register(t, g, "rotate", "gh1").Secrets.Token
	expect(udp, with(5, old), `{"ack":5}`)
	expect(udp, with(6, token), `{"ack":6}`)
	eventually(t, "the old token to go", func() bool { return len(register(t, g, "show", "gh1").Credentials) == 1 })
	expect(udp, with(7, old), `{"error":"credential","seq":7}`)
	expect(tcp, plain(7), `{"error":"credential","seq":7}`)
	expect(udp, with(7, token), `{"ack":7}`)
	register(t, g, "revoke", "gh1")
	expect(udp, with(8, token), `{"error":"credential","seq":8}`)
	if body := get(t, g.url("/api/v1/refused")); strings.Contains(body, old) || strings.Contains(body, token) || strings.Contains(g.output.String(), token) {
		t.Error("a token is shown")
	}
	g.stop(t)

	g = startGateway(t, data)
	expect(ask(t, "udp", g.UDP), with(9, token), `{"error":"credential","seq":9}`)
	var d struct {
		Guarded bool
		State   string
	}
	if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/devices/gh1"))), &d); err != nil || !d.Guarded || d.State != "unknown" {
		t.Errorf("%+v, %v", d, err)
	}
}

// The rates are told to the device in its own words, and shown.
func TestRates(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir(), "--max-rate", "1", "--max-new-series", "2")
	udp := ask(t, "udp", g.UDP)
	last := ""
	for seq := 1; seq <= 30 && !strings.Contains(last, "error"); seq++ {
		last = udp.send(fmt.Sprintf("t,device=fast,seq=%d,ack=1 v=1", seq))
	}
	if !strings.HasPrefix(last, `{"error":"rate","seq":`) {
		t.Errorf("answered %s", last)
	}
	tcp := ask(t, "tcp", g.TCP)
	for i, want := range []string{`{"ack":0}`, `{"ack":1}`, `{"ack":2}`, `{"error":"rate_series","seq":3}`} {
		if got := tcp.send(fmt.Sprintf(`{"device":"broad","seq":%d,"ack":true,"m%d":1}`, i, i)); got != want {
			t.Errorf("answered %s, want %s", got, want)
		}
	}
	var l api.Limits
	if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/limits"))), &l); err != nil {
		t.Fatal(err)
	}
	if l.Readings.Device != 1 || l.NewSeries.Device != 2 || l.Refused["rate"] != 1 || l.Refused["rate_series"] != 1 || l.Devices.Now != 2 || l.Series.Now != 4 {
		t.Errorf("%+v", l)
	}
	var d struct{ Limited int }
	if err := json.Unmarshal([]byte(get(t, g.url("/api/v1/devices/fast"))), &d); err != nil || d.Limited != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// The state of a device is pushed by every streaming technique.
func TestPresencePushed(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	sendTo(t, "udp", g.UDP, "t,device=gh1 battery=90,rssi=-60i")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watchers := map[string]func() (string, error){}
	url := g.url("/api/v1/live?presence=1&device=gh*")
	ws, _, err := websocket.Dial(ctx, url, nil) //nolint:bodyclose // the library's own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	watchers["websocket"] = func() (string, error) {
		_, b, err := ws.Read(ctx)
		return string(b), err
	}
	for name, accept := range map[string]string{"sse": "text/event-stream", "stream": "application/x-ndjson"} {
		var resp *http.Response
		resp, lines, err := openLive(ctx, url, accept)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		watchers[name] = func() (string, error) { return lines.ReadString('\n') }
	}
	until := func(want ...string) {
		t.Helper()
		for name, next := range watchers {
			for {
				line, err := next()
				if err != nil {
					t.Fatalf("%s: %v before %q", name, err, want)
				}
				found := strings.Contains(line, `{"type":"device","device":{"id":"gh1"`)
				for _, w := range want {
					found = found && strings.Contains(line, w)
				}
				if found {
					break
				}
			}
		}
	}
	until(`"state":"online"`, `"address":"127.0.0.1","transport":"udp"`, `"battery":{"metric":"t.battery","value":90}`, `"rssi":{"metric":"t.rssi","value":-60}`)
	register(t, g, "add", "gh1", "--name", "Glass house", "--token")
	until(`"name":"Glass house"`, `"guarded":true`)
}
