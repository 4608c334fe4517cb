package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// peersEnv is how many rounds BenchmarkSystemPeers has; without it there is none.
const peersEnv = "NARU_BENCH_PEERS"

// BenchmarkSystemPeers measures the gateway and what users would take in its place, in
// turns: in each round and for each load one after the other, so that a machine whose
// speed changes changes it for all.
//
//	NARU_BENCH_PEERS=5 go test -run '^$' -bench SystemPeers -benchtime 1x -timeout 3h ./cmd/naru > peers.txt
//	benchstat -col /peer -ignore /round peers.txt
//
// docs/benchmarks.md tells what each is asked to do.
func BenchmarkSystemPeers(b *testing.B) {
	text := os.Getenv(peersEnv)
	if text == "" {
		b.Skipf("takes other programs and long: %s=<rounds> asks for it", peersEnv)
	}
	rounds, err := strconv.Atoi(text)
	if err != nil || rounds < 1 {
		b.Fatalf("%s=%q is no number of rounds", peersEnv, text)
	}
	subjects := contenders(b)
	for round := range rounds {
		for _, l := range []load{
			{viewers: 200, rate: 1000},
			{viewers: 500, rate: 100},
			{viewers: 1000, rate: 100},
			{viewers: 1000, rate: 5000, apart: true},
		} {
			name := fmt.Sprintf("round=%d/viewers=%d/rate=%d/apart=%v", round+1, l.viewers, l.rate, l.apart)
			inTurns(b, name, subjects, func(b *testing.B, s subject) { fanOut(b, s, l) })
		}
		const idle = 5000
		inTurns(b, fmt.Sprintf("round=%d/idle=%d", round+1, idle), subjects, func(b *testing.B, s subject) { idleViewers(b, s, idle) })
	}
}

// inTurns runs a measurement with each of the subjects.
func inTurns(b *testing.B, name string, subjects []contender, run func(*testing.B, subject)) {
	b.Helper()
	for _, s := range subjects {
		b.Run(name+"/peer="+s.name, func(b *testing.B) {
			if s.missing != "" {
				b.Skip(s.missing)
			}
			for b.Loop() {
				run(b, s.subject)
			}
		})
	}
}

// contender is a subject, or what is missing for it.
type contender struct {
	subject
	missing string
}

// contenders returns the gateway and its peers, built and ready to start.
func contenders(b *testing.B) []contender {
	b.Helper()
	all := []contender{
		{subject: gatewayBy(way{"naru", dialViewer})},
		{subject: gatewayBy(way{"naru-socketio", dialSocketIO})},
	}
	binary := buildCentrifuge(b)
	for _, c := range []struct{ name, delay string }{{"centrifuge", "0s"}, {"centrifuge-10ms", "10ms"}} {
		all = append(all, contender{subject: subject{way: way{c.name, dialCentrifuge}, peer: true, start: func(b *testing.B) *process {
			b.Helper()
			return startPeer(b, binary, "--write-delay", c.delay, "--ports-file")
		}}})
	}
	return append(all, nodeContender(b), mosquittoContender())
}

// startPeer starts a program whose last argument is the name of the ports file.
func startPeer(b *testing.B, program string, args ...string) *process {
	b.Helper()
	ports := filepath.Join(b.TempDir(), "ports.json")
	cmd := exec.CommandContext(context.Background(), program, append(args, ports)...)
	cmd.Env = append(os.Environ(), "NODE_ENV=production")
	p := launch(b, cmd)
	p.addresses = waitForPorts(b, ports, p.ended, p.output.String)
	return p
}

func buildCentrifuge(b *testing.B) (binary string) {
	b.Helper()
	binary = filepath.Join(b.TempDir(), "centrifuge")
	cmd := exec.CommandContext(b.Context(), "go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("testdata", "peers", "centrifuge")
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("go build: %v\n%s", err, out)
	}
	return binary
}

// nodeContender installs socket.io in a copy of its folder.
func nodeContender(b *testing.B) contender {
	b.Helper()
	c := contender{subject: subject{way: way{"socket.io", dialSocketIOPeer}, peer: true}}
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			c.missing = program + " is not installed (Debian packages nodejs and npm)"
			return c
		}
	}
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "peers", "socketio"))); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "npm", "ci", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("npm ci: %v\n%s", err, out)
	}
	c.start = func(b *testing.B) *process {
		b.Helper()
		return startPeer(b, "node", filepath.Join(dir, "server.mjs"))
	}
	return c
}

func mosquittoContender() contender {
	c := contender{subject: subject{way: way{"mosquitto", dialMQTT}, peer: true, start: startMosquitto}}
	if mosquittoProgram() == "" {
		c.missing = "mosquitto is not installed (Debian package mosquitto)"
	}
	return c
}

// mosquittoProgram returns the path of the broker, empty where there is none. Debian has
// it where only root looks.
func mosquittoProgram() string {
	for _, name := range []string{"mosquitto", "/usr/sbin/mosquitto"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// startMosquitto starts the broker, and what publishes to it the readings that come over
// UDP, which it does not take itself.
func startMosquitto(b *testing.B) *process {
	b.Helper()
	var listen net.ListenConfig
	free, err := listen.Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	addr := free.Addr().String()
	if err := free.Close(); err != nil {
		b.Fatal(err)
	}
	config := filepath.Join(b.TempDir(), "mosquitto.conf")
	// Without set_tcp_nodelay small messages wait for each other's acknowledgements.
	text := "listener " + port(addr) + " 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_type error\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	p := launch(b, exec.CommandContext(context.Background(), mosquittoProgram(), "-c", config))
	var publisher net.Conn
	eventually(b, "mosquitto", func() bool {
		var d net.Dialer
		publisher, err = d.DialContext(b.Context(), "tcp", addr)
		return err == nil
	})
	b.Cleanup(func() { _ = publisher.Close() })
	p.addresses = addresses{HTTP: addr, UDP: publishByMQTT(b, publisher)}
	return p
}
