package authority

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
)

var silent = slog.New(slog.DiscardHandler)

func open(t *testing.T, path string) *Authority {
	t.Helper()
	a, err := Open(path, silent)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestKept: the authority is made once, for its owner's eyes only.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := Load(path); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	a := open(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	b := open(t, path)
	if a.Fingerprint() != b.Fingerprint() || len(a.Fingerprint()) != 32*3-1 {
		t.Errorf("%s, then %s", a.Fingerprint(), b.Fingerprint())
	}
	if block, rest := pem.Decode(b.Root()); block.Type != "CERTIFICATE" || len(rest) != 0 {
		t.Error("the root is not a certificate only")
	}
	if left := time.Until(a.root.NotAfter); left < 9*365*24*time.Hour || a.root.NotBefore != validFrom {
		t.Errorf("valid from %s to %s", a.root.NotBefore, a.root.NotAfter)
	}
}

// TestDamaged: what holds no authority is put aside, not overwritten.
func TestDamaged(t *testing.T) {
	one, other := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "ca.pem")
	open(t, one)
	open(t, other)
	text, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	border := strings.Index(string(text), "-----BEGIN PRIVATE")
	for name, damaged := range map[string]string{
		"empty": "", "no key": string(text[:border]), "no root": string(text[border:]), "garbage": strings.Repeat("x", 900),
		"another's key": string(text[:border]) + string(second[strings.Index(string(second), "-----BEGIN PRIVATE"):]),
		"bent":          strings.Replace(string(text), "MI", "MJ", 1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ca.pem")
			if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
				t.Error(err)
			}
			open(t, path)
			aside, _ := filepath.Glob(path + ".corrupt-*")
			if len(aside) != 1 {
				t.Fatalf("%q", aside)
			}
			if kept, err := os.ReadFile(aside[0]); err != nil || string(kept) != damaged {
				t.Errorf("%q, %v", kept, err)
			}
		})
	}
}

// TestUses: a certificate serves its purpose only, and only for its names.
func TestUses(t *testing.T) {
	a := open(t, filepath.Join(t.TempDir(), "ca.pem"))
	pool := x509.NewCertPool()
	a.AddTo(pool)
	server, err := a.Server(func() []string { return []string{"localhost", "192.168.1.20", "fd00::1%eth0"} }).Certificate()
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.Device("greenhouse-1")
	if err != nil {
		t.Fatal(err)
	}
	dev, err := tls.X509KeyPair(text, text)
	if err != nil {
		t.Fatal(err)
	}
	if dev.Leaf.Subject.CommonName != "greenhouse-1" || len(server.Certificate[0]) > 512 {
		t.Errorf("%s; the server's has %d bytes", dev.Leaf.Subject, len(server.Certificate[0]))
	}
	tests := []struct {
		name string
		leaf *x509.Certificate
		host string
		use  x509.ExtKeyUsage
		ok   bool
	}{
		{"name", server.Leaf, "localhost", x509.ExtKeyUsageServerAuth, true},
		{"address", server.Leaf, "192.168.1.20", x509.ExtKeyUsageServerAuth, true},
		{"IPv6", server.Leaf, "fd00::1", x509.ExtKeyUsageServerAuth, true},
		{"another address", server.Leaf, "192.168.1.21", x509.ExtKeyUsageServerAuth, false},
		{"server as device", server.Leaf, "", x509.ExtKeyUsageClientAuth, false},
		{"device", dev.Leaf, "", x509.ExtKeyUsageClientAuth, true},
		{"device as server", dev.Leaf, "", x509.ExtKeyUsageServerAuth, false},
	}
	for _, tt := range tests {
		_, err := tt.leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: tt.host, KeyUsages: []x509.ExtKeyUsage{tt.use}})
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, id := range []string{"", "a b", strings.Repeat("x", 65)} {
		if text, err := a.Device(device.ID(id)); err == nil || text != nil {
			t.Errorf("a certificate for %q", id)
		}
	}
}

// TestRenewal: a clock that has not been set makes nothing that is over when it is,
// and the server's certificate is new before the old one ends or lacks a name.
func TestRenewal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ca.pem")
	synctest.Test(t, func(t *testing.T) { // it is the year 2000
		a := open(t, path)
		if a.root.NotAfter != earliest.Add(lifetime) {
			t.Errorf("the root ends %s", a.root.NotAfter)
		}
		names := []string{"localhost"}
		s := a.Server(func() []string { return slices.Clone(names) })
		certificate := func() *tls.Certificate {
			c, err := s.Certificate()
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		first := certificate()
		<-time.After(time.Until(earliest.Add(time.Hour)))
		steps := []struct {
			name    string
			passes  time.Duration
			names   []string
			renewed bool
		}{
			{"at once", 0, names, false},
			{"a day", 24 * time.Hour, names, false},
			{"another address", 24 * time.Hour, []string{"localhost", "10.0.0.1"}, true},
			{"asked too soon", 0, []string{"localhost"}, false},
			{"asked again", lookEvery, []string{"localhost"}, true},
			{"before its end", serverLifetime - renewAhead, []string{"localhost"}, true},
			{"too many names", lookEvery, slices.Repeat([]string{"a.example"}, 100), true},
		}
		for _, step := range steps {
			names = step.names
			<-time.After(step.passes)
			next := certificate()
			if renewed := next != first; renewed != step.renewed {
				t.Errorf("%s: renewed %v", step.name, renewed)
			}
			if time.Until(next.Leaf.NotAfter) < renewAhead || len(next.Leaf.DNSNames) > MaxNames {
				t.Errorf("%s: it ends %s and has %d names", step.name, next.Leaf.NotAfter, len(next.Leaf.DNSNames))
			}
			first = next
		}
	})
}

func FuzzParse(f *testing.F) {
	path := filepath.Join(f.TempDir(), "ca.pem")
	if _, err := Open(path, silent); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parse(text)
		if (a == nil) != (err != nil) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%v, %v", a, err)
		}
	})
}
