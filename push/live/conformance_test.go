package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// settle lets a viewer reach the gateway's present: polls without a cursor
// begin at the first one.
func (g *gateway) settle(k kind, v viewer) {
	g.t.Helper()
	p, ok := v.(*pollViewer)
	if !ok || p.q.Has("after") || p.q.Has("last") {
		return
	}
	_, body := g.get(http.Header{}, "")
	m, err := parseMessage([]byte(body))
	if err != nil || m.Type != "readings" || m.Cursor == "" {
		g.t.Fatalf("%v: %v, %v", k, m, err)
	}
	p.q.Set("after", m.Cursor)
}

// stopping reports whether the feed is closed.
func (g *gateway) stopping() bool {
	s, err := g.feed.Subscribe(g.t.Context(), push.Options{})
	if err != nil {
		g.t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Poll(g.t.Context())
	return errors.Is(err, push.ErrClosed)
}

// expect takes n messages, which are to be these.
func expect(t *testing.T, v viewer, want ...string) {
	t.Helper()
	var got []string
	for range want {
		m, err := v.next()
		if err != nil {
			got = append(got, err.Error())
			break
		}
		got = append(got, m.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal("messages (-want +got):\n", d)
	}
}

// collect takes readings up to the offset last, which must come in order, once,
// as the contract writes them.
func collect(t *testing.T, g *gateway, v viewer, after, last uint64) {
	t.Helper()
	want := g.log.Wanted(device.Selector{}, after, last)
	for len(want) > 0 {
		m, err := v.next()
		if err != nil {
			t.Fatalf("%v, with %d readings to come", err, len(want))
		}
		for _, raw := range m.Readings {
			if len(want) == 0 || string(raw) != string(want[0].AppendJSON(nil)) {
				t.Fatalf("got %s, %d are to come", raw, len(want))
			}
			want = want[1:]
		}
	}
}

// ended takes the orderly end.
func ended(t *testing.T, v viewer) {
	t.Helper()
	if m, err := v.next(); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, %v; want the end", m, err)
	}
}

func TestOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish(series(700)...) // more than the ring holds
		v := g.view(k, "after=s-0")
		collect(t, g, v, 0, 700)
		for range 30 {
			g.publish("a/x", "b/y", "a/z")
		}
		collect(t, g, v, 700, 790)
		g.publish("c/x")
		collect(t, g, v, 790, 791)
	})
}

func TestFromNow(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish("a/x", "a/x")
		v := g.view(k, "")
		g.settle(k, v)
		g.publish("a/x", "a/y")
		expect(t, v, "readings s-4: 3 4")
	})
}

func TestResumeAnywhere(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		const n = 12
		for range n {
			g.publish("a/x")
		}
		for after := range uint64(n) {
			v := g.view(k, "after=s-"+strconv.FormatUint(after, 10))
			collect(t, g, v, after, n)
			v.close()
		}
	})
}

// A viewer goes from technique to technique and takes its cursor along.
func TestSwitching(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		last := uint64(0)
		cursor := "s-0"
		for i := range 2 * len(kinds) {
			g.publish("a/x", "b/x", "a/y")
			next := kinds[(int(k.Technique)+i)%len(kinds)]
			v := g.view(next, "device=a&after="+cursor)
			m, err := v.next()
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("readings s-%d: %d %d", last+3, last+1, last+3)
			if m.String() != want {
				t.Fatalf("%v: got %v, want %s", next, m, want)
			}
			last, cursor = last+3, m.Cursor
			v.close()
		}
	})
}

func TestFilter(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish("gh1/air.temperature", "gh1/air.humidity", "gh2/air.temperature", "shed/air.temperature", "gh10/door")
		for _, c := range []struct{ query, want string }{
			{"device=gh1", "readings s-5: 1 2"},
			{"device=gh*", "readings s-5: 1 2 3 5"},
			{"device=gh?", "readings s-5: 1 2 3"},
			{"metric=*temperature", "readings s-5: 1 3 4"},
			{"device=shed&device=gh2", "readings s-5: 3 4"},
			{"device=gh1&metric=door&metric=air.h*", "readings s-5: 2"},
			{"device=*&metric=*", "readings s-5: 1 2 3 4 5"},
		} {
			v := g.view(k, "after=s-0&"+c.query)
			m, err := v.next()
			// The cursor is the last reading looked at, not the last that passed.
			if got := m.String(); err != nil || got != c.want {
				t.Errorf("%s: got %s, %v; want %s", c.query, got, err, c.want)
			}
			v.close()
		}
	})
}

func TestLast(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish("a/x", "a/x", "b/x", "a/x", "b/y")
		v := g.view(k, "last=2")
		expect(t, v, "readings s-5: 2 3 4 5")
		g.publish("a/x")
		expect(t, v, "readings s-6: 6")
		one := g.view(k, "last=1&device=a")
		expect(t, one, "readings s-6: 6")
	})
}

func TestGap(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish(series(1000)...)
		g.log.Drop(900)
		v := g.view(k, "after=s-100")
		// The ring is smaller than what retention took.
		expect(t, v, "gap s-900 s-100 retention")
		collect(t, g, v, 900, 1000)
	})
}

func TestReset(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish("a/x", "a/x")
		for _, after := range []string{"other-1", "s-3"} {
			v := g.view(k, "after="+after)
			expect(t, v, "reset s-2 unknown cursor")
			v.close()
		}
		v := g.view(k, "after=other-9")
		expect(t, v, "reset s-2 unknown cursor")
		g.publish("a/x")
		expect(t, v, "readings s-3: 3")
	})
}

// All that was published before the feed is closed arrives, then a clean end.
func TestDrain(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		live, behind := g.view(k, "after=s-0"), g.view(k, "after=s-0&device=a")
		g.publish("a/x")
		expect(t, live, "readings s-1: 1")
		g.publish(series(5000)...)
		g.feed.Close()
		collect(t, g, live, 1, 5001)
		collect(t, g, behind, 0, 5001)
		ended(t, live)
		ended(t, behind)
		live.close()
		behind.close()
		if err := g.handler.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if s := g.logged.String(); s != "" {
			t.Errorf("an orderly end was logged: %s", s)
		}
	})
}

func TestLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish(series(5)...)
		v := g.view(k, "after=s-0&limit=2")
		if !k.polling() { // a stream takes no notice
			expect(t, v, "readings s-5: 1 2 3 4 5")
			return
		}
		expect(t, v, "readings s-2: 1 2", "readings s-4: 3 4", "readings s-5: 5")
	})
}

// Every technique has the policies, and from a cursor that lies behind.
func TestPolicies(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish("a/x", "a/x", "b/x", "a/x")
		expect(t, g.view(k, "after=s-0&policy=latest"), "readings s-4: 3 4")
		expect(t, g.view(k, "after=s-0&every=1s&device=a"), "readings s-4: 4")
		expect(t, g.view(k, "after=s-0&deadband=2"), "readings s-4: 1 3 4") // their values count from 0
	})
}

// A viewer that stops reading is ended by the write deadline and misses nothing
// when it comes back; the others do not notice it.
func TestSlowViewer(t *testing.T) {
	for _, k := range append(slices.Clone(kinds[:LongPolling]), kind{SocketIOWebSocket}) {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				slow, quick := g.view(k, "after=s-0"), g.eager(g.view(k, "after=s-0"))
				for i := range uint64(20) {
					g.publish(series(300)...)
					collect(t, g, quick, i*300, i*300+300)
					<-time.After(100 * time.Millisecond)
				}
				m, err := slow.next() // the first message was on its way already
				if err != nil || len(m.Readings) == 0 {
					t.Fatal(m, err)
				}
				// Now it takes nothing for longer than any write may take.
				<-time.After(writeTimeout + 5*time.Second)
				synctest.Wait()
				if now, _ := g.handler.Viewers(k.Technique); now != 1 {
					t.Errorf("%d viewers are there, want the quick one only", now)
				}
				cursor := m.Cursor
				for {
					m, err := slow.next()
					if err != nil {
						if errors.Is(err, io.EOF) {
							t.Error("a broken stream ended in good order")
						}
						break
					}
					cursor = m.Cursor
				}
				c, err := push.ParseCursor(cursor)
				if err != nil {
					t.Fatal(err)
				}
				back := g.view(k, "after="+cursor)
				collect(t, g, back, c.Offset, math.MaxUint64)
				g.publish("a/x")
				expect(t, quick, "readings s-6001: 6001")
				expect(t, back, "readings s-6001: 6001")
			})
		})
	}
}

func TestBadRequests(t *testing.T) {
	atEndpoint(t, Config{}, func(t *testing.T, g *gateway, k kind) {
		for _, c := range []struct{ query, want string }{
			{"device=a%00b", `invalid device pattern "a\x00b": it holds a control character`},
			{"metric=a&metric=%0a", `invalid metric pattern "\n": it holds a control character`},
			{"after=x", "after: malformed cursor: want <store>-<offset>"},
			{"after=s-x", "after: malformed cursor: the offset is no number"},
			{"last=0", "last: want a number from 1 to 1000"},
			{"last=1001", "last: want a number from 1 to 1000"},
			{"last=many", "last: want a number from 1 to 1000"},
			{"limit=-1", "limit: want a number from 1 to 10000"},
			{"limit=10001", "limit: want a number from 1 to 10000"},
			{"wait=soon", "wait: want a duration such as 25s"},
			{"policy=some", `policy: want all or latest, not "some"`},
			{"every=1ms", "every: want a duration from 100ms to 1h0m0s, such as 1s"},
			{"deadband=-1", "deadband: want a number, not negative"},
			{"wait=-1s", "wait: want a duration such as 25s"},
			{"device=%zz", "the query is malformed"},
			{"device=a;metric=b", "the query is malformed"},
		} {
			resp, body := g.get(k.header(), c.query)
			var got struct{ Error string }
			if err := json.Unmarshal([]byte(body), &got); err != nil || got.Error != c.want || resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s %s; want 400 %s", c.query, resp.Status, body, c.want)
			}
			if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("%s: Content-Type %s", c.query, ct)
			}
		}
		h := k.header()
		h.Set("Last-Event-ID", "?")
		want := `{"error":"Last-Event-ID: malformed cursor: want \u003cstore\u003e-\u003coffset\u003e"}` + "\n"
		if resp, body := g.get(h, "after=s-0"); resp.StatusCode != http.StatusBadRequest || body != want {
			t.Errorf("Last-Event-ID: %s %s", resp.Status, body)
		}
		for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodOptions} {
			resp, body := g.request(method, k.header(), "")
			if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" ||
				method != http.MethodHead && body != `{"error":"want GET"}`+"\n" {
				t.Errorf("%s: %s %s", method, resp.Status, body)
			}
		}
	})
}

func TestTooManyViewers(t *testing.T) {
	atEndpoint(t, Config{MaxViewers: 2}, func(t *testing.T, g *gateway, k kind) {
		stream := kind{Stream}
		one, two := g.view(stream, "last=1"), g.view(stream, "last=1")
		expect(t, one, "readings s-0")
		expect(t, two, "readings s-0")
		resp, body := g.get(k.header(), "")
		if resp.StatusCode != http.StatusServiceUnavailable || body != `{"error":"too many viewers"}`+"\n" || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s", resp.Status, body)
		}
		one.close()
		for now := int64(2); now > 1; now, _ = g.handler.Viewers(Stream) {
			<-time.After(time.Millisecond)
		}
		g.publish("a/x")
		three := g.view(k, "last=1")
		expect(t, three, "readings s-1: 1")
	})
}

// What goes wrong in the store is logged, and told in words of ours.
func TestStoreFails(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.publish(series(2000)...)
		g.log.Fail(errors.New("sector 7 is gone"))
		if k.polling() {
			resp, body := g.get(k.header(), "after=s-0&wait=1s")
			if resp.StatusCode != http.StatusInternalServerError || body != `{"error":"the store cannot be read"}`+"\n" {
				t.Errorf("%s %s", resp.Status, body)
			}
		} else {
			v := g.view(k, "after=s-0")
			// A poll of Socket.IO has one word for every end; its client comes again.
			if m, err := v.next(); err == nil || errors.Is(err, io.EOF) && k.Technique != SocketIOPolling {
				t.Errorf("got %v, %v; want a broken stream", m, err)
			}
			v.close()
		}
		if s := g.logged.String(); !strings.Contains(s, "sector 7 is gone") {
			t.Errorf("logged: %q", s)
		}
	})
}
