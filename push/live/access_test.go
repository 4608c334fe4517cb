package live

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// A viewer with a limit gets what is within, whatever it asks for.
func TestLimitedViewer(t *testing.T) {
	limit, err := device.NewSelector([]string{"gh*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		g.as = func(r *http.Request) *http.Request {
			return r.WithContext(push.WithViewer(r.Context(), &push.Viewer{Name: "kitchen", Limit: limit}))
		}
		g.publish("gh1/x", "shed/x", "gh2/y", "shed/y")
		for _, c := range []struct{ query, want string }{
			{"after=s-0", "readings s-4: 1 3"},
			{"after=s-0&device=*&metric=*", "readings s-4: 1 3"},
			{"after=s-0&device=*2&device=shed", "readings s-4: 3"},
			{"last=1", "readings s-4: 1 3"},
			{"last=1&device=shed", "readings s-4"},
		} {
			if (k.polling() || k.Technique == Iframe) && c.want == "readings s-4" {
				continue // its viewer passes over messages without content
			}
			v := g.view(k, c.query)
			expect(t, v, c.want)
			v.close()
		}
		ws, ok := g.view(k, "device=gh1&presence=1&after=s-4").(*wsClient)
		if !ok {
			return
		}
		ws.send(`{"type":"subscribe","after":"s-0"}`)
		expect(t, ws, "subscribed s-0", "readings s-4: 1 3")
		ws.send(`{"type":"subscribe","device":["shed"],"last":1}`)
		expect(t, ws, "subscribed s-4", "readings s-4")
		g.feed.Announce(device.Presence{ID: "shed", State: device.Online})
		g.feed.Announce(device.Presence{ID: "gh1", State: device.Online})
		ws.send(`{"type":"subscribe"}`)
		expect(t, ws, "subscribed s-4", "device gh1 online")
	})
}

// A limit is no policy, whatever its pattern looks like: viewers share what they
// get by both.
func TestLimitIsNoPolicy(t *testing.T) {
	limit, err := device.NewSelector([]string{"1s"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		all := g.view(kind{WebSocket}, "policy=latest&every=1s&after=s-0")
		g.as = func(r *http.Request) *http.Request {
			return r.WithContext(push.WithViewer(r.Context(), &push.Viewer{Name: "kitchen", Limit: limit}))
		}
		limited := g.view(kind{WebSocket}, "after=s-0")
		g.publish("shed/x", "1s/x")
		expect(t, limited, "readings s-2: 2")
		expect(t, all, "readings s-2: 1 2")
	})
}

// A viewer whose access ends is cut off: a WebSocket is told why.
func TestAccessEnds(t *testing.T) {
	for _, k := range kinds[:Polling] {
		t.Run(k.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := piped(t, Config{})
				access, end := context.WithCancel(t.Context())
				g.as = func(r *http.Request) *http.Request {
					ctx, cancel := context.WithCancel(r.Context())
					context.AfterFunc(access, cancel)
					who := &push.Viewer{Name: "kitchen", OnEnd: func(f func()) func() {
						stop := context.AfterFunc(access, f)
						return func() { stop() }
					}}
					return r.WithContext(push.WithViewer(ctx, who)) //nolint:contextcheck // it is the request's own
				}
				if k.Technique == LongPolling {
					done := make(chan string, 1)
					go func() {
						resp, body := g.get(k.header(), "after=s-0&wait=25s")
						done <- resp.Status + body
					}()
					synctest.Wait()
					end()
					if got := <-done; !strings.Contains(got, "401") || !strings.Contains(got, accessEnded) {
						t.Error(got)
					}
					return
				}
				v := g.view(k, "")
				g.publish("a/x")
				expect(t, v, "readings s-1: 1")
				end()
				synctest.Wait()
				g.publish("a/x")
				m, err := v.next()
				if err == nil {
					t.Errorf("got %v afterwards", m)
				}
				if k.Technique == WebSocket && !strings.Contains(err.Error(), "StatusPolicyViolation") {
					t.Error(err)
				}
				synctest.Wait()
				if now, _ := g.handler.Viewers(k.Technique); now != 0 {
					t.Errorf("%d viewers are left", now)
				}
				if s := g.logged.String(); s != "" {
					t.Errorf("logged: %s", s)
				}
			})
		})
	}
}

// So is one to whom a goroutine is writing, once he takes what is on its way.
func TestAccessEndsWhileBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := piped(t, Config{})
		access, end := context.WithCancel(t.Context())
		g.as = func(r *http.Request) *http.Request {
			return r.WithContext(push.WithViewer(r.Context(), &push.Viewer{OnEnd: func(f func()) func() { //nolint:contextcheck // it is the request's own
				stop := context.AfterFunc(access, f)
				return func() { stop() }
			}}))
		}
		v := g.view(kind{WebSocket}, "after=s-0")
		g.publish(series(5000)...)
		synctest.Wait() // the first message is on its way
		end()
		synctest.Wait()
		var err error
		got := 0
		for err == nil {
			var m message
			m, err = v.next()
			got += len(m.Readings)
		}
		if !strings.Contains(err.Error(), "StatusPolicyViolation") || got == 0 || got == 5000 {
			t.Errorf("%d readings, then %v", got, err)
		}
	})
}
