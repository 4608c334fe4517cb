package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// signer is a certificate authority of tests.
type signer struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{}
	own := s.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	s.root = own.Leaf
	return s
}

// sign makes a certificate; the first is the root.
func (s *signer) sign(t *testing.T, c *x509.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(1)
	c.NotBefore = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble's clock begins in 2000
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	parent := s.root
	if parent == nil {
		parent, s.key = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func (s *signer) server(t *testing.T) *tls.Certificate {
	t.Helper()
	return s.sign(t, &x509.Certificate{DNSNames: []string{"gateway"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (s *signer) device(t *testing.T, name string) *tls.Certificate {
	t.Helper()
	return s.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (s *signer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.root)
	return p
}

// side returns the server's side of TLS.
func (s *signer) side(t *testing.T) *TLS {
	t.Helper()
	server := s.server(t)
	return &TLS{Certificate: func() (*tls.Certificate, error) { return server, nil }, ClientCAs: s.pool()}
}

// pemFile writes a certificate and its key to a file.
func pemFile(t *testing.T, c *tls.Certificate) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	path := filepath.Join(t.TempDir(), "cert.pem")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTLSPeers: who gets in, as whom, and what is told of those who do not.
func TestTLSPeers(t *testing.T) {
	ca, other := newSigner(t), newSigner(t)
	old := &x509.Certificate{
		Subject: pkix.Name{CommonName: "gh1"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotAfter: time.Date(1999, 6, 1, 0, 0, 0, 0, time.UTC),
	}
	named := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Greenhouse, left"}, DNSNames: []string{"gh2"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	tests := []struct {
		name   string
		cert   *tls.Certificate
		max    uint16
		device device.ID
		fails  string // empty: gets in
	}{
		{"no certificate", nil, 0, "", ""},
		{"TLS 1.2", nil, tls.VersionTLS12, "", ""},
		{"TLS 1.1", nil, tls.VersionTLS11, "", "unsupported versions"},
		{"common name", ca.device(t, "gh1"), 0, "gh1", ""},
		{"common name, TLS 1.2", ca.device(t, "gh1"), tls.VersionTLS12, "gh1", ""},
		{"DNS name", ca.sign(t, named), 0, "gh2", ""},
		{"no id", ca.device(t, "Greenhouse, left"), 0, "", errNoDevice.Error()},
		{"not taken", ca.device(t, "lost"), 0, "", `the certificate of device "lost" is not taken`},
		{"another authority", other.device(t, "gh1"), 0, "", "unknown authority"},
		{"expired", ca.sign(t, old), 0, "", "expired"},
		{"a server's", ca.server(t), 0, "", "key usage"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				side := ca.side(t)
				side.Certified = func(id device.ID, _ *x509.Certificate) bool { return id != "lost" }
				s := newPipeServer(t, func(tcp *TCP) { tcp.TLS = side })
				s.answer = func(p string) string { return "answer to " + strings.TrimSpace(p) }
				config := &tls.Config{RootCAs: ca.pool(), ServerName: "gateway", MinVersion: tls.VersionTLS10, MaxVersion: tt.max}
				config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if tt.cert == nil {
						return &tls.Certificate{}, nil
					}
					return tt.cert, nil
				}
				c := tls.Client(s.dial("8.8.8.8:9"), config)
				defer c.Close() //nolint:errcheck // the other side may have
				answer := ""
				if _, err := io.WriteString(c, "t v=1\n"); err == nil {
					b := make([]byte, 64)
					n, _ := c.Read(b)
					answer = string(b[:n])
				}
				synctest.Wait()
				if tt.fails != "" {
					refused := s.refused.all()
					if len(refused) != 1 || !strings.HasPrefix(refused[0], "handshake: ") || !strings.Contains(refused[0], tt.fails) {
						t.Errorf("refused %q", refused)
					}
					if len(s.all()) != 0 || side.Stats().Failed != 1 || side.Stats().Shaken != 0 {
						t.Errorf("got %q, %+v", s.all(), side.Stats())
					}
					return
				}
				if answer != "answer to t v=1\n" || s.text() != "t v=1\n" {
					t.Errorf("got %q, answer %q, refused %q", s.text(), answer, s.refused.all())
				}
				if peer, _ := s.state(); peer.Device != tt.device || peer.Transport != "tls" || peer.Addr.String() != "8.8.8.8:9" {
					t.Errorf("peer %+v", peer)
				}
				if side.Stats() != (TLSStats{Shaken: 1}) {
					t.Errorf("%+v", side.Stats())
				}
			})
		})
	}
}

// tlsServer serves a loopback listener.
func tlsServer(t *testing.T, server *TCP) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.CloseConns)
	served(t, func(ctx context.Context) error { return server.Serve(ctx, ln) })
	return ln.Addr().String()
}

// TestTLSResumed: who comes back with a ticket is asked anew who it is. It takes
// sockets: over a pipe a ticket waits for its reader.
func TestTLSResumed(t *testing.T) {
	ca := newSigner(t)
	var last atomic.Pointer[recorder]
	handler := func(reply ingest.ReplyFunc) Handler {
		r := newRecorder()
		r.answer = func(string) string { return "ok" }
		last.Store(r)
		return r.handler(reply)
	}
	side := ca.side(t)
	var taken atomic.Bool
	side.Certified = func(device.ID, *x509.Certificate) bool { return taken.Load() }
	addr := tlsServer(t, &TCP{NewHandler: handler, Refuse: (&refusals{}).refuse, TLS: side})
	dialer := &tls.Dialer{Config: &tls.Config{
		RootCAs: ca.pool(), ServerName: "gateway", Certificates: []tls.Certificate{*ca.device(t, "gh1")},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}}
	for i, may := range []bool{true, true, true, false} {
		taken.Store(may)
		answer := make([]byte, 3)
		c, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err == nil {
			_, _ = io.WriteString(c, "t v=1\n")
			_, err = io.ReadFull(c, answer)
			_ = c.Close()
		}
		if (err == nil) != may {
			t.Errorf("number %d: %q, %v", i, answer, err)
		}
		if peer, _ := last.Load().state(); may && peer.Device != "gh1" {
			t.Errorf("peer %+v", peer)
		}
		if st := side.Stats(); may && st.Resumed != int64(i) {
			t.Errorf("number %d: %+v", i, st)
		}
	}
}

// firstBytes returns the first bytes that a client says.
func firstBytes(t *testing.T) []byte {
	t.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{ServerName: "gateway"}).Handshake() }() //nolint:noctx // ended by Close
	b := make([]byte, 4096)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	_ = far.Close()
	return b[:n]
}

// drained reads what c gets until it is closed.
func drained(c net.Conn) { go func() { _, _ = io.Copy(io.Discard, c) }() }

// TestTLSSlow: handshakes that do not go on end, whoever holds them open, and at the
// latest after their time; who speaks byte by byte gets in, or not, all the same.
func TestTLSSlow(t *testing.T) {
	ca := newSigner(t)
	start := firstBytes(t)
	huge := append([]byte("\x16\x03\x03\x40\x00\x0b\x03\x00\x00"), make([]byte, 0x4000-4)...)
	tests := []struct {
		name string
		sent []byte
		step int // bytes a second
		ends time.Duration
		why  string
	}{
		{"half a hello", start[:20], 4096, tlsShakeTime, errSlow.Error()},
		{"a hello, and no more", start, 4096, tlsShakeTime, errSlow.Error()},
		{"byte by byte", start, 1, 2*time.Second + tlsShakeTime, errSlow.Error()},
		{"garbage", append([]byte("\x16\x03\x01\x00\x10"), make([]byte, 16)...), 4096, 0, "unexpected handshake message"},
		{"records without end", append(append([]byte{}, start...), huge...), 1 << 20, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPipeServer(t, func(tcp *TCP) { tcp.TLS = ca.side(t) })
				c := s.dial(localDevice)
				defer c.Close() //nolint:errcheck // in memory
				begin := time.Now()
				var sending sync.WaitGroup
				sending.Go(func() {
					for b := tt.sent; len(b) > 0; {
						n, err := c.Write(b[:min(tt.step, len(b))])
						if b = b[n:]; err != nil {
							return
						}
						<-time.After(time.Second)
					}
				})
				defer sending.Wait()
				_, err := io.Copy(io.Discard, c)
				if err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Error(err)
				}
				synctest.Wait()
				if took := time.Since(begin); took != tt.ends {
					t.Errorf("took %s, want %s", took, tt.ends)
				}
				if got := s.refused.all(); len(got) != 1 || !strings.HasPrefix(got[0], "handshake: TLS handshake: ") || !strings.Contains(got[0], tt.why) {
					t.Errorf("refused %q", got)
				}
				if st := s.Stats(); st.Open != 0 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// TestTLSHalfOpen: of one address, and in all, the oldest handshake makes room.
func TestTLSHalfOpen(t *testing.T) {
	ca := newSigner(t)
	start := firstBytes(t)
	tests := []struct {
		name  string
		addr  func(i int) string
		bound int
	}{
		{"of one address", func(i int) string { return fmt.Sprint("10.0.0.1:", i+1) }, maxTLSShakesPerAddr},
		{"in all", func(i int) string { return fmt.Sprintf("10.0.%d.%d:1", i/200, i%200) }, maxTLSShakes},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				side := ca.side(t)
				s := newPipeServer(t, func(tcp *TCP) { tcp.TLS = side })
				var all []net.Conn
				for i := range tt.bound + 10 {
					c := s.dial(tt.addr(i))
					write(t, c, string(start))
					drained(c)
					all = append(all, c)
					synctest.Wait()
				}
				if st := side.Stats(); st.Handshakes != tt.bound || st.Failed != 10 {
					t.Errorf("%+v", st)
				}
				for i, c := range all[:11] {
					_, err := c.Write([]byte{0})
					if gone := err != nil; gone != (i < 10) {
						t.Errorf("number %d: %v", i, err)
					}
				}
				honest := tls.Client(s.dial("10.0.0.1:9999"), &tls.Config{RootCAs: ca.pool(), ServerName: "gateway"})
				if _, err := io.WriteString(honest, "t v=1\n"); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if s.text() != "t v=1\n" {
					t.Errorf("got %q", s.text())
				}
				for _, c := range all {
					_ = c.Close()
				}
				_ = honest.Close()
				synctest.Wait()
				if side.Stats().Handshakes != 0 {
					t.Errorf("%+v", side.Stats())
				}
			})
		})
	}
}

// TestTLSBounds: a handshake is given so many bytes and no more, and a stream under
// TLS is bounded as a plain one.
func TestTLSBounds(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close() //nolint:errcheck // in memory
	go func() {
		_, _ = near.Write(make([]byte, 2*maxTLSShakeBytes))
	}()
	got, err := io.ReadAll(&underTLS{Conn: far, read: []byte("hello"), shaking: true, left: maxTLSShakeBytes})
	if len(got) != len("hello")+maxTLSShakeBytes || !errors.Is(err, errTLSTooLong) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	_ = far.Close()

	ca := newSigner(t)
	tests := []struct {
		name, sent string
		want       []string // refused
	}{
		{"TLS within TLS", "\x16\x03\x01\x02\x00\n", []string{"syntax: this looks like TLS: the port takes plain readings only (6)"}},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", []string{"syntax: this looks like HTTP: the port takes readings, the page is on another (14)"}},
		{"says nothing", "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPipeServer(t, func(tcp *TCP) { tcp.TLS, tcp.Idle = ca.side(t), time.Minute })
				c := tls.Client(s.dial(localDevice), &tls.Config{RootCAs: ca.pool(), ServerName: "gateway"})
				if _, err := io.WriteString(c, tt.sent); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				answer, _ := io.ReadAll(c)
				_ = c.Close()
				if d := cmp.Diff(tt.want, s.refused.all(), equal); d != "" {
					t.Error("(-want +got):\n", d)
				}
				if tt.sent == "" && (time.Since(begin) != time.Minute || string(answer) != `{"error":"idle"}`+"\n") {
					t.Errorf("after %s: %q", time.Since(begin), answer)
				}
			})
		})
	}
}
