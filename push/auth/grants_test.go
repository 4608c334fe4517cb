package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// memory keeps grants for a test.
type memory struct {
	now func() time.Time

	mu   sync.Mutex // guards following
	all  []*device.Grant
	next uint64
	fail error
}

func (m *memory) Grants() []*device.Grant {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*device.Grant{}, m.all...)
}

func (m *memory) Grant(o device.GrantOrder) (*device.Grant, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, "", m.fail
	}
	g, text, err := o.Grant(device.TimeOf(m.now()))
	if err != nil {
		return nil, "", err
	}
	m.next++
	g.ID = m.next
	m.all = append(m.all, g)
	return g, text, nil
}

func (m *memory) Revoke(id uint64, _ string) (*device.Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	for i, g := range m.all {
		if g.ID == id {
			m.all = append(m.all[:i:i], m.all[i+1:]...)
			return g, nil
		}
	}
	return nil, fmt.Errorf("%w: %d", device.ErrNotGranted, id)
}

var errDisk = errors.New("sector 7 is gone")

// house is a guard with its grants and a clock that a test sets. What is behind
// the guard answers with who it thinks that asks.
type house struct {
	*Guard
	t      *testing.T
	grants *memory
	inner  http.Handler

	mu    sync.Mutex // guards following
	clock time.Time
}

// at returns what the clock says.
func (h *house) at() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.clock
}

// wait moves the clock on.
func (h *house) wait(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func newHouse(t *testing.T, cfg Config) *house {
	t.Helper()
	h := &house{t: t, clock: time.Now()}
	h.grants = &memory{now: h.at}
	cfg.Token, cfg.Grants, cfg.Now = token, h.grants, h.at
	h.Guard = guard(t, cfg)
	h.inner = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("served")) })
	return h
}

// order makes a grant as an admin does, and returns its number and its token.
func (h *house) order(body string) (Access, string) {
	h.t.Helper()
	status, text := h.do(http.MethodPost, "/api/v1/access", body, "Authorization", "Bearer "+token)
	var a Access
	if status != http.StatusCreated || !decode(text, &a) || a.Token == "" {
		h.t.Fatalf("%s: %d %s", body, status, text)
	}
	return a, a.Token
}

// do sends a request from the network, with pairs of header fields.
func (h *house) do(method, target, body string, fields ...string) (status int, text string) {
	h.t.Helper()
	resp := h.request(method, target, body, fields...)
	return resp.Code, resp.Body.String()
}

func (h *house) request(method, target, body string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(h.t.Context(), method, "http://gw:7780", strings.NewReader(body))
	r.URL.Path, r.URL.RawQuery, _ = strings.Cut(target, "?")
	if u, err := r.URL.Parse(target); err == nil {
		r.URL = u
	}
	r.RequestURI = target
	r.RemoteAddr = "192.168.1.5:5000"
	for i := 0; i < len(fields); i += 2 {
		switch fields[i] {
		case "Remote":
			r.RemoteAddr = fields[i+1]
		case "Host":
			r.Host = fields[i+1]
		default:
			r.Header.Add(fields[i], fields[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.Wrap(h.inner).ServeHTTP(w, r)
	return w
}
