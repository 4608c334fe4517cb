package auth

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Grants keeps the access tokens that somebody has made. Its errors wrap those of
// package device.
type Grants interface {
	// Grants returns all, sorted by id.
	Grants() []*device.Grant
	// Grant returns a new grant and its token when the grant is on the disk.
	Grant(o device.GrantOrder) (*device.Grant, string, error)
	// Revoke returns when the end of the grant is on the disk; by is who asks, for
	// the log.
	Revoke(id uint64, by string) (*device.Grant, error)
}

// Config sets up a Guard.
type Config struct {
	// Token is the first access token, an admin's; when it is empty nobody has it.
	Token string
	// Grants has the others; nil: there are none.
	Grants Grants
	// SessionKey seals the sessions of browsers; see LoadSessionKey. When it is
	// empty a session ends with the Guard.
	SessionKey []byte
	// Origins are patterns of origins whose pages may use the API, such as
	// https://*.example.org or http://localhost:5173; see path.Match. Empty means
	// the gateway's own page only.
	Origins []string
	// Proxies are the networks of proxies whose X-Forwarded-For, -Proto and -Host
	// are believed.
	Proxies []netip.Prefix
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Logger is told of logins and of wrong tokens; nil means nobody.
	Logger *slog.Logger
}

// Guard lets requests through to a handler, or not. Nobody is cut off when his
// access ends by its time unless Run runs.
type Guard struct {
	origins  []string
	proxies  []netip.Prefix
	now      func() time.Time
	log      *slog.Logger
	grants   Grants
	rules    *rulebook
	sessions sessions
	holders  holders
	here     *holder // who needs no token
	guesses  guesses
	granting sync.Mutex // admits one change of grants at a time
	refused  [refusals]atomic.Int64
	lastFoe  atomic.Pointer[netip.Addr] // whose token was wrong last
}

// New returns a guard.
func New(cfg Config) (*Guard, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.SessionKey) == 0 {
		cfg.SessionKey = newKey()
	}
	g := &Guard{
		origins: cfg.Origins, proxies: cfg.Proxies, now: cfg.Now, log: cfg.Logger, grants: cfg.Grants,
		rules: newRulebook(), sessions: newSessions(cfg.SessionKey),
		holders: holders{byHash: map[[8]byte]*holder{}, byID: map[uint64]*holder{}},
	}
	g.guesses.all = bucket{guessesAll, cfg.Now()}
	var err error
	if g.here, err = newHolder(&device.Grant{Name: "this machine", Role: device.RoleAdmin}); err != nil {
		return nil, err
	}
	all := []*device.Grant{}
	if cfg.Token != "" {
		hash := hashOf(cfg.Token)
		all = append(all, &device.Grant{Name: "the first token", Role: device.RoleAdmin, Hash: hash[:]})
	}
	if cfg.Grants != nil {
		all = append(all, cfg.Grants.Grants()...)
	}
	for _, grant := range all {
		h, err := newHolder(grant)
		if err != nil {
			return nil, fmt.Errorf("auth: access %d: %w", grant.ID, err)
		}
		g.holders.add(h)
	}
	return g, nil
}

// checkPause is how often is looked whose access has ended by its time.
const checkPause = time.Second

// reportPause is how often wrong tokens are logged at most.
const reportPause = time.Minute

// Run ends the requests of those whose access has ended by its time, within a
// second, and logs wrong tokens now and then, until ctx is done.
func (g *Guard) Run(ctx context.Context) error {
	ticker := time.NewTicker(checkPause)
	defer ticker.Stop()
	var told [refusals]int64
	var at time.Time // of the last report, by the monotonic clock
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		g.holders.endExpired(device.TimeOf(g.now()))
		wrong, throttled := g.refused[WrongToken].Load(), g.refused[Throttled].Load()
		if wrong == told[WrongToken] && throttled == told[Throttled] || !at.IsZero() && time.Since(at) < reportPause {
			continue
		}
		g.log.Warn("access was tried with tokens that are wrong", "wrong", wrong-told[WrongToken],
			"not_looked_at", throttled-told[Throttled], "last_address", g.lastFoe.Load())
		told[WrongToken], told[Throttled], at = wrong, throttled, time.Now()
	}
}

// Refusal is why a request was not let through.
type Refusal int

// The refusals.
const (
	NoToken    Refusal = iota // and no session
	WrongToken                // or one that has ended
	Throttled                 // too many wrong tokens before
	Forbidden                 // the role has not the right
	BadOrigin                 // another site's page
	refusals
)

// String returns the refusal's name as it stands in labels.
func (r Refusal) String() string {
	return [refusals]string{"missing", "wrong", "throttled", "forbidden", "origin"}[r]
}

// Refused calls yield with each refusal, and how often it was.
func (g *Guard) Refused(yield func(r Refusal, n int64)) {
	for r := range refusals {
		yield(r, g.refused[r].Load())
	}
}

var refusalTexts = [refusals]string{
	"the access token is missing or wrong", "the access token is missing or wrong",
	"too many wrong access tokens; wait a minute", "this access token may not do that", "this origin may not use the API",
}

var refusalStatus = [refusals]int{
	http.StatusUnauthorized, http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusForbidden, http.StatusForbidden,
}

// refuse answers a request that is not let through.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, m *manner, why Refusal) {
	g.refused[why].Add(1)
	if why == Throttled {
		w.Header().Set("Retry-After", "60")
	}
	m.deny(w, r, refusalStatus[why], refusalTexts[why])
}

// Wrap returns a handler that passes to next what may pass.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rule := g.rules.of(r)
		from, r := g.clientOf(r)
		page := g.provenanceOf(r)
		if page == allowed {
			cors(w, r.Header.Get("Origin"))
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		switch {
		case rule.Needs == Open:
			g.serveOpen(w, without(r, rule.manner.secret), rule, from, page, next)
			return
		case page == foreign && (changes(r) || r.Header.Get("Upgrade") != ""), page == allowed && rule.Needs == Admin && changes(r):
			g.refuse(w, r, rule.manner, BadOrigin)
			return
		}
		h, how, why := g.identify(r, rule.manner, from)
		switch {
		case h == nil:
			g.refuse(w, r, rule.manner, why)
		case how == byCookie && changes(r) && page == noPage:
			g.refuse(w, r, rule.manner, BadOrigin)
		case wantsPage(r) && r.URL.Query().Has("token"):
			g.keepInCookie(w, r, h, from.secure)
		case !has(h.grant.Role, rule.Needs):
			g.refuse(w, r, rule.manner, Forbidden)
		default:
			g.pass(w, without(r, rule.manner.secret), rule, h, next)
		}
	})
}

// pass serves a request in the name of h, for as long as his access lasts. What
// is served goes by the rule, as what is needed has: there are several ways to
// write a path.
func (g *Guard) pass(w http.ResponseWriter, r *http.Request, rule *Rule, h *holder, next http.Handler) {
	h.used.Store(int64(device.TimeOf(g.now())))
	ctx, leave := h.enter(push.WithViewer(r.Context(), &h.viewer))
	defer leave()
	r = r.WithContext(ctx)
	switch rule.Pattern {
	case sessionPattern:
		g.session(w, r, h)
	case accessPattern:
		g.access(w, r)
	case oneAccessPattern:
		g.oneAccess(w, r)
	default:
		next.ServeHTTP(w, r)
	}
}

// means is how somebody has shown who he is.
type means int

const (
	byAddress means = iota // needing to show nothing
	byToken
	byCookie
)

// identify returns who makes the request and how he has shown it, or why nobody
// may.
func (g *Guard) identify(r *http.Request, m *manner, from client) (*holder, means, Refusal) {
	script := asScript(r)
	if from.here && !script {
		return g.here, byAddress, 0
	}
	if token := m.token(r); token != "" {
		h, why := g.withToken(token, from)
		return h, byToken, why
	}
	if script {
		return nil, byToken, NoToken
	}
	return g.sessions.holder(r, &g.holders, g.now()), byCookie, NoToken
}

// asScript reports whether the answer will be a script (JSONP), which the page of any
// site can run and so read. Then nothing that a browser adds by itself says who asks,
// neither the address nor a cookie.
func asScript(r *http.Request) bool { return r.URL.Query().Has("callback") }

// withToken returns who has the token, or why it is not taken.
func (g *Guard) withToken(token string, from client) (*holder, Refusal) {
	now := g.now()
	if !g.guesses.may(from.addr, now) {
		return nil, Throttled
	}
	hash := hashOf(token)
	h := g.holders.withHash(hash, device.TimeOf(now))
	g.guesses.note(from.addr, hash.prefix(), h != nil, now)
	if h == nil {
		foe := from.addr
		g.lastFoe.Store(&foe)
		return nil, WrongToken
	}
	return h, 0
}

// manner is how the clients of some paths give the token and take a refusal.
type manner struct {
	token  func(r *http.Request) string
	secret []string // parameters that nobody behind sees
	deny   func(w http.ResponseWriter, r *http.Request, status int, msg string)
}

var plain = manner{plainToken, []string{"token"}, denyPlain}

// plainToken returns the token that the request carries, in the header
// Authorization or in the query.
func plainToken(r *http.Request) string {
	token := r.URL.Query().Get("token")
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok &&
		(strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Token")) {
		token = strings.TrimSpace(rest)
	}
	return token
}

// without returns the request without these parameters in its address, so that
// nobody behind can log them.
func without(r *http.Request, secret []string) *http.Request {
	q := r.URL.Query()
	if !slices.ContainsFunc(secret, q.Has) {
		return r
	}
	for _, name := range secret {
		q.Del(name)
	}
	u := *r.URL
	u.RawQuery = q.Encode()
	out := r.WithContext(r.Context()) // a shallow copy
	out.URL, out.RequestURI = &u, u.RequestURI()
	return out
}

func wantsPage(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func denyPlain(w http.ResponseWriter, r *http.Request, status int, msg string) {
	if wantsPage(r) && status != http.StatusForbidden {
		loginPage(w, r, status, msg)
		return
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="naru"`)
	}
	deny(w, status, `{"error":"`+msg+`"}`)
}

// deny answers with one of our own fixed texts.
func deny(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body + "\n"))
}
