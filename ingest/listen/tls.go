package listen

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// Bounds of TLS.
const (
	// tlsShakeTime is how long a handshake may take: a small device computes for
	// some seconds.
	tlsShakeTime = 15 * time.Second
	// maxTLSShakes bounds the handshakes that are under way, and maxTLSShakesPerAddr
	// those of one address. Beyond, the oldest ends: who holds handshakes open keeps
	// nobody out.
	maxTLSShakes        = 512
	maxTLSShakesPerAddr = 64
	// maxTLSShakeBytes bounds what a peer may send, behind the first read, before the
	// handshake is over: some certificates and their chains, where crypto/tls would
	// gather 256 KiB.
	maxTLSShakeBytes = 32 << 10
)

const tlsTransport = "tls"

var (
	errTLSEvicted = errors.New("newer handshakes have pushed it out")
	errTLSTooLong = fmt.Errorf("it exceeds %d bytes", maxTLSShakeBytes)
	errTLSLeft    = errors.New("the peer has closed the connection")
)

// TLS takes the TLS sessions of TCP servers, 1.2 and later. A device may show by a
// certificate who it is; over TLS without one a peer has proved nothing.
type TLS struct {
	// Certificate returns the server's; it is asked in each handshake.
	Certificate func() (*tls.Certificate, error)
	// ClientCAs vouch for the certificates of devices, which have their id as DNS name
	// or common name; nil: none is asked for.
	ClientCAs *x509.CertPool
	// Certified decides about the device of a valid certificate; nil takes all.
	Certified func(id device.ID, leaf *x509.Certificate) bool
	// Logger is told of devices that did not get in; nil means nobody.
	Logger *slog.Logger

	once   sync.Once
	config *tls.Config // once
	quiet  quiet

	shaken, resumed, failed atomic.Int64

	mu     sync.Mutex  // guards following
	shakes []*tlsShake // who has begun first is first
}

// tlsShake is a handshake that is under way.
type tlsShake struct {
	addr netip.Addr
	end  context.CancelCauseFunc
}

// TLSStats counts handshakes.
type TLSStats struct {
	Handshakes              int   // under way
	Shaken, Resumed, Failed int64 // Shaken holds Resumed
}

// Stats returns the counts.
func (t *TLS) Stats() TLSStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return TLSStats{
		Handshakes: len(t.shakes), Shaken: t.shaken.Load(), Resumed: t.resumed.Load(), Failed: t.failed.Load(),
	}
}

// settled returns the configuration. All connections share it, and with it the keys
// of the tickets by which devices come back sooner.
func (t *TLS) settled() *tls.Config {
	t.once.Do(func() {
		t.config = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return t.Certificate() },
			VerifyConnection: func(s tls.ConnectionState) error {
				_, err := t.deviceOf(&s)
				return err
			},
		}
		if t.ClientCAs != nil {
			t.config.ClientAuth, t.config.ClientCAs = tls.VerifyClientCertIfGiven, t.ClientCAs
		}
	})
	return t.config
}

// deviceOf returns who the peer has proved to be, nobody without a certificate.
func (t *TLS) deviceOf(s *tls.ConnectionState) (device.ID, error) {
	if len(s.VerifiedChains) == 0 {
		return "", nil
	}
	leaf := s.VerifiedChains[0][0]
	id, err := certificateDevice(leaf)
	if err == nil && t.Certified != nil && !t.Certified(id, leaf) {
		err = fmt.Errorf("the certificate of device %q is not taken", id)
	}
	return id, err
}

// begin counts a handshake and, when there are too many, ends the oldest.
func (t *TLS) begin(k *tlsShake) {
	t.mu.Lock()
	defer t.mu.Unlock()
	here, first := 0, -1
	for i, other := range t.shakes {
		if other.addr != k.addr {
			continue
		}
		if here++; first < 0 {
			first = i
		}
	}
	switch {
	case here >= maxTLSShakesPerAddr:
	case len(t.shakes) >= maxTLSShakes:
		first = 0
	default:
		first = -1
	}
	if first >= 0 {
		t.shakes[first].end(errTLSEvicted)
		t.shakes = slices.Delete(t.shakes, first, first+1)
	}
	t.shakes = append(t.shakes, k)
}

// over forgets a handshake.
func (t *TLS) over(k *tlsShake) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.shakes, k); i >= 0 {
		t.shakes = slices.Delete(t.shakes, i, i+1)
	}
}

// shake shakes hands and returns who the peer has proved to be.
func (t *TLS) shake(ctx context.Context, conn *tls.Conn, peer ingest.Peer) (device.ID, error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	k := &tlsShake{addr: peer.Addr.Addr(), end: end}
	t.begin(k)
	defer t.over(k)
	ctx, cancel := context.WithTimeoutCause(ctx, tlsShakeTime, errSlow)
	defer cancel()
	err := conn.HandshakeContext(ctx)
	if err != nil {
		t.failed.Add(1)
		if cause := context.Cause(ctx); cause != nil {
			return "", cause
		}
		if errors.Is(err, io.EOF) {
			return "", errTLSLeft
		}
		return "", err
	}
	t.shaken.Add(1)
	state := conn.ConnectionState()
	if state.DidResume {
		t.resumed.Add(1)
	}
	return t.deviceOf(&state)
}

// tlsBegins tells that a stream goes on under TLS, and what has been read of it.
type tlsBegins struct{ read []byte }

func (*tlsBegins) Error() string { return "the stream begins TLS" }

func isClientHello(buf []byte) bool { return buf[0] == 0x16 && buf[1] == 0x03 }

// secure puts TLS under a stream.
func (t *TCP) secure(ctx context.Context, s *stream, hello []byte) error {
	under := &underTLS{Conn: s.socket, read: slices.Clone(hello), shaking: true, left: maxTLSShakeBytes}
	conn := tls.Server(under, t.TLS.settled())
	s.peer.Transport = tlsTransport
	id, err := t.TLS.shake(ctx, conn, s.peer)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		why := bounded("TLS handshake: " + err.Error())
		t.TLS.quiet.warn(t.TLS.Logger, s.peer.Addr, why)
		// What there is to say TLS has said, as an alert.
		return &cutOff{reason: ingest.Handshake, detail: why, answer: []byte{}}
	}
	under.shaking = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.peer.Device = conn, id
	s.secured, s.known = true, false
	return nil
}

// underTLS is the connection under a TLS session. Its reader is the stream's.
type underTLS struct {
	net.Conn
	read    []byte // before TLS began
	shaking bool
	left    int // bytes that may still come while shaking
}

func (c *underTLS) Read(b []byte) (int, error) {
	if len(c.read) > 0 {
		n := copy(b, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil
		}
		return n, nil
	}
	if c.shaking {
		if c.left == 0 {
			return 0, errTLSTooLong
		}
		b = b[:min(len(b), c.left)]
	}
	n, err := c.Conn.Read(b)
	c.left -= n
	return n, err
}

// Write does not wait for ever: crypto/tls also writes of its own accord, where the
// stream has set no deadline.
func (c *underTLS) Write(b []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout)) // Write tells what is wrong
	return c.Conn.Write(b)
}
