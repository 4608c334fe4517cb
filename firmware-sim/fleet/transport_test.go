package fleet

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/dtls/v2"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
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

var transports = []Transport{UDP, TCP, TLS, DTLS, CoAP, CoAPS, HTTP}

// targetOver returns a target that has the server over one transport.
func (s *server) targetOver(t Transport) Target {
	_, roots := identity()
	out := Target{Roots: roots, Dial: s.dial, AccessToken: "open-sesame", Secrets: func(device.ID) Secret {
		if t.keyed() {
			return Secret{PSK: testPSK}
		}
		return Secret{Token: testToken}
	}}
	address := string(t) + ":1"
	switch t {
	case UDP:
		out.UDP = address
	case TCP:
		out.TCP = address
	case TLS:
		out.TLS = address
	case DTLS:
		out.DTLS = address
	case CoAP:
		out.CoAP = address
	case CoAPS:
		out.CoAPS = address
	case HTTP:
		out.HTTP = address
	}
	return out
}

// runOver runs a device that asks for acknowledgements, a report a second.
func runOver(t *testing.T, over Transport, format wire.Format, reports int64, answer func(uint64, int) string) (*server, Report) {
	t.Helper()
	srv := newServer(t, answer)
	target := srv.targetOver(over)
	target.Format = format
	f, err := New(Config{
		Target: target, Devices: 1, Kinds: []string{"door"}, Interval: time.Second, Batch: 1, Count: reports,
		FirstSeq: 1, Acks: Acks{Share: 1, Window: 1}, NoObserve: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	synctest.Wait() // for the server to hear the rest
	return srv, f.Report()
}

// TestTransports holds that every transport does the same for a device.
func TestTransports(t *testing.T) {
	t.Parallel()
	lost := func(seq uint64, n int) string {
		if seq == 2 && n == 1 {
			return ""
		}
		return ack(seq, n)
	}
	first := func(answer string) func(uint64, int) string {
		return func(seq uint64, n int) string {
			if seq == 2 && n == 1 {
				return fmt.Sprintf(answer, seq)
			}
			return ack(seq, n)
		}
	}
	tests := []struct {
		name   string
		answer func(uint64, int) string
		want   Report // of counts, those of one transport only left out
		seen   map[uint64]int
	}{
		{"all is well", ack, Report{Readings: 4, AskedForAck: 4, Acknowledged: 4}, map[uint64]int{1: 1, 2: 1, 3: 1, 4: 1}},
		{"an answer is lost", lost, Report{Readings: 4, AskedForAck: 4, Acknowledged: 4, Retransmitted: 1}, map[uint64]int{1: 1, 2: 2, 3: 1, 4: 1}},
		{
			"a message is refused", first(`{"error":"syntax","seq":%d}`),
			Report{Readings: 4, AskedForAck: 4, Acknowledged: 3, Refused: map[string]int64{"syntax": 1}},
			map[uint64]int{1: 1, 2: 1, 3: 1, 4: 1},
		},
		{
			"the server is overloaded", first(`{"error":"overload","seq":%d}`),
			Report{Readings: 4, AskedForAck: 4, Acknowledged: 4, Retransmitted: 1, Refused: map[string]int64{"overload": 1}},
			map[uint64]int{1: 1, 2: 2, 3: 1, 4: 1},
		},
		{
			"the connection breaks", func(seq uint64, n int) string {
				if seq == 2 && n == 1 {
					return hangup
				}
				return ack(seq, n)
			},
			Report{Readings: 4, AskedForAck: 4, Acknowledged: 4, Retransmitted: 1, Reconnects: 1},
			map[uint64]int{1: 1, 2: 2, 3: 1, 4: 1},
		},
	}
	for _, over := range transports {
		for _, tt := range tests {
			t.Run(string(over)+"/"+tt.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					srv, r := runOver(t, over, 0, 4, tt.answer)
					if diff := cmp.Diff(tt.seen, srv.seen); diff != "" {
						t.Errorf("messages by seq (-want +got):\n%s", diff)
					}
					got := Report{
						Readings: r.Readings, AskedForAck: r.AskedForAck, Acknowledged: r.Acknowledged, Unacknowledged: r.Unacknowledged,
						Retransmitted: r.Retransmitted, Reconnects: tt.want.Reconnects,
					}
					for reason, n := range r.Refused {
						got.Refused = map[string]int64{lastWord(reason): n}
					}
					if tt.want.Reconnects > 0 && r.Reconnects == 0 {
						t.Error("it did not connect again")
					}
					if diff := cmp.Diff(tt.want, got); diff != "" {
						t.Errorf("report (-want +got):\n%s\nerrors %q", diff, r.FirstErrors)
					}
				})
			})
		}
	}
}

// lastWord leaves out the status of which a reason is the text.
func lastWord(reason string) string { return reason[strings.LastIndexByte(reason, ' ')+1:] }

// TestSecrets holds that a device proves itself over every transport, in its way.
func TestSecrets(t *testing.T) {
	t.Parallel()
	want := map[Transport][]string{
		UDP:   {"token " + testToken, "token " + testToken},
		TCP:   {"token " + testToken},
		TLS:   {"token " + testToken},
		DTLS:  {"key of door-front"},
		CoAP:  {"token " + testToken, "token " + testToken},
		CoAPS: {"key of door-front"},
		HTTP:  {"access open-sesame", "token " + testToken, "access open-sesame", "token " + testToken},
	}
	for _, over := range transports {
		for _, format := range formats {
			t.Run(string(over)+"/"+format.String(), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					srv, _ := runOver(t, over, format, 2, ack)
					if diff := cmp.Diff(want[over], srv.proved); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// TestCertificate holds that a device shows its certificate over TLS, and that one
// that does not trust the server tells it nothing.
func TestCertificate(t *testing.T) {
	t.Parallel()
	cert, roots := identity()
	for _, tt := range []struct {
		name  string
		roots *x509.CertPool
		want  []string
	}{{"trusted", roots, []string{"certificate"}}, {"not trusted", x509.NewCertPool(), nil}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newServer(t, ack)
			f, err := New(Config{
				Target: Target{TLS: listenTLS(t, srv), Roots: tt.roots, Secrets: func(device.ID) Secret {
					return Secret{Certificate: &cert}
				}},
				Devices: 1, Kinds: []string{"door"}, Count: 1, Acks: Acks{Share: 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			err = f.Run(t.Context())
			var unknown x509.UnknownAuthorityError
			if got := errors.As(err, &unknown); got != (tt.want == nil) || err != nil && !got {
				t.Errorf("error %v", err)
			}
			srv.mu.Lock()
			defer srv.mu.Unlock()
			if !slices.Equal(srv.proved, tt.want) || len(srv.payloads) != len(tt.want) {
				t.Errorf("proved %q, %d payloads", srv.proved, len(srv.payloads))
			}
		})
	}
}

// listenTLS serves one connection of the loopback, where both ends may write at a
// time, and returns the address.
func listenTLS(t *testing.T, srv *server) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			srv.serveTLS(t.Context(), conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// TestWrongKey holds that a device whose key is wrong says so, without the key.
func TestWrongKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, ack)
		f, err := New(Config{
			Target: Target{DTLS: "dtls:1", Dial: srv.dial, Secrets: func(device.ID) Secret {
				return Secret{PSK: []byte("another key, 16b")}
			}},
			Devices: 1, Kinds: []string{"door"}, Count: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		err = f.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "dtls dtls:1: handshake of door-front") || strings.Contains(err.Error(), "another key") {
			t.Errorf("error %v", err)
		}
		if len(srv.proved) > 0 {
			t.Errorf("proved %q", srv.proved)
		}
	})
}

// TestSecretsDoNotShow holds that printing a configuration shows no secret.
func TestSecretsDoNotShow(t *testing.T) {
	t.Parallel()
	s := Secret{PSK: testPSK, Token: testToken}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(format, s); got != "{psk: true, token: true, certificate: false}" {
			t.Errorf("%s prints %s", format, got)
		}
	}
}

// TestRoutesAreChecked holds that a device which cannot do what it is told is an
// error before anything is sent.
func TestRoutesAreChecked(t *testing.T) {
	t.Parallel()
	token := func(device.ID) Secret { return Secret{Token: testToken} }
	tests := []struct {
		name string
		cfg  Config
		want string // empty: it can
	}{
		{"DTLS without a key", Config{Target: Target{DTLS: "a:1"}}, "greenhouse-1 has no key for dtls"},
		{"coaps without a key", Config{Target: Target{CoAPS: "a:1", Secrets: token}}, "greenhouse-1 has no key for coaps"},
		{"StatsD acknowledged", Config{Target: Target{UDP: "a:1", Format: wire.FormatStatsD}, Acks: Acks{Share: 1}}, "statsd has no place to ask for an acknowledgement over udp"},
		{"SenML acknowledged", Config{Target: Target{TCP: "a:1", Format: wire.FormatSenML}, Acks: Acks{Share: 1}}, "senml has no place to ask for an acknowledgement over tcp"},
		{"SenML with a token", Config{Target: Target{CoAP: "a:1", Format: wire.FormatSenML, Secrets: token}}, "senml has no place for the token of greenhouse-1 over coap"},
		{"SenML acknowledged by CoAP", Config{Target: Target{CoAP: "a:1", Format: wire.FormatSenML}, Acks: Acks{Share: 1}}, ""},
		{"StatsD with a token on a stream", Config{Target: Target{TLS: "a:1", Format: wire.FormatStatsD, Secrets: token}}, ""},
	}
	for _, tt := range tests {
		_, err := New(tt.cfg)
		if (err == nil) != (tt.want == "") || err != nil && (!errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error %v", tt.name, err)
		}
	}
}

// TestMembers holds that a fleet has the devices that are announced, which take
// turns among the transports.
func TestMembers(t *testing.T) {
	t.Parallel()
	cfg := Config{Target: Target{UDP: "a:1", TLS: "a:1", HTTP: "a:1"}, Devices: 4}
	got, err := Members(cfg)
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{{"greenhouse-1", UDP}, {"room-kitchen", TLS}, {"weather-roof", HTTP}, {"meter-house", UDP}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	f, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range f.senders {
		if s.id != want[i].ID || s.route.transport != want[i].Transport {
			t.Errorf("device %d is %s over %s", i, s.id, s.route.transport)
		}
	}
}
