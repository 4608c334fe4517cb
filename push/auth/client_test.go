package auth

import (
	"net/netip"
	"strings"
	"testing"
)

// What a proxy tells is believed only when it is a trusted one.
func TestProxies(t *testing.T) {
	cfg := Config{Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	h := newHouse(t, cfg)
	for _, c := range []struct {
		name   string
		remote string
		fields []string
		addr   string // as the handler sees it
		host   string
		here   bool
		secure bool
	}{
		{"nobody between", "192.0.2.1:5000", nil, "192.0.2.1:5000", "gw", false, false},
		{"a proxy that tells nothing", "10.0.0.1:5000", nil, "10.0.0.1:5000", "gw", false, false},
		{"a proxy", "10.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1"}, "192.0.2.1:0", "gw", false, false},
		{"a proxy on this machine", "127.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1", "Host", "localhost"}, "192.0.2.1:0", "localhost", false, false},
		{"it says that it is this machine", "127.0.0.1:5000", []string{"X-Forwarded-For", "127.0.0.1", "Host", "localhost"}, "127.0.0.1:0", "localhost", false, false},
		{"over TLS, with a name", "10.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "naru.example.org"}, "192.0.2.1:0", "naru.example.org", false, true},
		{"two proxies", "10.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1, 10.0.0.2"}, "192.0.2.1:0", "gw", false, false},
		{"what the client has written before", "10.0.0.1:5000", []string{"X-Forwarded-For", "1.2.3.4, 192.0.2.1"}, "192.0.2.1:0", "gw", false, false},
		{"in two lines", "10.0.0.1:5000", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-For", "192.0.2.1, 10.0.0.2"}, "192.0.2.1:0", "gw", false, false},
		{"all are proxies", "10.0.0.1:5000", []string{"X-Forwarded-For", "10.0.0.3, 10.0.0.2"}, "10.0.0.3:0", "gw", false, false},
		{"IPv6", "[fd00::1]:5000", []string{"X-Forwarded-For", "2001:db8::5"}, "[2001:db8::5]:0", "gw", false, false},
		{"with a port", "10.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1:1234"}, "192.0.2.1:0", "gw", false, false},
		{"IPv6 with a port", "10.0.0.1:5000", []string{"X-Forwarded-For", "[2001:db8::5]:1234"}, "[2001:db8::5]:0", "gw", false, false},
		{"garbage", "10.0.0.1:5000", []string{"X-Forwarded-For", "192.0.2.1, unknown"}, "10.0.0.1:5000", "gw", false, false},
		{"garbage before", "10.0.0.1:5000", []string{"X-Forwarded-For", "unknown, 10.0.0.2"}, "10.0.0.2:0", "gw", false, false},
		{"not trusted", "192.0.2.1:5000", []string{"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.com"}, "192.0.2.1:5000", "gw", false, false},
		{"not trusted, of another net", "127.0.0.2:5000", []string{"X-Forwarded-For", "1.2.3.4", "Host", "localhost"}, "127.0.0.2:5000", "localhost", false, false},
		{"this machine", "127.0.0.1:5000", []string{"Host", "localhost"}, "127.0.0.1:5000", "localhost", true, false},
		{"no address", "@", []string{"X-Forwarded-For", "1.2.3.4"}, "@", "gw", false, false},
	} {
		r := request(t.Context(), "/", []string{"Accept", "*/*"})
		r.RemoteAddr, r.Host = c.remote, "gw"
		for i := 0; i < len(c.fields); i += 2 {
			if c.fields[i] == "Host" {
				r.Host = c.fields[i+1]
				continue
			}
			r.Header.Add(c.fields[i], c.fields[i+1])
		}
		from, out := h.clientOf(r)
		if out.RemoteAddr != c.addr || out.Host != c.host || from.here != c.here || from.secure != c.secure {
			t.Errorf("%s: %s %s %+v", c.name, out.RemoteAddr, out.Host, from)
		}
	}
}

func FuzzForwardedFor(f *testing.F) {
	g, err := New(Config{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"192.0.2.1", "1.2.3.4, 10.0.0.1", "[::1]:5", "fe80::1%eth0", ",,", "unknown"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, ok := g.forwardedFor([]string{text})
		if ok != a.IsValid() || a.Zone() != "" || a.Is4In6() {
			t.Fatalf("%q: %v, %v", text, a, ok)
		}
		parts := strings.Split(text, ",")
		if last, known := parseHop(strings.TrimSpace(parts[len(parts)-1])); known && !g.trusted(last) && a != last {
			t.Fatalf("%q: %v, and the last proxy says %v", text, a, last)
		}
	})
}
