package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// socketioPython prints the values that it sees, and begins each connection where
// the one before has ended. The library calls each handler in a thread of its own,
// in any order: the furthest cursor counts.
const socketioPython = `
import sys, threading, socketio
url, token, transports = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
lock = threading.Lock()
at = {}
sio = socketio.Client(reconnection_delay=0.05, reconnection_delay_max=0.2)

def out(cursor, *words):
    with lock:
        if cursor and int(cursor.split("-")[1]) >= int(at.get("after", "-0").split("-")[1]):
            at["after"] = cursor
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        sys.stdout.flush()

@sio.on("hello")
def hello(message, cursor):
    out(cursor, message["type"], message["cursor"] == cursor)

@sio.on("reading")
def reading(r, cursor):
    out(cursor, "value", r["value"])

sio.connect(url, auth=lambda: dict(device="d1", **at), transports=transports, headers={"Authorization": "Bearer " + token}, wait_timeout=10)
sio.emit("subscribe", {"device": ["d1"], "last": 0}, callback=lambda answer: out(None, "answer", *answer))
sys.stdin.read()
sio.disconnect()
`

// TestPythonSocketIO has python-socketio watch over a killed gateway.
func TestPythonSocketIO(t *testing.T) {
	var python string
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import socketio, requests, websocket").Run() == nil {
			python = name
			break
		}
	}
	if python == "" {
		t.Skip("the module socketio is not installed (Debian packages python3-socketio, python3-requests and python3-websocket)")
	}
	for _, transports := range []string{"polling,websocket", "websocket", "polling"} {
		t.Run(transports, func(t *testing.T) { watchWithPython(t, python, transports) })
	}
}

func watchWithPython(t *testing.T, python, transports string) {
	data := t.TempDir()
	g := startProcess(t, "", data)
	cmd := exec.CommandContext(t.Context(), python, "-c", socketioPython, "http://"+g.HTTP, accessToken(t, data), transports)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := &outputBuffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	expect := func(want ...string) {
		t.Helper()
		var got []string
		for len(got) < len(want) && lines.Scan() {
			got = append(got, lines.Text())
		}
		slices.Sort(want)
		slices.Sort(got)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("what python says (-want +got):\n%s\n%s", d, stderr)
		}
	}
	expect("hello True", "answer cursor")
	for i := range 3 {
		if i > 0 {
			g.kill()
			g = startProcess(t, "", data, "--http", g.HTTP)
			expect("hello True")
		}
		var body strings.Builder
		var want []string
		for n := range 100 {
			fmt.Fprintf(&body, "m,device=d1 value=%di\n", 100*i+n)
			want = append(want, "value "+strconv.Itoa(100*i+n))
		}
		if status, answer, _ := request(t, http.MethodPost, g.url("/api/v1/write"), strings.NewReader(body.String())); status != http.StatusNoContent {
			t.Fatal(status, answer)
		}
		expect(want...)
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
}
