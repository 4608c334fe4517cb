package auth

import (
	"net/http"

	"github.com/naru-telemetry/naru/device"
)

// Right is what a request needs.
type Right uint8

// The rights.
const (
	Open  Right = iota + 1 // nothing: it tells nothing, or is how one gets in
	Known                  // any access
	Look                   // to see readings, of the devices that there are for the viewer
	Write                  // to write readings, likewise
	Admin                  // everything else
)

// String returns the right's name.
func (n Right) String() string {
	return [...]string{"", "open", "known", "look", "write", "admin"}[n]
}

// has reports whether who has the role has the right.
func has(role device.Role, n Right) bool {
	switch n {
	case Open, Known:
		return true
	case Look:
		return role == device.RoleViewer || role == device.RoleAdmin
	case Write:
		return role == device.RoleWriter || role == device.RoleAdmin
	case Admin:
		return role == device.RoleAdmin
	}
	return false
}

// Rule says what requests of a pattern of [http.ServeMux] need.
type Rule struct {
	Pattern string
	Needs   Right
	manner  *manner
}

// policy is who may what: all of it. A handler behind a Guard decides nothing but
// which devices there are, which push.ViewerOf tells. What the API gains needs
// Admin until a rule says less.
var policy = []Rule{
	{"GET /healthz", Open, &plain},
	{"GET /readyz", Open, &plain},
	{"GET /api/v1/ca.crt", Open, &plain},
	{loginPattern, Open, &plain},
	{logoutPattern, Open, &plain},
	{"/ping", Open, &influx},
	{"/health", Open, &influx},
	{"/client/", Open, &plain}, // naru.js: the same for everybody, and pages elsewhere import it without a token

	{sessionPattern, Known, &plain},

	{"/", Look, &plain}, // the page and its files
	{"/api/v1/live", Look, &plain},
	{"/api/v1/live/techniques", Look, &plain},
	{"/socket.io", Look, &plain},
	{"/socket.io/{$}", Look, &plain},
	{"GET /api/v1/about", Look, &plain},
	{"GET /api/v1/devices", Look, &plain},
	{"GET /api/v1/devices/{id}", Look, &plain},
	{"GET /api/v1/series", Look, &plain},
	{"GET /api/v1/readings", Look, &plain},
	{"GET /api/v1/readings/count", Look, &plain},
	{"GET /api/v1/history", Look, &plain},

	{"/api/v1/write", Write, &plain},
	{"/write", Write, &influx},
	{"/query", Write, &influx}, // what clients of InfluxDB ask before they write
	{"/api/v2/", Write, &influx},

	{accessPattern, Admin, &plain},
	{oneAccessPattern, Admin, &plain},
	{"/api/", Admin, &plain}, // the registry, commands, imports, backups, access, …
	{"/metrics", Admin, &plain},
}

// The patterns of what the Guard serves itself.
const (
	loginPattern     = "/login"
	logoutPattern    = "/logout"
	sessionPattern   = "/api/v1/session"
	accessPattern    = "/api/v1/access"
	oneAccessPattern = "/api/v1/access/{id}"
)

// Rules returns the policy.
func Rules() []Rule { return policy }

// rulebook finds the rule of a request.
type rulebook struct {
	mux   *http.ServeMux
	rules map[string]*Rule // by pattern
}

func newRulebook() *rulebook {
	b := &rulebook{http.NewServeMux(), map[string]*Rule{}}
	for i := range policy {
		b.mux.Handle(policy[i].Pattern, http.NotFoundHandler()) // nobody serves with it
		b.rules[policy[i].Pattern] = &policy[i]
	}
	return b
}

// unnamed is the rule of what no rule names, such as a path that is not clean.
var unnamed = Rule{"", Admin, &plain}

func (b *rulebook) of(r *http.Request) *Rule {
	_, pattern := b.mux.Handler(r)
	if rule := b.rules[pattern]; rule != nil {
		return rule
	}
	return &unnamed
}
