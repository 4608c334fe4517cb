package authority

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// lifetime is that of the root: devices that trust it are not visited before.
	lifetime = 10 * 365 * 24 * time.Hour
	// warnAhead is when the end of the root is told.
	warnAhead = 365 * 24 * time.Hour

	certificateBlock, keyBlock = "CERTIFICATE", "PRIVATE KEY"
)

// Clocks of devices and of gateways may lag behind. Certificates are valid from
// before either existed, and a gateway whose clock has not been set does not make
// one that ends before it begins.
var (
	validFrom = time.Date(2020, time.January, 1, 0, 0, 0, 0, time.UTC)
	earliest  = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)
)

// ErrDamaged is matched by the errors about a file that holds no authority.
var ErrDamaged = errors.New("there is no certificate authority in it")

// Authority signs certificates. Its methods may be called concurrently.
type Authority struct {
	root *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Load returns the authority kept in the file at path.
func Load(path string) (*Authority, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	a, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("authority: %s: %w", path, err)
	}
	return a, nil
}

// Open is Load, but makes an authority where there is none. A file that holds none
// is put aside.
func Open(path string, log *slog.Logger) (*Authority, error) {
	a, err := Load(path)
	switch {
	case err == nil:
		if left := time.Until(a.root.NotAfter); left < warnAhead {
			log.Warn("the certificate authority ends; remove its file to have a new one, whose root all devices need",
				"file", path, "ends", a.root.NotAfter)
		}
		return a, nil
	case errors.Is(err, ErrDamaged):
		aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z")
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("authority: %w", err)
		}
		log.Warn("the certificate authority was damaged and has been put aside; devices need the root of the new one", "file", aside)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	a, text, err := create()
	if err == nil {
		err = writeWhole(path, text)
	}
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return a, nil
}

// parse reads the root and its key, in this order, from PEM.
func parse(text []byte) (*Authority, error) {
	first, rest := pem.Decode(text)
	second, _ := pem.Decode(rest)
	if first == nil || second == nil || first.Type != certificateBlock || second.Type != keyBlock {
		return nil, ErrDamaged
	}
	root, err := x509.ParseCertificate(first.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	key, err := x509.ParsePKCS8PrivateKey(second.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	private, ok := key.(*ecdsa.PrivateKey)
	if !ok || !root.IsCA || !private.PublicKey.Equal(root.PublicKey) {
		return nil, fmt.Errorf("%w: root and key do not belong together", ErrDamaged)
	}
	return &Authority{root, private}, nil
}

func create() (*Authority, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		NotBefore:    validFrom, NotAfter: now().Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	template.Subject = pkix.Name{CommonName: fmt.Sprintf("Naru %x", template.SerialNumber.Bytes()[:4])} // each gateway has one
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	text, err := encoded(der, key)
	return &Authority{root, key}, text, err
}

func now() time.Time {
	if t := time.Now(); t.After(earliest) {
		return t
	}
	return earliest
}

func serial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// encoded returns a certificate and its key as PEM.
func encoded(der []byte, key *ecdsa.PrivateKey) ([]byte, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})
	return append(text, pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: private})...), nil
}

// Root returns the certificate of the authority as PEM.
func (a *Authority) Root() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: a.root.Raw})
}

// Fingerprint returns the SHA-256 of the root as openssl shows it, AB:CD:….
func (a *Authority) Fingerprint() string {
	sum := sha256.Sum256(a.root.Raw)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// AddTo has what the authority has signed be trusted.
func (a *Authority) AddTo(pool *x509.CertPool) { pool.AddCert(a.root) }

// Device returns a certificate for a device with its key, as PEM. It is valid as long
// as the root.
func (a *Authority) Device(id device.ID) ([]byte, error) {
	if err := device.CheckID(id); err != nil {
		return nil, err
	}
	der, key, err := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: string(id)},
		NotAfter:    a.root.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	return encoded(der, key)
}

// server returns a certificate for a server with these names and addresses.
func (a *Authority) server(names []string, until time.Time) (*tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Naru"},
		NotAfter:    until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip, err := netip.ParseAddr(name); err == nil {
			template.IPAddresses = append(template.IPAddresses, ip.Unmap().WithZone("").AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key, err := a.sign(template)
	if err != nil {
		return nil, fmt.Errorf("authority: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// sign makes a key and signs its certificate.
func (a *Authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber, template.NotBefore, template.KeyUsage = serial(), a.root.NotBefore, x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.root, key.Public(), a.key)
	return der, key, err
}

// writeWhole makes the file at path, readable by its owner only, whole or, when the
// power fails, not at all.
func writeWhole(path string, text []byte) error {
	part := path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(part, path)
}
