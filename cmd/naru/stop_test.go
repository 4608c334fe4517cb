package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// offsets fetches the offsets of all that is stored.
func offsets(t *testing.T, a addresses) []uint64 {
	t.Helper()
	var all []uint64
	for line := range strings.Lines(get(t, a.url("/api/v1/readings?format=ndjson"))) {
		var s struct{ Offset uint64 }
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, s.Offset)
	}
	return all
}

// The gateway is stopped with readings that no commit has taken up, an answer
// that waits for one, and a viewer of every kind.
func TestStopKeepsWhatWasTaken(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data, "--commit-interval", "1h")
	begin := presentCursor(t, g.addresses)
	viewer, err := dialViewer(t.Context(), g.HTTP, "after="+begin)
	if err != nil {
		t.Fatal(err)
	}
	events, err := openSSE(t.Context(), g.addresses, "", begin)
	if err != nil {
		t.Fatal(err)
	}
	defer events.close()
	polled := make(chan string)
	go func() {
		url := g.url("/api/v1/live?wait=50s&device=nobody&after=" + begin)
		_, body, _ := fetch(t, url)
		polled <- body
	}()
	eventually(t, "the viewers", func() bool { return g.metric(t, "naru_subscriptions", "") == 3 })

	const plain = 100
	for i := range plain {
		sendTo(t, "udp", g.UDP, fmt.Sprintf("climate,device=d%d n=%di", i%7, i))
	}
	eventually(t, "the datagrams", func() bool { return g.metric(t, "naru_readings_total", "") == plain })
	device := sendTo(t, "tcp", g.TCP, `{"device":"last","seq":7,"ack":true,"n":-1}`+"\n")
	seen := 0
	goodbye := viewer.watch(func(message []byte) {
		if seen += strings.Count(string(message), `"offset"`); seen == plain+1 {
			g.cancel() // most likely before the disk has the last reading
		}
	})
	var code *errGoodbye
	if !errors.As(goodbye, &code) || code.code != 1001 {
		t.Errorf("the WebSocket ended with %v, want code 1001", goodbye)
	}
	if seen != plain+1 {
		t.Errorf("the WebSocket saw %d readings, want %d", seen, plain+1)
	}
	answer, err := io.ReadAll(bufio.NewReader(device))
	if string(answer) != "{\"ack\":7}\n" || err != nil {
		t.Errorf("the device got %q and %v, want its answer and the end", answer, err)
	}
	inEvents := 0
	for err = error(nil); err == nil; {
		var b []byte
		b, err = events.next()
		inEvents += strings.Count(string(b), `"offset"`)
	}
	if inEvents != plain+1 || !errors.Is(err, io.EOF) {
		t.Errorf("the event stream gave %d readings and %v, want %d and the end", inEvents, err, plain+1)
	}
	if body := <-polled; !strings.Contains(body, `"type":"readings"`) || strings.Contains(body, `"offset"`) {
		t.Errorf("the long poll got %s, want a message without readings", body)
	}
	g.stop(t)

	again := startGateway(t, data)
	if n := again.count(t, ""); n != plain+1 {
		t.Errorf("%d readings after the restart, want %d", n, plain+1)
	}
	sendTo(t, "udp", again.UDP, "climate,device=d0 n=0i")
	eventually(t, "the next reading", func() bool { return again.count(t, "") == plain+2 })
	for i, offset := range offsets(t, again.addresses) {
		if offset != uint64(i+1) {
			t.Fatalf("reading %d has offset %d: a clean stop must leave no hole", i+1, offset)
		}
	}
}

// A process is stopped by the signal that systemd sends.
func TestSIGTERM(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startProcess(t, "", data, "--commit-interval", "1h")
	sendTo(t, "udp", p.UDP, "climate,device=d0 n=0i")
	eventually(t, "the reading", func() bool { return p.metric(t, "naru_readings_total", "") == 1 })
	if code := p.terminate(t); code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", code, p.output)
	}
	again := startProcess(t, "", data)
	if n := again.count(t, ""); n != 1 {
		t.Errorf("%d readings after the restart, want 1", n)
	}
}

// A viewer that never answers the goodbye cannot make the stop fail.
func TestStopWithSilentViewer(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir())
	v, err := dialViewer(t.Context(), g.HTTP, "")
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	eventually(t, "the viewer", func() bool { return g.metric(t, "naru_subscriptions", "") == 1 })
	g.stop(t)
}

// Who does not want to wait for such a viewer asks twice.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "", t.TempDir())
	v, err := dialViewer(t.Context(), p.HTTP, "")
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	eventually(t, "the viewer", func() bool { return p.metric(t, "naru_subscriptions", "") == 1 })
	eventually(t, "the end", func() bool {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may just have ended
		select {
		case <-p.ended:
			return true
		default:
			return false
		}
	})
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
		t.Errorf("%v, want the end by the second signal:\n%s", p.cmd.ProcessState, p.output)
	}
}

func TestSecondInstance(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	g := startGateway(t, data)
	code, _, stderr := command(t, nil, serveArgs(data, "")...)
	if code != 1 || !strings.Contains(stderr, data) || !strings.Contains(stderr, "in use by another process") {
		t.Errorf("exit code %d, want 1 and the folder named:\n%s", code, stderr)
	}
	if g.status(t, "/readyz") != http.StatusOK {
		t.Error("the first instance was disturbed")
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	stream, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	packets, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packets.Close() }()
	data := t.TempDir()
	for name, taken := range map[string]string{
		"http": stream.Addr().String(), "tcp": stream.Addr().String(), "udp": packets.LocalAddr().String(),
	} {
		code, _, stderr := command(t, nil, serveArgs(data, "", "--"+name, taken)...)
		if code != 1 || !strings.Contains(stderr, name) || !strings.Contains(stderr, taken) ||
			!strings.Contains(stderr, "address already in use") {
			t.Errorf("%s: exit code %d, want 1 and the address named:\n%s", name, code, stderr)
		}
	}
	// What was opened before has been closed again.
	startGateway(t, data)
}

func TestUnusableFolder(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("not a folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{file, filepath.Join(file, "below"), "/proc/naru-data"} {
		code, _, stderr := command(t, nil, serveArgs(data, "")...)
		if code != 1 || !strings.Contains(stderr, data) {
			t.Errorf("--data %s: exit code %d, want 1 and the folder named:\n%s", data, code, stderr)
		}
	}
}

func TestUnwritablePortsFile(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	code, _, stderr := command(t, nil, serveArgs(data, filepath.Join(data, "missing", "ports"))...)
	if code != 1 || !strings.Contains(stderr, "missing") {
		t.Errorf("exit code %d, want 1 and the file named:\n%s", code, stderr)
	}
	startGateway(t, data)
}
