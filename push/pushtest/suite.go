package pushtest

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"
)

// suiteEnv names a folder with the repository socketio/socket.io, in whose test suites
// `npm ci` has been run, and whose packages are compiled.
const suiteEnv = "NARU_SOCKETIO_SUITES"

// OfficialSuite runs the tests that the authors of a protocol of Socket.IO have written,
// which stand in a folder of their repository, against h at the path.
func OfficialSuite(t *testing.T, folder, path string, h http.Handler) {
	t.Helper()
	runSuite(t, suite{folder: folder, addr: "127.0.0.1:3000", path: path}, h, []string{"test-suite.js"})
}

// ClientSuite runs the tests of the official client, but for those of browsers, against h in
// place of the server that it brings. Two of them put a clock of their own in place of the
// real one, and leave it there when they fail. They use no server, and when the machine is
// busy they fail among the others with any, so they come by themselves.
func ClientSuite(t *testing.T, h http.Handler) {
	t.Helper()
	all := []string{"--import=tsx", "test/index.ts", "--fgrep", "reconnect timeout"}
	runSuite(t, suite{folder: "packages/socket.io-client", addr: "127.0.0.1:3210", path: "/socket.io/"}, h,
		append(slices.Clip(all), "--invert"), all)
}

// suite is a suite for mocha, which finds its server at a fixed address.
type suite struct{ folder, addr, path string }

// runSuite runs mocha with each of the arguments.
func runSuite(t *testing.T, s suite, h http.Handler, runs ...[]string) {
	t.Helper()
	root := os.Getenv(suiteEnv)
	if root == "" {
		t.Skipf("%s does not name a folder with socketio/socket.io and its dependencies", suiteEnv)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(s.path, h)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	for _, args := range runs {
		cmd := exec.CommandContext(t.Context(), "npx", append([]string{"mocha", "--exit"}, args...)...)
		cmd.Dir = filepath.Join(root, filepath.FromSlash(s.folder))
		end := alone(cmd) // the client's suite leaves clients behind, which would go on connecting
		out, err := cmd.CombinedOutput()
		end()
		if err != nil {
			t.Errorf("%v", err)
		}
		t.Logf("%s", out)
	}
}
