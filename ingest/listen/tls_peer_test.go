package listen

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// TestOpenSSLStream: OpenSSL over TLS, by version and with and without a certificate.
func TestOpenSSLStream(t *testing.T) {
	ca, other := newSigner(t), newSigner(t)
	root := filepath.Join(t.TempDir(), "root.pem")
	if err := os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.root.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	own, foreigner := pemFile(t, ca.device(t, "gh1")), pemFile(t, other.device(t, "gh1"))
	tests := []struct {
		name    string
		args    []string
		device  device.ID
		refused string // empty: gets in
	}{
		{"1.3", []string{"-tls1_3"}, "", ""},
		{"1.2", []string{"-tls1_2"}, "", ""},
		{"1.3 with a certificate", []string{"-tls1_3", "-cert", own, "-key", own}, "gh1", ""},
		{"1.2 with a certificate", []string{"-tls1_2", "-cert", own, "-key", own}, "gh1", ""},
		{"another authority's", []string{"-cert", foreigner, "-key", foreigner}, "", "unknown authority"},
		{"1.1", []string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, "", "unsupported versions"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRecorder()
			r.answer = func(p string) string { return "answer to " + strings.TrimSpace(p) }
			var kept refusals
			server := &TCP{NewHandler: r.handler, Refuse: kept.refuse, TLS: ca.side(t)}
			addr := tlsServer(t, server)
			p := run(t, "openssl", append([]string{
				"s_client", "-connect", addr, "-CAfile", root, "-verify_hostname", "gateway", "-verify_return_error",
			}, tt.args...)...)
			if tt.refused != "" {
				p.hears(t, "alert")
				for late := time.After(20 * time.Second); server.Stats().Open > 0; {
					select {
					case <-time.After(10 * time.Millisecond):
					case <-late:
						t.Fatal("the connection stays open")
					}
				}
				if got := kept.all(); len(got) != 1 || !strings.Contains(got[0], tt.refused) || len(r.all()) != 0 {
					t.Errorf("refused %q, got %q", got, r.all())
				}
				return
			}
			for _, line := range []string{"climate temp=1", "climate temp=2"} {
				p.say(t, line)
				p.hears(t, "answer to "+line)
			}
			if peer, _ := r.state(); peer.Device != tt.device || peer.Transport != "tls" {
				t.Errorf("peer %+v", peer)
			}
		})
	}
}
