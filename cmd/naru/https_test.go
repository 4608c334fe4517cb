package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/ingest/authority"
)

// browserTrusting returns a client that knows this authority only.
func browserTrusting(t *testing.T, a *authority.Authority, name string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	a.AddTo(roots)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: name}, DisableKeepAlives: true, ForceAttemptHTTP2: true}
	return &http.Client{Transport: transport, Timeout: patience}
}

// TestHTTPS: the page, streams and commands over TLS, with the gateway's own
// authority and with certificate files.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"own authority", "files"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			data, name := filepath.Join(dir, "data"), "localhost"
			args := []string{"--http-tls"}
			var a *authority.Authority
			var err error
			if kind == "files" {
				name = "naru.example.org"
				if a, err = authority.Open(filepath.Join(dir, "a.pem"), slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
				cert := written(t, "cert.pem", serverPEM(t, a, name))
				args = append(args, "--tls-cert", cert, "--tls-key", cert)
			}
			g := startGateway(t, data, args...)
			if a == nil {
				if a, err = authority.Load(filepath.Join(data, authorityFile)); err != nil {
					t.Fatal(err)
				}
			}
			overHTTPS(t, g, browserTrusting(t, a, name))
			if conn := dial(t, "tcp", g.HTTP); conn != nil {
				_, _ = fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
				if text, err := io.ReadAll(conn); err != nil || !strings.Contains(string(text), "400 Bad Request") || !strings.Contains(string(text), "HTTPS server") {
					t.Errorf("without TLS: %v, %s", err, text)
				}
			}
			commandsOverHTTPS(t, g, data)
		})
	}
}

// overHTTPS looks at the gateway with a browser's means.
func overHTTPS(t *testing.T, g *gatewayUnderTest, client *http.Client) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url("/api/v1/live?last=1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "retry: 2000\n" || resp.Proto != "HTTP/1.1" {
		t.Errorf("%s %q, %v", resp.Proto, line, err)
	}
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(g.url("/api/v1/live"), "https", "wss", 1), &websocket.DialOptions{HTTPClient: client}) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	sendTo(t, "udp", g.UDP, "t,device=gh1 v=1")
	if _, message, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(message), `"gh1"`) {
		t.Errorf("%s, %v", message, err)
	}
	// A session's cookie goes over TLS only.
	req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, g.url("/?token="+accessToken(t, g.data(t))), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "gateway.example"
	req.Header.Set("Accept", "text/html")
	resp, err = client.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if c := resp.Cookies(); resp.StatusCode != http.StatusSeeOther || len(c) != 1 || !c[0].Secure {
		t.Errorf("%s, %v", resp.Status, c)
	}
}

// data returns the folder that the gateway says it has.
func (g *gatewayUnderTest) data(t *testing.T) string {
	t.Helper()
	_, rest, _ := strings.Cut(g.output.String(), "  data   ")
	path, _, ok := strings.Cut(rest, " (")
	if !ok {
		t.Fatalf("no folder in %s", g.output)
	}
	return path
}

// commandsOverHTTPS finds the gateway by its folder, and only the right one.
func commandsOverHTTPS(t *testing.T, g *gatewayUnderTest, data string) {
	t.Helper()
	for _, args := range [][]string{{"access", "list"}, {"device", "add", "gh1"}, {"stats"}, {"export", "-q"}} {
		if code, _, stderr := command(t, nil, append(args, "--data", data)...); code != 0 {
			t.Errorf("naru %q: %d %s", args, code, stderr)
		}
	}
	code, stdout, stderr := command(t, nil, "access", "add", "kitchen", "--data", data)
	if code != 0 || !strings.Contains(stdout, "https://") || strings.Contains(stdout, "http://") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	if code, stdout, _ := command(t, nil, "token", "--data", data, "--http", g.HTTP, "--http-tls"); code != 0 || !strings.HasPrefix(stdout, "https://"+g.HTTP) {
		t.Errorf("naru token: %d %s", code, stdout)
	}
	if !strings.Contains(g.output.String(), "look   https://"+g.HTTP) {
		t.Errorf("%s", g.output)
	}
	want := "cannot validate certificate"
	if filepath.Base(g.Certificate) == authorityFile {
		want = "SSL_CERT_FILE"
	}
	if code, _, stderr := command(t, nil, "stats", "--url", g.url("/")); code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("nobody vouches for it: %d %s", code, stderr)
	}
	// Another certificate than the one that the folder tells of is not trusted.
	other, err := authority.Open(filepath.Join(t.TempDir(), "other.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf(`{"http":%q,"certificate":%q}`, g.HTTP, written(t, "other.crt", serverPEM(t, other, "localhost")))
	if err := os.WriteFile(filepath.Join(data, addressFile), []byte(address), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := command(t, nil, "stats", "--data", data); code != 1 || !strings.Contains(stderr, "another certificate") {
		t.Errorf("somebody else: %d %s", code, stderr)
	}
}
