package auth

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func form(secret string) string { return url.Values{"token": {secret}}.Encode() }

var fromPage = []string{"Origin", "http://gw:7780", "Content-Type", "application/x-www-form-urlencoded"}

func TestLogin(t *testing.T) {
	h := newHouse(t, Config{})
	_, viewer := h.order(`{"name":"kitchen","role":"viewer"}`)
	_, writer := h.order(`{"name":"telegraf","role":"writer"}`)
	for _, c := range []struct {
		name, body string
		fields     []string
		want       int
		text       string
	}{
		{"the first token", form(token), fromPage, 303, ""},
		{"another", form(" " + viewer + "\n"), fromPage, 303, ""},
		{"one that only writes", form(writer), fromPage, 403, "writes only"},
		{"a wrong one", form("x"), fromPage, 401, "missing or wrong"},
		{"none", "", fromPage, 401, "missing or wrong"},
		{"in the address only", "", fromPage, 401, "missing or wrong"},
		{"too long", form(strings.Repeat("x", maxLogin)), fromPage, 400, "cannot be read"},
		{"from another site", form(token), []string{"Origin", "https://evil.com", "Content-Type", fromPage[3]}, 403, "origin"},
		{"from nowhere", form(token), []string{"Origin", "null", "Content-Type", fromPage[3]}, 403, "origin"},
		{"who does not say", form(token), []string{"Content-Type", fromPage[3]}, 403, "origin"},
		{"a browser that says it otherwise", form(token), []string{"Sec-Fetch-Site", "same-origin", "Content-Type", fromPage[3]}, 303, ""},
	} {
		w := h.request(http.MethodPost, "/login?token="+token, c.body, c.fields...)
		if w.Code != c.want || !strings.Contains(w.Body.String(), c.text) || strings.Contains(w.Body.String(), token) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		cookies := w.Result().Cookies()
		if (len(cookies) == 1) != (c.want == 303) {
			t.Errorf("%s: cookies %v", c.name, cookies)
			continue
		}
		if c.want != 303 {
			continue
		}
		session := cookies[0].Name + "=" + cookies[0].Value
		if w.Header().Get("Location") != "./" || cookies[0].Path != "" {
			t.Errorf("%s: to %q with %v", c.name, w.Header().Get("Location"), cookies[0])
		}
		if status, text := h.do(http.MethodGet, "/", "", "Cookie", session); status != 200 || text != "served" {
			t.Errorf("%s: the session opens nothing: %d %s", c.name, status, text)
		}
		if status, _ := h.do(http.MethodGet, "/api/v1/access", "", "Cookie", session); (status == 200) != (c.name != "another") {
			t.Errorf("%s: the session of another role: %d", c.name, status)
		}
	}
	out := h.request(http.MethodPost, "/logout", "", fromPage...)
	cookies := out.Result().Cookies()
	if out.Code != 303 || out.Header().Get("Location") != "./login" || len(cookies) != 2 || cookies[0].MaxAge != -1 || cookies[1].MaxAge != -1 {
		t.Errorf("logout: %d %v", out.Code, cookies)
	}
	if status, _ := h.do(http.MethodPost, "/logout", "", "Origin", "https://evil.com"); status != 403 {
		t.Errorf("another site logs out: %d", status)
	}
}

// The page is there where it is wanted, and its form finds the way from there.
func TestLoginPage(t *testing.T) {
	h := newHouse(t, Config{})
	for target, action := range map[string]string{
		"/": "./login", "/login": "./login", "/api/v1/devices": "../../login", "/a/b": "../login", "/api/v1/live?device=a": "../../login",
	} {
		w := h.request(http.MethodGet, target, "", "Accept", "text/html")
		want := http.StatusUnauthorized
		if target == "/login" {
			want = http.StatusOK
		}
		if w.Code != want || !strings.Contains(w.Body.String(), `action="`+action+`"`) || strings.Contains(w.Body.String(), "{{") {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || w.Header().Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", target, w.Header())
		}
	}
}

// A session alone changes nothing: a page must have sent the request, and be ours.
func TestForgedRequests(t *testing.T) {
	h := newHouse(t, Config{Origins: []string{"https://dash.example.org"}})
	session := loggedIn(t)
	for _, c := range []struct {
		name, target string
		fields       []string
		want         int
	}{
		{"our own page", "/api/v1/registry", []string{"Cookie", session, "Origin", "http://gw:7780"}, 200},
		{"our own page, in other words", "/api/v1/registry", []string{"Cookie", session, "Sec-Fetch-Site", "same-origin"}, 200},
		{"who does not say", "/api/v1/registry", []string{"Cookie", session}, 403},
		{"another site", "/api/v1/registry", []string{"Cookie", session, "Origin", "https://evil.com"}, 403},
		{"another site that hides", "/api/v1/registry", []string{"Cookie", session, "Origin", "null"}, 403},
		{"another site, in other words", "/api/v1/registry", []string{"Cookie", session, "Sec-Fetch-Site", "cross-site"}, 403},
		{"a neighbour", "/api/v1/registry", []string{"Cookie", session, "Sec-Fetch-Site", "same-site"}, 403},
		{"an allowed site may not administer", "/api/v1/registry", []string{"Cookie", session, "Origin", "https://dash.example.org"}, 403},
		{"an allowed site may write", "/api/v1/write", []string{"Cookie", session, "Origin", "https://dash.example.org"}, 200},
		{"a program with a token", "/api/v1/registry", bearer(token), 200},
		{"another site with a token", "/api/v1/registry", append(bearer(token), "Origin", "https://evil.com"), 403},
		{"this machine", "/api/v1/registry", []string{"Remote", "127.0.0.1:5000", "Host", "localhost"}, 200},
		{"another site on this machine", "/api/v1/registry", []string{"Remote", "127.0.0.1:5000", "Host", "localhost", "Origin", "https://evil.com"}, 403},
		{"another site on this machine, in other words", "/api/v1/registry", []string{"Remote", "127.0.0.1:5000", "Host", "localhost", "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		if status, text := h.do(http.MethodPost, c.target, "", c.fields...); status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, status, text, c.want)
		}
	}
}

// Wrong tokens are answered alike, in every place, and then not looked at; who is
// logged in does not notice.
func TestGuessing(t *testing.T) {
	h := newHouse(t, Config{})
	session := loggedIn(t)
	_, gone := h.order(`{"name":"gone","role":"viewer","ttl":"1h"}`)
	h.wait(2 * time.Hour)
	ways := []func(secret string) (int, string){
		func(secret string) (int, string) {
			return h.do(http.MethodGet, "/api/v1/readings", "", bearer(secret)...)
		},
		func(secret string) (int, string) { return h.do(http.MethodGet, "/api/v1/live?token="+secret, "") },
		func(secret string) (int, string) { return h.do(http.MethodPost, "/login", form(secret), fromPage...) },
		func(secret string) (int, string) { return h.do(http.MethodPost, "/write?p="+secret, "") },
	}
	for i, way := range ways[:2] {
		status, text := way(gone)
		other, otherText := way("x" + strconv.Itoa(i))
		if status != 401 || status != other || text != otherText {
			t.Errorf("%d %s for an expired token, %d %s for a wrong one", status, text, other, otherText)
		}
	}
	for i := range 2 * guessesPerAddr {
		_, _ = ways[i%len(ways)]("guess" + strconv.Itoa(i))
	}
	for i, way := range ways {
		for _, secret := range []string{"one more", token} { // nobody learns that it is right
			if status, text := way(secret); status != 429 || !strings.Contains(text, "too many wrong access tokens") {
				t.Errorf("way %d: %d %s", i, status, text)
			}
		}
	}
	if status, _ := h.do(http.MethodGet, "/", "", "Cookie", session); status != 200 {
		t.Errorf("a session: %d", status)
	}
	if status, _ := h.do(http.MethodGet, "/", "", append(bearer(token), "Remote", "192.168.1.6:5000")...); status != 200 {
		t.Errorf("another address: %d", status)
	}
	h.wait(guessPause)
	if status, _ := h.do(http.MethodGet, "/", "", bearer(token)...); status != 200 {
		t.Errorf("later: %d", status)
	}
	counts := map[string]int64{}
	h.Refused(func(r Refusal, n int64) { counts[r.String()] = n })
	// The expired one was shown twice, and is one guess.
	if counts["wrong"] != guessesPerAddr+1 || counts["throttled"] < 8 || counts["missing"] != 0 {
		t.Errorf("counted %v", counts)
	}
}

// Wrong tokens are logged, but not each, and never told.
func TestGuessesAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		said := &lines{}
		h := newHouse(t, Config{Logger: slog.New(slog.NewTextHandler(said, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- h.Run(ctx) }()
		for i := range 5 {
			h.do(http.MethodGet, "/", "", bearer("secret-guess"+strconv.Itoa(i))...)
			<-time.After(10 * time.Second)
		}
		<-time.After(2 * time.Minute)
		cancel()
		if err := <-ran; err != nil {
			t.Error(err)
		}
		text := said.String()
		if n := strings.Count(text, "tokens that are wrong"); n != 2 || !strings.Contains(text, "192.168.1.5") || strings.Contains(text, "secret-guess") {
			t.Errorf("%d lines: %s", n, text)
		}
	})
}

// lines is a log that several goroutines write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
