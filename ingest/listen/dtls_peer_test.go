package listen

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/ingest"
)

// The device of most tests, and its key.
const (
	deviceID  = "greenhouse-1"
	deviceKey = "000102030405060708090a0b0c0d0e0f"
)

// ring returns a function for DTLS.Keys: each device with its keys in hex.
func ring(devices map[string][]string) func([]byte) []Key {
	return func(identity []byte) []Key {
		var keys []Key
		for i, k := range devices[string(identity)] {
			b, err := hex.DecodeString(k)
			if err != nil {
				panic(err)
			}
			keys = append(keys, Key{Secret: b, Name: fmt.Sprint(i)})
		}
		return keys
	}
}

func oneDevice() func([]byte) []Key { return ring(map[string][]string{deviceID: {deviceKey}}) }

// dtlsServer serves a socket with DTLS.
func dtlsServer(t *testing.T, d *DTLS, h func(ingest.ReplyFunc) Handler) (to netip.AddrPort, stop func() error) {
	t.Helper()
	conn, _, err := ListenUDP(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	u := &UDP{NewHandler: h, DTLS: d}
	return addrOf(conn), served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
}

// program is another program at the other end, with what it prints.
type program struct {
	in  io.WriteCloser
	cmd *exec.Cmd

	mu  sync.Mutex
	out bytes.Buffer
	got chan struct{}
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case p.got <- struct{}{}:
	default:
	}
	return p.out.Write(b)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// run starts a program, which ends with the test; it skips the test where there
// is none.
func run(t *testing.T, name string, args ...string) *program {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("not installed:", name)
	}
	p := &program{cmd: exec.CommandContext(t.Context(), path, args...), got: make(chan struct{}, 1)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	return p
}

// say writes a line to the program.
func (p *program) say(t *testing.T, line string) {
	t.Helper()
	if _, err := io.WriteString(p.in, line+"\n"); err != nil {
		t.Fatalf("%v; it printed %s", err, p.text())
	}
}

// hears waits until the program has printed text.
func (p *program) hears(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !strings.Contains(p.text(), text) {
		select {
		case <-p.got:
		case <-late:
			t.Fatalf("%q was not printed: %s", text, p.text())
		}
	}
}

func openssl(t *testing.T, to netip.AddrPort, args ...string) *program {
	t.Helper()
	return run(t, "openssl", append([]string{"s_client", "-dtls1_2", "-connect", to.String()}, args...)...)
}

func withKey(id, key, suite string) []string {
	return []string{"-psk_identity", id, "-psk", key, "-cipher", suite}
}

// TestOpenSSL: every suite with a key against OpenSSL, in both directions.
func TestOpenSSL(t *testing.T) {
	for _, tt := range []struct{ suite, iana string }{
		{"PSK-AES128-CCM8", "PSK_WITH_AES_128_CCM_8"},
		{"PSK-AES128-CCM", "PSK_WITH_AES_128_CCM"},
		{"PSK-AES128-GCM-SHA256", "PSK_WITH_AES_128_GCM_SHA256"},
		{"PSK-CHACHA20-POLY1305", "PSK_WITH_CHACHA20_POLY1305_SHA256"},
		{"ECDHE-PSK-CHACHA20-POLY1305", "ECDHE_PSK_WITH_CHACHA20_POLY1305_SHA256"},
	} {
		t.Run(tt.suite, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.answer = func(p string) string { return "answer to " + p }
			d := &DTLS{Keys: oneDevice()}
			to, _ := dtlsServer(t, d, r.handler)
			p := openssl(t, to, withKey(deviceID, deviceKey, tt.suite)...)
			for i := range 3 {
				p.say(t, fmt.Sprintf("climate temp=%d", i))
				p.hears(t, fmt.Sprintf("answer to climate temp=%d", i))
			}
			if got := strings.Join(r.all(), ""); got != "climate temp=0\nclimate temp=1\nclimate temp=2\n" {
				t.Errorf("got %q", got)
			}
			if peer, _ := r.state(); peer.Device != deviceID || peer.Transport != "dtls" {
				t.Errorf("peer %+v", peer)
			}
			all := d.Sessions()
			if len(all) != 1 || all[0].Suite != tt.iana || all[0].Lost != 0 || all[0].Forged != 0 || all[0].Records < 4 {
				t.Errorf("sessions %+v", all)
			}
		})
	}
}

// TestOpenSSLDefaults: with its own list of suites, and a key on the command line,
// OpenSSL gets in; with those that we do not speak it is told.
func TestOpenSSLDefaults(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		in   bool
	}{
		{"its own list", []string{"-psk_identity", deviceID, "-psk", deviceKey}, true},
		{"a small MTU", []string{"-psk_identity", deviceID, "-psk", deviceKey, "-mtu", "256"}, true},
		{"CBC only", withKey(deviceID, deviceKey, "PSK-AES128-CBC-SHA256:ECDHE-PSK-AES128-CBC-SHA256"), false},
		{"no key", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.answer = func(string) string { return "answer" }
			d := &DTLS{Keys: oneDevice()}
			to, _ := dtlsServer(t, d, r.handler)
			p := openssl(t, to, tt.args...)
			if !tt.in {
				p.hears(t, "alert")
				return
			}
			p.say(t, "t v=1")
			p.hears(t, "answer")
		})
	}
}

// TestOpenSSLWrongKey: OpenSSL is told at once, and the log tells why.
func TestOpenSSLWrongKey(t *testing.T) {
	for id, why := range map[string]string{deviceID: "wrong key for device", "nobody": "no key for an unknown device"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			var log logLines
			d := &DTLS{Keys: oneDevice(), Logger: log.logger()}
			to, stop := dtlsServer(t, d, newRecorder().handler)
			p := openssl(t, to, withKey(id, "ff"+deviceKey[2:], "PSK-AES128-GCM-SHA256")...)
			p.hears(t, "alert decrypt error")
			if err := stop(); err != nil {
				t.Error(err)
			}
			if !strings.Contains(log.String(), why) {
				t.Errorf("log %s", log.String())
			}
		})
	}
}

// TestGnuTLS: the suites with a key that gnutls-cli has; with ECDHE-PSK it shakes
// hands and then crashes, in 3.7, as it prints what was agreed.
func TestGnuTLS(t *testing.T) {
	for _, cipher := range []string{"AES-128-CCM-8", "AES-128-CCM", "AES-128-GCM", "CHACHA20-POLY1305"} {
		t.Run(cipher, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.answer = func(p string) string { return "answer to " + p }
			d := &DTLS{Keys: oneDevice()}
			to, _ := dtlsServer(t, d, r.handler)
			p := run(t, "gnutls-cli", "--udp", "--port", fmt.Sprint(to.Port()), "--pskusername", deviceID, "--pskkey", deviceKey,
				"--priority", "NONE:+VERS-DTLS1.2:+PSK:+"+cipher+":+AEAD:+COMP-NULL:+GROUP-ALL:+SIGN-ALL", to.Addr().String())
			for i := range 3 {
				p.say(t, fmt.Sprintf("climate temp=%d", i))
				p.hears(t, fmt.Sprintf("answer to climate temp=%d", i))
			}
			if all := d.Sessions(); len(all) != 1 || all[0].Device != deviceID {
				t.Errorf("%+v", all)
			}
		})
	}
}

// TestPipelineOverDTLS joins the server with the sessions it is made for: a device
// speaks for itself, without a name too, and its acknowledgements come back.
func TestPipelineOverDTLS(t *testing.T) {
	sink := &memory{}
	p := ingest.New(ingest.Config{Sink: sink})
	running := served(t, p.Run)
	to, stop := dtlsServer(t, &DTLS{Keys: oneDevice(), Refuse: p.Refuse}, func(reply ingest.ReplyFunc) Handler { return p.NewSession(false, reply) })
	c := openssl(t, to, withKey(deviceID, deviceKey, "PSK-AES128-CCM8")...)
	c.say(t, "t,seq=1,ack=1 v=1")
	c.hears(t, `{"ack":1}`)
	c.say(t, "t,device="+deviceID+",seq=2,ack=1 v=2")
	c.hears(t, `{"ack":2}`)
	c.say(t, "t,device=freezer,seq=3,ack=1 v=3")
	c.hears(t, `{"error":"forbidden","seq":3}`)
	if err := stop(); err != nil {
		t.Error(err)
	}
	if err := running(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(sink.texts(), ", "); got != deviceID+" t.v=1, "+deviceID+" t.v=2" {
		t.Errorf("got %s", got)
	}
	if facts, ok := p.Gate().Device(deviceID); !ok || facts.Transport != "dtls" {
		t.Errorf("%+v", facts)
	}
}
