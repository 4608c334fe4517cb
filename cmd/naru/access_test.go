package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/auth"
)

// elsewhere are header fields of a request that does not come from this machine.
func elsewhere(token string) []string {
	return []string{"Host", "gateway.example", "Authorization", "Bearer " + token}
}

// addAccess makes an access token.
func addAccess(t *testing.T, more []string, args ...string) (a auth.Access) {
	t.Helper()
	code, stdout, stderr := command(t, nil, slices.Concat([]string{"access", "add"}, args, []string{"--json"}, more)...)
	if err := json.Unmarshal([]byte(stdout), &a); code != 0 || err != nil || a.Token == "" {
		t.Fatalf("naru access add %q: exit code %d, %v: %s%s", args, code, err, stdout, stderr)
	}
	return a
}

// naru access does the same in a folder, in the gateway that has it open, and in
// one that is named.
func TestAccessCommand(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "gateway", "url"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			more := []string{"--data", data}
			var g *gatewayUnderTest
			if kind != "folder" {
				g = startGateway(t, data)
			}
			if kind == "url" {
				more = []string{"--url", g.url("/")}
			}
			code, stdout, stderr := command(t, nil, slices.Concat([]string{"access", "add", "kitchen", "--device", "gh*", "--expires", "30d"}, more)...)
			_, rest, _ := strings.Cut(stdout, "token    ")
			token, _, _ := strings.Cut(rest, "\n")
			if code != 0 || len(token) != 26 || !strings.Contains(stdout, "kitchen, viewer of gh*, until ") || !strings.Contains(stdout, "/?token="+token) {
				t.Fatalf("%d %s%s", code, stdout, stderr)
			}
			writer := addAccess(t, more, "telegraf", "--role", "writer")
			if writer.Role != "writer" || string(writer.Expires) != "" || len(writer.Devices) != 0 {
				t.Errorf("%+v", writer)
			}
			code, stdout, _ = command(t, nil, slices.Concat([]string{"access", "list"}, more)...)
			if code != 0 || strings.Contains(stdout, token) || strings.Count(stdout, "\n") != 3 || !strings.Contains(stdout, "kitchen") ||
				!strings.Contains(stdout, "until it is revoked") || !strings.Contains(stdout, "all devices") {
				t.Errorf("list: %d %s", code, stdout)
			}
			if g != nil {
				if got := g.status(t, "/api/v1/devices", elsewhere(token)...); got != http.StatusOK {
					t.Errorf("the token opens nothing: %d", got)
				}
			}
			for _, c := range []struct {
				args []string
				code int
				want string
			}{
				{[]string{"add", "kitchen"}, 1, "in use"},
				{[]string{"add", "x", "--role", "root"}, 2, "want viewer, writer or admin"},
				{[]string{"add", "x", "--role", "admin", "--device", "a"}, 1, "cannot be limited"},
				{[]string{"add", "x", "--expires", "0s"}, 2, "expires"},
				{[]string{"add", "x", "--expires", "soon"}, 2, "expires"},
				{[]string{"add"}, 2, "arg"},
				{[]string{"revoke", "kitchen"}, 0, "kitchen is revoked"},
				{[]string{"revoke", "kitchen"}, 1, "no such access: kitchen"},
				{[]string{"revoke", "2"}, 0, "telegraf is revoked"},
			} {
				code, stdout, stderr := command(t, nil, slices.Concat([]string{"access"}, c.args, more)...)
				if code != c.code || !strings.Contains(stdout+stderr, c.want) {
					t.Errorf("%q: %d %s%s; want %d %s", c.args, code, stdout, stderr, c.code, c.want)
				}
			}
			if g == nil {
				return
			}
			if got := g.status(t, "/api/v1/devices", elsewhere(token)...); got != http.StatusUnauthorized {
				t.Errorf("a revoked token: %d", got)
			}
			for _, line := range []string{"access was granted", "access was revoked", "name=kitchen", `by="t`} {
				if !strings.Contains(g.output.String(), line) {
					t.Errorf("the log has no %q:\n%s", line, g.output)
				}
			}
			if strings.Contains(g.output.String(), token) || strings.Contains(g.output.String(), writer.Token) {
				t.Error("the log tells a token")
			}
		})
	}
}

// A viewer and a writer with a limit, from outside: what there is for them, what
// they change, and the end.
func TestLimitedAccess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	more := []string{"--data", data}
	viewer := addAccess(t, more, "kitchen", "--device", "gh*")
	writer := addAccess(t, more, "telegraf", "--role", "writer", "--device", "gh*")
	const payload = "t,device=gh1 v=1\nt,device=shed v=2\n"
	status, text, _ := request(t, http.MethodPost, g.url("/api/v1/write"), strings.NewReader(payload), elsewhere(writer.Token)...)
	if status != http.StatusBadRequest || !strings.Contains(text, `this access may not write device \"shed\"`) || !strings.Contains(text, `"written":1`) {
		t.Errorf("limited: %d %s", status, text)
	}
	status, text, _ = request(t, http.MethodPost, g.url("/write"), strings.NewReader(payload), "Host", "gateway.example", "Authorization", "Token x:"+writer.Token)
	if status != http.StatusBadRequest || !strings.Contains(text, "partial write") {
		t.Errorf("as InfluxDB: %d %s", status, text)
	}
	if status, text, _ := request(t, http.MethodPost, g.url("/api/v1/write"), strings.NewReader(payload)); status != http.StatusNoContent {
		t.Errorf("on this machine: %d %s", status, text)
	}
	if status, text, _ := request(t, http.MethodPost, g.url("/api/v1/write"), strings.NewReader(payload), elsewhere(viewer.Token)...); status != http.StatusForbidden {
		t.Errorf("a viewer writes: %d %s", status, text)
	}
	for path, want := range map[string]string{
		"/api/v1/devices": "gh1", "/api/v1/series": "gh1", "/api/v1/readings": "gh1", "/api/v1/readings/count": `"count":`,
		"/api/v1/history": "gh1", "/api/v1/live?last=1": "gh1", "/api/v1/live?last=1&device=*": "gh1", "/api/v1/devices/gh1": "gh1",
	} {
		if status, text, _ := fetch(t, g.url(path), elsewhere(viewer.Token)...); status != http.StatusOK || !strings.Contains(text, want) || strings.Contains(text, "shed") {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	for _, path := range []string{"/api/v1/devices/shed", "/api/v1/devices/nobody"} {
		if status, text, _ := fetch(t, g.url(path), elsewhere(viewer.Token)...); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	endsWithItsAccess(t, g, more, viewer)
}

// endsWithItsAccess opens streams and revokes the access.
func endsWithItsAccess(t *testing.T, g *gatewayUnderTest, more []string, viewer auth.Access) {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), "ws://"+g.HTTP+"/api/v1/live?token="+viewer.Token, &websocket.DialOptions{Host: "gateway.example"}) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url("/api/v1/live"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "gateway.example"
	req.Header.Set("Authorization", "Bearer "+viewer.Token)
	req.Header.Set("Accept", "text/event-stream")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	sse, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sse.Body.Close() }()
	if code, stdout, stderr := command(t, nil, slices.Concat([]string{"access", "revoke", viewer.Name}, more)...); code != 0 {
		t.Fatal(stdout, stderr)
	}
	_, _, err = ws.Read(t.Context())
	if websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("the WebSocket ends with %v", err)
	}
	buf := make([]byte, 4096)
	for err = nil; err == nil; {
		_, err = sse.Body.Read(buf) // fails by the client's time-out when nobody ends it
	}
	if err.Error() != "EOF" {
		t.Errorf("the event stream ends with %v", err)
	}
}

// Access ends by its time in a gateway that runs.
func TestAccessExpires(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	viewer := addAccess(t, []string{"--url", g.url("/")}, "guest", "--expires", "2s")
	begun := time.Now()
	if got := g.status(t, "/api/v1/devices", elsewhere(viewer.Token)...); got != http.StatusOK && time.Since(begun) < time.Second {
		t.Errorf("before: %d", got)
	}
	eventually(t, "the end", func() bool {
		return g.status(t, "/api/v1/devices", elsewhere(viewer.Token)...) == http.StatusUnauthorized
	})
	_, stdout, _ := command(t, nil, "access", "list", "--url", g.url("/"))
	if !strings.Contains(stdout, "expired ") {
		t.Errorf("%s", stdout)
	}
}

// The first token, a session by its link, and what is counted.
func TestFirstToken(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	token := accessToken(t, data)
	_, _, header := fetch(t, g.url("/?token="+token), "Host", "gateway.example", "Accept", "text/html")
	cookie, _, _ := strings.Cut(header.Get("Set-Cookie"), ";")
	if header.Get("Location") != "./" || cookie == "" || strings.Contains(cookie, token) {
		t.Fatalf("%v", header)
	}
	asBrowser := []string{"Host", "gateway.example", "Cookie", cookie}
	if status, text, _ := fetch(t, g.url("/api/v1/session"), asBrowser...); status != http.StatusOK || !strings.Contains(text, `"role":"admin"`) {
		t.Errorf("%d %s", status, text)
	}
	order := `{"name":"page","role":"viewer"}`
	if status, text, _ := request(t, http.MethodPost, g.url("/api/v1/access"), strings.NewReader(order), asBrowser...); status != http.StatusForbidden {
		t.Errorf("a forged request: %d %s", status, text)
	}
	own := append(asBrowser, "Origin", "http://gateway.example")
	if status, text, _ := request(t, http.MethodPost, g.url("/api/v1/access"), strings.NewReader(order), own...); status != http.StatusCreated {
		t.Errorf("the page's own: %d %s", status, text)
	}
	g.stop(t)
	g = startGateway(t, data)
	if got := g.status(t, "/api/v1/session", asBrowser...); got != http.StatusOK {
		t.Errorf("after a restart the session is over: %d", got)
	}
	for i := range 12 {
		g.status(t, "/", elsewhere(fmt.Sprintf("wrong-token-%d", i))...)
	}
	if got := g.status(t, "/", elsewhere(token)...); got != http.StatusTooManyRequests {
		t.Errorf("after many guesses: %d", got)
	}
	if wrong, throttled := g.metric(t, "naru_access_refused_total", "wrong"), g.metric(t, "naru_access_refused_total", "throttled"); wrong != 10 || throttled != 3 {
		t.Errorf("%v wrong, %v throttled", wrong, throttled)
	}
	if n := g.metric(t, "naru_access_tokens", ""); n != 1 {
		t.Errorf("%v access tokens", n)
	}
	if n := g.metric(t, "naru_http_connections", ""); n < 1 {
		t.Errorf("%v connections", n)
	}
}
