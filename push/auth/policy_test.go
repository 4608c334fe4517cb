package auth

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
)

// Every rule, every role.
func TestPolicy(t *testing.T) {
	h := newHouse(t, Config{})
	roles := map[string]string{"none": "", "admin": token}
	for _, role := range []string{"viewer", "writer"} {
		_, roles[role] = h.order(`{"name":"` + role + `","role":"` + role + `"}`)
	}
	may := map[Right][]string{
		Open: {"none", "viewer", "writer", "admin"}, Known: {"viewer", "writer", "admin"},
		Look: {"viewer", "admin"}, Write: {"writer", "admin"}, Admin: {"admin"},
	}
	for _, rule := range Rules() {
		method, path, ok := strings.Cut(rule.Pattern, " ")
		if !ok {
			method, path = http.MethodPost, rule.Pattern
		}
		for role, secret := range roles {
			fields := []string{"Origin", "http://gw:7780"}
			if secret != "" {
				fields = append(fields, "Authorization", "Bearer "+secret)
			}
			status, _ := h.do(method, strings.ReplaceAll(path, "{id}", "7"), "", fields...)
			want := status != http.StatusUnauthorized && status != http.StatusForbidden
			if rule.Pattern == loginPattern { // it says itself that nothing is no token
				want = true
			}
			if slices.Contains(may[rule.Needs], role) != want {
				t.Errorf("%s %s for %s: %d; it needs %v", method, path, role, status, rule.Needs)
			}
		}
	}
}

// No way to write a path opens what its rule does not.
func TestPolicyCannotBeEvaded(t *testing.T) {
	h := newHouse(t, Config{})
	_, viewer := h.order(`{"name":"viewer","role":"viewer"}`)
	_, writer := h.order(`{"name":"writer","role":"writer"}`)
	for _, c := range []struct{ method, target, token string }{
		{"GET", "/api/v1/access", viewer},
		{"HEAD", "/api/v1/access", viewer},
		{"get", "/api/v1/access", viewer},
		{"GET", "/api/v1/access/", viewer},
		{"POST", "/api/v1/access", writer},
		{"DELETE", "/api/v1/access/1", writer},
		{"GET", "/api//v1/access", viewer},
		{"GET", "/api/v1/./access", viewer},
		{"GET", "/api/v1/x/../access", viewer},
		{"GET", "/api/v1/x/%2e%2e/access", viewer},
		{"GET", "/api/v1/registry", viewer},
		{"GET", "/api/v1/devices/gh1/commands", viewer},
		{"POST", "/api/v1/devices", viewer},
		{"PATCH", "/api/v1/devices/gh1", viewer},
		{"GET", "/api/v1/anything/new", viewer},
		{"GET", "/metrics", viewer},
		{"POST", "/api/v1/write", viewer},
		{"GET", "/api/v1/readings", writer},
		{"GET", "/", writer},
	} {
		w := h.request(c.method, c.target, `{"name":"x","role":"admin"}`, "Authorization", "Bearer "+c.token)
		if w.Code != http.StatusForbidden || w.Body.String() != `{"error":"this access token may not do that"}`+"\n" {
			t.Errorf("%s %s: %d %s", c.method, c.target, w.Code, w.Body)
		}
	}
	// These are files of the page, which does not have them.
	for _, target := range []string{"/api%2Fv1%2Faccess", "/%61pi%2Fv1/access"} {
		if status, text := h.do(http.MethodGet, target, "", "Authorization", "Bearer "+viewer); status == http.StatusOK && text != "served" {
			t.Errorf("%s: %d %s", target, status, text)
		}
	}
	if n := len(h.grants.Grants()); n != 2 {
		t.Errorf("%d grants", n)
	}
}

func TestRights(t *testing.T) {
	for _, r := range device.Roles {
		if has(r, 0) || has(0, Known+1) {
			t.Errorf("%v: a right that is none", r)
		}
	}
	for n, name := range map[Right]string{Open: "open", Known: "known", Look: "look", Write: "write", Admin: "admin"} {
		if n.String() != name {
			t.Errorf("%v is not %s", n, name)
		}
	}
}
