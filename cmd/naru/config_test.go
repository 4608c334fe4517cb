package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// samples are three values for each setting, none of them the default.
var samples = map[string][3]string{
	"data":                             {"a", "b", "c"},
	"udp":                              {":1", "off", "127.0.0.1:3"},
	"tcp":                              {":1", "off", "127.0.0.1:3"},
	"listen":                           {"[udp://:1]", "[udp://:1?dialect=statsd,tcp://:2]", "[tcp://:3?dialect=graphite+line]"},
	"http":                             {":1", "localhost:2", "127.0.0.1:3"},
	"http-tls":                         {"true", "true", "true"},
	"trusted-proxies":                  {"[127.0.0.1]", "[10.0.0.0/8,fd00::/8]", "[::1]"},
	"commit-interval":                  {"2s", "3ms", "1h0m0s"},
	"retain-age":                       {"2h0m0s", "-1s", "90d"},
	"retain-1m":                        {"2h0m0s", "-1s", "1y"},
	"retain-1h":                        {"2h0m0s", "14d", "1y"},
	"retain-size":                      {"16MiB", "1GiB", "100000000"},
	"psk":                              {"[a=00112233445566778899aabbccddeeff]", "[b=ffffffffffffffffffffffffffffffff,b=eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee]", "[c=dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd]"},
	"tls-cert":                         {"a", "b", "c"},
	"tls-key":                          {"a", "b", "c"},
	"client-ca":                        {"a", "b", "c"},
	"dtls-certificates":                {"true", "true", "true"},
	"receive-buffer":                   {"1MiB", "64KiB", "100000"},
	"idle-timeout":                     {"1s", "2m0s", "3h0m0s"},
	"max-connections":                  {"1", "2", "3"},
	"max-connections-per-address":      {"1", "2", "3"},
	"max-devices":                      {"1", "2", "3"},
	"max-series":                       {"1", "2", "3"},
	"admission":                        {"approve", "known", "approve"},
	"max-rate":                         {"1", "-1", "3"},
	"max-rate-per-address":             {"1", "-1", "3"},
	"max-new-series":                   {"1", "-1", "3"},
	"max-new-series-per-address":       {"1", "-1", "3"},
	"max-viewers":                      {"1", "2", "3"},
	"max-viewers-per-address":          {"1", "2", "3"},
	"max-http-connections":             {"1", "2", "3"},
	"max-http-connections-per-address": {"1", "2", "3"},
	"origins":                          {"[http://a]", "[http://b,https://*.c]", "[http://d]"},
	"jsonp":                            {"true", "true", "true"},
	"iframe":                           {"true", "true", "true"},
	"demo":                             {"true", "true", "true"},
	"demo-rate":                        {"2", "0.5", "60"},
	"ports-file":                       {"a", "b", "c"},
	"log-level":                        {"debug", "warn", "error"},
	"log-format":                       {"json", "json", "json"},
}

// companions are what a setting is of no use without.
var companions = map[string]string{"tls-cert": "NARU_TLS_KEY", "tls-key": "NARU_TLS_CERT"}

// inTOML writes a value as an operator would.
func inTOML(f *pflag.Flag, value string) string {
	switch f.Value.Type() {
	case "bool", "int", "float64":
		return value
	case "stringSlice":
		return `["` + strings.ReplaceAll(strings.Trim(value, "[]"), ",", `", "`) + `"]`
	}
	return fmt.Sprintf("%q", value)
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "naru.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Each setting: the flag goes before the environment, that before the file, and
// that before the default.
func TestPrecedence(t *testing.T) {
	t.Parallel()
	var defaults settings
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaults.flags(all)
	all.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" {
			return
		}
		sample, ok := samples[f.Name]
		if !ok {
			t.Errorf("there are no samples for the setting %s", f.Name)
			return
		}
		flag := "--" + f.Name + "=" + strings.Trim(sample[0], "[]")
		env := "NARU_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")) + "=" + strings.Trim(sample[1], "[]")
		file := "--config=" + writeConfig(t, f.Name+" = "+inTOML(f, sample[2])+"\n")
		for _, c := range []struct {
			args, environ []string
			want          string
		}{
			{nil, nil, f.DefValue},
			{[]string{file}, nil, sample[2]},
			{[]string{file}, []string{env}, sample[1]},
			{[]string{file, flag}, []string{env}, sample[0]},
			{[]string{flag}, nil, sample[0]},
			{nil, []string{env, "NARU_=", "NARU", "OTHER=1"}, sample[1]},
		} {
			var s settings
			set := pflag.NewFlagSet("", pflag.ContinueOnError)
			s.flags(set)
			if err := set.Parse(c.args); err != nil {
				t.Errorf("%s: %v", f.Name, err)
				continue
			}
			environ := c.environ
			if other := companions[f.Name]; other != "" && c.want != f.DefValue {
				environ = append(slices.Clone(environ), other+"=x")
			}
			if err := s.load(set, environ); err != nil {
				t.Errorf("%s: args %q, environment %q: %v", f.Name, c.args, c.environ, err)
				continue
			}
			if got := set.Lookup(f.Name).Value.String(); got != c.want {
				t.Errorf("%s: args %q, environment %q: %s, want %s", f.Name, c.args, c.environ, got, c.want)
			}
		}
	})
}

// The file itself may be named by the environment.
func TestConfigFromEnvironment(t *testing.T) {
	t.Parallel()
	var s settings
	set := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags(set)
	if err := s.load(set, []string{"NARU_CONFIG=" + writeConfig(t, "max-viewers = 7")}); err != nil {
		t.Fatal(err)
	}
	if s.MaxViewers != 7 {
		t.Errorf("max-viewers is %d, want the file's 7", s.MaxViewers)
	}
}

func TestConfigFileErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"unknown", "# naru\ndata = \"x\"\nretain-aeg = \"1h\"", []string{"line 3", `"retain-aeg"`, `did you mean "retain-age"?`}},
		{"underscore", "retain_age = \"1h\"", []string{"line 1", `"retain_age"`, `did you mean "retain-age"?`}},
		{"far from all", "\n\ncolour = \"red\"", []string{"line 3", `unknown setting "colour"`}},
		{"itself", "config = \"other.toml\"", []string{"line 1", `unknown setting "config"`}},
		{"help", "help = true", []string{"line 1", `unknown setting "help"`}},
		{"section", "udp = \"off\"\n[storage]\nretain-age = \"1h\"", []string{"line 2", `unknown setting "storage"`}},
		{"section of a name", "\n[origins]\nfolder = \"x\"", []string{"line 2", "origins:", "there are no sections"}},
		{"dotted", "udp = \"off\"\nmax.viewers = 1", []string{"line 2", `unknown setting "max"`}},
		{"two at once", "a-key = 1\nanother = 2", []string{`line 1: unknown setting "a-key"`, `line 2: unknown setting "another"`}},
		{"syntax", "udp = \"off\"\ntcp = ", []string{"line 2"}},
		{"twice", "demo = true\ndemo = false", []string{"line 2", "demo"}},
		{"bool", "demo = \"perhaps\"", []string{"line 1", "demo:", "true or false"}},
		{"int", "\nmax-devices = \"many\"", []string{"line 2", "max-devices:", "integer"}},
		{"fraction", "max-devices = 1.5", []string{"line 1", "max-devices:", "integer"}},
		{"duration without unit", "retain-age = 5", []string{"line 1", "retain-age:", "duration like"}},
		{"duration", "commit-interval = true", []string{"line 1", "commit-interval:", "duration"}},
		{"list", "origins = [1]", []string{"line 1", "origins:", "list of texts"}},
		{"date", "log-format = 2026-01-01", []string{"line 1", "log-format:", "want a text"}},
		{"size", "retain-size = \"12XB\"", []string{"line 1", "retain-size:", "64MiB"}},
		{"a quoted key", "'retain-aeg' = 1", []string{"line 1", `"retain-aeg"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := writeConfig(t, c.text)
			code, _, stderr := command(t, nil, serveArgs(t.TempDir(), "", "--config", path)...)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			for _, want := range append(c.want, path) {
				if !strings.Contains(stderr, want) {
					t.Errorf("the error does not say %s:\n%s", want, stderr)
				}
			}
			if strings.Contains(stderr, "%!") || strings.Contains(stderr, "<nil>") {
				t.Errorf("broken error text:\n%s", stderr)
			}
		})
	}
}

func TestMissingConfigFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "missing.toml")
	code, _, stderr := command(t, nil, serveArgs(t.TempDir(), "", "--config", path)...)
	if code != 2 || !strings.Contains(stderr, path) {
		t.Errorf("exit code %d, want 2 and the path:\n%s", code, stderr)
	}
}

// What is wrong is wrong in every place that it can stand in.
func TestSettingErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"max-viewers", "0", "at least 1"},
		{"max-viewers-per-address", "0", "at least 1"},
		{"max-connections", "-1", "at least 1"},
		{"max-connections-per-address", "0", "at least 1"},
		{"max-devices", "0", "at least 1"},
		{"max-series", "0", "at least 1"},
		{"max-series", "99999999999999999999", "99999999999999999999"},
		{"retain-size", "1MiB", "at least 8MiB"},
		{"retain-size", "12XB", "64MiB"},
		{"retain-size", "-5MiB", "64MiB"},
		{"retain-size", "1.5GiB", "64MiB"},
		{"retain-size", "MiB", "64MiB"},
		{"retain-size", "5BB", "64MiB"},
		{"retain-size", "9999999999GiB", "64MiB"},
		{"receive-buffer", "8GiB", "at most 1GiB"},
		{"retain-age", "0", "retain-age"},
		{"retain-age", "30", "duration like"},
		{"commit-interval", "0s", "at least 1ms"},
		{"commit-interval", "-1s", "at least 1ms"},
		{"commit-interval", "500us", "at least 1ms"},
		{"idle-timeout", "10ms", "at least 1s"},
		{"demo-rate", "0", "more than 0"},
		{"demo-rate", "-1", "more than 0"},
		{"demo-rate", "NaN", "more than 0"},
		{"demo-rate", "Inf", "more than 0"},
		{"log-level", "loud", "debug, info, warn or error"},
		{"log-format", "xml", "text or json"},
		{"http", "off", "an address"},
		{"origins", "example.org", "scheme://host"},
		{"origins", "http://[", "scheme://host"},
	} {
		t.Run(c.name+"="+c.value, func(t *testing.T) {
			t.Parallel()
			variable := "NARU_" + strings.ToUpper(strings.ReplaceAll(c.name, "-", "_"))
			// As a text, which every setting may be in the file.
			file := writeConfig(t, fmt.Sprintf("\n%s = %q", c.name, c.value))
			args := []string{"serve", "--data", t.TempDir(), "--udp", "off", "--tcp", "off"}
			if c.name != "http" {
				args = append(args, "--http", "127.0.0.1:0")
			}
			for _, at := range []struct {
				place         string
				args, environ []string
			}{
				{"flag", slices.Concat(args, []string{"--" + c.name + "=" + c.value}), nil},
				{"environment", args, []string{variable + "=" + c.value}},
				{"file", slices.Concat(args, []string{"--config", file}), nil},
			} {
				code, _, stderr := command(t, at.environ, at.args...)
				if code != 2 || !strings.Contains(stderr, c.want) {
					t.Errorf("%s: exit code %d, want 2 and %q:\n%s", at.place, code, c.want, stderr)
				}
				if !strings.Contains(stderr, c.name) && !strings.Contains(stderr, variable) {
					t.Errorf("%s: the error does not name the setting:\n%s", at.place, stderr)
				}
				if strings.Contains(stderr, "%!") || strings.Contains(stderr, "<nil>") {
					t.Errorf("%s: broken error text:\n%s", at.place, stderr)
				}
			}
		})
	}
}

func TestByteSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "67108864": 64 << 20, "64MiB": 64 << 20, "64M": 64 << 20, "64m": 64 << 20, "64 MiB": 64 << 20,
		"64MB": 64_000_000, "2g": 2 << 30, "2GB": 2_000_000_000, "3KiB": 3 << 10, "3kb": 3000, "7B": 7,
	} {
		var b byteSize
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("%q: %d, %v, want %d", text, int64(b), err, want)
			continue
		}
		var again byteSize
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%q is written %q and read as %d, %v", text, &b, int64(again), err)
		}
	}
}
