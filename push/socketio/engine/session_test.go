package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/wsconn"
)

const unknown = `400 {"code":1,"message":"Session ID unknown"}`

const badRequest = `400 {"code":3,"message":"Bad request"}`

// inTime runs a test with fake time.
func inTime(t *testing.T, cfg Config, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newSite(t, cfg)) })
}

func wait(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (s *site) want(what, got, want string) {
	s.t.Helper()
	if got != want {
		s.t.Errorf("%s: %.200q, want %q", what, got, want)
	}
}

func TestPollingEcho(t *testing.T) {
	for _, payload := range []string{"4hello", "4", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4ü", "6\x1e4a\x1e3\x1e5"} {
		inTime(t, Config{}, func(_ *testing.T, s *site) {
			p := s.poll()
			s.want("post", p.post(payload), "200 ok")
			want := strings.NewReplacer("6\x1e", "", "\x1e3\x1e5", "").Replace(payload)
			s.want("get", p.get(), "200 "+want)
			waiting := p.gets()
			wait(time.Second)
			s.want("post", p.post("4again"), "200 ok")
			s.want("a poll that waits", <-waiting, "200 4again")
		})
	}
}

// What the client may not do ends the session, and says so.
func TestPollingErrors(t *testing.T) {
	octets := http.Header{"Content-Type": {"application/octet-stream"}}
	for _, c := range []struct {
		name string
		do   func(p *poller) string
		want string
		why  Reason
	}{
		{"an invalid packet", func(p *poller) string { return p.post("abc") }, badRequest, ParseError},
		{"no packet", func(p *poller) string { return p.post("") }, badRequest, ParseError},
		{"not UTF-8", func(p *poller) string { return p.post("4\xff") }, badRequest, ParseError},
		{"bad base64", func(p *poller) string { return p.post("bAQ") }, badRequest, ParseError},
		{"its own ping", func(p *poller) string { return p.post("2") }, badRequest, ParseError},
		{"its own open", func(p *poller) string { return p.post("0{}") }, badRequest, ParseError},
		{"what the endpoint cannot understand", func(p *poller) string { return p.post("4nonsense") }, badRequest, ParseError},
		{"too much", func(p *poller) string { return p.post("4" + strings.Repeat("x", 1000)) }, `413 {"code":3,"message":"Bad request"}`, TransportError},
		{"bytes", func(p *poller) string {
			got, _ := p.do(p.t.Context(), "POST", p.query(), "4a", octets)
			return got
		}, badRequest, TransportError},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, Config{MaxPayload: 1000}, func(t *testing.T, s *site) {
				p := s.poll()
				waiting := p.gets()
				wait(time.Second)
				s.want("answer", c.do(p), c.want)
				s.want("the poll that waits", <-waiting, "200 1")
				s.want("the next", p.get(), unknown)
				synctest.Wait()
				if got := s.last(); got != c.why || s.server.Ended(c.why) != 1 {
					t.Errorf("ended by %v, want %v", got, c.why)
				}
			})
		})
	}
}

func TestOtherMethods(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		p := s.poll()
		for _, method := range []string{"PUT", "DELETE", "OPTIONS"} {
			got, _ := s.do(t.Context(), method, p.query(), "", nil)
			s.want(method, got, badRequest)
		}
		s.want("afterwards", p.post("4a"), "200 ok")
	})
}

func TestDuplicatePolls(t *testing.T) {
	inTime(t, Config{}, func(_ *testing.T, s *site) {
		p := s.poll()
		first := p.gets()
		wait(time.Millisecond)
		s.want("the second", p.get(), badRequest)
		s.want("the first", <-first, "200 1")
		s.want("the next", p.get(), unknown)
	})
}

func TestCancelledPoll(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		p := s.poll()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		_, _ = s.do(ctx, "GET", p.query(), "", nil)
		synctest.Wait()
		s.want("the next", p.get(), unknown)
		if got := s.last(); got != TransportError {
			t.Errorf("ended by %v", got)
		}
	})
}

// slowBody is a body whose end does not come.
type slowBody struct {
	first string
	until <-chan time.Time
}

func (b *slowBody) Read(p []byte) (int, error) {
	if n := copy(p, b.first); n > 0 {
		b.first = b.first[n:]
		return n, nil
	}
	<-b.until
	return 0, context.Canceled
}

func TestOverlappingAndAbortedPosts(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		for _, overlap := range []bool{true, false} {
			p := s.poll()
			r, err := http.NewRequestWithContext(t.Context(), "POST", "http://site/?"+p.query(), &slowBody{"4ab", time.After(2 * time.Second)})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				if resp, err := s.client.Do(r); err == nil {
					_ = resp.Body.Close()
				}
			}()
			wait(time.Second)
			if overlap {
				s.want("a second post", p.post("4a"), badRequest)
			}
			<-done
			synctest.Wait()
			s.want("afterwards", p.get(), unknown)
			if got := s.last(); got != TransportError {
				t.Errorf("ended by %v", got)
			}
		}
	})
}

func TestWebSocketEcho(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		c := s.dial("")
		defer func() { _ = c.CloseNow() }()
		c.next()
		for _, text := range []string{"4hello", "4", "4" + strings.Repeat("ü", 40_000)} {
			c.send(text)
			s.want("text", c.next(), text)
		}
		if err := c.Write(t.Context(), websocket.MessageBinary, []byte{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
		s.want("binary", c.next(), "binary \x01\x02\x03\x04")
	})
}

func TestWebSocketEnds(t *testing.T) {
	for _, c := range []struct {
		name, send, want string
		why              Reason
	}{
		{"an invalid packet", "abc", "closed 1008", ParseError},
		{"no packet", "", "closed 1008", ParseError},
		{"not UTF-8", "4\xff", "closed 1008", ParseError},
		{"its own ping", "2", "closed 1008", ParseError},
		{"a probe", "2probe", "closed 1008", ParseError},
		{"what the endpoint cannot understand", "4nonsense", "closed 1008", ParseError},
		{"too much", "4" + strings.Repeat("x", 1000), "closed 1009", TransportError},
		{"the client closes", "1", "closed 1000", TransportClose},
		{"the owner closes", "4leave", "closed 1000", ForcedClose},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, Config{MaxPayload: 1000}, func(t *testing.T, s *site) {
				ws := s.dial("")
				defer func() { _ = ws.CloseNow() }()
				ws.next()
				ws.send(c.send)
				s.want("end", ws.next(), c.want)
				synctest.Wait()
				if got := s.last(); got != c.why {
					t.Errorf("ended by %v, want %v", got, c.why)
				}
			})
		})
	}
}

func TestClientClosesWebSocket(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		for _, c := range []struct {
			close func(*socketClient)
			why   Reason
		}{
			{func(c *socketClient) { _ = c.Close(websocket.StatusNormalClosure, "") }, TransportClose},
			{func(c *socketClient) { _ = c.CloseNow() }, TransportError},
		} {
			ws := s.dial("")
			ws.next()
			c.close(ws)
			synctest.Wait()
			if got := s.last(); got != c.why {
				t.Errorf("ended by %v, want %v", got, c.why)
			}
		}
	})
}

func TestHeartbeatPolling(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		p := s.poll()
		start := time.Now()
		for i := range 3 {
			s.want("ping", p.get(), "200 2")
			if got, want := time.Since(start), time.Duration(i+1)*DefaultPingInterval; got != want {
				t.Errorf("ping after %v, want %v", got, want)
			}
			s.want("pong", p.post("3"), "200 ok")
		}
		s.want("the last ping", p.get(), "200 2")
		waiting := p.gets()
		s.want("the end", <-waiting, "200 1")
		if got, want := time.Since(start), 4*DefaultPingInterval+DefaultPingTimeout; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		s.want("afterwards", p.get(), unknown)
		p = s.poll()
		wait(DefaultPingInterval + DefaultPingTimeout)
		s.want("nobody polled", p.get(), unknown)
	})
}

func TestHeartbeatWebSocket(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		c := s.dial("")
		defer func() { _ = c.CloseNow() }()
		c.next()
		start := time.Now()
		for i := range 3 {
			s.want("ping", c.next(), "2")
			if got, want := time.Since(start), time.Duration(i+1)*DefaultPingInterval+time.Duration(i)*time.Second; got != want {
				t.Errorf("ping after %v, want %v", got, want)
			}
			wait(time.Second)
			c.send("3")
		}
		s.want("the last ping", c.next(), "2")
		s.want("the end", c.next(), "cut")
		if got, want := time.Since(start), 4*DefaultPingInterval+DefaultPingTimeout+3*time.Second; got != want {
			t.Errorf("ended after %v, want %v", got, want)
		}
		synctest.Wait()
		if got := s.last(); got != PingTimeout {
			t.Errorf("ended by %v", got)
		}
	})
}

func TestClosePolling(t *testing.T) {
	inTime(t, Config{PingInterval: time.Minute}, func(t *testing.T, s *site) {
		for _, c := range []struct {
			post string
			want string // of a poll that waits, or comes in time
			hold time.Duration
			why  Reason
		}{
			{"1", "200 6", closeNoop, TransportClose},
			{"4leave", "200 1", closeHold, ForcedClose},
		} {
			p := s.poll()
			waiting := p.gets()
			wait(time.Millisecond)
			s.want("post", p.post(c.post), "200 ok")
			s.want("the poll that waits", <-waiting, c.want)
			s.want("the next", p.get(), unknown)

			p = s.poll()
			p.post(c.post)
			wait(c.hold - time.Millisecond)
			s.want("post, closed", p.post("4a"), unknown)
			s.want("a poll in time", p.get(), c.want)
			s.want("the next", p.get(), unknown)

			p = s.poll()
			p.post(c.post)
			wait(c.hold)
			s.want("a poll too late", p.get(), unknown)
			if got := s.last(); got != c.why {
				t.Errorf("ended by %v, want %v", got, c.why)
			}
		}
	})
}

// A client in Python gets no more packets at a time than it takes, and the rest in
// order, by whatever transport.
func TestManyPackets(t *testing.T) {
	python := http.Header{"User-Agent": {"python-requests/2.28.1"}}
	for _, upgrade := range []bool{false, true} {
		inTime(t, Config{}, func(t *testing.T, s *site) {
			got, _ := s.do(t.Context(), "GET", "EIO=4&transport=polling", "", python)
			p := &poller{site: s}
			if err := json.Unmarshal([]byte(got[5:]), &p.opened); err != nil {
				t.Fatal(got)
			}
			var all []string
			for i := range 50 {
				all = append(all, fmt.Sprint("4", i))
			}
			p.post(strings.Join(all, "\x1e"))
			s.want("the first", p.get(), "200 "+strings.Join(all[:mostForPython], "\x1e"))
			if !upgrade {
				for from := mostForPython; from < len(all); from += mostForPython {
					s.want("the next", p.get(), "200 "+strings.Join(all[from:min(len(all), from+mostForPython)], "\x1e"))
				}
				return
			}
			c := s.dial(p.SID)
			defer func() { _ = c.CloseNow() }()
			c.send("2probe")
			c.next()
			c.send("5")
			for _, want := range all[mostForPython:] {
				s.want("by the WebSocket", c.next(), want)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		p := s.poll()
		waiting := p.gets()
		wait(time.Second)
		c := s.dial(p.SID)
		defer func() { _ = c.CloseNow() }()
		c.send("2probe")
		s.want("probe", c.next(), "3probe")
		s.want("the poll that waits", <-waiting, "200 6")
		s.want("the next poll", p.get(), "200 6")
		start := time.Now()
		s.want("and the next", p.get(), "200 6")
		if got := time.Since(start); got != noopPause {
			t.Errorf("answered after %v, want %v", got, noopPause)
		}
		s.want("post", p.post("4by polling"), "200 ok")
		s.want("what has come, by polling", p.get(), "200 4by polling")
		s.want("post", p.post("4last"), "200 ok")
		c.send("5")
		c.send("4hello")
		s.want("the first message", c.next(), "4last")
		s.want("the second", c.next(), "4hello")
		s.want("polls", p.get(), badRequest)
		s.want("posts", p.post("4a"), badRequest)
		second := s.dial(p.SID)
		s.want("a second WebSocket", second.next(), "closed 1008")
		c.send("4still")
		s.want("afterwards", c.next(), "4still")
		now, total := s.server.Sessions(WebSocket)
		if polls, _ := s.server.Sessions(Polling); now != 1 || total != 1 || polls != 0 {
			t.Errorf("%d of %d, and %d by polling", now, total, polls)
		}
		s.want("the heartbeat goes on", c.next(), "2")
	})
}

// An upgrade that comes while a late poll waits: the poll is turned away.
func TestPollRacesUpgrade(t *testing.T) {
	inTime(t, Config{}, func(_ *testing.T, s *site) {
		p := s.poll()
		c := s.dial(p.SID)
		defer func() { _ = c.CloseNow() }()
		c.send("2probe")
		c.next()
		late := p.gets()
		wait(probeGrace / 2)
		c.send("5")
		s.want("the late poll", <-late, badRequest)
		c.send("4a")
		s.want("afterwards", c.next(), "4a")
	})
}

// gated is an endpoint whose Next waits.
type gated struct {
	echo
	gate chan struct{}
}

func (g *gated) Next(wait bool) (*Messages, error) {
	<-g.gate
	return g.echo.Next(wait)
}

// An upgrade while a poll is still asking the endpoint: the WebSocket goes on when
// the poll is done.
func TestUpgradeWhileAsked(t *testing.T) {
	var g *gated
	cfg := Config{Open: func(s *Session, _ *http.Request) Endpoint {
		g = &gated{echo{s: s, ended: -1}, make(chan struct{})}
		return g
	}}
	inTime(t, cfg, func(_ *testing.T, s *site) {
		p := s.poll()
		waiting := p.gets()
		wait(time.Millisecond)
		p.post("4one")
		wait(time.Millisecond)
		c := s.dial(p.SID)
		defer func() { _ = c.CloseNow() }()
		c.send("2probe")
		c.next()
		c.send("5")
		c.send("4two")
		synctest.Wait()
		close(g.gate)
		s.want("the poll", <-waiting, "200 4one\x1e4two")
		c.send("4three")
		s.want("the WebSocket", c.next(), "4three")
	})
}

// What goes wrong with a WebSocket that is tried ends that, not the session.
func TestProbeFails(t *testing.T) {
	for _, c := range []struct {
		name string
		try  func(c *socketClient)
	}{
		{"another packet", func(c *socketClient) { c.send("4hello") }},
		{"another probe", func(c *socketClient) { c.send("2prob") }},
		{"nonsense", func(c *socketClient) { c.send("x") }},
		{"cut", func(c *socketClient) { _ = c.CloseNow() }},
		{"another packet than the upgrade", func(c *socketClient) {
			c.send("2probe")
			c.next()
			c.send("6")
		}},
		{"silence", func(*socketClient) { wait(DefaultUpgradeTimeout) }},
		{"silence behind the probe", func(c *socketClient) {
			c.send("2probe")
			c.next()
			wait(DefaultUpgradeTimeout)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTime(t, Config{}, func(t *testing.T, s *site) {
				p := s.poll()
				ws := s.dial(p.SID)
				defer func() { _ = ws.CloseNow() }()
				c.try(ws)
				if got := ws.next(); got != "cut" && got != "closed 1000" {
					t.Errorf("the WebSocket: %s", got)
				}
				synctest.Wait()
				p.post("4hello")
				s.want("the session", p.get(), "200 4hello")
				again := s.dial(p.SID)
				defer func() { _ = again.CloseNow() }()
				again.send("2probe")
				s.want("another try", again.next(), "3probe")
			})
		})
	}
}

func TestDrain(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *site) {
		ws := s.dial("")
		ws.next()
		p, idle := s.poll(), s.poll()
		waiting := p.gets()
		wait(time.Second)
		s.server.Drain()
		s.want("WebSocket", ws.next(), "closed 1001")
		s.want("the poll that waits", <-waiting, "200 1")
		s.want("one that does not", idle.get(), unknown)
		got, _ := s.do(t.Context(), "GET", "EIO=4&transport=polling", "", nil)
		s.want("a new session", got, `503 {"code":4,"message":"the server is stopping"}`)
		if err := s.server.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// flood never runs dry.
type flood struct {
	echo
	asked int
}

func (f *flood) Next(bool) (*Messages, error) {
	f.asked++
	var b Builder
	b.Text([]byte(strings.Repeat("x", 1000)))
	return b.Messages(), nil
}

// A client that does not read is not asked for, and ends by the deadline; one
// that does has what it takes.
func TestSlowClient(t *testing.T) {
	var f *flood
	cfg := Config{Open: func(s *Session, _ *http.Request) Endpoint {
		f = &flood{echo: echo{s: s, ended: -1}}
		s.Wake()
		return f
	}}
	inTime(t, cfg, func(t *testing.T, s *site) {
		c := s.dial("")
		defer func() { _ = c.CloseNow() }()
		c.next()
		s.want("messages", fmt.Sprint(len(c.next())), "1001")
		wait(time.Second)
		if f.asked > 3*maxBatch/1000 {
			t.Errorf("asked %d times for a client that does not read", f.asked)
		}
		wait(wsconn.WriteTimeout + time.Second)
		if got := f.reason(); got != TransportError {
			t.Errorf("ended by %v", got)
		}
	})
	inTime(t, cfg, func(t *testing.T, s *site) {
		p := s.poll()
		if got := len(p.get()); got < maxPoll || got > maxPoll+2000 {
			t.Errorf("a poll of %d bytes", got)
		}
	})
}
