package live

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/push"
)

func TestSubscribeMessage(t *testing.T) {
	for _, c := range []struct {
		name string
		send string
		want []string // before a/x, b/x are published as 4 and 5
		then []string
	}{
		{"one device from now", `{"type":"subscribe","device":["a"]}`, []string{"subscribed s-3"}, []string{"readings s-5: 4"}},
		{"everything", `{"type":"subscribe"}`, []string{"subscribed s-3"}, []string{"readings s-5: 4 5"}},
		{"null is nothing", `{"type":"subscribe","device":null,"after":null}`, []string{"subscribed s-3"}, []string{"readings s-5: 4 5"}},
		{"after", `{"type":"subscribe","metric":["x"],"after":"s-1"}`, []string{"subscribed s-1", "readings s-3: 2 3"}, []string{"readings s-5: 4 5"}},
		{"last", `{"type":"subscribe","device":["b*"],"last":1}`, []string{"subscribed s-3", "readings s-3: 3"}, []string{"readings s-5: 5"}},
		{
			"another store", `{"type":"subscribe","after":"r-1"}`,
			[]string{"subscribed s-3", "reset s-3 unknown cursor"},
			[]string{"readings s-5: 4 5"},
		},
		{"latest", `{"type":"subscribe","device":["a"],"after":"s-0","policy":"latest"}`, []string{"subscribed s-0", "readings s-3: 2"}, []string{"readings s-5: 4"}},
		{"deadband", `{"type":"subscribe","after":"s-0","deadband":5}`, []string{"subscribed s-0", "readings s-3: 1 3"}, nil},
		{"a bad policy", `{"type":"subscribe","every":"soon"}`, []string{`error every: want a duration from 100ms to 1h0m0s, such as 1s`}, []string{"readings s-5: 4"}},
		{"unknown members", `{"type":"subscribe","colour":"red"}`, []string{"subscribed s-3"}, []string{"readings s-5: 4 5"}},
		// Errors leave the selection as it was: a/*.
		{"another type", `{"type":"hello"}`, []string{`error type: want "subscribe"`}, []string{"readings s-5: 4"}},
		{"no JSON", `subscribe`, []string{`error want {"type":"subscribe","device":[…],"metric":[…],"after":"…"}`}, []string{"readings s-5: 4"}},
		{"not UTF-8", "{\"type\":\"\xff\"}", []string{`error type: want "subscribe"`}, []string{"readings s-5: 4"}},
		{"an array", `[]`, []string{`error want {"type":"subscribe","device":[…],"metric":[…],"after":"…"}`}, []string{"readings s-5: 4"}},
		{"a wrong type", `{"type":"subscribe","device":"a"}`, []string{`error device: unexpected string`}, []string{"readings s-5: 4"}},
		{"a wrong element", `{"type":"subscribe","metric":[1]}`, []string{`error metric: unexpected number`}, []string{"readings s-5: 4"}},
		{"a bad pattern", `{"type":"subscribe","device":["a\u0000b"]}`, []string{`error invalid device pattern "a\x00b": it holds a control character`}, []string{"readings s-5: 4"}},
		{"a bad cursor", `{"type":"subscribe","after":"s"}`, []string{`error after: malformed cursor: want <store>-<offset>`}, []string{"readings s-5: 4"}},
		{"too many", `{"type":"subscribe","last":1001}`, []string{`error last: want a number from 1 to 1000`}, []string{"readings s-5: 4"}},
		{"below none", `{"type":"subscribe","last":-1}`, []string{`error last: want a number from 1 to 1000`}, []string{"readings s-5: 4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				g.publish("a/x", "a/x", "b/x")
				v := g.viewWebSocket(url.Values{"device": {"a"}})
				defer v.close()
				v.send(c.send)
				expect(t, v, c.want...)
				synctest.Wait()
				g.publish("a/x", "b/x")
				expect(t, v, c.then...)
			})
		})
	}
}

// Every subscribe message is answered, in order, also while the writer is busy.
func TestSubscribeQuickly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		g.publish("a/x", "a/x", "a/x")
		v := g.viewWebSocket(url.Values{})
		defer v.close()
		for i := range 4 {
			go v.send(fmt.Sprintf(`{"type":"subscribe","device":["b"],"after":"s-%d"}`, i))
			synctest.Wait() // what can be done is done; nothing is read yet
		}
		expect(t, v, "subscribed s-0", "subscribed s-1", "subscribed s-2", "subscribed s-3")
		if n := g.feed.Stats().Subscriptions; n != 1 {
			t.Errorf("%d subscriptions", n)
		}
	})
}

func TestBinaryAndTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		v := g.viewWebSocket(url.Values{"last": {"1"}})
		defer v.close()
		expect(t, v, "readings s-0")
		if err := v.Write(t.Context(), websocket.MessageBinary, []byte(`{"type":"subscribe"}`)); err != nil {
			t.Fatal(err)
		}
		expect(t, v, "error want a text message")
		most := `{"type":"subscribe","device":["` + strings.Repeat("x", maxMessage)
		most = most[:maxMessage-3] + `"]}`
		v.send(most)
		expect(t, v, fmt.Sprintf("error invalid device pattern: %d bytes, at most 128", maxMessage-34))
		go func() { _ = v.Write(t.Context(), websocket.MessageText, []byte(most+" ")) }() // may be cut off
		_, _, err := v.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
			t.Errorf("got %v, want 1009", err)
		}
	})
}

func TestOrigin(t *testing.T) {
	for _, c := range []struct {
		origin string
		want   int
	}{
		{"", 101},
		{"http://gateway", 101},
		{"https://dash.example.org", 101},
		{"https://DASH.example.org", 101},
		{"http://dash.example.org", 403},
		{"https://example.org", 403},
		{"https://dash.example.org.evil.com", 403},
		{"https://evil.com", 403},
		{"null", 403},
		{"http://gateway.evil.com", 403},
	} {
		t.Run(c.origin, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{Origins: []string{"https://*.example.org", "[malformed"}})
				o := &websocket.DialOptions{HTTPClient: g.client, HTTPHeader: http.Header{}}
				if c.origin != "" {
					o.HTTPHeader.Set("Origin", c.origin)
				}
				ws, resp, err := websocket.Dial(t.Context(), target("ws", nil), o) //nolint:bodyclose // the library closes it
				if resp == nil || resp.StatusCode != c.want {
					t.Fatalf("%v, %v", resp, err)
				}
				if err == nil {
					_ = ws.CloseNow()
					return
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.Header.Get("Content-Type") != "application/json" || !strings.HasPrefix(string(body), `{"error":"request Origin`) {
					t.Errorf("%s %v", body, err)
				}
				if now, _ := g.handler.Viewers(WebSocket); now != 0 {
					t.Errorf("%d viewers", now)
				}
			})
		})
	}
}

// rawClient speaks WebSocket by hand.
type rawClient struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

const rawHandshake = "GET /api/v1/live?last=1 HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"

// rawDial sends the handshake and what follows in one write.
func rawDial(t *testing.T, g *gateway, follows string) *rawClient {
	t.Helper()
	conn, err := g.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = conn.Write([]byte(rawHandshake + follows)) }() // a pipe takes it when it is read
	c := &rawClient{t, conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	_ = resp.Body.Close()
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

// frame returns a short masked frame.
func frame(opcode byte, payload string) string {
	return string([]byte{0x80 | opcode, 0x80 | byte(len(payload)), 0, 0, 0, 0}) + payload
}

// next returns opcode and payload of a short frame.
func (c *rawClient) next() (byte, string) {
	c.t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0, err.Error()
	}
	b := make([]byte, head[1])
	if _, err := io.ReadFull(c.r, b); err != nil || head[0]&0xf0 != 0x80 || head[1] > 125 {
		c.t.Fatalf("frame % x: %v", head, err)
	}
	return head[0] & 0xf, string(b)
}

func (c *rawClient) expect(opcode byte, payload string) {
	c.t.Helper()
	if o, p := c.next(); o != opcode || p != payload {
		c.t.Fatalf("got %x %q, want %x %q", o, p, opcode, payload)
	}
}

const snapshot = `{"type":"readings","cursor":"s-0","readings":[]}`

// What a client sends right behind its handshake is not lost.
func TestEarlyMessages(t *testing.T) {
	for name, gate := range map[string]func(testing.TB, Config) *gateway{"pipe": piped, "loopback": loopback} {
		t.Run(name, func(t *testing.T) {
			g := gate(t, Config{})
			many := strings.Repeat(frame(9, "early"), 300) // more than the small buffer holds
			c := rawDial(t, g, frame(1, `{"type":"subscribe","device":["a"]}`)+many)
			got := map[string]int{}
			for range 302 {
				o, p := c.next()
				got[fmt.Sprintf("%x %s", o, p)]++
			}
			want := map[string]int{"1 " + snapshot: 1, `1 {"type":"subscribed","cursor":"s-0"}`: 1, "a early": 300}
			if d := cmp.Diff(want, got); d != "" {
				t.Error("(-want +got):\n", d)
			}
		})
	}
}

// A ping is answered at any time, however long ago the last message was written.
func TestPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		c := rawDial(t, g, "")
		c.expect(1, snapshot)
		start := time.Now()
		for _, second := range []int{1, 16, 24, 41, 49} {
			if second == 41 {
				c.expect(9, "") // the server's own, after 25 s
			}
			<-time.After(time.Duration(second)*time.Second - time.Since(start))
			if _, err := c.Write([]byte(frame(9, "there?"))); err != nil {
				t.Fatal(err)
			}
			c.expect(10, "there?")
		}
		g.publish("a/x")
		c.expect(1, `{"type":"readings","cursor":"s-1","readings":[`+
			`{"offset":1,"device":"a","metric":"x","time":1.5,"value":0}]}`)
	})
}

// A viewer that answers pings lives; one that is silent is ended after two ping
// intervals.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		c := rawDial(t, g, "")
		c.expect(1, snapshot)
		start := time.Now()
		for range 10 {
			c.expect(9, "")
			if _, err := c.Write([]byte(frame(10, ""))); err != nil {
				t.Fatal(err)
			}
		}
		if got := time.Since(start); got != 10*pingInterval {
			t.Errorf("ten pings took %v", got)
		}
		for range 2 { // unanswered
			if o, _ := c.next(); o == 0 {
				break
			}
		}
		_, _ = c.next()
		if got, want := time.Since(start), 12*pingInterval; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		synctest.Wait()
		if now, _ := g.handler.Viewers(WebSocket); now != 0 {
			t.Error("the viewer is still there")
		}
	})
}

// At the end of the feed a viewer gets all there is, then 1001; one that does
// not answer the closing handshake does not hold the server up.
func TestClosingHandshake(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer bool
		took   time.Duration
	}{{"answered", true, 0}, {"unanswered", false, closeGrace}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				v := rawDial(t, g, "")
				v.expect(1, snapshot)
				<-time.After(writeTimeout + 5*time.Second) // the last write is long ago
				start := time.Now()
				g.publish("a/x")
				g.feed.Close()
				v.expect(1, `{"type":"readings","cursor":"s-1","readings":[`+
					`{"offset":1,"device":"a","metric":"x","time":1.5,"value":0}]}`)
				v.expect(8, "\x03\xe9the server is stopping")
				if _, err := v.Write([]byte(frame(9, "late"))); err != nil {
					t.Fatal(err)
				}
				if c.answer {
					if _, err := v.Write([]byte(frame(8, "\x03\xe9"))); err != nil {
						t.Fatal(err)
					}
				}
				if o, p := v.next(); o != 0 || p != io.EOF.Error() {
					t.Errorf("got %x %q behind the end", o, p)
				}
				if err := g.handler.Wait(t.Context()); err != nil || time.Since(start) != c.took {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

func TestViewerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		v := g.viewWebSocket(url.Values{})
		if err := v.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if now, total := g.handler.Viewers(WebSocket); now != 0 || total != 1 {
			t.Errorf("%d viewers of %d", now, total)
		}
		if s := g.logged.String(); s != "" {
			t.Errorf("logged: %s", s)
		}
	})
}

func TestWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		v := g.view(kind{Stream}, "")
		defer v.close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.handler.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait: %v", err)
		}
		v.close()
		g.feed.Close()
	})
}

func FuzzParseSubscribe(f *testing.F) {
	for _, s := range []string{
		`{"type":"subscribe","device":["a","b*"],"metric":["?"],"after":"s-1","last":3}`,
		`{"type":"subscribe"}`, `{}`, `[]`, `{"type":"subscribe","device":[null]}`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := parseSubscribe(websocket.MessageText, b)
		if err != nil {
			if o.After != nil || o.Subscribed || err.Error() == "" {
				t.Fatalf("%q: %v with %+v", b, err, o)
			}
			if _, err := parseMessage(push.Failure(strings.ToValidUTF8(err.Error(), "?")).JSON()); err != nil {
				t.Fatalf("%q: the error is no JSON: %v", b, err)
			}
			return
		}
		if !o.Subscribed || o.Last < 0 || o.Last > push.MaxLast {
			t.Fatalf("%q: %+v", b, o)
		}
	})
}

// Over a real socket a viewer who takes nothing for a while is written to by a
// goroutine of his own, then read for from the history, and goes on live: nothing is
// lost or repeated, and no goroutine stays.
func TestSlowSocket(t *testing.T) {
	g := loopback(t, Config{})
	v := g.viewWebSocket(url.Values{"after": {"s-0"}})
	defer v.close()
	const batches, batch = 150, 1000 // more than the buffers of both sides take
	for range batches {
		g.publish(series(batch)...)
	}
	collect(t, g, v, 0, batches*batch)
	g.publish("a/x")
	expect(t, v, fmt.Sprintf("readings s-%d: %d", batches*batch+1, batches*batch+1))
}
