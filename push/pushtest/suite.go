package pushtest

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// suiteEnv names a folder with the repository socketio/socket.io, in whose test suites
// `npm ci` has been run.
const suiteEnv = "NARU_SOCKETIO_SUITES"

// OfficialSuite runs the tests that the authors of a protocol of Socket.IO have written,
// which stand in a folder of their repository, against h at the path.
func OfficialSuite(t *testing.T, folder, path string, h http.Handler) {
	t.Helper()
	root := os.Getenv(suiteEnv)
	if root == "" {
		t.Skipf("%s does not name a folder with socketio/socket.io and its dependencies", suiteEnv)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:3000") // as the suites have it
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(path, h)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	cmd := exec.CommandContext(t.Context(), "npx", "mocha", "--exit", "test-suite.js")
	cmd.Dir = filepath.Join(root, filepath.FromSlash(folder))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}
