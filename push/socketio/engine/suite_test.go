package engine

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// suiteEnv names a folder with the repository socketio/socket.io, in whose
// docs/engine.io-protocol/v4-test-suite `npm ci` has been run.
const suiteEnv = "NARU_SOCKETIO_SUITES"

// echo sends back what it gets.
type echo struct {
	s *Session

	mu    sync.Mutex // guards following
	queue Builder
	any   bool
	ended Reason
}

func newEcho(s *Session, _ *http.Request) Endpoint { return &echo{s: s, ended: -1} }

func (e *echo) Receive(binary bool, data []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case string(data) == "leave":
		e.s.Close(ForcedClose)
	case string(data) == "nonsense":
		return errors.New("that is nonsense")
	case binary:
		e.queue.Binary(data)
	default:
		e.queue.Text(data)
	}
	e.any = true
	e.s.Wake()
	return nil
}

func (e *echo) Next() (*Messages, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.any {
		return nil, nil
	}
	e.any = false
	return e.queue.Messages(), nil
}

func (e *echo) Closed(r Reason) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = r
}

// suiteConfig is what the suite wants.
func suiteConfig() Config {
	return Config{
		PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond,
		Origins: []string{"*"}, Open: newEcho,
	}
}

// TestOfficialSuite runs the tests of the protocol's authors.
func TestOfficialSuite(t *testing.T) {
	root := os.Getenv(suiteEnv)
	if root == "" {
		t.Skipf("%s does not name a folder with socketio/socket.io and its dependencies", suiteEnv)
	}
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:3000") // as the suite has it
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/engine.io/", New(suiteConfig()))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	cmd := exec.CommandContext(t.Context(), "npx", "mocha", "--exit", "test-suite.js")
	cmd.Dir = filepath.Join(root, "docs", "engine.io-protocol", "v4-test-suite")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}
