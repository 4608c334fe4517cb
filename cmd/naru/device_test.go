package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/push/api"
)

// deviceCase is a command line below naru device, with what it must print on
// standard output or, with a code, on standard error.
type deviceCase struct {
	args string
	code int
	want string // regular expression
}

var deviceCases = []deviceCase{
	{"list", 0, `^device +since +secrets +name\n$`},
	{"add gh1", 0, `(?s)^gh1\n.*psk +since .*, never used\n.*\n  psk +[0-9a-f]{32} .*-psk_identity gh1 -psk [0-9a-f]{32} .*IPPROTO_DTLS.*\nnaru://[^ ]+/gh1\?psk=[0-9a-f]{32}\n\n█{30,}\n`},
	{"add gh1", 1, `gh1.*registered already`},
	{"add shed:2 --token --name Schuppen", 0, `(?s)^shed:2\n  name +Schuppen\n.*\n  token +[a-z2-7]{26}\n.*nc -u -w1.*socket\.SOCK_DGRAM.*WiFiUDP`},
	{"add both --psk --token --json", 0, `^\{"id":"both",.*"secrets":\{"psk":"[0-9a-f]{32}","token":"[a-z2-7]{26}"\},"setup":\{"uri":"naru://`},
	{"rotate shed:2", 0, `(?s)token +since .*token +since .*Shown this once`},
	{"show shed:2", 0, `(?s)^shed:2\n  name +Schuppen\n  since .*token .*token [^\n]*never used\n$`},
	{"rename shed:2 Garten", 0, `name +Garten`},
	{"revoke both", 0, `revoked: nobody may speak for it\n$`},
	{"approve both", 1, `registered already.* revoked`},
	{"approve plain", 0, `no secret: anybody on a private network may speak for it`},
	{"list", 0, `(?s)both .*revoked.*gh1 .* psk .*plain .* none .*shed:2 .* token token +Garten`},
	{"remove plain", 0, `^plain is forgotten; its readings stay\n$`},
	{"remove plain", 1, `plain.*not registered`},
	{"show plain", 1, `(?i)not registered`},
	{"rotate plain", 1, `not registered`},
	{"add a/b", 2, `a/b`},
	{"add", 2, `accepts 1 arg`},
	{"rename gh1", 2, `accepts 2 arg`},
	{"list --json", 0, `^\{"devices":.*"id":"both".*"revoked":true.*"id":"gh1"`},
}

// The commands do the same with a folder and with the gateway that has it open.
func TestDevice(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"folder", "gateway", "url"} {
		t.Run(kind, func(t *testing.T) {
			data := filepath.Join(t.TempDir(), "data")
			more := []string{"--data", data}
			var said func() string
			switch kind {
			case "folder":
				said = func() string { return "" }
				if code, _, stderr := command(t, nil, "device", "approve", "first", "--data", data); code != 0 {
					t.Fatal(stderr) // makes the folder
				}
				if code, _, stderr := command(t, nil, "device", "remove", "first", "--data", data); code != 0 {
					t.Fatal(stderr)
				}
			default:
				g := startGateway(t, data)
				said = g.output.String
				if kind == "url" {
					more = []string{"--url", g.url("/")}
				}
			}
			for _, c := range deviceCases {
				args := append([]string{"device"}, strings.Fields(c.args)...)
				code, stdout, stderr := command(t, nil, append(args, more...)...)
				got := stdout
				if c.code != 0 {
					got = stderr
				}
				if code != c.code || !regexp.MustCompile(c.want).MatchString(got) {
					t.Errorf("%s: exit code %d, want %d and %s:\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
				}
				for _, secret := range regexp.MustCompile(`[0-9a-f]{32}|[a-z2-7]{26}`).FindAllString(stdout, -1) {
					if strings.Contains(said(), secret) {
						t.Errorf("%s: the log tells the secret", c.args)
					}
				}
			}
			if kind != "folder" && strings.Count(said(), "the registry was changed") != 8 {
				t.Errorf("the log has not a line for each of 8 changes:\n%s", said())
			}
		})
	}
}

// A secret that was shown is good after kill -9, and one that was taken back is
// not.
func TestDeviceKilled(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startProcess(t, "", data)
	give := func(act, id string) {
		code, stdout, stderr := command(t, nil, "device", act, id, "--token", "--json", "--data", data)
		var r api.Registered
		if err := json.Unmarshal([]byte(stdout), &r); code != 0 || err != nil || r.Secrets == nil || r.Secrets.Token == "" {
			t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
		}
	}
	give("add", "kept")
	give("add", "taken")
	if code, _, stderr := command(t, nil, "device", "revoke", "taken", "--data", data); code != 0 {
		t.Fatal(stderr)
	}
	give("rotate", "kept")
	p.kill()
	p = startProcess(t, "", data)
	var all struct{ Devices []api.Registered }
	if err := json.Unmarshal([]byte(get(t, p.url("/api/v1/registry"))), &all); err != nil {
		t.Fatal(err)
	}
	if d := all.Devices; len(d) != 2 || d[0].ID != "kept" || len(d[0].Credentials) != 2 || !d[1].Revoked {
		t.Errorf("after the crash: %+v", d)
	}
	if info, err := os.Stat(filepath.Join(data, storeFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the keys: %v, %v", info.Mode(), err)
	}
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d:\n%s", code, p.output)
	}
}

// Who may look may change the registry, nobody else; pages elsewhere never.
func TestRegistryAccess(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir(), "--origins", "https://dash.example.org")
	for _, c := range []struct {
		name   string
		header []string
		want   int
	}{
		{"from here", nil, 201},
		{"from elsewhere", []string{"Host", "gateway.example"}, 401},
		{"another origin", []string{"Origin", "https://evil.example"}, 403},
		{"an origin that may read", []string{"Origin", "https://dash.example.org", "Sec-Fetch-Site", "cross-site"}, 403},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url("/api/v1/registry"), strings.NewReader(`{"id":"gh1"}`))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
			if c.header[i] == "Host" {
				req.Host = c.header[i+1]
			}
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, resp.Status, c.want)
		}
	}
}
