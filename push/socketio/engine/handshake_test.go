package engine

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

var upgradeHeader = http.Header{
	"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
	"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
}

func TestHandshakeErrors(t *testing.T) {
	const (
		transport = `400 {"code":0,"message":"Transport unknown"}`
		session   = `400 {"code":1,"message":"Session ID unknown"}`
		method    = `400 {"code":2,"message":"Bad handshake method"}`
		request   = `400 {"code":3,"message":"Bad request"}`
		version   = `400 {"code":5,"message":"Unsupported protocol version"}`
	)
	for _, c := range []struct {
		method, query string
		header        http.Header
		want          string
	}{
		{"GET", "EIO=4", nil, transport},
		{"GET", "EIO=4&transport=abc", nil, transport},
		{"GET", "EIO=4&transport=webtransport", nil, transport},
		{"GET", "", nil, transport},
		{"GET", "EIO=4&transport=websocket", nil, request},
		{"GET", "EIO=4&transport=polling", upgradeHeader, request},
		{"GET", "EIO=4&transport=polling&sid=%zz", nil, request},
		{"GET", "EIO=4&transport=polling", http.Header{"Origin": {"a\tb\x80"}}, `200 0{`},
		{"GET", "EIO=4&transport=polling&sid=nobody", nil, session},
		{"GET", "EIO=4&transport=polling&sid=", nil, session},
		{"POST", "EIO=4&transport=polling&sid=nobody", nil, session},
		{"GET", "EIO=4&transport=websocket&sid=nobody", upgradeHeader, session},
		{"POST", "EIO=4&transport=polling", nil, method},
		{"PUT", "EIO=4&transport=polling", nil, method},
		{"OPTIONS", "EIO=4&transport=polling", nil, method},
		{"HEAD", "EIO=4&transport=polling", nil, "400 "},
		{"GET", "transport=polling", nil, version},
		{"GET", "EIO=abc&transport=polling", nil, version},
		{"GET", "EIO=3&transport=polling", nil, version},
		{"GET", "transport=websocket", upgradeHeader, version},
		{"GET", "EIO=3&transport=websocket", upgradeHeader, version},
		{"GET", "EIO=4&transport=websocket", merged(upgradeHeader, "Sec-Websocket-Version", "8"), `400 {"code":3,"message":"unsupported WebSocket`},
		{"GET", "EIO=4&transport=websocket", merged(upgradeHeader, "Origin", "https://evil.com"), request},
	} {
		t.Run(c.method+" "+c.query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, Config{})
				got, header := s.do(t.Context(), c.method, c.query, "", c.header)
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("%s, want %s", got, c.want)
				}
				if strings.HasPrefix(got, "400 {") && header.Get("Content-Type") != "application/json" {
					t.Errorf("Content-Type %s", header.Get("Content-Type"))
				}
			})
		})
	}
}

func merged(h http.Header, name, value string) http.Header {
	h = h.Clone()
	h.Set(name, value)
	return h
}

func TestHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Config{PingInterval: time.Minute})
		want := opened{"", []string{"websocket"}, 60_000, 20_000, 1_000_000}
		p := s.poll()
		if len(p.SID) != 20 {
			t.Errorf("sid %q", p.SID)
		}
		p.SID = ""
		if d := cmp.Diff(want, p.opened); d != "" {
			t.Error(d)
		}
		_, header := s.do(t.Context(), "GET", "EIO=4&transport=polling", "", nil)
		if header.Get("Content-Type") != "text/plain; charset=UTF-8" || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%v", header)
		}
		c := s.dial("")
		defer func() { _ = c.CloseNow() }()
		if got := c.next(); !strings.HasPrefix(got, `0{"sid":"`) || !strings.HasSuffix(got, `","upgrades":[],"pingInterval":60000,"pingTimeout":20000,"maxPayload":1000000}`) {
			t.Error(got)
		}
	})
}

func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Int64
		var refuse error
		s := newSite(t, Config{MaxSessions: 3, Admit: func(*http.Request) (func(), error) {
			return func() { released.Add(1) }, refuse
		}})
		const open = "EIO=4&transport=polling"
		one := s.poll()
		refuse = errors.New("not you")
		if got, _ := s.do(t.Context(), "GET", open, "", nil); got != `403 {"code":4,"message":"not you"}` {
			t.Error(got)
		}
		refuse = &Refusal{http.StatusTooManyRequests, 7, "slower"}
		got, header := s.do(t.Context(), "GET", "EIO=4&transport=websocket", "", upgradeHeader)
		if got != `429 {"code":4,"message":"slower"}` || header.Get("Retry-After") != "7" {
			t.Error(got, header)
		}
		refuse = nil
		if _, _ = s.do(t.Context(), "GET", "EIO=3&transport=polling", "", nil); released.Load() != 1 {
			t.Errorf("%d were released, want that of a wrong version", released.Load())
		}
		s.poll()
		s.poll()
		got, header = s.do(t.Context(), "GET", open, "", nil)
		if got != `503 {"code":4,"message":"too many sessions"}` || header.Get("Retry-After") != "5" {
			t.Error(got, header)
		}
		one.post("1")
		one.get()
		synctest.Wait()
		if released.Load() != 2 || s.server.Refused() != 3 {
			t.Errorf("%d released, %d refused", released.Load(), s.server.Refused())
		}
		s.poll()
	})
}

// A client that takes gzip gets what is long compressed.
func TestCompressedPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, Config{})
		p := s.poll()
		for _, c := range []struct {
			accept string
			size   int
			packed bool
		}{{"gzip", 100, false}, {"gzip", 5000, true}, {"", 5000, false}} {
			message := "4" + strings.Repeat("x", c.size)
			p.post(message)
			got, header := s.do(t.Context(), "GET", "EIO=4&transport=polling&sid="+p.SID, "", http.Header{"Accept-Encoding": {c.accept}})
			if packed := header.Get("Content-Encoding") == "gzip"; packed != c.packed || header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q, %d bytes: compressed: %v, Vary %q", c.accept, c.size, packed, header.Get("Vary"))
			}
			if c.packed {
				z, err := gzip.NewReader(strings.NewReader(strings.TrimPrefix(got, "200 ")))
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(z)
				if err != nil || len(got) > c.size/2 {
					t.Errorf("%d bytes in %d, %v", len(b), len(got), err)
				}
				got = "200 " + string(b)
			}
			if got != "200 "+message {
				t.Errorf("%.20s, %d bytes", got, len(got))
			}
		}
	})
}

// A session that the server has closed takes its place until its client has been told, or
// long enough could have.
func TestReleasedWhenTold(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var released atomic.Int64
			s := newSite(t, Config{Admit: func(*http.Request) (func(), error) { return func() { released.Add(1) }, nil }})
			p := s.poll()
			p.post("4leave")
			synctest.Wait()
			if released.Load() != 0 {
				t.Error("released before")
			}
			if told {
				if got := p.get(); got != "200 1" {
					t.Error(got)
				}
			} else {
				<-time.After(closeHold)
			}
			synctest.Wait()
			if released.Load() != 1 {
				t.Errorf("told %v: released %d times", told, released.Load())
			}
		})
	}
}

func TestCORS(t *testing.T) {
	const (
		here  = "http://site"
		there = "https://dash.example.org"
	)
	for _, c := range []struct {
		name    string
		origins []string
		origin  string
		allow   string
		upgrade bool // may
	}{
		{"no page", nil, "", "", true},
		{"the own page", nil, here, "", true},
		{"another page", nil, there, "", false},
		{"every page", []string{"*"}, there, "*", true},
		{"every page, of a file", []string{"*"}, "null", "*", true},
		{"a pattern", []string{"[", "https://*.example.org"}, there, there, true},
		{"not the pattern", []string{"https://*.example.org"}, "https://example.com", "", false},
		{"hidden in a pattern", []string{"https://*.example.org"}, "https://evil.com/a.example.org", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, Config{Origins: c.origins})
				from := http.Header{}
				if c.origin != "" {
					from.Set("Origin", c.origin)
				}
				for _, query := range []string{"EIO=4&transport=polling", "EIO=4&transport=nothing"} { // errors too
					_, header := s.do(t.Context(), "GET", query, "", from)
					if got := header.Get("Access-Control-Allow-Origin"); got != c.allow {
						t.Errorf("%s: %q, want %q", query, got, c.allow)
					}
				}
				if c.allow != "" {
					got, header := s.do(t.Context(), "OPTIONS", "EIO=4&transport=polling", "",
						merged(merged(from, "Access-Control-Request-Method", "POST"), "Access-Control-Request-Headers", "x-a"))
					if got != "204 " || header.Get("Access-Control-Allow-Headers") != "x-a" || header.Get("Access-Control-Allow-Methods") == "" {
						t.Error(got, header)
					}
				}
				ws, resp, err := websocket.Dial(t.Context(), "ws://site/?EIO=4&transport=websocket", //nolint:bodyclose // the library closes it
					&websocket.DialOptions{HTTPClient: s.client, HTTPHeader: from})
				if (err == nil) != c.upgrade {
					t.Errorf("%v %v", resp, err)
				}
				if err == nil {
					_ = ws.CloseNow()
				}
			})
		})
	}
}
