package fleet

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

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
		{"a password in a URL", Config{Target: Target{HTTP: "http://u:secret@a"}}, "the address of HTTP has a user; there is"},
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

func TestWriteURL(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, url, host string }{
		{"127.0.0.1:7780", "http://127.0.0.1:7780/api/v1/write", "127.0.0.1:7780"},
		{"http://gateway.local", "http://gateway.local/api/v1/write", "gateway.local:http"},
		{"https://gateway.local/naru/", "https://gateway.local/naru/api/v1/write", "gateway.local:https"},
		{"http://[::1]:7780/", "http://[::1]:7780/api/v1/write", "[::1]:7780"},
		{"http://[::1]", "http://[::1]/api/v1/write", "[::1]:http"},
	}
	for _, tt := range tests {
		if url, host := writeURL(tt.in); url != tt.url || host != tt.host {
			t.Errorf("%s: %s at %s", tt.in, url, host)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"": sec, "0": 0, "3": 3 * sec, "soon": sec, "-1": sec, "65535": longestRetryAfter, "70000": sec, "Wed, 21 Oct 2015 07:28:00 GMT": sec,
	} {
		if got := retryAfter(in); got != want {
			t.Errorf("%q: %v, want %v", in, got, want)
		}
	}
}
