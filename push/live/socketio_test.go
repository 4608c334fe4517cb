package live

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// socket connects a viewer by Socket.IO on a WebSocket.
func (g *gateway) socket(query, auth string) *socketClient {
	g.t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		g.t.Fatal(err)
	}
	c, err := g.viewSocketIO(SocketIOWebSocket, q, auth)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(c.close)
	return c
}

// takes returns the next n events: name, what is in them, last argument.
func (c *socketClient) takes(n int) (out []string) {
	c.g.t.Helper()
	for range n {
		e, err := c.event()
		if err != nil {
			return append(out, err.Error())
		}
		var m message
		text := ""
		if e.name == "reading" {
			var r struct{ Offset uint64 }
			if err := json.Unmarshal(e.arg, &r); err != nil {
				c.g.t.Fatal(err)
			}
			text = fmt.Sprint(r.Offset)
		} else if m, err = parseMessage(e.arg); err != nil {
			c.g.t.Fatalf("%s: %v", e.arg, err)
		} else {
			text = strings.TrimPrefix(m.String(), m.Type+" ")
		}
		out = append(out, e.name+" "+text+" @"+e.last)
	}
	return out
}

func (c *socketClient) wants(want ...string) {
	c.g.t.Helper()
	if d := cmp.Diff(want, c.takes(len(want))); d != "" {
		c.g.t.Fatalf("events (-want +got):\n%s", d)
	}
}

// An event for each reading, which ends with where to go on: behind the last of a
// message, where that has looked.
func TestSocketIOEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		g.publish("a/x", "b/x", "a/y", "b/y")
		c := g.socket("device=a&after=s-0", "")
		if got := string(c.hello.arg) + c.hello.last; got != `{"type":"hello","cursor":"s-0"}s-0` {
			t.Error(got)
		}
		c.wants("reading 1 @s-1", "reading 3 @s-4")
		g.publish("a/x")
		c.wants("reading 5 @s-5")
		all := g.socket("after=s-3", `{"batch":1}`)
		all.wants("readings s-5: 4 5 @s-5")
	})
}

func TestSocketIOHello(t *testing.T) {
	for _, c := range []struct {
		name, query, auth string
		hello, last       string // cursor in it, and behind it
		then              []string
	}{
		{"from now", "", "", "s-900", "s-900", nil},
		{"after", "after=s-898", "", "s-898", "s-898", []string{"reading 899 @s-899", "reading 900 @s-900"}},
		{"auth goes before the query", "after=s-1", `{"after":"s-899"}`, "s-899", "s-899", []string{"reading 900 @s-900"}},
		// Who is cut off before the snapshot has come is to get it all the same.
		{"last", "device=b&last=1", "", "s-900", "s-3", []string{"reading 4 @s-900"}},
		{"last in several", "last=1", "", "s-900", "s-3", []string{"reading 4 @s-4", "reading 899 @s-899", "reading 900 @s-900"}},
		{"unknown", "after=r-5", "", "s-900", "r-5", []string{"reset s-900 unknown cursor @s-900"}},
		{"gap", "after=s-1&device=b", "", "s-1", "s-1", []string{"gap s-3 s-1 retention @s-3", "reading 4 @s-900"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				g.publish("a/x", "a/x", "a/x", "b/x")
				g.publish(series(895)...)
				g.publish("c/x")
				g.log.Drop(3)
				v := g.socket(c.query, c.auth)
				if got, want := string(v.hello.arg), `{"type":"hello","cursor":"`+c.hello+`"}`; got != want || v.hello.last != c.last {
					t.Errorf("%s %s, want %s %s", got, v.hello.last, want, c.last)
				}
				v.wants(c.then...)
				g.publish("b/x")
				v.wants("reading 901 @s-901")
			})
		})
	}
}

// A client that comes again: what it is told, and what comes.
func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name    string
		query   string // of the second connection
		auth    func(before *socketClient) string
		floor   uint64
		recover bool
		want    []string // behind hello
	}{
		{"it goes on", "device=a&after=s-0", (*socketClient).again, 0, true, []string{"reading 4 @s-4", "reading 6 @s-6"}},
		{"after and last do not count", "device=a&last=1", (*socketClient).again, 0, true, []string{"reading 4 @s-4", "reading 6 @s-6"}},
		{"its proof is forged", "device=a", func(b *socketClient) string {
			return `{"pid":"` + strings.Repeat("A", 70) + `","offset":"` + b.offset + `"}`
		}, 0, false, nil},
		{"its place is nonsense", "device=a", func(b *socketClient) string { return fmt.Sprintf(`{"pid":%q,"offset":"x"}`, b.pid) }, 0, false, nil},
		{"it has no place", "device=a", func(b *socketClient) string { return fmt.Sprintf(`{"pid":%q}`, b.pid) }, 0, false, nil},
		{"it is not what it should be", "device=a", func(*socketClient) string { return `{"pid":5,"offset":{}}` }, 0, false, nil},
		{"another selection", "device=b&after=s-0", (*socketClient).again, 0, false, []string{"reading 2 @s-2", "reading 5 @s-6"}},
		{"in batches", "device=a&batch=1&after=s-4", (*socketClient).again, 0, false, []string{"readings s-6: 6 @s-6"}},
		{"with presence", "device=a&presence=1&after=s-4", (*socketClient).again, 0, false, []string{"reading 6 @s-6"}},
		{"retention was faster", "device=a", (*socketClient).again, 5, false, []string{"gap s-5 s-3 retention @s-5", "reading 6 @s-606"}},
		{"another store", "device=a", func(b *socketClient) string { return fmt.Sprintf(`{"pid":%q,"offset":"r-3"}`, b.pid) }, 0, false, []string{"reset s-6 unknown cursor @s-6"}},
		{"the future", "device=a", func(b *socketClient) string { return fmt.Sprintf(`{"pid":%q,"offset":"s-9"}`, b.pid) }, 0, false, []string{"reset s-6 unknown cursor @s-6"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				v := g.socket("device=a&after=s-0", "")
				g.publish("a/x", "b/x", "a/x")
				v.wants("reading 1 @s-1", "reading 3 @s-3")
				v.close()
				g.publish("a/x", "b/x", "a/x")
				g.forget(c.floor)
				again := g.socket(c.query, c.auth(v))
				if recovered := again.id == v.id && again.pid == v.pid; recovered != c.recover ||
					recovered != strings.Contains(string(again.hello.arg), `"recovered":true`) {
					t.Errorf("recovered: %v, %s", recovered, again.hello.arg)
				}
				again.wants(c.want...)
				g.publish("a/x", "b/x")
				if e, err := again.event(); err != nil || e.last != g.feed.Head().String() {
					t.Errorf("%v, %v", e, err)
				}
				s := g.handler.SocketIOStats()
				if (s.Recovered == 1) != c.recover || s.Anew > 1 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// forget makes retention take what is up to floor, and the feed hold nothing of it.
func (g *gateway) forget(floor uint64) {
	if floor > 0 {
		for range 600 {
			g.publish("c/x")
		}
		g.log.Drop(floor)
	}
}

// The connection before, which may not know that it is dead, ends when its client
// comes again; it does not take the new one along.
func TestTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		v := g.socket("", "")
		g.publish("a/x")
		v.wants("reading 1 @s-1")
		again := g.socket("", v.again())
		if _, err := v.event(); err == nil {
			t.Error("the old connection goes on")
		}
		synctest.Wait()
		if now, _ := g.handler.Viewers(SocketIOWebSocket); now != 1 {
			t.Errorf("%d viewers", now)
		}
		<-time.After(time.Second)
		g.publish("a/x")
		again.wants("reading 2 @s-2")
		third := g.socket("", again.again())
		if third.id != v.id {
			t.Error("it was not known a second time")
		}
	})
}

func TestSocketIOSubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions, err := OpenSessions(filepath.Join(t.TempDir(), "sessions"))
		if err != nil {
			t.Fatal(err)
		}
		g := piped(t, Config{Sessions: sessions})
		g.publish("a/x", "b/x", "b/x")
		v := g.socket("device=a", "")
		answer := func(send, want string) {
			t.Helper()
			if err := v.send(send); err != nil {
				t.Fatal(err)
			}
			if got, err := v.packet(); err != nil || got != want {
				t.Errorf("%s: %s, %v; want %s", send, got, err, want)
			}
		}
		for send, want := range map[string]string{
			`420["subscribe",{"device":"a"}]`:               `430[{"error":"device: unexpected string"}]`,
			`420["subscribe",[]]`:                           `430[{"error":"want {\"type\":\"subscribe\",\"device\":[…],\"metric\":[…],\"after\":\"…\"}"}]`,
			`420["subscribe",{"after":"x"}]`:                `430[{"error":"after: malformed cursor: want \u003cstore\u003e-\u003coffset\u003e"}]`,
			`420["subscribe",{"last":-1}]`:                  `430[{"error":"last: want a number from 1 to 1000"}]`,
			`420["sing"]`:                                   `430[{"error":"want the event \"subscribe\""}]`,
			`42["sing"]`:                                    `42["error",{"type":"error","error":"want the event \"subscribe\""},"s-3"]`,
			`420["subscribe",{"device":["\u0000"]},"more"]`: `430[{"error":"invalid device pattern \"\\x00\": it holds a control character"}]`,
		} {
			answer(send, want)
		}
		if _, ok := sessions.recognize(v.pid, (&socketRequest{options: push.Options{Selector: selector(t, "a")}}).selection()); !ok {
			t.Error("a selection that was refused has changed the session")
		}
		answer(`421["subscribe",{"type":"subscribe","device":["b"],"after":"s-1"}]`, `431[{"cursor":"s-1"}]`)
		v.wants("reading 2 @s-2", "reading 3 @s-3")
		answer(`422["subscribe",{"device":["b"],"last":1}]`, `432[{"cursor":"s-3"}]`)
		v.wants("reading 3 @s-3")
		answer(`423["subscribe"]`, `433[{"cursor":"s-3"}]`)
		synctest.Wait()
		g.publish("a/x")
		v.wants("reading 4 @s-4")
		if n := g.feed.Stats().Subscriptions; n != 1 {
			t.Errorf("%d subscriptions", n)
		}
		again := g.socket("device=a", v.again())
		if again.id == v.id {
			t.Error("a session that has changed its selection went on with the old one")
		}
		if err := sessions.Close(); err != nil {
			t.Error(err)
		}
		if err := again.send(`421["subscribe"]`); err != nil {
			t.Fatal(err)
		}
		if got, err := again.packet(); got != `431[{"error":"the store cannot be written"}]` {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func selector(t *testing.T, devices ...string) device.Selector {
	t.Helper()
	sel, err := device.NewSelector(devices, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// A device's event ends with where the viewer stands among the readings.
func TestSocketIOPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		g.feed.Announce(device.Presence{ID: "a", State: device.Online})
		v := g.socket("", `{"presence":true}`)
		v.wants("device a online @s-0")
		g.publish("a/x")
		v.wants("reading 1 @s-1")
		g.feed.Announce(device.Presence{ID: "a", State: device.Late})
		v.wants("device a late @s-1")
	})
}

func TestParseSocketIO(t *testing.T) {
	for _, c := range []struct {
		query, auth string
		want        string // the error, or what is asked for
	}{
		{"", "", "false"},
		{"device=a,b&metric=cpu{a=1,b=2},x", "", "false a|b cpu{a=1,b=2}|x"},
		{"device=a&device=b", "", "false a|b"},
		{"device=a", `{"device":"b,c"}`, "false b,c"},
		{"", `{"device":["a","b"],"metric":"x","batch":true,"last":3,"presence":"1"}`, "true a|b x"},
		{"batch=1", `{"batch":null}`, "true"},
		{"%zz", "", "the query is malformed"},
		{"", `{"device":[1]}`, "device: want texts"},
		{"", `{"metric":{}}`, "metric: want a text"},
		{"", `{"last":1.5}`, "last: want a number from 1 to 1000"},
		{"", `{"batch":"so"}`, "batch: want 1 or 0"},
		{"presence=so", "", "presence: want 1 or 0"},
		{"after=x", "", "after: malformed cursor: want <store>-<offset>"},
	} {
		req, err := parseSocketIO(c.query, json.RawMessage(c.auth), device.Selector{})
		got := strings.TrimRight(fmt.Sprint(req.batch, " ", strings.NewReplacer("\x00", "|", "\x01", " ").Replace(req.options.Selector.Key())), " ")
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("?%s %s: %s, want %s", c.query, c.auth, got, c.want)
		}
	}
}

func TestSocketIORefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{MaxViewers: 1})
		for auth, want := range map[string]string{
			`{"after":"x"}`: `44{"message":"after: malformed cursor: want \u003cstore\u003e-\u003coffset\u003e"}`,
			`{"device":{}}`: `44{"message":"device: want a text"}`,
		} {
			if _, err := g.viewSocketIO(SocketIOWebSocket, nil, auth); err == nil || err.Error() != want {
				t.Errorf("%s: %v, want %s", auth, err, want)
			}
			g.client.CloseIdleConnections()
			g.handler.Drain()
			if err := g.handler.socketIO.server.Engine().Wait(t.Context()); err != nil {
				t.Error(err)
			}
			g = piped(t, Config{MaxViewers: 1})
		}
		g.socket("", "")
		if _, err := g.viewSocketIO(SocketIOPolling, nil, ""); err == nil || !strings.HasPrefix(err.Error(), "503 Service Unavailable: {\"code\":4,\"message\":\"too many viewers\"}") {
			t.Error(err)
		}
		if resp, _ := g.get(http.Header{}, ""); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("the live endpoint: %s; both have the same bound", resp.Status)
		}
		if g.handler.Refused() != 2 {
			t.Errorf("%d refused", g.handler.Refused())
		}
	})
}

func FuzzParseSocketIO(f *testing.F) {
	f.Add("device=a,b&last=1", `{"pid":"x","offset":"s-1","batch":1}`)
	f.Add("%zz", `[]`)
	f.Add("metric={,},", `{"device":["a",null]}`)
	f.Fuzz(func(t *testing.T, query, auth string) {
		req, err := parseSocketIO(query, json.RawMessage(auth), device.Selector{})
		if err != nil && err.Error() == "" || req.options.Last < 0 || req.options.Last > push.MaxLast {
			t.Fatalf("%q %q: %+v, %v", query, auth, req, err)
		}
	})
}
