package main

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// banner tells a person where to look, where to send and where the data lie. The
// access link appears when its token has just been made; later naru token
// prints it, so that logs do not gather it.
func (g *gateway) banner(w io.Writer) {
	about := g.about()
	host := "127.0.0.1"
	if len(about.Addresses) > 0 {
		host = about.Addresses[0]
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Naru %s\n\n", about.Version)
	fmt.Fprintf(&b, "  look   %s%s/\n", g.settings.scheme(), here(g.httpLn.Addr().String()))
	switch links := accessLinks(g.settings.scheme(), g.httpLn.Addr().String(), g.token); {
	case len(links) == 0:
	case g.tokenMade:
		fmt.Fprintf(&b, "         %s   from other machines\n", links[0])
	default:
		b.WriteString("         from other machines: naru token prints the link\n")
	}
	if about.UDP != 0 {
		fmt.Fprintf(&b, "  send   echo \"climate,device=my-sensor temp=21.5\" | nc -u -w1 %s %d\n", host, about.UDP)
	}
	if about.TCP != 0 {
		fmt.Fprintf(&b, "         echo '{\"device\":\"my-sensor\",\"temp\":21.5}' | nc -w1 %s %d\n", host, about.TCP)
	}
	data := g.settings.Data
	if abs, err := filepath.Abs(data); err == nil {
		data = abs
	}
	floor, head := g.store.Bounds()
	kept := "no readings yet"
	if head > floor {
		n := int64(0)
		devices := g.store.Devices()
		for _, d := range devices {
			n += d.Count
		}
		if n > 0 {
			kept = fmt.Sprintf("%d readings of %d devices", n, len(devices))
		}
	}
	fmt.Fprintf(&b, "  data   %s (%s)\n", data, kept)
	if g.settings.Demo {
		b.WriteString("  demo   a simulated fleet of devices is sending\n")
	}
	b.WriteString("\n")
	_, _ = io.WriteString(w, b.String())
}

// accessLinks returns the links by which other machines reach the page at the
// listening address; none when it listens on loopback only.
func accessLinks(scheme, listen, token string) []string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil
	}
	addrs := localAddresses()
	if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
		addrs = []string{host}
		if a.IsLoopback() {
			return nil
		}
	}
	var links []string
	for _, a := range addrs {
		links = append(links, scheme+net.JoinHostPort(a, port)+"/?token="+token)
	}
	return links
}

// here returns the listening address as this machine reaches it.
func here(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if a, err := netip.ParseAddr(host); host == "" || err == nil && a.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// reachable returns this machine's addresses under which a socket bound to a can
// be reached, the likeliest first.
func reachable(a net.Addr) []string {
	bound, err := netip.ParseAddrPort(a.String())
	if err == nil && !bound.Addr().IsUnspecified() {
		return []string{bound.Addr().Unmap().String()}
	}
	if all := localAddresses(); len(all) > 0 {
		return all
	}
	return []string{"127.0.0.1"}
}

// localAddresses returns the machine's addresses other than loopback and
// link-local, IPv4 first.
func localAddresses() []string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var v4, v6 []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if p.Addr().Is4() {
			v4 = append(v4, p.Addr().String())
		} else {
			v6 = append(v6, p.Addr().String())
		}
	}
	return slices.Concat(v4, v6)
}
