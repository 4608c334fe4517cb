package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// The gateway below a path of a reverse proxy, as operation.md has it set up: a
// proxy of Go's, and nginx where it is installed.
func TestReverseProxy(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T, gateway string) (proxy string){"go": goProxy, "nginx": nginxProxy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := t.TempDir()
			g := startGateway(t, data, "--trusted-proxies", "127.0.0.1")
			base := begin(t, g.HTTP) + "/naru/"
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			browser := &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
			look := func(target string, fields ...string) (int, string) {
				return visit(t, browser, http.MethodGet, target, "", fields...)
			}
			if status, text := look(base, "Accept", "text/html"); status != http.StatusUnauthorized || !strings.Contains(text, `action="./login"`) {
				t.Fatalf("this machine, but by a proxy: %d %s", status, text)
			}
			login := url.Values{"token": {accessToken(t, data)}}.Encode()
			fields := []string{"Content-Type", "application/x-www-form-urlencoded", "Origin", strings.TrimSuffix(base, "/naru/")}
			status, page := visit(t, browser, http.MethodPost, base+"login", login, fields...)
			if status != http.StatusOK || !strings.Contains(page, "<title>Naru</title>") {
				t.Fatalf("logged in: %d %s", status, page)
			}
			files := regexp.MustCompile(`(?:src|href)="([^"#:]+)"`).FindAllStringSubmatch(page, -1)
			for _, f := range files {
				target, err := url.Parse(base)
				if err != nil {
					t.Fatal(err)
				}
				if target, err = target.Parse(f[1]); err != nil {
					t.Fatal(err)
				}
				if status, _ := look(target.String()); status != http.StatusOK {
					t.Errorf("%s: %d", target, status)
				}
			}
			if len(files) == 0 {
				t.Errorf("the page has no files: %s", page)
			}
			sendTo(t, "udp", g.UDP, "t,device=gh1 v=1")
			streamsThrough(t, browser, base)
			if status, _ := visit(t, browser, http.MethodPost, base+"api/v1/access", `{"name":"made","role":"viewer"}`, fields[2:]...); status != http.StatusCreated {
				t.Errorf("a change: %d", status)
			}
			// The log names who asked the proxy, and not who says to be somebody else.
			if !strings.Contains(g.output.String(), `by="the first token at 127.0.0.1:0"`) {
				t.Errorf("%s", g.output)
			}
			if status, _ := visit(t, browser, http.MethodPost, base+"logout", "", fields...); status != http.StatusOK {
				t.Errorf("logout: %d", status)
			}
			if status, _ := look(base + "api/v1/devices"); status != http.StatusUnauthorized {
				t.Errorf("logged out: %d", status)
			}
		})
	}
}

// visit makes a browser's request and follows where it is sent.
func visit(t *testing.T, browser *http.Client, method, target, body string, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// streamsThrough gets the newest reading as an event and over a WebSocket.
func streamsThrough(t *testing.T, browser *http.Client, base string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, base+"api/v1/live?last=1", &websocket.DialOptions{HTTPClient: browser}) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	for text := ""; !strings.Contains(text, `"gh1"`); {
		_, b, err := ws.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"api/v1/live?last=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), `"gh1"`) {
			return
		}
	}
	t.Errorf("no event: %v", lines.Err())
}

// goProxy serves the gateway at /naru/.
func goProxy(t *testing.T, gateway string) string {
	target := &url.URL{Scheme: "http", Host: gateway}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		FlushInterval: -1,
	}
	s := httptest.NewServer(http.StripPrefix("/naru", proxy))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

const nginxConfig = `
daemon off;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
worker_processes 1;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server {
    listen %[2]s;
    location /naru/ {
      proxy_pass http://%[3]s/;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $http_connection;
    }
  }
}
`

// nginxProxy serves the gateway at /naru/ with nginx.
func nginxProxy(t *testing.T, gateway string) string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, addr, gateway), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &outputBuffer{}
	cmd := exec.CommandContext(t.Context(), path, "-c", config, "-p", dir, "-e", filepath.Join(dir, "error.log"))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // takes its workers along
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() })
	eventually(t, "nginx", func() bool {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return "http://" + addr
}
