package engine

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/push/wsconn"
)

// Defaults of Config.
const (
	DefaultPingInterval   = 25 * time.Second
	DefaultPingTimeout    = 20 * time.Second
	DefaultUpgradeTimeout = 10 * time.Second
	// DefaultMaxPayload bounds what a client may send at a time, in bytes.
	DefaultMaxPayload = 1_000_000
	// DefaultMaxSessions bounds the sessions.
	DefaultMaxSessions = 10_000
)

// Transport is how a session's messages travel.
type Transport int

// The transports.
const (
	Polling Transport = iota
	WebSocket
	transports
)

// String returns the transport's name in the protocol.
func (t Transport) String() string { return [transports]string{"polling", "websocket"}[t] }

// Reason is why a session has ended.
type Reason int

// The reasons.
const (
	PingTimeout    Reason = iota // the client did not answer
	TransportClose               // it closed the session or the connection
	TransportError               // the connection failed, or the client broke the rules of HTTP or WebSocket
	ParseError                   // it sent what cannot be understood
	ForcedClose                  // the owner closed the session
	Overflow                     // the client does not take what it asked for
	ShuttingDown                 // the server stops
	reasons
)

// String returns the reason in the words that Socket.IO has for it.
func (r Reason) String() string {
	return [reasons]string{
		"ping timeout", "transport close", "transport error", "parse error", "forced server close", "queue overflow", "server shutting down",
	}[r]
}

// Reasons returns all reasons there are.
func Reasons() []Reason {
	return []Reason{PingTimeout, TransportClose, TransportError, ParseError, ForcedClose, Overflow, ShuttingDown}
}

// Endpoint is the owner's side of a session.
type Endpoint interface {
	// Receive takes a message from the client. Calls do not overlap and are in the
	// order of sending; the transport waits for them. data is valid during the call.
	// An error ends the session as one that cannot be understood.
	Receive(binary bool, data []byte) error
	// Next returns what is to be sent, or nil when there is nothing at present; the
	// session is to be woken when there is. Calls do not overlap. Unless wait is set
	// it must not take long, as a search on a disk does, but return ErrWait: it is
	// called again then with wait set. ErrDone ends the session, as does any other
	// error.
	Next(wait bool) (*Messages, error)
	// Closed is called once, behind the last call of Next.
	Closed(reason Reason)
}

// ErrDone is returned by an endpoint that has delivered everything when the
// server stops.
var ErrDone = errors.New("engine: all is delivered")

// ErrWait is returned by an endpoint that is not to wait and would have to.
var ErrWait = errors.New("engine: it takes long")

// Refusal is an error of Config.Admit with a status and, in seconds, when to come
// again; zero: it does not say.
type Refusal struct {
	Status     int
	RetryAfter int
	Message    string
}

func (e *Refusal) Error() string { return e.Message }

// Config sets up a Server.
type Config struct {
	// PingInterval, PingTimeout and UpgradeTimeout default to what the protocol
	// has for them when 0.
	PingInterval, PingTimeout, UpgradeTimeout time.Duration
	// MaxPayload bounds a message from the client, and the body of a POST, in
	// bytes; 0 means DefaultMaxPayload.
	MaxPayload int
	// MaxSessions bounds the sessions; 0 means DefaultMaxSessions.
	MaxSessions int
	// Origins are patterns of origins whose pages may use the server, such as
	// https://*.example.org; see path.Match. A lone * lets every page, but without
	// credentials. The page of the same host always may.
	Origins []string
	// Admit decides on a handshake, by address for one; nil means that all are
	// admitted. What it returns is called when the session takes nothing any more, which
	// is when its end has been told; it may be called with locks held, and must not block.
	// An error is a *Refusal, or for the client as it stands.
	Admit func(r *http.Request) (release func(), err error)
	// Open returns the endpoint of a new session. r is valid during the call.
	Open func(s *Session, r *http.Request) Endpoint
}

// Server serves Engine.IO.
type Server struct {
	cfg     Config
	agenda  agenda
	writers *wsconn.Flusher[*Session]

	now, total [transports]atomic.Int64
	ended      [reasons]atomic.Int64
	refused    atomic.Int64
	running    sync.WaitGroup // goroutines, and sessions that have an endpoint

	mu       sync.Mutex // guards following
	sessions map[string]*Session
	stopping bool
}

// New returns a server. It starts nothing.
func New(cfg Config) *Server {
	orDefault := func(d *time.Duration, or time.Duration) {
		if *d == 0 {
			*d = or
		}
	}
	orDefault(&cfg.PingInterval, DefaultPingInterval)
	orDefault(&cfg.PingTimeout, DefaultPingTimeout)
	orDefault(&cfg.UpgradeTimeout, DefaultUpgradeTimeout)
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = DefaultMaxPayload
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = DefaultMaxSessions
	}
	cfg.Origins = slices.DeleteFunc(slices.Clone(cfg.Origins), func(pattern string) bool {
		_, err := path.Match(pattern, "")
		return err != nil
	})
	return &Server{cfg: cfg, writers: wsconn.NewFlusher((*Session).flush), sessions: map[string]*Session{}}
}

// Sessions returns how many sessions use the transport, and how many have since
// the start.
func (srv *Server) Sessions(t Transport) (now, total int64) {
	return srv.now[t].Load(), srv.total[t].Load()
}

// Ended returns how many sessions have ended for the reason.
func (srv *Server) Ended(r Reason) int64 { return srv.ended[r].Load() }

// Refused returns how many handshakes were refused because there were too many
// sessions, or by Config.Admit.
func (srv *Server) Refused() int64 { return srv.refused.Load() }

// Drain has the sessions end as soon as their endpoints have nothing more to
// send. Handshakes are refused from now on.
func (srv *Server) Drain() {
	srv.mu.Lock()
	srv.stopping = true
	srv.mu.Unlock()
	for _, s := range srv.all() {
		s.drain()
	}
}

func (srv *Server) all() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Values(srv.sessions))
}

// Wait waits until all sessions have ended, which takes Drain, or until ctx is
// done; then it cuts the connections of those that have not.
func (srv *Server) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		srv.running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		for _, s := range srv.all() {
			s.abandon()
		}
		return ctx.Err()
	}
}

// The protocol's errors.
const (
	codeTransport = iota
	codeSession
	codeMethod
	codeRequest
	codeForbidden
	codeVersion
)

var codeTexts = [...]string{
	"Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden", "Unsupported protocol version",
}

// refuse answers with one of the protocol's errors. An empty msg means its own
// text.
func refuse(w http.ResponseWriter, status, code int, msg string) {
	if msg == "" {
		msg = codeTexts[code]
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	body, _ := json.Marshal(struct { // cannot fail
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{code, msg})
	_, _ = w.Write(body)
}

func bad(w http.ResponseWriter, code int) { refuse(w, http.StatusBadRequest, code, "") }

func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if srv.cors(w, r) {
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	matches := isUpgrade(r) == (q.Get("transport") == WebSocket.String())
	switch {
	case q.Get("transport") != Polling.String() && q.Get("transport") != WebSocket.String():
		bad(w, codeTransport)
	case err != nil || !legal(r.Header.Get("Origin")) || isUpgrade(r) && !srv.mayUpgrade(r):
		bad(w, codeRequest)
	case q.Has("sid"):
		srv.serveSession(w, r, q.Get("sid"), matches)
	case r.Method != http.MethodGet:
		bad(w, codeMethod)
	case !matches:
		bad(w, codeRequest)
	default:
		srv.handshake(w, r, q.Get("EIO"))
	}
}

// isUpgrade reports whether the request wants to become a WebSocket.
func isUpgrade(r *http.Request) bool {
	for _, line := range r.Header.Values("Upgrade") {
		for element := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(element), "websocket") {
				return true
			}
		}
	}
	return false
}

// legal reports whether the value can stand in a header.
func legal(value string) bool {
	return !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f })
}

func (srv *Server) serveSession(w http.ResponseWriter, r *http.Request, id string, matches bool) {
	s := srv.find(id)
	switch {
	case s == nil:
		bad(w, codeSession)
	case !matches:
		bad(w, codeRequest)
	case isUpgrade(r):
		s.upgrade(w, r)
	case s.transport() != Polling:
		bad(w, codeRequest)
	case r.Method == http.MethodGet:
		s.servePoll(w, r)
	case r.Method == http.MethodPost:
		s.servePost(w, r)
	default:
		bad(w, codeRequest)
	}
}

// find returns the session, unless its client has let it die.
func (srv *Server) find(id string) *Session {
	srv.mu.Lock()
	s := srv.sessions[id]
	srv.mu.Unlock()
	if s != nil && s.overdue() {
		s.Close(PingTimeout)
		return nil
	}
	return s
}

// handshake begins a session.
func (srv *Server) handshake(w http.ResponseWriter, r *http.Request, version string) {
	release, err := srv.admit(r)
	if err != nil {
		srv.refused.Add(1)
		refusal, ok := errors.AsType[*Refusal](err)
		if !ok {
			refusal = &Refusal{Status: http.StatusForbidden, Message: err.Error()}
		}
		if refusal.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(refusal.RetryAfter))
		}
		refuse(w, refusal.Status, codeForbidden, refusal.Message)
		return
	}
	if version != "4" {
		release()
		bad(w, codeVersion)
		return
	}
	s := srv.newSession(release)
	if isUpgrade(r) {
		s.openWebSocket(w, r)
		return
	}
	s.openPolling(w, r)
}

// tooMany is what a client learns when there is no room.
var tooMany = &Refusal{http.StatusServiceUnavailable, 5, "too many sessions"}

func (srv *Server) admit(r *http.Request) (release func(), err error) {
	srv.mu.Lock()
	full, stopping := len(srv.sessions) >= srv.cfg.MaxSessions, srv.stopping
	srv.mu.Unlock()
	switch {
	case stopping:
		return nil, &Refusal{http.StatusServiceUnavailable, 1, "the server is stopping"}
	case full:
		return nil, tooMany
	case srv.cfg.Admit == nil:
		return func() {}, nil
	}
	return srv.cfg.Admit(r)
}

// idBytes makes a session's id as hard to guess as a key: who knows it speaks for
// the client.
const idBytes = 15

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // cannot fail
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// cors sets the headers by which pages of other origins may use the server, and
// answers a preflight; then it returns true.
func (srv *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || !srv.allowed(origin) {
		return false
	}
	h := w.Header()
	if slices.Contains(srv.cfg.Origins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		if !slices.Contains(h.Values("Vary"), "Origin") {
			h.Add("Vary", "Origin")
		}
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	if wanted := r.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// allowed reports whether pages of the origin may use the server by what was
// configured.
func (srv *Server) allowed(origin string) bool {
	u, err := url.Parse(origin)
	name := "null"
	if err == nil && u.Host != "" {
		name = strings.ToLower(u.Scheme + "://" + u.Host)
	}
	return slices.ContainsFunc(srv.cfg.Origins, func(pattern string) bool {
		ok, _ := path.Match(strings.ToLower(pattern), name)
		return ok || pattern == "*"
	})
}

// mayUpgrade reports whether the page that the request comes from may open a
// WebSocket; browsers do not ask before they do.
func (srv *Server) mayUpgrade(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || srv.allowed(origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
