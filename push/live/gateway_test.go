package live

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/pushtest"
)

func TestMain(m *testing.M) { pushtest.Main(m) }

// gateway is a handler behind a real server, over loopback or over pipes.
type gateway struct {
	t       testing.TB
	log     *pushtest.Log
	feed    *push.Feed
	handler *Handler
	logged  *logged
	dial    func(ctx context.Context) (net.Conn, error)
	client  *http.Client
	server  *http.Server

	publishing sync.Mutex // calls of Publish must not overlap

	// as puts into a request who makes it; nil: nobody. Set before requests are made.
	as func(r *http.Request) *http.Request
}

// newGateway serves on ln, whose connections dial makes, until the test ends.
func newGateway(t testing.TB, ln net.Listener, dial func(context.Context) (net.Conn, error), cfg Config) *gateway {
	g := &gateway{t: t, log: &pushtest.Log{}, dial: dial, logged: &logged{}}
	g.feed = push.NewFeed(push.Config{Store: "s", History: g.log, Ring: 256})
	cfg.JSONP, cfg.Iframe = !cfg.JSONP, !cfg.Iframe // the zero Config of a test has all
	cfg.Feed, cfg.Logger = g.feed, slog.New(slog.NewTextHandler(g.logged, nil))
	g.handler = New(cfg)
	mux := http.NewServeMux()
	mux.Handle("/", g.handler)
	mux.Handle("/socket.io/", g.handler.SocketIO())
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.as != nil {
			r = g.as(r)
		}
		mux.ServeHTTP(w, r)
	})
	g.server = &http.Server{Handler: handler, WriteTimeout: time.Minute, ReadHeaderTimeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}
	g.client = &http.Client{Transport: transport}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := g.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		g.feed.Close()
		g.handler.Drain()
		transport.CloseIdleConnections()
		_ = g.server.Close()
		serving.Wait()
		if err := g.handler.Wait(context.Background()); err != nil {
			t.Error(err)
		}
		for _, k := range Techniques() {
			if now, _ := g.handler.Viewers(k); now != 0 {
				t.Errorf("%d viewers by %v are left", now, k)
			}
		}
		if s := g.feed.Stats(); s.Subscriptions != 0 || s.Topics != 0 {
			t.Errorf("%d subscriptions, %d topics are left", s.Subscriptions, s.Topics)
		}
	})
	return g
}

// logged keeps what was logged.
type logged struct {
	mu sync.Mutex // guards following
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func loopback(t testing.TB, cfg Config) *gateway {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return newGateway(t, ln, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", ln.Addr().String())
	}, cfg)
}

func piped(t testing.TB, cfg Config) *gateway {
	t.Helper()
	ln := pushtest.NewPipes()
	return newGateway(t, ln, ln.Dial, cfg)
}

// publish stores and publishes a reading of each of these series, device/metric.
func (g *gateway) publish(names ...string) {
	rs := make([]device.Reading, len(names))
	for i, s := range names {
		id, metric, _ := strings.Cut(s, "/")
		rs[i] = device.Reading{Device: device.ID(id), Metric: device.Metric(metric), Time: 1_500, Value: device.Int(int64(i))}
	}
	g.publishing.Lock()
	defer g.publishing.Unlock()
	g.feed.Publish(g.log.Append(rs...))
}

// series returns n times the same one.
func series(n int) []string { return strings.Fields(strings.Repeat("a/x ", n)) }

// message is what every technique carries.
type message struct {
	Type     string            `json:"type"`
	Cursor   string            `json:"cursor"`
	From     string            `json:"from"`
	Reason   string            `json:"reason"`
	Error    string            `json:"error"`
	Readings []json.RawMessage `json:"readings"`
	Device   *struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Clock string `json:"clock"`

		Duplicates int `json:"duplicates"`
	} `json:"device"`
}

// String gives the message as "kind cursor …: offsets".
func (m message) String() string {
	out := m.Type
	if m.Device != nil {
		out += " " + m.Device.ID + " " + m.Device.State
	}
	for _, s := range []string{m.Cursor, m.From, m.Reason, m.Error} {
		if s != "" {
			out += " " + s
		}
	}
	for i, raw := range m.Readings {
		var r struct{ Offset uint64 }
		if json.Unmarshal(raw, &r) != nil {
			return out + " and something that is no reading"
		}
		if i == 0 {
			out += ":"
		}
		out += " " + strconv.FormatUint(r.Offset, 10)
	}
	return out
}

func parseMessage(b []byte) (m message, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err = d.Decode(&m); err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return m, err
}

// target is the address of the live endpoint with a query.
func target(scheme string, q url.Values) string {
	return scheme + "://gateway/api/v1/live?" + q.Encode()
}

// answer is the head of a response whose body has been read.
type answer struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// get asks for an answer and reads it whole.
func (g *gateway) get(header http.Header, rawQuery string) (*answer, string) {
	g.t.Helper()
	return g.request(http.MethodGet, header, rawQuery)
}

func (g *gateway) request(method string, header http.Header, rawQuery string) (*answer, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://gateway/api/v1/live?"+rawQuery, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header = header.Clone()
	resp, err := g.client.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return &answer{resp.Status, resp.StatusCode, resp.Header}, string(b)
}

// everywhere runs a test for every technique, over loopback and, with fake time,
// over pipes.
func everywhere(t *testing.T, test func(t *testing.T, g *gateway, k kind)) {
	by(t, kinds, Config{}, test)
}

// atEndpoint is everywhere without Socket.IO, which has requests of its own.
func atEndpoint(t *testing.T, cfg Config, test func(t *testing.T, g *gateway, k kind)) {
	by(t, kinds[:SocketIOPolling], cfg, test)
}

func by(t *testing.T, kinds []kind, cfg Config, test func(t *testing.T, g *gateway, k kind)) {
	for _, k := range kinds {
		t.Run(k.String()+"/loopback", func(t *testing.T) { test(t, loopback(t, cfg), k) })
		t.Run(k.String()+"/pipe", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, piped(t, cfg), k) })
		})
	}
}
