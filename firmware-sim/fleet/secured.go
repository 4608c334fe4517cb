package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/logging"

	"github.com/naru-telemetry/naru/device"
)

// Bounds of opening a session.
const (
	shakeTimeout = 15 * time.Second
	// shakeTries is how often a handshake is begun before it counts as failed: while
	// a device has two keys, the server may have tried the other one.
	shakeTries = 2
	// deafAfter is how long a session may be without any answer while messages are
	// sent again. Then the server is taken to have forgotten it.
	deafAfter = 20 * time.Second
)

// errDeaf ends a session in which nothing is answered any more.
var errDeaf = errors.New("nothing is answered in this session")

// suites are what the smallest devices speak, and what is quick on larger ones.
var suites = []dtls.CipherSuiteID{
	dtls.TLS_PSK_WITH_AES_128_CCM_8, dtls.TLS_PSK_WITH_AES_128_GCM_SHA256, dtls.TLS_PSK_WITH_AES_128_CCM,
}

// shakeDTLS opens a session of DTLS over a datagram socket, which it closes when it
// fails.
func shakeDTLS(ctx context.Context, conn net.Conn, id device.ID, psk []byte) (*dtls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, shakeTimeout)
	defer cancel()
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel, quiet.Writer = logging.LogLevelDisabled, io.Discard
	session, err := dtls.ClientWithContext(ctx, conn, &dtls.Config{
		PSK:             func([]byte) ([]byte, error) { return psk, nil },
		PSKIdentityHint: []byte(id),
		CipherSuites:    suites,
		LoggerFactory:   quiet,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("handshake of %s: %w", id, err), conn.Close())
	}
	return session, nil
}

// openDTLS connects and shakes hands, again when the server refuses.
func (s *sender) openDTLS(ctx context.Context) (session *dtls.Conn, raw net.Conn, err error) {
	for range shakeTries {
		if raw, err = s.target.Dial(ctx, "udp", s.route.address); err != nil {
			return nil, nil, err
		}
		socket := newSocket(raw, &s.link, s.stats)
		socket.spared.Store(true)
		session, err = shakeDTLS(ctx, socket, s.id, s.secret.PSK)
		socket.spared.Store(false)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	return session, raw, err
}

// openTLS connects and shakes hands.
func (s *sender) openTLS(ctx context.Context) (session *tls.Conn, raw net.Conn, err error) {
	if raw, err = s.target.Dial(ctx, "tcp", s.route.address); err != nil {
		return nil, nil, err
	}
	host, _, err := net.SplitHostPort(s.route.address)
	if err != nil {
		host = s.route.address
	}
	cfg := &tls.Config{RootCAs: s.target.Roots, ServerName: host, MinVersion: tls.VersionTLS12}
	if c := s.secret.Certificate; c != nil {
		cfg.Certificates = []tls.Certificate{*c}
	}
	session = tls.Client(raw, cfg)
	ctx, cancel := context.WithTimeout(ctx, shakeTimeout)
	defer cancel()
	if err := session.HandshakeContext(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("handshake: %w", err), raw.Close())
	}
	return session, raw, nil
}
