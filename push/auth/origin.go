package auth

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// provenance is which page makes a request.
type provenance int

const (
	noPage  provenance = iota // it does not say: a program, or a page that changes nothing
	ownPage                   // the gateway's own, or the person at the address bar
	allowed                   // one of a configured origin
	foreign                   // any other
)

// provenanceOf tells it by what browsers say and pages cannot change.
func (g *Guard) provenanceOf(r *http.Request) provenance {
	if origin := r.Header.Get("Origin"); origin != "" {
		switch {
		case sameOrigin(origin, r.Host):
			return ownPage
		case g.allows(origin):
			return allowed
		}
		return foreign
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return ownPage
	case "same-site", "cross-site":
		return foreign
	}
	return noPage
}

// sameOrigin reports whether the page at origin was served by this host.
func sameOrigin(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

func (g *Guard) allows(origin string) bool {
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

func cors(w http.ResponseWriter, origin string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Last-Event-ID")
	h.Set("Access-Control-Max-Age", "600")
	h.Add("Vary", "Origin")
}

// changes reports whether the request may change something.
func changes(r *http.Request) bool {
	return r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions
}
