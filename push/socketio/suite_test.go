package socketio

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/push/pushtest"
	"github.com/naru-telemetry/naru/push/socketio/engine"
)

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

// suiteHandler answers the events of the suite, and some more.
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
	case "ask":
		err := h.s.Ask(func(answer Raw) { _ = h.s.Emit("answered", answer) }, "question", args)
		if err != nil {
			_ = e.Acknowledge(err.Error())
		}
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
	pushtest.OfficialSuite(t, "docs/socket.io-protocol/v5-test-suite", "/socket.io/", New(suiteConfig()))
}
