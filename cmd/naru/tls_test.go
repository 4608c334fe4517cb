package main

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/ingest/authority"
)

// written writes text to a file of the test.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// overTLS is openssl as a device that sends one payload and reads the answer; it
// returns all that openssl printed.
func overTLS(t *testing.T, addr, payload string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{
		"s_client", "-quiet", "-verify_quiet", "-verify_return_error", "-connect", addr,
	}, args...)...)
	out := &outputBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait()
	}()
	_, _ = io.WriteString(in, payload+"\n") // it may have ended
	eventually(t, "an answer to "+payload, func() bool {
		select {
		case <-ended:
			return true
		default:
			return strings.Contains(out.String(), "}")
		}
	})
	_ = cmd.Process.Kill()
	<-ended
	return out.String()
}

// TestTLS: a gateway with its own authority, from the root that a device fetches to
// the reading that arrives, and the same after a restart.
func TestTLS(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	_, root, header := fetch(t, g.url(rootPath), "Host", "elsewhere.example", "X-Forwarded-For", "8.8.8.8")
	if header.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Errorf("%v", header)
	}
	block, _ := pem.Decode([]byte(root))
	if block == nil {
		t.Fatalf("no root: %s", root)
	}
	sum := strings.ReplaceAll(fmt.Sprintf("% X", sha256.Sum256(block.Bytes)), " ", ":")
	if code, out, stderr := command(t, nil, "ca", "--data", data); code != 0 || out != "# SHA-256 "+sum+"\n"+root {
		t.Errorf("naru ca: %d, %s%s", code, out, stderr)
	}
	code, cert, stderr := command(t, nil, "device", "cert", "gh1", "--data", data)
	if code != 0 {
		t.Fatal(stderr)
	}
	rootFile, own := written(t, "root.crt", root), written(t, "gh1.pem", cert)
	foreign, err := authority.Open(filepath.Join(t.TempDir(), "ca.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	text, err := foreign.Device("gh1")
	if err != nil {
		t.Fatal(err)
	}
	other := written(t, "other.pem", string(text))
	register(t, g, "add", "gh1")
	token := register(t, g, "add", "gh2", "--token").Secrets.Token

	trust := []string{"-CAfile", rootFile, "-verify_ip", "127.0.0.1"}
	with := func(more ...string) []string { return append(slices.Clip(trust), more...) }
	tests := []struct {
		name, payload string
		args          []string
		want          string
	}{
		{"a certificate", "t,seq=1,ack=1 v=1", with("-cert", own, "-key", own), `{"ack":1}`},
		{"a certificate, for another", "t,device=gh2,seq=1,ack=1 v=1", with("-cert", own, "-key", own), `{"error":"forbidden","seq":1}`},
		{"no certificate", "t,device=gh1,seq=2,ack=1 v=2", trust, `{"error":"credential","seq":2}`},
		{"no certificate, not spoken for", "t,device=gh3,seq=1,ack=1 v=1", trust, `{"ack":1}`},
		{"a token", `{"device":"gh2","token":"` + token + `","seq":1,"ack":true,"v":1}`, trust, `{"ack":1}`},
		{"another authority's", "t,seq=3,ack=1 v=3", with("-cert", other, "-key", other), "alert unknown ca"},
		{"TLS 1.1", "t,device=gh3,seq=2,ack=1 v=2", with("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"), "alert protocol version"},
		{"the gateway is another", "t,device=gh3,seq=2,ack=1 v=2", []string{"-CAfile", rootFile, "-verify_ip", "10.9.8.7"}, "verify"},
	}
	for _, tt := range tests {
		if got := overTLS(t, g.TCP, tt.payload, tt.args...); !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}
	for device, want := range map[string]int{"gh1": 1, "gh2": 1, "gh3": 1} {
		if n := g.count(t, "device="+device); n != want {
			t.Errorf("%s: %d readings", device, n)
		}
	}
	eventually(t, "the failed handshakes to be counted", func() bool { return g.metric(t, "naru_refused_total", "handshake") >= 2 })

	g.stop(t)
	g = startGateway(t, data)
	if got := overTLS(t, g.TCP, "t,seq=4,ack=1 v=4", with("-cert", own, "-key", own)...); !strings.Contains(got, `{"ack":4}`) {
		t.Errorf("after a restart: %s", got)
	}
	register(t, g, "revoke", "gh1")
	if got := overTLS(t, g.TCP, "t,seq=5,ack=1 v=5", with("-cert", own, "-key", own)...); !strings.Contains(got, `{"error":"credential","seq":5}`) {
		t.Errorf("revoked: %s", got)
	}
}

// serverPEM returns a server's certificate and key.
func serverPEM(t *testing.T, a *authority.Authority, name string) string {
	t.Helper()
	c, err := a.Server(func() []string { return []string{name} }).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})) +
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
}

// TestTLSFiles: certificates from files are used, and so are those that replace them;
// what cannot be used is told.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	a, err := authority.Open(filepath.Join(dir, "a.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(dir, "cert.pem")
	replace := func(name string) {
		text := "no certificate"
		if name != "" {
			text = serverPEM(t, a, name)
		}
		if err := os.WriteFile(cert, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace("first.example")
	root := written(t, "root.crt", string(a.Root()))
	g := startGateway(t, filepath.Join(dir, "data"), "--tls-cert", cert, "--tls-key", cert, "--client-ca", root)
	pool := x509.NewCertPool()
	a.AddTo(pool)
	known := func(name string) error {
		d := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: name}}
		c, err := d.DialContext(t.Context(), "tcp", g.TCP)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := known("first.example"); err != nil {
		t.Error(err)
	}
	replace("")
	if err := known("first.example"); err != nil {
		t.Error("after something unusable:", err)
	}
	replace("the-second.example")
	if err := known("the-second.example"); err != nil {
		t.Error("replaced:", err)
	}
	if status := g.status(t, rootPath); status != http.StatusNotFound {
		t.Errorf("status of the root: %d", status)
	}
	text, err := a.Device("gh1")
	if err != nil {
		t.Fatal(err)
	}
	own := written(t, "gh1.pem", string(text))
	if got := overTLS(t, g.TCP, "t,seq=1,ack=1 v=1", "-CAfile", root, "-cert", own, "-key", own); !strings.Contains(got, `{"ack":1}`) || g.count(t, "device=gh1") != 1 {
		t.Errorf("with --client-ca: %s", got)
	}
	g.stop(t)

	missing := filepath.Join(dir, "missing.pem")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--tls-cert", cert}, 2, "tls-cert, tls-key: want both or none"},
		{[]string{"--tls-cert", cert, "--tls-key", missing}, 1, "tls-cert, tls-key: stat " + missing},
		{[]string{"--tls-cert", root, "--tls-key", root}, 1, "tls-cert, tls-key: "},
		{[]string{"--dtls-certificates", "--tls-cert", cert, "--tls-key", cert}, 2, "dtls-certificates: want client-ca"},
		{[]string{"--client-ca", missing}, 1, "client-ca: open " + missing},
		{[]string{"--client-ca", written(t, "empty.pem", "")}, 1, "client-ca: there is no certificate in "},
	} {
		args := append(serveArgs(t.TempDir(), filepath.Join(dir, "ports.json")), tt.args...)
		if code, _, stderr := command(t, nil, args...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%q: exit code %d, %s", tt.args, code, stderr)
		}
	}
	if code, _, stderr := command(t, nil, "ca", "--data", dir); code != 1 || !strings.Contains(stderr, "there is no certificate authority in "+dir) {
		t.Errorf("naru ca: %d, %s", code, stderr)
	}
}
