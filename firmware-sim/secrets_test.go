package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
)

const (
	testKey   = "000102030405060708090a0b0c0d0e0f"
	testToken = "a-token-that-nobody-knows"
)

func TestParseSecrets(t *testing.T) {
	t.Parallel()
	both := secretsOf{"gh1": {PSK: testKey, Token: testToken}, "gh2": {Token: "t"}}
	tests := []struct {
		name, text string
		want       secretsOf
		err        string
	}{
		{"csv", "device,psk,token\ngh1," + testKey + "," + testToken + "\ngh2,,t\n", both, ""},
		{"csv in another order", "token,note,device\nt,x,gh2\n", secretsOf{"gh2": {Token: "t"}}, ""},
		{"json", ` {"gh1":{"psk":"` + testKey + `","token":"` + testToken + `"},"gh2":{"token":"t"}}`, both, ""},
		{"empty", "", nil, "want lines of device,psk,token"},
		{"no header", "gh1," + testKey + "\n", nil, "want lines of device,psk,token"},
		{"nothing secret", "device\ngh1\n", nil, "want lines of device,psk,token"},
		{"ragged", "device,token\ngh1," + testToken + ",x\n", nil, "want lines of device,psk,token"},
		{"other json", `{"gh1":["` + testToken + `"]}`, nil, "want lines of device,psk,token"},
		{"a bad name", "device,token\ng h," + testToken + "\n", nil, `invalid device id "g h"`},
	}
	for _, tt := range tests {
		got, err := parseSecrets([]byte(tt.text))
		if diff := cmp.Diff(tt.want, got); diff != "" || (err == nil) != (tt.err == "") {
			t.Errorf("%s: error %v (-want +got):\n%s", tt.name, err, diff)
		}
		if err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), testKey)) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
		}
	}
}

// FuzzParseSecrets holds that no error tells what it was given.
func FuzzParseSecrets(f *testing.F) {
	f.Add("device,psk,token\ngh1,00,t\n")
	f.Add(`{"gh1":{"psk":"00"}}`)
	f.Add("\"")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseSecrets([]byte(text))
		if err == nil {
			again, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := parseSecrets(again); err != nil || len(all) > 0 && cmp.Diff(all, got) != "" {
				t.Errorf("%s is read as %v, error %v", again, got, err)
			}
		}
	})
}

// registry is a gateway's, as far as the simulator knows it.
type registry struct {
	mu    sync.Mutex // guards following
	asked []string
	known map[string]bool
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var body struct {
		ID         string
		PSK, Token bool
	}
	_ = json.NewDecoder(req.Body).Decode(&body) // what is missing shows
	r.asked = append(r.asked, fmt.Sprintf("%s %s %s %t %t %s", req.Method, req.URL.Path, body.ID, body.PSK, body.Token, req.Header.Get("Authorization")))
	rotates := strings.HasSuffix(req.URL.Path, "/rotate")
	switch {
	case body.ID == "door-garage":
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"the access token is missing"}`))
		return
	case !rotates && r.known[body.ID]:
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"error":"registered already"}`))
		return
	case !rotates:
		w.WriteHeader(http.StatusCreated)
	}
	var s secretText
	if body.PSK {
		s.PSK = testKey
	}
	if body.Token {
		s.Token = testToken
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id": body.ID, "secrets": s})
}

func TestRegister(t *testing.T) {
	t.Parallel()
	r := &registry{known: map[string]bool{"door-front": true}}
	srv := httptest.NewServer(r)
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "secrets.json")
	f := secretFlags{register: true, api: srv.URL + "/", access: "open", file: file}
	cfg := fleet.Config{Target: fleet.Target{DTLS: "127.0.0.1:1", HTTP: "127.0.0.1:2"}, Kinds: []string{"door", "pump"}, Devices: 2}
	for range 2 { // the second time everything is known
		if err := f.apply(t.Context(), &cfg); err != nil {
			t.Fatal(err)
		}
		door, pump := cfg.Secrets("door-front"), cfg.Secrets("pump-well")
		if fmt.Sprintf("%x", door.PSK) != testKey || door.Token != "" || pump.Token != testToken || len(pump.PSK) > 0 || cfg.AccessToken != "open" {
			t.Errorf("secrets %v, %v", door, pump)
		}
	}
	want := []string{
		"POST /api/v1/registry door-front true false Bearer open",
		"POST /api/v1/registry/door-front/rotate door-front true false Bearer open",
		"POST /api/v1/registry pump-well false true Bearer open",
	}
	if diff := cmp.Diff(want, r.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	f.file = filepath.Join(t.TempDir(), "secrets.json")
	cfg.Devices, cfg.Kinds = 2, []string{"door"}
	if err := f.apply(t.Context(), &cfg); err == nil || !strings.Contains(err.Error(), "register door-garage: 401 Unauthorized: the access token is missing") {
		t.Errorf("error %v", err)
	}
	if kept, err := f.read(); err != nil || cmp.Diff(secretsOf{"door-front": {PSK: testKey}}, kept) != "" {
		t.Errorf("after a failure %v is kept, error %v", kept, err)
	}
}

// TestSecretErrors holds that what is wrong with secrets is told, without them.
func TestSecretErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"--dtls", "127.0.0.1:1"}, "greenhouse-1 has no key for dtls"},
		{[]string{"--dtls", "127.0.0.1:1", "--psk", testKey + "0"}, "greenhouse-1: the key is not in hex"},
		{[]string{"--udp", "127.0.0.1:1", "--token", testToken, "--format", "statsd"}, "statsd has no place for the token of greenhouse-1 over udp"},
		{[]string{"--udp", "127.0.0.1:1", "--secrets", filepath.Join(dir, "missing")}, "no such file"},
		{[]string{"--udp", "127.0.0.1:1", "--secrets", file("bad", testToken)}, "want lines of device,psk,token"},
		{[]string{"--tls", "127.0.0.1:1", "--ca", file("ca", testToken)}, "ca: there is no certificate in"},
		{[]string{"--tls", "127.0.0.1:1", "--certs", filepath.Dir(file("greenhouse-1.pem", testToken))}, "greenhouse-1: tls: failed to find any PEM data"},
		{[]string{"--udp", "127.0.0.1:1", "--register", "--api", "http://127.0.0.1:1"}, "register greenhouse-1: "},
	}
	for _, tt := range tests {
		var stdout, stderr strings.Builder
		if code := execute(t.Context(), append(tt.args, "--count", "1"), &stdout, &stderr); code != 1 {
			t.Errorf("%q: exit code %d", tt.args, code)
		}
		if !strings.Contains(stderr.String(), tt.want) || strings.Contains(stderr.String()+stdout.String(), testToken) || strings.Contains(stderr.String(), testKey) {
			t.Errorf("%q: %q does not say %q", tt.args, stderr.String(), tt.want)
		}
	}
}
