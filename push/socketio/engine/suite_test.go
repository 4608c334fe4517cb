package engine

import (
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/push/pushtest"
)

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

func (e *echo) Next(bool) (*Messages, error) {
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
	pushtest.OfficialSuite(t, "docs/engine.io-protocol/v4-test-suite", "/engine.io/", New(suiteConfig()))
}
