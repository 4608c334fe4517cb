package auth

import (
	_ "embed"
	"net/http"
	"strings"

	"github.com/naru-telemetry/naru/push"
)

//go:embed login.html
var loginHTML string

// maxLogin bounds the body of a login.
const maxLogin = 4 << 10

// serveOpen serves what needs nothing.
func (g *Guard) serveOpen(w http.ResponseWriter, r *http.Request, rule *Rule, from client, page provenance, next http.Handler) {
	if rule.Pattern != loginPattern && rule.Pattern != logoutPattern {
		next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.Method != http.MethodPost:
		loginPage(w, r, http.StatusOK, "")
	case page != ownPage: // another could log the browser in as somebody else
		g.refuse(w, r, &plain, BadOrigin)
	case rule.Pattern == logoutPattern:
		g.logout(w, from)
	default:
		g.login(w, r, from)
	}
}

// login exchanges a token for a session.
func (g *Guard) login(w http.ResponseWriter, r *http.Request, from client) {
	hurry(w)
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if err := r.ParseForm(); err != nil {
		loginPage(w, r, http.StatusBadRequest, "what was sent cannot be read")
		return
	}
	h, why := g.withToken(strings.TrimSpace(r.PostForm.Get("token")), from)
	if h == nil {
		g.refused[why].Add(1)
		loginPage(w, r, refusalStatus[why], refusalTexts[why])
		return
	}
	if !has(h.grant.Role, Look) {
		g.refused[Forbidden].Add(1)
		loginPage(w, r, http.StatusForbidden, "this access token writes only: there is no page for it")
		return
	}
	g.log.Info("somebody has logged in", "access", h.grant.ID, "name", h.grant.Name, "by", push.By(r))
	http.SetCookie(w, g.sessions.cookie(h.grant, g.now(), from.secure))
	see(w, "./")
}

// logout takes the session away from the browser. A copy of the cookie is good
// until the access ends.
func (g *Guard) logout(w http.ResponseWriter, from client) {
	here, top := g.sessions.over(from.secure), g.sessions.over(from.secure)
	top.Path = "/" // see keepInCookie
	http.SetCookie(w, here)
	http.SetCookie(w, top)
	see(w, "./login")
}

// see sends a browser on. The address is relative, so that it holds below a
// proxy's path as well.
func see(w http.ResponseWriter, target string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}

// keepInCookie exchanges the token of an access link, which would end in
// histories and logs, for a session.
func (g *Guard) keepInCookie(w http.ResponseWriter, r *http.Request, h *holder, secure bool) {
	here := r.URL.EscapedPath()
	if h.grant.Hash != nil { // who needs no token has no session either
		g.log.Info("somebody has logged in", "access", h.grant.ID, "name", h.grant.Name, "by", push.By(r))
		c := g.sessions.cookie(h.grant, g.now(), secure)
		if strings.Count(here, "/") > 1 {
			c.Path = "/" // the page above is to have it too
		}
		http.SetCookie(w, c)
	}
	q := r.URL.Query()
	q.Del("token")
	target := "./" + here[strings.LastIndexByte(here, '/')+1:]
	if len(q) > 0 {
		target += "?" + q.Encode()
	}
	see(w, target)
}

// loginPage asks for a token. msg is one of our own fixed texts, or empty.
func loginPage(w http.ResponseWriter, r *http.Request, status int, msg string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // with none at all, forms come from nowhere
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.WriteHeader(status)
	up := strings.Repeat("../", max(strings.Count(r.URL.Path, "/")-1, 0))
	if up == "" {
		up = "./"
	}
	page := strings.NewReplacer("{{action}}", up+"login", "{{message}}", msg).Replace(loginHTML)
	_, _ = w.Write([]byte(page))
}
