package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwardHeaders tell that a proxy stands between, whose own address is then no
// proof of where the viewer is.
var forwardHeaders = []string{
	"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server",
	"X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "Fly-Client-Ip",
}

// client is where a request comes from.
type client struct {
	addr   netip.Addr // not valid: it has none
	here   bool       // this machine, see the package comment
	secure bool       // over TLS, as far as the browser is concerned
}

// clientOf returns where a request comes from, and the request as a handler is to
// see it: with the address and the host that a trusted proxy tells.
func (g *Guard) clientOf(r *http.Request) (client, *http.Request) {
	c := client{here: fromHere(r), secure: r.TLS != nil}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return c, r
	}
	c.addr = peer.Addr().Unmap().WithZone("")
	if !g.trusted(c.addr) {
		return c, r
	}
	h := r.Header
	if proto := h.Get("X-Forwarded-Proto"); proto != "" {
		c.secure = strings.EqualFold(proto, "https")
	}
	out := r.WithContext(r.Context()) // a shallow copy
	if host := h.Get("X-Forwarded-Host"); host != "" {
		out.Host = host
	}
	if told, ok := g.forwardedFor(h["X-Forwarded-For"]); ok {
		c.addr = told
		out.RemoteAddr = netip.AddrPortFrom(told, 0).String()
	}
	return c, out
}

func (g *Guard) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// forwardedFor returns the client's address from X-Forwarded-For: the last that
// is no trusted proxy, since who is before it may have written what he liked; or
// the first of all.
func (g *Guard) forwardedFor(lines []string) (netip.Addr, bool) {
	var last netip.Addr
	for _, text := range slices.Backward(strings.Split(strings.Join(lines, ","), ",")) {
		a, ok := parseHop(strings.TrimSpace(text))
		if !ok {
			break // what stands before is not to be believed either
		}
		last = a
		if !g.trusted(a) {
			break
		}
	}
	return last, last.IsValid()
}

// parseHop reads an address, which some proxies write with a port.
func parseHop(text string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		p, portErr := netip.ParseAddrPort(text)
		if portErr != nil {
			return netip.Addr{}, false
		}
		a = p.Addr()
	}
	return a.Unmap().WithZone(""), true
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
