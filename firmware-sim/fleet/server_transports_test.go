package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v2"
)

// testPSK and testToken are the secrets of all devices of these tests.
var testPSK = []byte("0123456789abcdef")

const testToken = "the-token"

// identity is the certificate of the server of these tests, and who vouches for it.
var identity = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{string(TLS)}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func (s *server) prove(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proved = append(s.proved, what)
}

func (s *server) serveTLS(ctx context.Context, end net.Conn) {
	cert, _ := identity()
	conn := tls.Server(end, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = end.Close()
		return
	}
	if certs := conn.ConnectionState().PeerCertificates; len(certs) > 0 {
		s.prove("certificate")
	}
	s.serve(conn, true)
}

func (s *server) serveDTLS(end net.Conn, serve func(net.Conn, bool)) {
	conn, err := dtls.Server(end, &dtls.Config{
		PSK:             func([]byte) ([]byte, error) { return testPSK, nil },
		PSKIdentityHint: []byte("server"),
		CipherSuites:    suites,
	})
	if err != nil {
		_ = end.Close()
		return
	}
	s.prove("key of " + string(conn.ConnectionState().IdentityHint))
	serve(conn, false)
}

// said parts an answer of the server.
func saidIn(text string) (reason, command string) {
	var a struct {
		Error   string          `json:"error"`
		Command json.RawMessage `json:"command"`
	}
	_ = json.Unmarshal([]byte(text), &a) // nonsense has neither
	if a.Command != nil {
		command = `{"command":` + string(a.Command) + "}"
	}
	return a.Error, command
}

// serveCoAP answers requests in CoAP's words.
func (s *server) serveCoAP(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // of a pipe
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			if !ended(err) {
				s.t.Error(err)
			}
			return
		}
		m, err := parseCoAP(buf[:n])
		if err != nil || m.code != coapPOST {
			s.t.Errorf("request %x: %v", buf[:n], err)
			continue
		}
		for _, a := range s.take(m.payload, false, true) {
			if a == hangup {
				return
			}
			reason, command := saidIn(a)
			r := coapMessage{kind: acknowledgement, code: coapChanged, id: m.id, token: m.token}
			switch {
			case reason == overloaded:
				r.code, r.options = coapTooMany, []coapOption{uintOption(optMaxAge, 2)}
			case reason != "":
				r.code, r.payload = 4<<5, []byte(reason)
			case command != "":
				r.options, r.payload = []coapOption{uintOption(optContentFormat, 50)}, []byte(command)
			}
			if _, err := conn.Write(r.append(nil)); err != nil {
				return
			}
		}
	}
}

// serveHTTP answers requests in HTTP's words. A message without an answer has its
// connection closed.
func (s *server) serveHTTP(end net.Conn) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || r.URL.Path != "/api/v1/write" || r.Method != http.MethodPost {
			s.t.Errorf("%s %s: %v", r.Method, r.URL, err)
		}
		if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
			s.prove("access " + bearer)
		}
		answers := s.take(body, false, true)
		if len(answers) == 0 || answers[0] == hangup {
			panic(http.ErrAbortHandler)
		}
		switch reason, _ := saidIn(answers[0]); reason {
		case "":
			w.WriteHeader(http.StatusNoContent)
		case overloaded:
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":%q}`, reason)
		}
	})
	l := &oneConn{conn: end, closed: make(chan struct{})}
	srv := http.Server{Handler: handler, ConnState: func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			l.once.Do(func() { close(l.closed) })
		}
	}}
	_ = srv.Serve(l) // it ends with the connection
}

// oneConn is a listener that has one connection.
type oneConn struct {
	conn   net.Conn
	taken  bool
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if !l.taken {
		l.taken = true
		return l.conn, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return l.conn.LocalAddr() }
