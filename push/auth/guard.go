package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
)

// cookieName holds the token in a browser that has followed the access link.
const cookieName = "naru_token"

// forwardHeaders tell that a proxy stands between, whose own address is then no
// proof of where the viewer is.
var forwardHeaders = []string{
	"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server",
	"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fly-Client-Ip",
}

//go:embed denied.html
var deniedPage []byte

// Config sets up a Guard.
type Config struct {
	// Token is the access token; when it is empty nobody has it.
	Token string
	// Origins are patterns of origins whose pages may use the API, such as
	// https://*.example.org or http://localhost:5173; see path.Match. Empty means
	// the gateway's own page only.
	Origins []string
}

// Guard lets requests through to a handler, or not.
type Guard struct {
	token   [sha256.Size]byte
	locked  bool // there is no token
	origins []string
}

// New returns a guard.
func New(cfg Config) *Guard {
	return &Guard{token: sha256.Sum256([]byte(cfg.Token)), locked: cfg.Token == "", origins: cfg.Origins}
}

// manner is how the clients of some paths give the token and take a refusal.
type manner struct {
	token  func(r *http.Request) string
	secret []string // parameters that nobody behind sees
	deny   func(w http.ResponseWriter, r *http.Request, status int, msg string)
}

var plain = manner{plainToken, []string{"token"}, denyPlain}

// Wrap returns a handler that passes to next what may pass.
func (g *Guard) Wrap(next http.Handler) http.Handler { return g.wrap(next, &plain) }

func (g *Guard) wrap(next http.Handler, m *manner) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		foreign := origin != "" && !sameOrigin(origin, r.Host)
		if foreign && g.allowed(origin) {
			g.cors(w, origin)
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			foreign = false
		}
		if foreign && (changes(r) || r.Header.Get("Upgrade") != "") {
			m.deny(w, r, http.StatusForbidden, "this origin may not use the API")
			return
		}
		switch {
		case fromHere(r):
			next.ServeHTTP(w, without(r, m.secret))
		case !g.valid(m.token(r)):
			m.deny(w, r, http.StatusUnauthorized, "the access token is missing or wrong")
		case wantsPage(r) && r.URL.Query().Has("token"):
			keepInCookie(w, r)
		default:
			next.ServeHTTP(w, without(r, m.secret))
		}
	})
}

func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}

// fromHere reports whether the request comes from this machine, see the package
// comment.
func fromHere(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() || !loopbackHost(r.Host) {
		return false
	}
	for _, h := range forwardHeaders {
		if len(r.Header[h]) > 0 {
			return false
		}
	}
	return true
}

func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(name, "[]"))
	return err == nil && a.Unmap().IsLoopback()
}

// plainToken returns the token that the request carries: in the header
// Authorization, in the query or in the cookie.
func plainToken(r *http.Request) string {
	token := r.URL.Query().Get("token")
	if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok &&
		(strings.EqualFold(scheme, "Bearer") || strings.EqualFold(scheme, "Token")) {
		token = strings.TrimSpace(rest)
	}
	if token == "" {
		if c, err := r.Cookie(cookieName); err == nil {
			token = c.Value
		}
	}
	return token
}

func (g *Guard) valid(token string) bool {
	got := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(got[:], g.token[:]) == 1 && !g.locked
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

// sameOrigin reports whether the page at origin was served by this host.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (g *Guard) allowed(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	// What else an address may have is no part of an origin.
	origin = strings.ToLower(u.Scheme + "://" + u.Host)
	for _, p := range g.origins {
		if ok, err := path.Match(strings.ToLower(p), origin); err == nil && ok {
			return true
		}
	}
	return false
}

func (g *Guard) cors(w http.ResponseWriter, origin string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	h.Add("Vary", "Origin")
}

func wantsPage(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// keepInCookie moves the token of an access link from the address, where it
// would end in histories and logs, into a cookie.
func keepInCookie(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: q.Get("token"), Path: "/", MaxAge: 365 * 24 * 3600,
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
	})
	q.Del("token")
	// Relative, so that it holds below a proxy's path as well.
	here := r.URL.EscapedPath()
	target := "./" + here[strings.LastIndexByte(here, '/')+1:]
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

func denyPlain(w http.ResponseWriter, r *http.Request, status int, msg string) {
	if status != http.StatusUnauthorized || !wantsPage(r) {
		if status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="naru"`)
		}
		deny(w, status, `{"error":"`+msg+`"}`)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write(deniedPage)
}

// deny answers with one of our own fixed texts.
func deny(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body + "\n"))
}
