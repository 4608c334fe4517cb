package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/authority"
)

// The tests of this file and of those named peer_… run other people's programs as
// devices, as they are, against a whole gateway. What they send must be seen live.

// sightings are the readings that a viewer has seen, as "device metric=value".
type sightings struct {
	mu   sync.Mutex // guards following
	seen []string
}

// watchAll has a viewer see everything from now on, until the test ends.
func watchAll(t *testing.T, g addresses) *sightings {
	t.Helper()
	v, err := dialViewer(t.Context(), g.HTTP, "")
	if err != nil {
		t.Fatal(err)
	}
	s := &sightings{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = v.watch(s.note) // it ends with the gateway, or with the test
	}()
	t.Cleanup(func() {
		v.close()
		<-ended
	})
	return s
}

func (s *sightings) note(text []byte) {
	var m struct {
		Readings []struct {
			Device, Metric string
			Value          any
		}
	}
	if json.Unmarshal(text, &m) != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range m.Readings {
		s.seen = append(s.seen, fmt.Sprintf("%s %s=%v", r.Device, r.Metric, r.Value))
	}
}

// count returns how often a reading has been seen.
func (s *sightings) count(reading string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, r := range s.seen {
		if r == reading {
			n++
		}
	}
	return n
}

func (s *sightings) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// peer is a program as a device.
type peer struct {
	name            string
	program, debian string // debian is the package that has it
	args            []string
	say             string // written to it
	hear            string // what it then prints; empty: nothing is expected
	reading         string // what is seen; empty: nothing
}

// device runs the program until it has heard its answer and a viewer has seen its
// reading.
func (p peer) device(t *testing.T, s *sightings) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, p.program, p.debian), p.args...)
	out := &outputBuffer{}
	cmd.Stdout, cmd.Stderr = out, out
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	}()
	_, _ = io.WriteString(in, p.say) // it may have ended
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s %q printed:\n%s\nseen: %q", p.program, p.args, out, s.all())
		}
	})
	if p.hear != "" {
		eventually(t, fmt.Sprintf("%q", p.hear), func() bool { return strings.Contains(out.String(), p.hear) })
	}
	if p.reading != "" {
		eventually(t, p.reading, func() bool { return s.count(p.reading) > 0 })
	}
}

// securePeers is a gateway for devices with keys and certificates.
type securePeers struct {
	*gatewayUnderTest
	*sightings
	root, own, foreign string // PEM files; own is a certificate of device "own"
}

// startSecure starts a gateway that has a key for each of the ids.
func startSecure(t *testing.T, ids ...string) *securePeers {
	t.Helper()
	data := t.TempDir()
	args := []string{"--dtls-certificates"}
	for _, id := range ids {
		args = append(args, "--psk", id+"="+testKey)
	}
	s := &securePeers{gatewayUnderTest: startGateway(t, data, args...)}
	s.sightings = watchAll(t, s.addresses)
	_, root, _ := fetch(t, s.url(rootPath))
	s.root = written(t, "root.crt", root)
	s.own = certificateOf(t, data, "own")
	s.foreign = foreignCertificate(t, "own")
	return s
}

// certificateOf returns the file with key and certificate of a device, signed by the
// authority of the folder.
func certificateOf(t *testing.T, data, id string) string {
	t.Helper()
	code, text, stderr := command(t, nil, "device", "cert", id, "--data", data)
	if code != 0 {
		t.Fatal(stderr)
	}
	return written(t, id+".pem", text)
}

// port returns the port of an address.
func port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// opensslDTLS are the arguments of openssl as a device over DTLS.
func opensslDTLS(to string, more ...string) []string {
	return append([]string{"s_client", "-dtls1_2", "-quiet", "-connect", to}, more...)
}

// pskSuites are the suites with a key that the gateway speaks, as OpenSSL, as
// mbedTLS and as GnuTLS name them. gnutls-cli 3.7 crashes with ECDHE-PSK once it has
// shaken hands.
var pskSuites = []struct{ openssl, mbedtls, gnutls string }{
	{"ECDHE-PSK-CHACHA20-POLY1305", "TLS-ECDHE-PSK-WITH-CHACHA20-POLY1305-SHA256", ""},
	{"PSK-CHACHA20-POLY1305", "TLS-PSK-WITH-CHACHA20-POLY1305-SHA256", "CHACHA20-POLY1305"},
	{"PSK-AES128-CCM8", "TLS-PSK-WITH-AES-128-CCM-8", "AES-128-CCM-8"},
	{"PSK-AES128-CCM", "TLS-PSK-WITH-AES-128-CCM", "AES-128-CCM"},
	{"PSK-AES128-GCM-SHA256", "TLS-PSK-WITH-AES-128-GCM-SHA256", "AES-128-GCM"},
}

// certificateSuites are those with certificates for the gateway's own, which is on
// P-256.
var certificateSuites = []struct{ openssl, mbedtls string }{
	{"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256"},
	{"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS-ECDHE-ECDSA-WITH-AES-256-GCM-SHA384"},
	{"ECDHE-ECDSA-AES128-CCM", "TLS-ECDHE-ECDSA-WITH-AES-128-CCM"},
	{"ECDHE-ECDSA-AES128-CCM8", "TLS-ECDHE-ECDSA-WITH-AES-128-CCM-8"},
}

// TestDTLSPeers: openssl and gnutls-cli, each suite with a key and with
// certificates by itself.
func TestDTLSPeers(t *testing.T) {
	t.Parallel()
	g := startSecure(t, "psk")
	var peers []peer
	add := func(name, program, debian string, args []string, device string) {
		n := len(peers)
		peers = append(peers, peer{
			name, program, debian, args,
			fmt.Sprintf("t%d,seq=%d,ack=1 v=%d\n", n, n, n), fmt.Sprintf(`{"ack":%d}`, n), fmt.Sprintf("%s t%d.v=%d", device, n, n),
		})
	}
	gnutls := []string{"--udp", "--port", port(g.UDP), "127.0.0.1", "--x509cafile", g.root, "--priority"}
	for _, suite := range pskSuites {
		add("openssl "+suite.openssl, "openssl", "openssl", opensslDTLS(g.UDP, "-psk_identity", "psk", "-psk", testKey, "-cipher", suite.openssl), "psk")
		if suite.gnutls != "" {
			priority := "NONE:+VERS-DTLS1.2:+PSK:+" + suite.gnutls + ":+AEAD:+COMP-NULL:+GROUP-ALL:+SIGN-ALL"
			add("gnutls PSK "+suite.gnutls, "gnutls-cli", "gnutls-bin", append(slices.Clone(gnutls), priority, "--pskusername", "psk", "--pskkey", testKey), "psk")
		}
	}
	for _, suite := range certificateSuites {
		add("openssl "+suite.openssl, "openssl", "openssl", opensslDTLS(g.UDP,
			"-CAfile", g.root, "-verify_return_error", "-verify_ip", "127.0.0.1", "-cert", g.own, "-key", g.own, "-cipher", suite.openssl), "own")
	}
	add("gnutls certificate", "gnutls-cli", "gnutls-bin",
		append(slices.Clone(gnutls), "NORMAL:-VERS-ALL:+VERS-DTLS1.2", "--x509certfile", g.own, "--x509keyfile", g.own), "own")
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			p.device(t, g.sightings)
		})
	}
}

// TestDTLSPeersRefused: a certificate of another authority, one that is over, one of
// a device that is revoked, and none at all are told apart in the log, and counted.
func TestDTLSPeersRefused(t *testing.T) {
	t.Parallel()
	g := startSecure(t, "psk")
	register(t, g.gatewayUnderTest, "add", "own")
	d := startDTLSDevice(t, g.UDP, "-cert", g.own, "-key", g.own)
	d.asks(t, 1)
	register(t, g.gatewayUnderTest, "revoke", "own")
	eventually(t, "the end of the session", func() bool { return g.metric(t, "naru_dtls_sessions", "") == 0 })
	for i, c := range []struct{ name, cert, why string }{
		{"none", "", "required client verification"},
		{"another authority's", g.foreign, "unknown authority"},
		{"revoked", g.own, `device \"own\" may not come in`},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := opensslDTLS(g.UDP, "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
			if c.cert != "" {
				args = append(args, "-cert", c.cert, "-key", c.cert)
			}
			peer{program: "openssl", debian: "openssl", args: args, say: "t v=1\n", hear: "alert"}.device(t, g.sightings)
			eventually(t, "it to be counted", func() bool { return g.metric(t, "naru_refused_total", "handshake") == float64(i+1) })
			if told := refusals(t, g.addresses)[0]; told.Transport != "dtls" || !strings.Contains(fmt.Sprintf("%q", told.Error), c.why) {
				t.Errorf("%+v", told)
			}
			eventually(t, "the log to tell", func() bool { return strings.Contains(g.output.String(), "a device did not get in") })
		})
	}
	if n := g.metric(t, "naru_readings_total", ""); n != 1 {
		t.Errorf("%v readings", n)
	}
}

// TestTLSPeers: gnutls-cli over TLS; openssl is in TestTLS.
func TestTLSPeers(t *testing.T) {
	t.Parallel()
	g := startSecure(t)
	token := register(t, g.gatewayUnderTest, "add", "token", "--token").Secrets.Token
	for _, p := range []peer{
		{
			"token on the first line", "gnutls-cli", "gnutls-bin", nil,
			`{"device":"token","token":"` + token + `"}` + "\n" + `{"device":"token","seq":1,"ack":true,"v":1}` + "\n", `{"ack":1}`, "token v=1",
		},
		{
			"certificate", "gnutls-cli", "gnutls-bin",
			[]string{"--x509certfile", g.own, "--x509keyfile", g.own},
			"t,seq=2,ack=1 v=2\n", `{"ack":2}`, "own t.v=2",
		},
		{
			"TLS 1.2", "gnutls-cli", "gnutls-bin",
			[]string{"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "--x509certfile", g.own, "--x509keyfile", g.own},
			"t,seq=3,ack=1 v=3\n", `{"ack":3}`, "own t.v=3",
		},
		{
			"no token", "gnutls-cli", "gnutls-bin", nil,
			`{"device":"token","seq":4,"ack":true,"v":4}` + "\n", `{"error":"credential","seq":4}`, "",
		},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.args = append([]string{"--x509cafile", g.root, "--port", port(g.TCP), "127.0.0.1"}, p.args...)
			p.device(t, g.sightings)
		})
	}
}

// TestCoAPPeers: libcoap's client, plain, with a key and with a certificate.
func TestCoAPPeers(t *testing.T) {
	t.Parallel()
	const text = "0123456789abcdef" // coap-client takes a key as text
	data := t.TempDir()
	g := startGateway(t, data, "--dtls-certificates", "--psk", fmt.Sprintf("psk=%x", text))
	s := watchAll(t, g.addresses)
	own := certificateOf(t, data, "own")
	plain, secure := "coap://"+g.UDP, "coaps://"+g.UDP
	key := []string{"-u", "psk", "-k", text}
	for _, p := range []peer{
		{"CON", "coap-client-notls", "", []string{"-e", "t,device=con v=1", plain + "/readings"}, "", "", "con t.v=1"},
		{"NON", "coap-client-notls", "", []string{"-N", "-t", "50", "-e", `{"v":2}`, plain + "/r?d=non"}, "", "", "non v=2"},
		{"blocks", "coap-client-notls", "", []string{"-b", "64", "-e", strings.Repeat("# a comment\n", 50) + "t,device=blocks v=3", plain + "/"}, "", "", "blocks t.v=3"},
		{"openssl", "coap-client-openssl", "", append(slices.Clone(key), "-e", "openssl v=4", secure+"/r"), "", "", "psk openssl.v=4"},
		{"gnutls", "coap-client-gnutls", "", append(slices.Clone(key), "-e", "gnutls v=5", secure+"/r"), "", "", "psk gnutls.v=5"},
		{"certificate, openssl", "coap-client-openssl", "", []string{"-c", own, "-j", own, "-n", "-e", "openssl v=6", secure + "/r"}, "", "", "own openssl.v=6"},
		{"certificate, gnutls", "coap-client-gnutls", "", []string{"-c", own, "-j", own, "-n", "-e", "gnutls v=7", secure + "/r"}, "", "", "own gnutls.v=7"},
	} {
		t.Run(p.name, func(t *testing.T) {
			p.debian, p.args = "libcoap3-bin", append([]string{"-B", "10", "-m", "post"}, p.args...)
			p.device(t, s)
		})
	}
}

// foreignCertificate returns a certificate of the device that another gateway's
// authority has signed.
func foreignCertificate(t *testing.T, id device.ID) string {
	t.Helper()
	a, err := authority.Open(filepath.Join(t.TempDir(), "ca.pem"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Device(id)
	if err != nil {
		t.Fatal(err)
	}
	return written(t, "foreign.pem", string(text))
}
