package listen

import (
	"context"
	"encoding/hex"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// TestCoAPClient: libcoap's client, plain and over DTLS.
func TestCoAPClient(t *testing.T) {
	secret := hex.EncodeToString([]byte("0123456789abcdef"))
	sink := &memory{}
	p := ingest.New(ingest.Config{Sink: sink})
	conn, _, err := ListenUDP(t.Context(), "127.0.0.1:0", 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	u := &UDP{
		NewHandler: func(reply ingest.ReplyFunc) Handler { return p.NewSession(false, reply) },
		DTLS:       &DTLS{Keys: ring(map[string][]string{deviceID: {secret}})},
		CoAP: &CoAP{Refuse: p.Refuse, Write: func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error) {
			return p.Write(ctx, peer, payload, wire.Ago)
		}},
	}
	served(t, func(ctx context.Context) error { return u.Serve(ctx, conn) })
	to := addrOf(conn)
	long := strings.Repeat("# a comment\n", 50) + "t,device=long v=1"
	key := []string{"-u", deviceID, "-k", "0123456789abcdef"}
	for _, c := range []struct {
		name, program, url string
		args               []string
		out, reading       string
	}{
		{"CON", "coap-client-notls", "coap://%s/readings", []string{"-m", "post", "-e", "t,device=con v=1"}, "", "con t.v=1"},
		{"NON", "coap-client-notls", "coap://%s/r?d=non", []string{"-N", "-m", "put", "-t", "50", "-e", `{"v":1}`}, "", "non v=1"},
		{"blocks", "coap-client-notls", "coap://%s/", []string{"-b", "64", "-m", "post", "-e", long}, "", "long t.v=1"},
		{"core", "coap-client-notls", "coap://%s/.well-known/core", nil, coreLinks, ""},
		{"refused", "coap-client-notls", "coap://%s/nowhere", nil, "4.04 there is no /nowhere", ""},
		{"openssl", "coap-client-openssl", "coaps://%s/r", append([]string{"-m", "post", "-e", "openssl v=1"}, key...), "", deviceID + " openssl.v=1"},
		{"gnutls", "coap-client-gnutls", "coaps://%s/r", append([]string{"-m", "post", "-e", "gnutls v=1"}, key...), "", deviceID + " gnutls.v=1"},
		{"refused over DTLS", "coap-client-openssl", "coaps://%s/r", append([]string{"-m", "post", "-e", "nonsense"}, key...), "4.00 byte 9: fields are missing", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, err := exec.LookPath(c.program)
			if err != nil {
				t.Skip("not installed:", c.program, "(Debian's libcoap3-bin)")
			}
			args := append([]string{"-B", "10"}, append(c.args, fmt.Sprintf(c.url, to))...)
			out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.out) {
				t.Errorf("%v: %s", err, out)
			}
			if got := strings.Join(sink.texts(), "\n"); !strings.Contains(got+"\n", c.reading+"\n") {
				t.Errorf("readings %q", got)
			}
		})
	}
}
