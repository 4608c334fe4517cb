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
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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

// sign makes a certificate for a key.
func (a *authority) sign(t *testing.T, key crypto.Signer, usage x509.ExtKeyUsage, name string, dns ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: dns,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
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
			d := &DTLS{Keys: oneDevice(), Certificates: []tls.Certificate{tt.server}, ClientCAs: ca.pool()}
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
		{"of a server", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, deviceID)), "incompatible key usage"},
		{"without a device", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, "no id")), "names no device"},
		{"of one that may not", files(t, ca.sign(t, ecKey(t), x509.ExtKeyUsageClientAuth, "revoked")), `device "revoked" may not come in`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var refused refusals
			d := &DTLS{
				Certificates: []tls.Certificate{server}, ClientCAs: ca.pool(), Refuse: refused.refuse,
				Certified: func(id device.ID, leaf *x509.Certificate) bool { return id != "revoked" && leaf != nil },
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
		Certificates: []tls.Certificate{ca.sign(t, ecKey(t), x509.ExtKeyUsageServerAuth, "gateway")},
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
