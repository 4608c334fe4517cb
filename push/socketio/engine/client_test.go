package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/pushtest"
)

// site is a server behind a real one over pipes, with clients.
type site struct {
	t      *testing.T
	server *Server
	client *http.Client

	mu        sync.Mutex // guards following
	endpoints []*echo
}

func newSite(t *testing.T, cfg Config) *site {
	t.Helper()
	s := &site{t: t}
	if cfg.Open == nil {
		cfg.Open = func(session *Session, r *http.Request) Endpoint {
			e, _ := newEcho(session, r).(*echo)
			s.mu.Lock()
			defer s.mu.Unlock()
			s.endpoints = append(s.endpoints, e)
			return e
		}
	}
	s.server = New(cfg)
	ln := pushtest.NewPipes()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.Dial(ctx) }}
	s.client = &http.Client{Transport: transport}
	web := &http.Server{Handler: s.server, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(ln) })
	t.Cleanup(func() {
		s.server.Drain()
		transport.CloseIdleConnections()
		_ = web.Close()
		serving.Wait()
		<-time.After(time.Second) // net/http lingers over a body that was too large
		if err := s.server.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		for _, via := range []Transport{Polling, WebSocket} {
			if now, _ := s.server.Sessions(via); now != 0 {
				t.Errorf("%d sessions by %v are left", now, via)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, e := range s.endpoints {
			if e.reason() < 0 {
				t.Errorf("endpoint %d has not been closed", i)
			}
		}
	})
	return s
}

func (e *echo) reason() Reason {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ended
}

// last returns why the newest session has ended; -1: it has not.
func (s *site) last() Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoints[len(s.endpoints)-1].reason()
}

// do makes a request and returns status and body in one text.
func (s *site) do(ctx context.Context, method, query, body string, header http.Header) (string, http.Header) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://site/engine.io/?"+query, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	resp, err := s.client.Do(r)
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error(), nil
	}
	return fmt.Sprint(resp.StatusCode, " ", string(b)), resp.Header
}

// opened is what a session begins with.
type opened struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// poller is a session by polling.
type poller struct {
	*site
	opened
}

func (s *site) poll() *poller {
	s.t.Helper()
	got, _ := s.do(s.t.Context(), http.MethodGet, "EIO=4&transport=polling", "", nil)
	p := &poller{site: s}
	if !strings.HasPrefix(got, "200 0{") || json.Unmarshal([]byte(got[5:]), &p.opened) != nil {
		s.t.Fatal(got)
	}
	return p
}

func (p *poller) query() string { return "EIO=4&transport=polling&sid=" + p.SID }

func (p *poller) get() string {
	p.t.Helper()
	got, _ := p.do(p.t.Context(), http.MethodGet, p.query(), "", nil)
	return got
}

func (p *poller) post(body string) string {
	p.t.Helper()
	got, _ := p.do(p.t.Context(), http.MethodPost, p.query(), body, nil)
	return got
}

// gets polls in the background.
func (p *poller) gets() <-chan string {
	out := make(chan string, 1)
	go func() { out <- p.get() }()
	return out
}

// socketClient is a WebSocket.
type socketClient struct {
	*site
	*websocket.Conn
}

// dial opens a WebSocket; sid may be empty.
func (s *site) dial(sid string) *socketClient {
	s.t.Helper()
	url := "ws://site/engine.io/?EIO=4&transport=websocket"
	if sid != "" {
		url += "&sid=" + sid
	}
	ws, _, err := websocket.Dial(s.t.Context(), url, &websocket.DialOptions{HTTPClient: s.client}) //nolint:bodyclose // the library closes it
	if err != nil {
		s.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	return &socketClient{s, ws}
}

func (c *socketClient) send(text string) {
	c.t.Helper()
	if err := c.Write(c.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message, or how the connection has ended.
func (c *socketClient) next() string {
	kind, b, err := c.Read(c.t.Context())
	if code := websocket.CloseStatus(err); code != -1 {
		return fmt.Sprint("closed ", int(code))
	}
	if err != nil {
		return "cut"
	}
	if kind == websocket.MessageBinary {
		return "binary " + string(b)
	}
	return string(b)
}
