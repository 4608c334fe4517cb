package listen

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v2"

	"github.com/naru-telemetry/naru/device"
)

// authority signs certificates.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, cert}
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// sign makes a certificate for a key, valid for an hour.
func (a *authority) sign(t *testing.T, key crypto.Signer, usage x509.ExtKeyUsage, name string, dns ...string) tls.Certificate {
	t.Helper()
	return a.signUntil(t, time.Now().Add(time.Hour), key, usage, name, dns...)
}

// signUntil makes a certificate for a key.
func (a *authority) signUntil(t *testing.T, end time.Time, key crypto.Signer, usage x509.ExtKeyUsage, name string, dns ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ecKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// fixed returns a function for DTLS.Certificate.
func fixed(c tls.Certificate) func() (*tls.Certificate, error) {
	return func() (*tls.Certificate, error) { return &c, nil }
}

// files writes a certificate and its key for openssl.
func files(t *testing.T, c tls.Certificate) (args []string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"cert": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: der},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-"+name, path)
	}
	return args
}

// TestOpenSSLCertificates: every suite with certificates against OpenSSL; the
// device is the one that its certificate names.
func TestOpenSSLCertificates(t *testing.T) {
	ca := newAuthority(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	onEC := ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway")
	onRSA := ca.sign(t, rsaKey, x509.ExtKeyUsageServerAuth, "gateway")
	byName := ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, deviceID)
	for _, tt := range []struct {
		suite          string
		server, client tls.Certificate
	}{
		{"ECDHE-ECDSA-AES128-GCM-SHA256", onEC, byName},
		{"ECDHE-ECDSA-AES256-GCM-SHA384", onEC, ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, "a name", deviceID)},
		{"ECDHE-ECDSA-AES128-CCM", onEC, byName},
		{"ECDHE-ECDSA-AES128-CCM8", onEC, byName},
		{"ECDHE-RSA-AES128-GCM-SHA256", onRSA, byName},
		{"ECDHE-RSA-AES256-GCM-SHA384", onRSA, byName},
	} {
		t.Run(tt.suite, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.answer = func(p string) string { return "answer to " + p }
			d := &DTLS{Keys: oneDevice(), Certificate: fixed(tt.server), ClientCAs: ca.pool()}
			to, _ := dtlsServer(t, d, r.handler)
			p := openssl(t, to, append(files(t, tt.client), "-cipher", tt.suite)...)
			for i := range 3 {
				p.say(t, fmt.Sprintf("climate temp=%d", i))
				p.hears(t, fmt.Sprintf("answer to climate temp=%d", i))
			}
			if peer, _ := r.state(); peer.Device != deviceID {
				t.Errorf("peer %+v", peer)
			}
		})
	}
}

// TestCertificatesRefused: without a certificate that the authority vouches for,
// and that names a device which may come in, nobody does.
func TestCertificatesRefused(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway")
	for _, tt := range []struct {
		name   string
		client []string
		why    string
	}{
		{"none", nil, "client verification"},
		{"of another authority", files(t, other.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, deviceID)), "unknown authority"},
		{"expired", files(t, ca.signUntil(t, time.Now().Add(-time.Minute), ecKey(t), x509.ExtKeyUsageClientAuth, deviceID)), "has expired"},
		{"of a server", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, deviceID)), "incompatible key usage"},
		{"without a device", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, "no id")), "names no device"},
		{"of one that may not", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, "revoked")), `device "revoked" may not come in`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var refused refusals
			d := &DTLS{
				Certificate: fixed(server), ClientCAs: ca.pool(), Refuse: refused.refuse,
				Certified: func(id device.ID) bool { return id != "revoked" },
			}
			r := newRecorder()
			to, stop := dtlsServer(t, d, r.handler)
			p := openssl(t, to, tt.client...)
			p.hears(t, "alert")
			for late := time.After(20 * time.Second); len(refused.all()) == 0; {
				select {
				case <-time.After(time.Millisecond):
				case <-late:
					t.Fatal("nothing was refused")
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if got := refused.all(); len(got) != 1 || !strings.Contains(got[0], tt.why) {
				t.Errorf("refused %q", got)
			}
			if len(d.Sessions()) != 0 || len(r.all()) != 0 {
				t.Error("somebody got in")
			}
		})
	}
}

// TestKeyBeforeCertificate: a client that has a key gets a suite with it although
// it offers others first, and the server has a certificate.
func TestKeyBeforeCertificate(t *testing.T) {
	ca := newAuthority(t)
	d := &DTLS{
		Keys: oneDevice(), ClientCAs: ca.pool(),
		Certificate: fixed(ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway")),
	}
	r := newRecorder()
	r.answer = func(string) string { return "answer" }
	to, _ := dtlsServer(t, d, r.handler)
	p := openssl(t, to, withKey(deviceID, deviceKey, "ECDHE-ECDSA-AES128-GCM-SHA256:PSK-AES128-CCM8")...)
	p.say(t, "t v=1")
	p.hears(t, "answer")
	if all := d.Sessions(); len(all) != 1 || all[0].Suite != "PSK_WITH_AES_128_CCM_8" {
		t.Errorf("%+v", all)
	}
}

// helloOf is a ClientHello with these suites, of which only the first bytes are in
// its first fragment.
func helloOf(t *testing.T, first int, suites ...uint16) hello {
	t.Helper()
	b := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(2*len(suites)))
	for _, s := range suites {
		b = binary.BigEndian.AppendUint16(b, s)
	}
	b = append(b, 1, 0)
	b = append([]byte{clientHello, 0, 0, byte(len(b)), 0, 0, 0, 0, 0, 0, 0, byte(min(first, len(b)))}, b[:min(first, len(b))]...)
	h, ok := parseHello(record{kind: typeHandshake, body: b})
	if !ok {
		t.Fatal("no ClientHello")
	}
	return h
}

// TestSuitesOffered: suites with certificates are spoken only with a client that
// offers none with a key, and always want its certificate.
func TestSuitesOffered(t *testing.T) {
	ca := newAuthority(t)
	own := fixed(ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway"))
	broken := func() (*tls.Certificate, error) { return nil, errors.New("no certificate") }
	const ecdsa, rsaGCM, gcm, cbc, all = 0xc02b, 0xc02f, 0x00a8, 0x00ae, 1000
	for _, tt := range []struct {
		name        string
		d           *DTLS
		first       int
		suites      []uint16
		certificate bool
		fails       bool
	}{
		{"keys only", &DTLS{Keys: oneDevice()}, all, []uint16{ecdsa, gcm}, false, false},
		{"keys only, none offered", &DTLS{Keys: oneDevice()}, all, []uint16{ecdsa}, false, false},
		{"neither", &DTLS{}, all, []uint16{ecdsa}, false, false},
		{"a key, last", &DTLS{Keys: oneDevice(), Certificate: own}, all, []uint16{ecdsa, rsaGCM, gcm}, false, false},
		{"a key, first", &DTLS{Keys: oneDevice(), Certificate: own}, all, []uint16{0xccac, ecdsa}, false, false},
		{"no key", &DTLS{Keys: oneDevice(), Certificate: own}, all, []uint16{ecdsa, rsaGCM}, true, false},
		{"a suite with a key that is not ours", &DTLS{Keys: oneDevice(), Certificate: own}, all, []uint16{cbc, ecdsa}, true, false},
		{"cut before the suites", &DTLS{Keys: oneDevice(), Certificate: own}, 36, []uint16{ecdsa}, false, false},
		{"cut in the suites", &DTLS{Keys: oneDevice(), Certificate: own}, 42, []uint16{ecdsa, rsaGCM, gcm}, false, false},
		{"certificates only", &DTLS{Certificate: own}, all, []uint16{ecdsa, gcm}, true, false},
		{"no certificate to be had", &DTLS{Keys: oneDevice(), Certificate: broken}, all, []uint16{ecdsa}, false, true},
		{"none to be had, but a key", &DTLS{Keys: oneDevice(), Certificate: broken}, all, []uint16{gcm}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := tt.d.config(&shake{}, helloOf(t, tt.first, tt.suites...))
			if (err != nil) != tt.fails {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			for _, list := range [][]*suite{pskSuites, certificateSuites} {
				for _, s := range list {
					spoken := slices.Contains(c.CipherSuites, dtls.CipherSuiteID(s.id))
					if withCertificate := list[0] == certificateSuites[0]; spoken && withCertificate != tt.certificate {
						t.Errorf("%s is spoken", s.name)
					}
				}
			}
			if (c.ClientAuth == dtls.RequireAndVerifyClientCert) != tt.certificate || (c.PSK == nil) != tt.certificate || c.VerifyPeerCertificate == nil && tt.certificate {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestCertificateRestored: a session that a certificate has begun goes on after a
// restart while certificates are taken and the device may come in.
func TestCertificateRestored(t *testing.T) {
	ca := newAuthority(t)
	own := fixed(ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway"))
	device1 := ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, deviceID)
	synctest.Test(t, func(t *testing.T) {
		<-time.After(time.Until(ca.cert.NotBefore.Add(time.Hour))) // the bubble's clock
		store := &keptSessions{}
		first := newAir(t, &DTLS{Keys: oneDevice(), Certificate: own, ClientCAs: ca.pool(), Store: store})
		first.dial(t, at, &dtls.Config{
			Certificates: []tls.Certificate{device1}, RootCAs: ca.pool(), ServerName: "gateway", InsecureSkipVerify: true, //nolint:gosec // OpenSSL verifies it
			LoggerFactory: listener{cancel: func(error) {}, once: new(sync.Once)},
		})
		first.stop()
		for _, tt := range []struct {
			name string
			d    *DTLS
			want int
		}{
			{"goes on", &DTLS{Certificate: own, ClientCAs: ca.pool()}, 1},
			{"may go on", &DTLS{Certificate: own, ClientCAs: ca.pool(), Certified: func(id device.ID) bool { return id == deviceID }}, 1},
			{"revoked", &DTLS{Certificate: own, ClientCAs: ca.pool(), Certified: func(device.ID) bool { return false }}, 0},
			{"no certificates any more", &DTLS{}, 0},
		} {
			w := restarted(t, store, tt.d)
			if n := len(w.d.Sessions()); n != tt.want {
				t.Errorf("%s: %d sessions, want %d", tt.name, n, tt.want)
			}
			w.stop()
		}
	})
}
