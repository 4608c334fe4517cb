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
func inTurns(b *testing.B, name string, subjects []subject, run func(*testing.B, subject)) {
	b.Helper()
	for _, s := range subjects {
		b.Run(name+"/peer="+s.name, func(b *testing.B) {
			for b.Loop() {
				run(b, s)
			}
		})
	}
}

// contenders returns the gateway and those of its peers that can be had here, built and
// ready to start.
func contenders(b *testing.B) []subject {
	b.Helper()
	all := []subject{gatewayBy(way{"naru", dialViewer}), gatewayBy(way{"naru-socketio", dialSocketIO})}
	binary := buildCentrifuge(b)
	for _, c := range []struct{ name, delay string }{{"centrifuge", "0s"}, {"centrifuge-10ms", "10ms"}} {
		all = append(all, subject{way: way{c.name, dialCentrifuge}, peer: true, start: func(b *testing.B) *process {
			b.Helper()
			return startPeer(b, binary, "--write-delay", c.delay, "--ports-file")
		}})
	}
	if has("socket.io", "node", "nodejs") && has("socket.io", "npm", "npm") {
		all = append(all, nodeSubject(b))
	}
	if has("mosquitto", mosquittoProgram(), "mosquitto") {
		all = append(all, subject{way: way{"mosquitto", dialMQTT}, peer: true, start: startMosquitto})
	}
	return all
}

// has reports whether the program of a peer is installed, and says so when it is not: of
// a benchmark that is skipped nothing is printed.
func has(peer, program, debian string) bool {
	_, err := exec.LookPath(program)
	if err != nil {
		fmt.Fprintf(os.Stderr, "peer %s is left out: %v (Debian package %s)\n", peer, err, debian)
	}
	return err == nil
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

// nodeSubject installs socket.io in a copy of its folder.
func nodeSubject(b *testing.B) subject {
	b.Helper()
	dir := b.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "peers", "socketio"))); err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), "npm", "ci", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("npm ci: %v\n%s", err, out)
	}
	return subject{way: way{"socket.io", dialSocketIOPeer}, peer: true, start: func(b *testing.B) *process {
		b.Helper()
		return startPeer(b, "node", filepath.Join(dir, "server.mjs"))
	}}
}

// mosquittoProgram returns the path of the broker, which Debian has where only root looks.
func mosquittoProgram() string {
	if path, err := exec.LookPath("mosquitto"); err == nil {
		return path
	}
	return "/usr/sbin/mosquitto"
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
