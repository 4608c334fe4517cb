package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mbedTLS returns the program in testdata, compiled.
func mbedTLS(t *testing.T) string {
	t.Helper()
	cc := program(t, "cc", "gcc")
	path := filepath.Join(t.TempDir(), "mbedtls")
	out, err := exec.CommandContext(t.Context(), cc, "-Wall", "-Wextra", "-O1", "-o", path,
		"testdata/mbedtls.c", "-lmbedtls", "-lmbedx509", "-lmbedcrypto").CombinedOutput()
	if err != nil && strings.Contains(string(out), "mbedtls/") && strings.Contains(string(out), "No such file") {
		t.Skip("mbedTLS is not installed (Debian package libmbedtls-dev)")
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// TestMbedTLS: the stack of ESP-IDF and Zephyr as a device: each suite by itself;
// with a key it gets in by the key whatever else it offers, and without key and
// certificate it does not get in.
func TestMbedTLS(t *testing.T) {
	t.Parallel()
	binary := mbedTLS(t)
	g := startSecure(t, "psk")
	const ecdsa, gcm = "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256", "TLS-PSK-WITH-AES-128-GCM-SHA256"
	type client struct{ name, id, suites, cert, in, chosen string }
	var clients []client
	for _, suite := range pskSuites {
		clients = append(clients, client{suite.openssl, "psk", suite.mbedtls, "-", "psk", suite.mbedtls})
	}
	for _, suite := range certificateSuites {
		clients = append(clients, client{suite.openssl, "-", suite.mbedtls, g.own, "own", suite.mbedtls})
	}
	clients = append(
		clients,
		client{"a key, ECDSA offered first", "psk", ecdsa + "," + gcm, "-", "psk", gcm},
		client{"a key, ECDSA offered last", "psk", gcm + "," + ecdsa, "-", "psk", gcm},
		client{"a key and a certificate, ECDSA offered first", "psk", ecdsa + "," + gcm, g.own, "psk", gcm},
		client{"a key, ECDSA offered only", "psk", ecdsa, "-", "", ""},
		client{"neither key nor certificate", "-", ecdsa, "-", "", ""},
		client{"another authority's certificate", "-", ecdsa, g.foreign, "", ""},
	)
	for i, d := range clients {
		t.Run(d.name, func(t *testing.T) {
			args := []string{
				"127.0.0.1", port(g.UDP), "0", d.id, testKey, d.suites, d.cert, "goodbye",
				fmt.Sprintf("t%d v=%d", i, i), fmt.Sprintf("u%d,seq=%d,ack=1 v=%d", i, i, i),
			}
			refused := g.metric(t, "naru_refused_total", "handshake")
			out, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
			if d.in == "" {
				if err == nil || !strings.HasPrefix(string(out), "handshake: ") {
					t.Errorf("%v: %s", err, out)
				}
				eventually(t, "it to be counted", func() bool { return g.metric(t, "naru_refused_total", "handshake") == refused+1 })
				return
			}
			if err != nil || string(out) != fmt.Sprintf("suite %s\n{\"ack\":%d}\n", d.chosen, i) {
				t.Errorf("%v: %s", err, out)
			}
			for _, reading := range []string{fmt.Sprintf("%s t%d.v=%d", d.in, i, i), fmt.Sprintf("%s u%d.v=%d", d.in, i, i)} {
				eventually(t, reading, func() bool { return g.count(reading) == 1 })
			}
		})
	}
}

// TestMbedTLSComesAgain: a device that wakes up, sends one reading and says goodbye
// loses none, and one that restarts without a word on the same port gets in at once.
func TestMbedTLSComesAgain(t *testing.T) {
	t.Parallel()
	binary := mbedTLS(t)
	g := startSecure(t, "psk")
	free := dial(t, "udp", g.UDP)
	local := port(free.LocalAddr().String())
	_ = free.Close()
	for _, c := range []struct{ name, port, leave, messages string }{
		{"sleepy", "0", "goodbye", "sleepy%d v=1"},
		{"sleepy, on one port", local, "goodbye", "port%d v=1"},
		{"restarts", local, "silence", "reboot%d,ack=1 v=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			const rounds = 25
			for i := range rounds {
				suite := pskSuites[i%len(pskSuites)].mbedtls
				out, err := exec.CommandContext(t.Context(), binary, "127.0.0.1", port(g.UDP), c.port, "psk", testKey, suite, "-", c.leave,
					fmt.Sprintf(c.messages, i)).CombinedOutput()
				if err != nil {
					t.Fatalf("round %d: %v: %s", i, err, out)
				}
			}
			for _, r := range refusals(t, g.addresses) {
				t.Errorf("refused: %+v", r)
			}
			name, _, _ := strings.Cut(c.messages, "%")
			for i := range rounds {
				reading := fmt.Sprintf("psk %s%d.v=1", name, i)
				eventually(t, reading, func() bool { return g.count(reading) == 1 })
			}
		})
	}
	t.Logf("%v handshakes, %v failed", g.metric(t, "naru_dtls_handshakes_total", ""), g.metric(t, "naru_dtls_handshakes_failed_total", ""))
}
