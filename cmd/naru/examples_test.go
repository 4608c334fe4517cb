package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/api"
)

// examples is where the programs stand that people copy.
const examples = moduleRoot + "/firmware-sim/examples"

// leaky forwards datagrams between a device and a gateway, but for some of the first,
// and returns its address.
func leaky(t *testing.T, gateway string) string {
	t.Helper()
	in, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := dial(t, "udp", gateway)
	var mu sync.Mutex // guards from
	var from net.Addr
	var forwarding sync.WaitGroup
	forward := func(lost map[int]bool, read func([]byte) (int, error), write func([]byte)) {
		buf := make([]byte, 1<<16)
		for i := 1; ; i++ {
			n, err := read(buf)
			if err != nil {
				return
			}
			if !lost[i] {
				write(buf[:n])
			}
		}
	}
	forwarding.Go(func() {
		forward(map[int]bool{1: true, 7: true}, func(b []byte) (int, error) {
			n, peer, err := in.ReadFrom(b)
			mu.Lock()
			defer mu.Unlock()
			from = peer
			return n, err
		}, func(b []byte) { _, _ = out.Write(b) })
	})
	forwarding.Go(func() {
		forward(map[int]bool{2: true, 6: true}, out.Read, func(b []byte) {
			mu.Lock()
			defer mu.Unlock()
			_, _ = in.WriteTo(b, from)
		})
	})
	t.Cleanup(func() {
		_, _ = in.Close(), out.Close()
		forwarding.Wait()
	})
	return in.LocalAddr().String()
}

// compiled compiles with all warnings as errors and returns the program.
func compiled(t *testing.T, compiler string, args ...string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "device")
	args = append([]string{"-Wall", "-Wextra", "-Werror", "-O1", "-o", name}, args...)
	if out, err := exec.CommandContext(t.Context(), program(t, compiler, compiler), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", compiler, args, err, out)
	}
	return name
}

// edited is an example with some of its settings changed, as people do.
func edited(t *testing.T, name string, changes ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(examples, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for i := 0; i < len(changes); i += 2 {
		if strings.Count(text, changes[i]) != 1 {
			t.Fatalf("%s has not one %q", name, changes[i])
		}
		text = strings.Replace(text, changes[i], changes[i+1], 1)
	}
	return written(t, filepath.Base(name), text)
}

// example is a program that people copy.
type example struct {
	name string
	// command returns how it is started, for a device with these secrets. Datagrams go
	// to the address udp, streams to the gateway itself.
	command func(t *testing.T, g *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string
	metric  string
	obeys   bool // it carries out commands
}

// split returns the parts of an address.
func split(t *testing.T, address string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

var exampleList = []example{
	{"c-posix", func(t *testing.T, _ *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string {
		host, port := split(t, udp)
		return []string{compiled(t, "gcc", examples+"/c-posix/telemetry.c", "-lm"), host, port, id, "0.05", s.Token}
	}, "temp", true},
	{"c-mbedtls", func(t *testing.T, _ *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string {
		if _, err := os.Stat("/usr/include/mbedtls/ssl.h"); err != nil {
			t.Skip("mbedTLS is not installed (Debian package libmbedtls-dev)")
		}
		host, port := split(t, udp)
		name := compiled(t, "gcc", examples+"/c-mbedtls/telemetry.c", "-lmbedtls", "-lmbedx509", "-lmbedcrypto")
		return []string{name, host, port, id, s.PSK, "0.05"}
	}, "temp", true},
	{"arduino-esp32", func(t *testing.T, _ *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string {
		host, port := split(t, udp)
		sketch := edited(t, "arduino-esp32/arduino-esp32.ino", `"192.168.1.20"`, `"`+host+`"`, "PORT = 7700", "PORT = "+port,
			`DEVICE = "greenhouse-1"`, `DEVICE = "`+id+`"`, `TOKEN = ""`, `TOKEN = "`+s.Token+`"`, "INTERVAL = 10000", "INTERVAL = 50")
		return []string{compiled(t, "g++", "-std=c++17", "-Itestdata/arduino", "-include", "Arduino.h", "-x", "c++", sketch, "testdata/arduino/main.cpp")}
	}, "temp", true},
	{"micropython", func(t *testing.T, _ *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string {
		host, port := split(t, udp)
		main := edited(t, "micropython/main.py", `("192.168.1.20", 7700)`, fmt.Sprintf("(%q, %s)", host, port),
			`DEVICE = "greenhouse-1"`, `DEVICE = "`+id+`"`, `TOKEN = ""`, `TOKEN = "`+s.Token+`"`, "INTERVAL = 10", "INTERVAL = 0.05")
		return []string{program(t, "python3", "python3"), "testdata/micropython/run.py", main}
	}, "temp", true},
	{"python-udp", func(t *testing.T, _ *gatewayUnderTest, udp, id string, s *api.NewSecrets) []string {
		host, port := split(t, udp)
		return []string{program(t, "python3", "python3"), examples + "/python/udp.py", host, id, "--port", port, "--token", s.Token, "--interval", "0.05"}
	}, "temp", true},
	{"python-tcp", func(t *testing.T, g *gatewayUnderTest, _, id string, s *api.NewSecrets) []string {
		host, port := split(t, g.TCP)
		return []string{program(t, "python3", "python3"), examples + "/python/tcp.py", host, id, "--port", port, "--token", s.Token, "--interval", "0.05"}
	}, "climate.temp", false},
	{"python-tls", func(t *testing.T, g *gatewayUnderTest, _, id string, s *api.NewSecrets) []string {
		host, port := split(t, g.TCP)
		root := written(t, "ca.crt", get(t, g.url(rootPath)))
		return []string{program(t, "python3", "python3"), examples + "/python/tcp.py", host, id, "--port", port, "--token", s.Token, "--interval", "0.05", "--ca", root}
	}, "climate.temp", false},
}

// startDevice starts a program that ends with the test, and returns what it says.
func startDevice(t *testing.T, args []string) *outputBuffer {
	t.Helper()
	out := &outputBuffer{}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says %s", args[0], out)
		}
	})
	return out
}

// ordered posts a command and returns what has become of it.
func ordered(t *testing.T, g *gatewayUnderTest, id device.ID, body string) (ended func() api.Command) {
	t.Helper()
	status, text, _ := request(t, http.MethodPost, g.url("/api/v1/devices/"+string(id)+"/commands"), strings.NewReader(body))
	var c api.Command
	if err := json.Unmarshal([]byte(text), &c); status != http.StatusCreated || err != nil {
		t.Fatalf("%s: status %d, %v: %s", body, status, err, text)
	}
	return func() api.Command {
		eventually(t, "the outcome of "+body, func() bool {
			c = commandOf(t, g, id, c.ID)
			return c.Ended != nil
		})
		return c
	}
}

// Each example compiles without a warning, and over a network that loses datagrams
// its readings arrive, with its secret, and commands are carried out.
func TestExamples(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir(), "--commit-interval", "20ms", "--admission", "known")
	t.Run("programs", func(t *testing.T) {
		for _, e := range exampleList {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				e.try(t, g)
			})
		}
	})
}

func (e *example) try(t *testing.T, g *gatewayUnderTest) {
	id := device.ID("ex-" + e.name)
	secrets := register(t, g, "add", string(id), "--psk", "--token").Secrets
	args := e.command(t, g, leaky(t, g.UDP), string(id), secrets)
	var relay func() api.Command
	if e.obeys {
		relay = ordered(t, g, id, `{"name":"relay","value":true}`)
	}
	startDevice(t, args)
	eventually(t, "readings of "+e.name, func() bool { return g.count(t, "metric="+e.metric+"&device="+string(id)) >= 5 })
	if !e.obeys {
		return
	}
	if c := relay(); c.State != "done" || c.Result != "on" {
		t.Errorf("relay: %s, %q", c.State, c.Result)
	}
	if c := ordered(t, g, id, `{"name":"fly"}`)(); c.State != "failed" || c.Result != "unknown command" {
		t.Errorf("fly: %s, %q", c.State, c.Result)
	}
	if got := get(t, g.url("/api/v1/readings?order=desc&limit=1&metric=relay&device="+string(id))); !strings.Contains(got, `"value":true`) {
		t.Errorf("the relay: %s", got)
	}
}

// freeAddress returns one that is free for UDP and for TCP.
func freeAddress(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	for range 100 {
		udp, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := udp.LocalAddr().String()
		tcp, err := lc.Listen(t.Context(), "tcp", at)
		_ = udp.Close()
		if err == nil {
			_ = tcp.Close()
			return at
		}
	}
	t.Fatal("no port is free for both")
	return ""
}

// The shell's lines run one after the other and all arrive.
func TestShellExample(t *testing.T) {
	t.Parallel()
	at := freeAddress(t)
	g := startGateway(t, t.TempDir(), "--commit-interval", "20ms", "--udp", at, "--tcp", at)
	host, port := split(t, at)
	_, http := split(t, g.HTTP)
	for _, name := range []string{"bash", "nc", "curl"} {
		program(t, name, map[string]string{"nc": "netcat-openbsd"}[name])
	}
	out, err := exec.CommandContext(t.Context(), "bash", examples+"/shell/send.sh", host, "shell-1", port, http).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `{"ack":`) {
		t.Fatalf("%v: %s", err, out)
	}
	for _, metric := range []string{"system.load", "memory.free", "users", "disk.used"} {
		eventually(t, metric, func() bool { return g.count(t, "device=shell-1&metric="+metric) == 1 })
	}
}

// readYAML prints what a file of ESPHome says, with its tags left out, as JSON.
const readYAML = `
import json, sys, yaml
yaml.SafeLoader.add_multi_constructor("!", lambda loader, tag, node: tag + " " + loader.construct_scalar(node))
text = open(sys.argv[1]).read()
for name, value in yaml.load(text, yaml.SafeLoader)["substitutions"].items():
    text = text.replace("${" + name + "}", str(value))
json.dump(yaml.load(text, yaml.SafeLoader), sys.stdout)
`

// esphome is what the example configures.
type esphome struct {
	StatsD struct {
		Host, Prefix string
		Port         int
		Sensors      []struct{ ID, Name string }
	}
	Binary []struct {
		Press []map[string]struct {
			URL, Body string
		} `json:"on_press"`
	} `json:"binary_sensor"`
}

// What ESPHome sends with the example's configuration arrives: the component statsd
// writes prefix.name:value|g with six decimals, and zero first where it is negative.
func TestESPHomeExample(t *testing.T) {
	t.Parallel()
	python := program(t, "python3", "python3")
	if err := exec.CommandContext(t.Context(), python, "-c", "import yaml").Run(); err != nil {
		t.Skip("Python has no PyYAML (Debian package python3-yaml)")
	}
	text, err := exec.CommandContext(t.Context(), python, "-c", readYAML, examples+"/esphome/greenhouse.yaml").Output()
	if err != nil {
		t.Fatal(err)
	}
	var cfg esphome
	if err := json.Unmarshal(text, &cfg); err != nil {
		t.Fatal(err)
	}
	known := string(text)
	g := startGateway(t, t.TempDir(), "--commit-interval", "20ms")
	if cfg.StatsD.Host != "192.168.1.20" || cfg.StatsD.Port != 7700 || len(cfg.StatsD.Sensors) == 0 {
		t.Fatalf("statsd: %+v", cfg.StatsD)
	}
	var datagram string
	for i, s := range cfg.StatsD.Sensors {
		if !strings.Contains(known, `"id": "`+s.ID+`", "name"`) {
			t.Errorf("there is no sensor %s", s.ID)
		}
		name, value := cfg.StatsD.Prefix+"."+s.Name, 20.5-30*float64(i)
		if value < 0 {
			datagram += name + ":0|g\n"
		}
		datagram += fmt.Sprintf("%s:%f|g\n", name, value)
	}
	sendTo(t, "udp", g.UDP, datagram)
	for _, s := range cfg.StatsD.Sensors {
		eventually(t, s.Name, func() bool { return g.count(t, "device="+cfg.StatsD.Prefix+"&metric="+s.Name) == 1 })
	}
	notice := cfg.Binary[0].Press[0]["http_request.post"]
	url := strings.Replace(notice.URL, "http://192.168.1.20:7780", g.url(""), 1)
	if status, answer, _ := request(t, http.MethodPost, url, strings.NewReader(notice.Body)); status != http.StatusNoContent {
		t.Errorf("status %d: %s", status, answer)
	}
	if g.count(t, "device="+cfg.StatsD.Prefix+"&metric=door.opened") != 1 {
		t.Error("the notice is not among the readings")
	}
}
