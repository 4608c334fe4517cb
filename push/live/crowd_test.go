package live

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/pushtest"
)

func from(peer string) *http.Request { return &http.Request{RemoteAddr: peer} }

func TestCrowd(t *testing.T) {
	c := crowd{most: 7, perAddr: 2, exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	var leave []func()
	for i, v := range []struct{ peer, want string }{
		{"192.0.2.1:1", ""},
		{"192.0.2.1:2", ""},
		{"192.0.2.1:3", "too many viewers from this address"},
		{"[::ffff:192.0.2.1]:4", "too many viewers from this address"},
		{"10.0.0.1:1", ""},
		{"10.0.0.1:2", ""},
		{"10.0.0.1:3", ""},
		{"nowhere", ""},
		{"127.0.0.1:1", ""}, // and now it is full
		{"[::1]:1", "too many viewers"},
		{"192.0.2.2:1", "too many viewers"},
	} {
		done, full := c.enter(from(v.peer))
		got := ""
		if full != nil {
			got = full.Message
		} else {
			leave = append(leave, done)
		}
		if got != v.want {
			t.Errorf("%d, %s: %q, want %q", i, v.peer, got, v.want)
		}
	}
	if n := c.turnedAway(); n != 4 {
		t.Errorf("%d were turned away", n)
	}
	leave[0]()
	if done, full := c.enter(from("192.0.2.1:5")); full != nil {
		t.Error("nobody gets the place that is free")
	} else {
		leave[0] = done
	}
	for _, done := range leave {
		done()
	}
	if c.all != 0 || len(c.from) != 0 {
		t.Errorf("%d are here, %v", c.all, c.from)
	}
}

// Sessions of Socket.IO count where there is no connection that would.
func TestTooManyFromOneAddress(t *testing.T) { synctest.Test(t, tooManyFromOneAddress) }

func tooManyFromOneAddress(t *testing.T) {
	h := New(Config{Feed: push.NewFeed(push.Config{Store: "s", History: &pushtest.Log{}}), MaxViewersPerAddr: 2})
	defer func() {
		h.Drain()
		if err := h.Wait(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	ask := func(method, peer, query, body string) (status int, answer string) {
		r := httptest.NewRequestWithContext(t.Context(), method, "/socket.io/?EIO=4&transport=polling&"+query, strings.NewReader(body))
		r.RemoteAddr = peer + ":1234"
		w := httptest.NewRecorder()
		h.SocketIO().ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	var first struct {
		SID string `json:"sid"`
	}
	for i, c := range []struct {
		peer string
		want int
	}{
		{"192.0.2.1", http.StatusOK},
		{"192.0.2.1", http.StatusOK},
		{"192.0.2.1", http.StatusTooManyRequests},
		{"192.0.2.2", http.StatusOK},
	} {
		status, answer := ask(http.MethodGet, c.peer, "", "")
		if status != c.want {
			t.Errorf("%d, %s: %d %s", i, c.peer, status, answer)
		}
		if i == 0 {
			if err := json.Unmarshal([]byte(answer[1:]), &first); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := h.Refused(); n != 1 {
		t.Errorf("%d were refused", n)
	}
	if status, answer := ask(http.MethodPost, "192.0.2.1", "sid="+first.SID, "1"); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	if status, answer := ask(http.MethodGet, "192.0.2.1", "sid="+first.SID, ""); answer != "6" {
		t.Fatal(status, answer)
	}
	synctest.Wait()
	if status, answer := ask(http.MethodGet, "192.0.2.1", "", ""); status != http.StatusOK {
		t.Errorf("nobody gets the place that is free: %d %s", status, answer)
	}
}
