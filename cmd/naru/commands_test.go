package main

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := command(t, nil, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(stdout), &v); code != 0 || err != nil || stderr != "" {
		t.Fatalf("exit code %d, %v: %s%s", code, err, stdout, stderr)
	}
	if v["version"] == "" || v["go"] != runtime.Version() || v["os"] != runtime.GOOS || v["arch"] != runtime.GOARCH {
		t.Errorf("version --json: %v", v)
	}
	code, stdout, _ = command(t, nil, "version")
	if want := "naru " + v["version"] + " ("; code != 0 || !strings.HasPrefix(stdout, want) || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit code %d, want 0 and a line that begins with %q: %q", code, want, stdout)
	}
}

// The help names every setting and every command, and fits a terminal's lines
// as far as we write them ourselves.
func TestHelp(t *testing.T) {
	t.Parallel()
	var s settings
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags(all)
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"help", "serve"}} {
		code, stdout, stderr := command(t, nil, args...)
		if code != 0 || stderr != "" {
			t.Errorf("%q: exit code %d, stderr %s", args, code, stderr)
		}
		all.VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(stdout, "--"+f.Name+" ") && !strings.Contains(stdout, "--"+f.Name+"[") {
				t.Errorf("%q: --%s is not explained", args, f.Name)
			}
		})
	}
	_, stdout, _ := command(t, nil, "--help")
	for _, want := range []string{"serve", "watch", "export", "import", "backup", "restore", "check", "stats", "device", "access", "token", "version", "naru --demo", "nc -u"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("--help does not tell of %s", want)
		}
	}
	for name, flags := range map[string][]string{
		"watch":   {"--url", "--token", "--device", "--metric", "--lines", "--json"},
		"export":  {"--url", "--token", "--data", "--device", "--metric", "--from", "--to", "--format", "--output", "--quiet"},
		"import":  {"--url", "--token", "--data", "--device", "--format", "--precision", "--quiet"},
		"backup":  {"--url", "--token", "--data", "--quiet"},
		"restore": {"--data", "--quiet"},
		"check":   {"--data", "--repair", "--quiet"},
		"stats":   {"--url", "--token", "--data", "--json"},
		"access":  {"add", "list", "revoke"},
		"device":  {"add", "approve", "list", "show", "rename", "rotate", "revoke", "remove"},
	} {
		_, stdout, _ = command(t, nil, name, "--help")
		for _, want := range flags {
			if !strings.Contains(stdout, want+" ") && !strings.Contains(stdout, want+"[") {
				t.Errorf("%s --help does not tell of %s", name, want)
			}
		}
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--colour"}, "--colour"},
		{[]string{"serve", "--colour"}, "--colour"},
		{[]string{"--retain-age"}, "--retain-age"},
		{[]string{"--retain-age", "often"}, "--retain-age"},
		{[]string{"sevre"}, `"sevre"`},
		{[]string{"serve", "now"}, "now"},
		{[]string{"watch", "sensor"}, "sensor"},
		{[]string{"version", "1"}, "1"},
		{[]string{"token", "1"}, "1"},
		{[]string{"token", "--config", "/nonexistent/naru.toml"}, "/nonexistent/naru.toml"},
		{[]string{"watch", "--url", "192.168.1.20"}, "192.168.1.20"},
		{[]string{"watch", "--url", "ftp://host/"}, "ftp://host/"},
		{[]string{"watch", "--url", "http://[::1"}, "http://[::1"},
		{[]string{"--demo", "--udp", "off", "--tcp", "off", "--http", "127.0.0.1:0", "--data", t.TempDir()}, "the simulated fleet needs"},
	} {
		code, stdout, stderr := command(t, nil, c.args...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) || !strings.Contains(stderr, "naru: ") {
			t.Errorf("%q: exit code %d, want 2 and an error with %s\nstdout: %s\nstderr: %s", c.args, code, c.want, stdout, stderr)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	code, _, stderr := command(t, nil, "token", "--data", data)
	if code != 1 || !strings.Contains(stderr, data) {
		t.Errorf("before the first start: exit code %d, want 1 and the folder:\n%s", code, stderr)
	}
	g := startGateway(t, data)
	for _, listen := range []string{":7780", "127.0.0.1:7780"} {
		code, stdout, stderr := command(t, []string{"NARU_DATA=" + data}, "token", "--http", listen)
		if code != 0 || stdout == "" {
			t.Fatalf("--http %s: exit code %d, want 0 and a link:\n%s%s", listen, code, stdout, stderr)
		}
		for link := range strings.Lines(stdout) {
			address, token, ok := strings.Cut(strings.TrimSpace(link), "/?token=")
			if !ok || !strings.HasPrefix(address, "http://") || !strings.HasSuffix(address, ":7780") {
				t.Errorf("--http %s: not an access link: %s", listen, link)
			}
			if status := g.status(t, "/api/v1/devices?token="+token, "Host", "gateway.example"); status != 200 {
				t.Errorf("the token of %q gives status %d", link, status)
			}
		}
	}
}
