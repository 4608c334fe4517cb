package socketio

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// suiteEnv names a folder with the repository socketio/socket.io, in whose
// docs/socket.io-protocol/v5-test-suite `npm ci` has been run.
const suiteEnv = "NARU_SOCKETIO_SUITES"

// suiteConfig is what the suite wants.
func suiteConfig() Config {
	return Config{
		Engine: engine.Config{
			PingInterval: 300 * time.Millisecond, PingTimeout: 200 * time.Millisecond, Origins: []string{"*"},
		},
		ConnectTimeout: 2 * time.Second, // the suite pings three times without connecting
		Namespaces:     map[string]Namespace{"/": suiteNamespace, "/custom": suiteNamespace},
	}
}

func suiteNamespace(s *Socket, auth json.RawMessage) (Handler, error) {
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	return &suiteHandler{s: s}, s.Emit("auth", auth)
}

// suiteHandler answers the events of the suite.
type suiteHandler struct {
	s      *Socket
	closed chan<- string
}

func (h *suiteHandler) Event(e *Event) {
	args := Raw{e.Args[1:], e.Attachments}
	switch e.Name() {
	case "message":
		_ = h.s.Emit("message-back", args)
	case "message-with-ack":
		_ = e.Acknowledge(args)
		_ = e.Acknowledge("twice")
	case "disconnect-me":
		h.s.Disconnect()
	}
}

func (h *suiteHandler) Closed(reason string) {
	if h.closed != nil {
		h.closed <- reason
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
	mux.Handle("/socket.io/", New(suiteConfig()))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	defer serving.Wait()
	defer func() { _ = server.Close() }()
	cmd := exec.CommandContext(t.Context(), "npx", "mocha", "--exit", "test-suite.js")
	cmd.Dir = filepath.Join(root, "docs", "socket.io-protocol", "v5-test-suite")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	t.Logf("%s", out)
}
