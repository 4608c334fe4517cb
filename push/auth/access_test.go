package auth

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

func decode(text string, v any) bool { return json.Unmarshal([]byte(text), v) == nil }

func bearer(secret string) []string { return []string{"Authorization", "Bearer " + secret} }

// A token is made, seen in the list without its secret, used, and revoked.
func TestAccessLifeCycle(t *testing.T) {
	h := newHouse(t, Config{})
	made, secret := h.order(`{"name":"kitchen","role":"viewer","devices":["gh*"],"ttl":"30d"}`)
	h.inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := push.ViewerOf(r)
		if v.Limit.MatchDevice("gh1") && !v.Limit.MatchDevice("shed") {
			_, _ = w.Write([]byte(push.By(r)))
		}
	})
	if status, text := h.do(http.MethodGet, "/api/v1/readings", "", bearer(secret)...); status != 200 || text != "kitchen at 192.168.1.5:5000" {
		t.Errorf("%d %s", status, text)
	}
	var list struct{ Access []Access }
	status, text := h.do(http.MethodGet, "/api/v1/access", "", bearer(token)...)
	if status != 200 || !decode(text, &list) || len(list.Access) != 1 || strings.Contains(text, secret) {
		t.Fatalf("%d %s", status, text)
	}
	if a := list.Access[0]; a.ID != made.ID || a.Name != "kitchen" || a.Role != "viewer" || len(a.Devices) != 1 || a.State != "valid" ||
		string(a.Expires) == "" || string(a.Used) == "" || string(a.Created) == "" {
		t.Errorf("%s", text)
	}
	status, text = h.do(http.MethodGet, "/api/v1/session", "", bearer(secret)...)
	if want := `{"name":"kitchen","role":"viewer","devices":["gh*"],"expires":` + string(made.Expires) + `,"token":true}` + "\n"; status != 200 || text != want {
		t.Errorf("%d %s, want %s", status, text, want)
	}
	for _, want := range []int{204, 404} {
		if status, text := h.do(http.MethodDelete, "/api/v1/access/1", "", bearer(token)...); status != want {
			t.Errorf("%d %s, want %d", status, text, want)
		}
	}
	if status, _ := h.do(http.MethodGet, "/api/v1/readings", "", bearer(secret)...); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
}

func TestAccessRefusals(t *testing.T) {
	h := newHouse(t, Config{})
	for _, c := range []struct {
		method, target, body string
		want                 int
		text                 string
	}{
		{"POST", "/api/v1/access", `{"name":"a","role":"viewer","ttl":3600}`, 201, ""},
		{"POST", "/api/v1/access", `{"name":"b","role":"viewer","ttl":null}`, 201, ""},
		{"POST", "/api/v1/access", `{`, 400, "want {"},
		{"POST", "/api/v1/access", `{"name":"c"}`, 400, "role"},
		{"POST", "/api/v1/access", `{"name":"c","role":"root"}`, 400, "role"},
		{"POST", "/api/v1/access", `{"role":"viewer"}`, 400, "name"},
		{"POST", "/api/v1/access", `{"name":"c","role":"admin","devices":["gh*"]}`, 400, "devices"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","devices":"gh*"}`, 400, "want {"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","ttl":"soon"}`, 400, "ttl"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","ttl":"0d"}`, 400, "ttl"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","ttl":"-1h"}`, 400, "ttl"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","ttl":0}`, 400, "ttl"},
		{"POST", "/api/v1/access", `{"name":"c","role":"viewer","ttl":1e300}`, 400, "ttl"},
		{"POST", "/api/v1/access", `{"name":"` + strings.Repeat("x", 20<<10) + `"}`, 400, "too long"},
		{"PUT", "/api/v1/access", "", 405, "want GET or POST"},
		{"GET", "/api/v1/access/1", "", 405, "want DELETE"},
		{"DELETE", "/api/v1/access/x", "", 404, "no such access"},
		{"DELETE", "/api/v1/access/0", "", 404, "no such access"},
		{"DELETE", "/api/v1/access/99", "", 404, "no such access"},
		{"POST", "/api/v1/session", "", 405, "want GET"},
	} {
		status, text := h.do(c.method, c.target, c.body, bearer(token)...)
		if status != c.want || !strings.Contains(text, c.text) {
			t.Errorf("%s %s %.60s: %d %.200s; want %d %s", c.method, c.target, c.body, status, text, c.want, c.text)
		}
	}
	h.grants.fail = errDisk
	for _, c := range [][2]string{{"POST", "/api/v1/access"}, {"DELETE", "/api/v1/access/1"}} {
		if status, text := h.do(c[0], c[1], `{"name":"d","role":"viewer"}`, bearer(token)...); status != 500 || strings.Contains(text, "sector") {
			t.Errorf("%s: %d %s", c, status, text)
		}
	}
	if status, _ := h.do(http.MethodGet, "/api/v1/readings", "", bearer(token)...); status != 200 {
		t.Error("the admin is out")
	}
}

// What is under way ends with the access: at once when it is revoked, within a
// second when its time is over.
func TestStreamsEndWithTheAccess(t *testing.T) {
	for name, end := range map[string]struct {
		do   func(h *house)
		took time.Duration
	}{
		"revoked": {func(h *house) { h.do(http.MethodDelete, "/api/v1/access/1", "", bearer(token)...) }, 0},
		"expired": {func(h *house) { h.wait(2 * time.Hour) }, checkPause},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Config{})
				ctx, cancel := context.WithCancel(t.Context())
				ran := make(chan error, 1)
				go func() { ran <- h.Run(ctx) }()
				_, secret := h.order(`{"name":"kitchen","role":"viewer","ttl":"1h"}`)
				_, other := h.order(`{"name":"cellar","role":"viewer"}`)
				over := make(chan string, 3)
				h.inner = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					<-r.Context().Done()
					over <- push.ViewerOf(r).Name
				})
				session := h.sessions.cookie(h.grants.Grants()[0], h.at(), false)
				leave, left := context.WithCancel(t.Context())
				for _, fields := range [][]string{bearer(secret), {"Cookie", session.Name + "=" + session.Value}, bearer(other)} {
					go h.Wrap(h.inner).ServeHTTP(discard{}, request(leave, "/api/v1/live", fields))
				}
				synctest.Wait()
				end.do(h)
				<-time.After(end.took)
				synctest.Wait()
				if len(over) != 2 || <-over != "kitchen" || <-over != "kitchen" {
					t.Error("those of the one access are to end, and no other")
				}
				for _, fields := range [][]string{bearer(secret), {"Cookie", session.Name + "=" + session.Value}} {
					if status, _ := h.do(http.MethodGet, "/api/v1/live", "", fields...); status != 401 {
						t.Errorf("afterwards: %d", status)
					}
				}
				left()
				cancel()
				if err := <-ran; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// discard is a ResponseWriter for who does not look.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

func request(ctx context.Context, target string, fields []string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gw:7780"+target, nil)
	if err != nil {
		panic(err)
	}
	r.RemoteAddr = "192.168.1.5:5000"
	r.Header.Set(fields[0], fields[1])
	return r
}

// Grants that damage has taken open nothing, and no token is theirs.
func TestDamagedGrant(t *testing.T) {
	m := &memory{now: time.Now, all: []*device.Grant{{ID: 1, Damaged: true}, {ID: 2, Name: "short", Role: device.RoleAdmin, Hash: []byte{1}}}}
	g := guard(t, Config{Grants: m})
	for _, secret := range []string{"", "x", token} {
		if h := g.holders.withHash(hashOf(secret), 0); h != nil {
			t.Errorf("%q opens %v", secret, h.grant)
		}
	}
	c := g.sessions.cookie(m.all[0], time.Now(), false)
	if h := g.sessions.read(c.Value, &g.holders, time.Now()); h != nil {
		t.Errorf("a session opens %v", h.grant)
	}
	g.holders.remove(1)
	g.holders.remove(2)
	g.holders.remove(3)
}

func FuzzParseGrantOrder(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","role":"viewer","devices":["gh*"],"ttl":"30d"}`, `{"name":"a","role":"writer","ttl":3600.5}`, `{"ttl":"-1h"}`, `{"ttl":null}`, `[]`, "\xff",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o, err := parseGrantOrder(strings.NewReader(text))
		if err != nil {
			return
		}
		if o.Life < 0 || len(text) > maxOrder {
			t.Fatalf("%q: %+v", text, o)
		}
		if g, secret, err := o.Grant(1); err == nil && (g.Expires < 0 || secret == "" || g.Role != o.Role) {
			t.Fatalf("%q: %+v", text, g)
		}
	})
}
