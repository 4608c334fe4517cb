package main

import (
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/device"
)

// route is what somebody may want, and who may have it.
type route struct {
	pattern string
	method  string
	may     string // everybody, anybody with access, viewers, writers, admins
}

// routes are all that the HTTP listener serves.
var routes = []route{
	{"GET /healthz", "GET", "everybody"},
	{"GET /readyz", "GET", "everybody"},
	{"GET /api/v1/ca.crt", "GET", "everybody"},
	{"/ping", "GET", "everybody"},
	{"/health", "GET", "everybody"},
	{"/login", "GET", "everybody"},
	{"/logout", "GET", "everybody"},
	{"/client/", "GET", "everybody"},

	{"/api/v1/session", "GET", "anybody with access"},

	{"/", "GET", "viewers"},
	{"/api/v1/live", "GET", "viewers"},
	{"/api/v1/live/techniques", "GET", "viewers"},
	{"/socket.io", "GET", "viewers"},
	{"/socket.io/{$}", "GET", "viewers"},
	{"/api/v1/about", "GET", "viewers"},
	{"/api/v1/devices", "GET", "viewers"},
	{"/api/v1/devices/{id}", "GET", "viewers"},
	{"/api/v1/series", "GET", "viewers"},
	{"/api/v1/readings", "GET", "viewers"},
	{"/api/v1/readings/count", "GET", "viewers"},
	{"/api/v1/history", "GET", "viewers"},

	{"/api/v1/write", "POST", "writers"},
	{"/write", "POST", "writers"},
	{"/query", "GET", "writers"},
	{"/api/v2/write", "POST", "writers"},
	{"/api/v2/", "GET", "writers"},

	{"/metrics", "GET", "admins"},
	{"/api/v1/access", "GET", "admins"},
	{"/api/v1/access", "POST", "admins"},
	{"/api/v1/access/{id}", "DELETE", "admins"},
	{"/api/v1/refused", "GET", "admins"},
	{"/api/v1/limits", "GET", "admins"},
	{"/api/v1/stats", "GET", "admins"},
	{"/api/v1/import", "POST", "admins"},
	{"/api/v1/backup", "GET", "admins"},
	{"GET /api/v1/backup/{id}/{name}", "GET", "admins"},
	{"DELETE /api/v1/backup/{id}", "DELETE", "admins"},
	{"POST /api/v1/qr", "POST", "admins"},
	{"GET /api/v1/registry", "GET", "admins"},
	{"GET /api/v1/registry/{id}", "GET", "admins"},
	{"POST /api/v1/registry", "POST", "admins"},
	{"PATCH /api/v1/registry/{id}", "PATCH", "admins"},
	{"DELETE /api/v1/registry/{id}", "DELETE", "admins"},
	{"POST /api/v1/registry/{id}/approve", "POST", "admins"},
	{"POST /api/v1/registry/{id}/rotate", "POST", "admins"},
	{"POST /api/v1/registry/{id}/revoke", "POST", "admins"},
	{"GET /api/v1/devices/{id}/commands", "GET", "admins"},
	{"POST /api/v1/devices/{id}/commands", "POST", "admins"},
	{"DELETE /api/v1/devices/{id}/commands/{n}", "DELETE", "admins"},
}

// opened returns a gateway that is open and does not run.
func opened(t *testing.T) *gateway {
	t.Helper()
	var s settings
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags(f)
	s.Data, s.UDP, s.TCP, s.HTTP = t.TempDir(), "off", "off", "127.0.0.1:0"
	g, err := openGateway(t.Context(), &s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.abandon(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// Each route is for whom the list says, in whatever way they show who they are. One
// that is not in the list fails.
func TestRoutes(t *testing.T) {
	t.Parallel()
	g := opened(t)
	listed := map[string]bool{}
	for _, r := range routes {
		listed[r.pattern] = true
	}
	served := append(slices.Collect(maps.Keys(g.handlers())), g.api.Patterns()...)
	served = append(served, "/login", "/logout", "/api/v1/session", "/api/v1/access", "/api/v1/access/{id}")
	for _, pattern := range served {
		if pattern != "/api/" && !listed[pattern] {
			t.Errorf("%s is served, and the list does not say to whom", pattern)
		}
	}
	for pattern := range listed {
		if !slices.Contains(served, pattern) {
			t.Errorf("%s is listed and not served", pattern)
		}
	}
	tokens := map[string]string{"first": g.token}
	for _, role := range device.Roles {
		for _, o := range []device.GrantOrder{{Name: role.String(), Role: role}, {Name: role.String() + " that was revoked", Role: role}} {
			made, token := makeAccess(t, g, o)
			tokens[o.Name] = token
			if strings.HasSuffix(o.Name, "revoked") {
				do(g, http.MethodDelete, "/api/v1/access/"+made, g.token)
			}
		}
	}
	admins := []string{"here", "first", "admin"}
	may := map[string][]string{
		"everybody":           {"here", "nobody", "wrong", "first", "viewer", "writer", "admin", "viewer that was revoked", "writer that was revoked", "admin that was revoked"},
		"anybody with access": append([]string{"viewer", "writer"}, admins...),
		"viewers":             append([]string{"viewer"}, admins...),
		"writers":             append([]string{"writer"}, admins...),
		"admins":              admins,
	}
	for _, r := range routes {
		_, path, ok := strings.Cut(r.pattern, " ")
		if !ok {
			path = r.pattern
		}
		path = strings.NewReplacer("{id}", "99", "{n}", "1", "{name}", "x").Replace(path)
		for _, who := range may["everybody"] {
			token := tokens[who]
			switch who {
			case "here":
				token = "here"
			case "wrong":
				token = "wrongwrongwrongwrong"
			}
			status := do(g, r.method, path, token)
			if let := status != http.StatusUnauthorized && status != http.StatusForbidden; let != slices.Contains(may[r.may], who) {
				t.Errorf("%s %s, for %s, asked by %s: %d", r.method, path, r.may, who, status)
			}
		}
	}
}

// makeAccess makes an access token and returns its number.
func makeAccess(t *testing.T, g *gateway, o device.GrantOrder) (number, token string) {
	t.Helper()
	r := askWith(http.MethodPost, "/api/v1/access", g.token)
	r.Body = io.NopCloser(strings.NewReader(`{"name":"` + o.Name + `","role":"` + o.Role.String() + `"}`))
	w := httptest.NewRecorder()
	g.http.Handler.ServeHTTP(w, r)
	_, rest, _ := strings.Cut(w.Body.String(), `"token":"`)
	token, _, _ = strings.Cut(rest, `"`)
	_, rest, _ = strings.Cut(w.Body.String(), `"id":`)
	number, _, _ = strings.Cut(rest, ",")
	if w.Code != http.StatusCreated || token == "" || number == "" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return number, token
}

// askWith returns a request from elsewhere with a token, or from "here".
func askWith(method, path, token string) *http.Request {
	r := httptest.NewRequest(method, "http://gateway.example"+path, nil) //nolint:noctx // it goes nowhere
	r.RemoteAddr = "192.168.1.9:5000"
	switch token {
	case "":
	case "here":
		r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost"
	default:
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// do asks the gateway's handler, without a socket, and returns the status.
func do(g *gateway, method, path, token string) (status int) {
	w := httptest.NewRecorder()
	defer func() {
		if recover() != nil { // as a stream does that cannot set deadlines
			status = http.StatusOK
		}
	}()
	g.http.Handler.ServeHTTP(w, askWith(method, path, token))
	return w.Code
}
