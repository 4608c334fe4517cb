package auth

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const token = "correcthorsebattery"

var sessionKey = []byte("a key of sessions, 32 bytes long")

// guard returns a guard whose sessions have a known key.
func guard(tb testing.TB, cfg Config) *Guard {
	tb.Helper()
	cfg.SessionKey = sessionKey
	g, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// loggedIn returns the cookie of a browser that has logged in with the first
// token, as its header.
func loggedIn(tb testing.TB) string {
	tb.Helper()
	g := guard(tb, Config{Token: token})
	c := g.sessions.cookie(g.holders.withHash(hashOf(token), 0).grant, time.Now(), false)
	return c.Name + "=" + c.Value
}

// ask sends a request through a guard. The handler behind it answers with the
// address that it sees.
func ask(t *testing.T, cfg Config, method, target, remote string, header http.Header) *answer {
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	r.RemoteAddr = remote
	for name, values := range header {
		if name == "Host" {
			r.Host = values[0]
			continue
		}
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	guard(t, cfg).Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("saw " + r.URL.String() + " " + r.RequestURI))
	})).ServeHTTP(w, r)
	resp := w.Result()
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{resp.Status, resp.StatusCode, resp.Header, resp.Cookies(), string(b)}
}

// answer is a response that has been read.
type answer struct {
	Status     string
	StatusCode int
	Header     http.Header
	cookies    []*http.Cookie
	body       string
}

func TestFromHere(t *testing.T) {
	h := func(pairs ...string) http.Header {
		out := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			out.Add(pairs[i], pairs[i+1])
		}
		return out
	}
	for _, c := range []struct {
		name   string
		remote string
		header http.Header
		want   int
	}{
		{"loopback", "127.0.0.1:5000", h("Host", "127.0.0.1:7780"), 200},
		{"all of 127/8", "127.8.9.1:5000", h("Host", "127.0.0.2"), 200},
		{"localhost", "127.0.0.1:5000", h("Host", "LocalHost:7780"), 200},
		{"IPv6", "[::1]:5000", h("Host", "[::1]:7780"), 200},
		{"IPv6 without port", "[::1]:5000", h("Host", "[::1]"), 200},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:5000", h("Host", "localhost"), 200},
		{"own page", "127.0.0.1:5000", h("Host", "localhost:7780", "Origin", "http://localhost:7780"), 200},
		{"from the network", "192.168.1.5:5000", h("Host", "127.0.0.1:7780"), 401},
		{"from the network, IPv6", "[fe80::1%eth0]:5000", h("Host", "[::1]:7780"), 401},
		{"a name rebound to loopback", "127.0.0.1:5000", h("Host", "evil.com:7780"), 401},
		{"a name that looks like ours", "127.0.0.1:5000", h("Host", "localhost.evil.com"), 401},
		{"an address that looks like ours", "127.0.0.1:5000", h("Host", "127.0.0.1.evil.com"), 401},
		{"the address of all", "127.0.0.1:5000", h("Host", "0.0.0.0:7780"), 401},
		{"an address of the machine", "127.0.0.1:5000", h("Host", "192.168.1.2:7780"), 401},
		{"no Host", "127.0.0.1:5000", h("Host", ""), 401},
		{"a peer without address", "@", h("Host", "localhost"), 401},
		{"X-Forwarded-For", "127.0.0.1:5000", h("Host", "localhost", "X-Forwarded-For", "8.8.8.8"), 401},
		{"X-Forwarded-For that says loopback", "127.0.0.1:5000", h("Host", "localhost", "X-Forwarded-For", "127.0.0.1"), 401},
		{"X-Forwarded-For, empty", "127.0.0.1:5000", h("Host", "localhost", "X-Forwarded-For", ""), 401},
		{"X-Forwarded-For, the first line empty", "127.0.0.1:5000", h("Host", "localhost", "X-Forwarded-For", "", "X-Forwarded-For", "8.8.8.8"), 401},
		{"X-Forwarded-For from outside", "8.8.8.8:5000", h("Host", "localhost", "X-Forwarded-For", "127.0.0.1"), 401},
		{"Forwarded", "127.0.0.1:5000", h("Host", "localhost", "Forwarded", "for=8.8.8.8"), 401},
		{"Via", "127.0.0.1:5000", h("Host", "localhost", "Via", "1.1 proxy"), 401},
		{"X-Real-IP", "127.0.0.1:5000", h("Host", "localhost", "X-Real-IP", "8.8.8.8"), 401},
		{"X-Forwarded-Proto", "127.0.0.1:5000", h("Host", "localhost", "X-Forwarded-Proto", "https"), 401},
		{"CF-Connecting-IP", "127.0.0.1:5000", h("Host", "localhost", "CF-Connecting-IP", "8.8.8.8"), 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := ask(t, Config{Token: token}, http.MethodGet, "/api/v1/devices", c.remote, c.header)
			if resp.StatusCode != c.want {
				t.Errorf("%s, want %d", resp.Status, c.want)
			}
			if c.want == 401 {
				if got := resp.body; got != `{"error":"the access token is missing or wrong"}`+"\n" {
					t.Error(got)
				}
				if resp.Header.Get("Www-Authenticate") != `Bearer realm="naru"` {
					t.Error("no WWW-Authenticate")
				}
			}
		})
	}
}

func TestToken(t *testing.T) {
	session := loggedIn(t)
	cookieName, _, _ := strings.Cut(session, "=")
	for _, c := range []struct {
		name   string
		query  string
		header http.Header
		want   int
	}{
		{"none", "", nil, 401},
		{"bearer", "", http.Header{"Authorization": {"Bearer " + token}}, 200},
		{"bearer, another case", "", http.Header{"Authorization": {"bEARER  " + token + " "}}, 200},
		{"token, as InfluxDB's clients say", "", http.Header{"Authorization": {"Token " + token}}, 200},
		{"query", "?token=" + token, nil, 200},
		{"cookie", "", http.Header{"Cookie": {"a=b; " + session}, "Origin": {"http://example.com"}}, 200},
		{"basic beside the query", "?token=" + token, http.Header{"Authorization": {"Basic Og=="}}, 200},
		{"wrong", "", http.Header{"Authorization": {"Bearer x" + token}}, 401},
		{"another case", "?token=" + strings.ToUpper(token), nil, 401},
		{"a part", "?token=" + token[:8], nil, 401},
		{"empty", "?token=", http.Header{"Authorization": {"Bearer "}}, 401},
		{"basic", "", http.Header{"Authorization": {"Basic " + token}}, 401},
		{"without scheme", "", http.Header{"Authorization": {token}}, 401},
		{"wrong header before right query", "?token=" + token, http.Header{"Authorization": {"Bearer x"}}, 401},
		{"wrong query before right cookie", "?token=x", http.Header{"Cookie": {session}}, 401},
		{"the token as a cookie", "", http.Header{"Cookie": {cookieName + "=" + token}}, 401},
		{"wrong cookie before a right one", "", http.Header{"Cookie": {cookieName + "=x; " + session}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		{"wrong cookie", "", http.Header{"Cookie": {session + "x"}}, 401},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
			resp := ask(t, Config{Token: token}, method, "/api/v1/live"+c.query, "192.168.1.5:5000", c.header)
			if resp.StatusCode != c.want {
				t.Errorf("%s, %s: %s, want %d", c.name, method, resp.Status, c.want)
			}
		}
		resp := ask(t, Config{}, http.MethodGet, "/api/v1/live"+c.query, "192.168.1.5:5000", c.header)
		if resp.StatusCode != 401 {
			t.Errorf("%s: a guard without a token lets it through", c.name)
		}
	}
}

// What is answered as a script can be read by the page of any site that the browser
// shows: neither the address nor a cookie is enough.
func TestScriptsWantTheToken(t *testing.T) {
	session, here := loggedIn(t), http.Header{"Host": {"localhost"}}
	for _, c := range []struct {
		name, remote, query string
		header              http.Header
		want                int
	}{
		{"this machine", "127.0.0.1:5000", "?callback=f", here, 401},
		{"cookie", "192.168.1.5:5000", "?callback=f", http.Header{"Cookie": {session}}, 401},
		{"cookie on this machine", "127.0.0.1:5000", "?after=x&callback=", http.Header{"Host": {"localhost"}, "Cookie": {session}}, 401},
		{"token", "192.168.1.5:5000", "?callback=f&token=" + token, nil, 200},
		{"token on this machine", "127.0.0.1:5000", "?callback=f&token=" + token, here, 200},
		{"no script", "127.0.0.1:5000", "?callbacks=f", here, 200},
	} {
		if resp := ask(t, Config{Token: token}, http.MethodGet, "/api/v1/live"+c.query, c.remote, c.header); resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, resp.Status, c.want)
		}
	}
}

// Who is behind the guard never sees the token in the address.
func TestTokenIsHidden(t *testing.T) {
	for _, remote := range []string{"192.168.1.5:5000", "127.0.0.1:5000"} {
		for _, c := range []struct{ target, want string }{
			{"/api/v1/live?token=" + token, "saw /api/v1/live /api/v1/live"},
			{"/api/v1/live?device=a%26b&token=" + token + "&after=s-1", "saw /api/v1/live?after=s-1&device=a%26b /api/v1/live?after=s-1&device=a%26b"},
		} {
			resp := ask(t, Config{Token: token}, http.MethodGet, c.target, remote, http.Header{"Host": {"localhost"}})
			if got := resp.body; got != c.want {
				t.Errorf("%s from %s: %s", c.target, remote, got)
			}
		}
	}
}

func TestAccessLink(t *testing.T) {
	for _, c := range []struct {
		target, accept string
		want           int
		location       string
		path           string // of the cookie; empty: what the browser sees
	}{
		{"/?token=" + token, "text/html", 303, "./", ""},
		{"/?token=" + token + "&device=a%20b", "text/html,*/*", 303, "./?device=a+b", ""},
		{"/naru/?x=1&token=" + token, "text/html", 303, "./?x=1", "/"},
		{"/naru/page?token=" + token, "text/html", 303, "./page", "/"},
		{"/a%3Fb%0d%0aX:y?token=" + token, "text/html", 303, "./a%3Fb%0d%0aX:y", ""},
		{"/http://evil.com?token=" + token, "text/html", 303, "./evil.com", "/"},
		{"//evil.com?token=" + token, "text/html", 303, "./evil.com", "/"},
		{"/?token=" + token, "application/json", 200, "", ""},
		{"/?token=wrong", "text/html", 401, "", ""},
	} {
		resp := ask(t, Config{Token: token}, http.MethodGet, "http://gw:7780"+c.target, "192.168.1.5:5000", http.Header{"Accept": {c.accept}})
		if resp.StatusCode != c.want || resp.Header.Get("Location") != c.location {
			t.Errorf("%s: %s to %q; want %d to %q", c.target, resp.Status, resp.Header.Get("Location"), c.want, c.location)
		}
		cookies := resp.cookies
		if c.want != 303 {
			if len(cookies) != 0 {
				t.Errorf("%s: a cookie is set", c.target)
			}
			continue
		}
		if len(cookies) != 1 || strings.Contains(cookies[0].String(), token) || !cookies[0].HttpOnly ||
			cookies[0].SameSite != http.SameSiteLaxMode || cookies[0].Path != c.path || cookies[0].Secure {
			t.Errorf("%s: cookies %v", c.target, cookies)
			continue
		}
		again := ask(t, Config{Token: token}, http.MethodGet, "/", "192.168.1.5:5000", http.Header{"Cookie": {cookies[0].Name + "=" + cookies[0].Value}})
		if again.StatusCode != 200 {
			t.Errorf("%s: the cookie opens nothing: %s", c.target, again.Status)
		}
		if resp.Header.Get("Referrer-Policy") != "no-referrer" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v", c.target, resp.Header)
		}
	}
}

func TestDeniedPage(t *testing.T) {
	resp := ask(t, Config{Token: token}, http.MethodGet, "/", "192.168.1.5:5000", http.Header{"Accept": {"text/html,application/xhtml+xml"}})
	got := resp.body
	if resp.StatusCode != 401 || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.Contains(got, "naru token") ||
		!strings.Contains(got, `action="./login"`) {
		t.Errorf("%s %s %s", resp.Status, resp.Header, got)
	}
	if strings.Contains(got, token) {
		t.Error("the page tells the token")
	}
}

func TestOrigins(t *testing.T) {
	cfg := Config{Token: token, Origins: []string{"https://*.example.org", "http://localhost:5173", "[malformed"}}
	post, get, upgrade := http.MethodPost, http.MethodGet, "upgrade"
	for _, c := range []struct {
		origin  string
		how     string
		want    int
		allowed string // Access-Control-Allow-Origin
	}{
		{"", post, 200, ""},
		{"http://localhost:7780", post, 200, ""},
		{"http://localhost:7780", upgrade, 200, ""},
		{"http://localhost:5173", post, 200, "http://localhost:5173"},
		{"http://localhost:5173", get, 200, "http://localhost:5173"},
		{"https://dash.example.org", upgrade, 200, "https://dash.example.org"},
		{"https://DASH.Example.org", upgrade, 200, "https://DASH.Example.org"},
		{"https://a.b.example.org", post, 200, "https://a.b.example.org"},
		{"http://dash.example.org", post, 403, ""},
		{"https://example.org", post, 403, ""},
		{"https://example.org.evil.com", upgrade, 403, ""},
		{"https://evil.com/.example.org", post, 403, ""},
		{"https://evil.com?.example.org", post, 403, ""},
		{"https://evil.com#.example.org", post, 403, ""},
		{"https://.example.org@evil.com", post, 403, ""},
		{"http://localhost:7781", post, 403, ""},
		{"http://evil.com", post, 403, ""},
		{"http://evil.com", upgrade, 403, ""},
		{"http://evil.com", get, 200, ""}, // the browser keeps the answer to itself
		{"null", post, 403, ""},
		{"null", upgrade, 403, ""},
		{"::", post, 403, ""},
	} {
		h := http.Header{"Host": {"localhost:7780"}}
		if c.origin != "" {
			h.Set("Origin", c.origin)
		}
		method := c.how
		if c.how == upgrade {
			method = get
			h.Set("Upgrade", "websocket")
		}
		resp := ask(t, cfg, method, "/api/v1/live", "127.0.0.1:5000", h)
		if resp.StatusCode != c.want || resp.Header.Get("Access-Control-Allow-Origin") != c.allowed {
			t.Errorf("%s from %q: %s, allowed %q", c.how, c.origin, resp.Status, resp.Header.Get("Access-Control-Allow-Origin"))
		}
		if c.allowed != "" && resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%q: Vary is %q", c.origin, resp.Header.Get("Vary"))
		}
	}
	// A request without Host has no origin of its own.
	if resp := ask(t, cfg, post, "/", "127.0.0.1:5000", http.Header{"Host": {""}, "Origin": {"null"}, "Authorization": {"Bearer " + token}}); resp.StatusCode != 403 {
		t.Errorf("null without Host: %s", resp.Status)
	}
}

func TestPreflight(t *testing.T) {
	cfg := Config{Token: token, Origins: []string{"https://dash.example.org"}}
	preflight := http.Header{"Origin": {"https://dash.example.org"}, "Access-Control-Request-Method": {"POST"}}
	resp := ask(t, cfg, http.MethodOptions, "/api/v1/write", "192.168.1.5:5000", preflight)
	got := map[string]string{}
	for name, values := range resp.Header {
		got[name] = strings.Join(values, "; ")
	}
	want := map[string]string{
		"Access-Control-Allow-Origin": "https://dash.example.org", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, HEAD, POST", "Access-Control-Allow-Headers": "Authorization, Content-Type, Last-Event-ID",
		"Access-Control-Max-Age": "600", "Vary": "Origin",
	}
	if d := cmp.Diff(want, got); d != "" || resp.StatusCode != http.StatusNoContent {
		t.Errorf("%s (-want +got):\n%s", resp.Status, d)
	}
	preflight.Set("Origin", "https://evil.com")
	resp = ask(t, cfg, http.MethodOptions, "/api/v1/write", "192.168.1.5:5000", preflight)
	if resp.StatusCode != 401 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: %s %v", resp.Status, resp.Header)
	}
	// The answer itself wants the token, and says to the page why it is missing.
	resp = ask(t, cfg, http.MethodPost, "/api/v1/write", "192.168.1.5:5000", http.Header{"Origin": {"https://dash.example.org"}})
	if resp.StatusCode != 401 || resp.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("without the token: %s %v", resp.Status, resp.Header)
	}
}
