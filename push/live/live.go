package live

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/socketio/engine"
	"github.com/naru-telemetry/naru/push/wsconn"
)

// Defaults and bounds.
const (
	// heartbeat is after how long a silent stream says that it lives. Proxies
	// commonly cut after 30 or 60 seconds.
	heartbeat = 15 * time.Second
	// writeTimeout ends a viewer that does not take a message.
	writeTimeout = wsconn.WriteTimeout
	// maxWait bounds long polling, for proxies as above.
	maxWait = 55 * time.Second
	// DefaultMaxViewers bounds the requests that are served at a time, and sessions of
	// Socket.IO.
	DefaultMaxViewers = 10_000
	// DefaultMaxViewersPerAddr is for some hundred browsers behind one address.
	DefaultMaxViewersPerAddr = 1000
)

// Config sets up a Handler.
type Config struct {
	Feed *push.Feed
	// Origins are patterns of origins whose pages may open a WebSocket, such as
	// https://*.example.org; see path.Match. The gateway's own page always may.
	Origins []string
	// JSONP and Iframe switch on the techniques of browsers that have no other. Pages of
	// any site can read what JSONP answers.
	JSONP, Iframe bool
	// MaxViewers bounds the viewers; 0 means DefaultMaxViewers.
	MaxViewers int
	// MaxViewersPerAddr bounds those from one address, loopback and Exempt aside; 0 means
	// DefaultMaxViewersPerAddr.
	MaxViewersPerAddr int
	Exempt            []netip.Prefix
	// Sessions is by what Socket.IO sessions are known again; nil means NewSessions.
	Sessions *Sessions
	Logger   *slog.Logger
}

// storeFailed is what a viewer learns of errors that are not its own.
const storeFailed = "the store cannot be read"

// accessEnded is what a viewer learns whose access has ended, as far as there is a
// way to say it.
const accessEnded = "the access has ended"

// Technique is a way to the viewer.
type Technique int

// The techniques.
const (
	WebSocket Technique = iota
	ServerSentEvents
	Stream
	Iframe
	LongPolling
	Polling
	JSONP
	SocketIOPolling
	SocketIOWebSocket
	techniques
)

// String returns the technique's name as it stands in labels.
func (t Technique) String() string {
	return [techniques]string{"websocket", "sse", "stream", "iframe", "longpoll", "poll", "jsonp", "socketio-polling", "socketio-websocket"}[t]
}

// Techniques returns all techniques there are.
func Techniques() []Technique {
	return []Technique{WebSocket, ServerSentEvents, Stream, Iframe, LongPolling, Polling, JSONP, SocketIOPolling, SocketIOWebSocket}
}

// Handler serves the live endpoint. Streams end when the feed is closed.
type Handler struct {
	feed     *push.Feed
	origins  []string
	jsonp    bool
	iframe   bool
	crowd    crowd
	log      *slog.Logger
	socketIO *socketIO

	begun time.Time
	flush *wsconn.Flusher[*wsViewer]
	pulse pulse

	viewers [techniques]atomic.Int64
	served  [techniques]atomic.Int64
	open    sync.WaitGroup
}

// New returns a handler.
func New(cfg Config) *Handler {
	if cfg.MaxViewers == 0 {
		cfg.MaxViewers = DefaultMaxViewers
	}
	if cfg.MaxViewersPerAddr == 0 {
		cfg.MaxViewersPerAddr = DefaultMaxViewersPerAddr
	}
	h := &Handler{
		begun: time.Now(), flush: wsconn.NewFlusher((*wsViewer).flush), jsonp: cfg.JSONP, iframe: cfg.Iframe, feed: cfg.Feed, log: cfg.Logger,
		crowd:   crowd{most: cfg.MaxViewers, perAddr: cfg.MaxViewersPerAddr, exempt: cfg.Exempt},
		origins: slices.DeleteFunc(slices.Clone(cfg.Origins), malformed),
	}
	h.socketIO = newSocketIO(h, cfg.Sessions)
	return h
}

// malformed reports whether path.Match refuses the pattern.
func malformed(pattern string) bool {
	_, err := path.Match(pattern, "")
	return err != nil
}

// Viewers returns how many requests are being served by the technique, and how
// many have been since the start.
func (h *Handler) Viewers(t Technique) (now, total int64) {
	switch t { //nolint:exhaustive // the others are counted here
	case SocketIOPolling:
		return h.socketIO.server.Engine().Sessions(engine.Polling)
	case SocketIOWebSocket:
		return h.socketIO.server.Engine().Sessions(engine.WebSocket)
	}
	return h.viewers[t].Load(), h.served[t].Load()
}

// Drain has the sessions of Socket.IO end, once their viewers have what there is.
// The feed is to be closed before.
func (h *Handler) Drain() { h.socketIO.server.Engine().Drain() }

// Wait waits until no viewer is being served any more, which takes Drain, or until
// ctx is done. The server's Shutdown does not know of WebSockets.
func (h *Handler) Wait(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		h.open.Wait()
		close(done)
	}()
	err := h.socketIO.server.Engine().Wait(ctx)
	select {
	case <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Refused returns how many viewers were turned away because there were too many.
func (h *Handler) Refused() int64 { return h.crowd.turnedAway() }

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !getOnly(w, r) {
		return
	}
	leave, full := h.crowd.enter(r)
	if full != nil {
		w.Header().Set("Retry-After", strconv.Itoa(full.RetryAfter))
		push.Refuse(w, full.Status, full.Message)
		return
	}
	h.open.Add(1)
	end := func() {
		leave()
		h.open.Done()
	}
	req, err := h.parse(r)
	if err != nil {
		end()
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	h.viewers[req.technique].Add(1)
	h.served[req.technique].Add(1)
	release := func() {
		h.viewers[req.technique].Add(-1)
		end()
	}
	//nolint:contextcheck // the request's context says nothing after Hijack
	if req.technique == WebSocket && h.webSocket(w, r, req, release) {
		return
	}
	defer release()
	if req.technique == WebSocket {
		return // it was refused
	}
	sub, err := h.feed.Subscribe(r.Context(), req.options)
	if err != nil {
		if r.Context().Err() == nil {
			h.log.Error("subscription failed", "technique", req.technique.String(), "error", err)
			push.Refuse(w, http.StatusInternalServerError, storeFailed)
		}
		return
	}
	defer sub.Close()
	switch req.technique { //nolint:exhaustive // the others are polls
	case ServerSentEvents:
		h.stream(w, r, sub, sse{})
	case Stream:
		h.stream(w, r, sub, ndjson{})
	case Iframe:
		// Only our own pages may have it in a frame, and it may do nothing but call them.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; frame-ancestors 'self'")
		h.stream(w, r, sub, iframe{req.name})
	default:
		h.poll(w, r, sub, req)
	}
}

// getOnly sets what all answers have and refuses other methods than GET.
func getOnly(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		push.Refuse(w, http.StatusMethodNotAllowed, "want GET")
		return false
	}
	return true
}

// request is what a viewer has asked for.
type request struct {
	technique Technique
	options   push.Options
	wait      time.Duration
	name      string // of the function, of Iframe and JSONP
}

// parse reads a live request. Its errors are for the viewer.
func (h *Handler) parse(r *http.Request) (request, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request{}, errors.New("the query is malformed")
	}
	var req request
	if req.options, err = options(q, r.Header, push.ViewerOf(r).Limit); err != nil {
		return request{}, err
	}
	if req.options.Limit, err = number(q, "limit", push.MaxLimit); err != nil {
		return request{}, err
	}
	if req.wait, err = wait(q.Get("wait")); err != nil {
		return request{}, err
	}
	if req.technique, req.name, err = h.legacy(r); err != nil {
		return request{}, err
	}
	if req.name == "" {
		req.technique = technique(r, req.wait)
	}
	if req.options.After == nil {
		req.wait = 0 // who asks for the cursor gets it at once
	}
	if req.technique < LongPolling {
		req.options.Limit = 0 // it bounds an answer, and these have none
	} else {
		req.options.Presence = false // an answer is one message, and states have no cursor
	}
	return req, nil
}

// options reads what all techniques have, for a viewer for whom there are the devices
// within limit. Its errors are for the viewer.
func options(q url.Values, h http.Header, limit device.Selector) (o push.Options, err error) {
	if o.Selector, err = device.NewSelector(q["device"], q["metric"]); err != nil {
		return push.Options{}, err
	}
	o.Selector = o.Selector.Within(limit)
	if o.Policy, err = push.ParsePolicy(q.Get("policy"), q.Get("every"), q.Get("deadband")); err != nil {
		return push.Options{}, err
	}
	if o.After, err = after(q, h); err != nil {
		return push.Options{}, err
	}
	if o.Last, err = number(q, "last", push.MaxLast); err != nil {
		return push.Options{}, err
	}
	if o.Presence, err = flag(q, "presence"); err != nil {
		return push.Options{}, err
	}
	return o, nil
}

// flag reads 1 or true, 0 or false; absent is false.
func flag(q url.Values, name string) (bool, error) {
	s := q.Get(name)
	if s == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(s)
	if err != nil {
		return false, errors.New(name + ": want 1 or 0")
	}
	return on, nil
}

// after reads the cursor to go on from. What a browser's EventSource says when
// it comes again is newer than its address.
func after(q url.Values, h http.Header) (*push.Cursor, error) {
	name, s := "Last-Event-ID", h.Get("Last-Event-ID")
	if s == "" {
		name, s = "after", q.Get("after")
	}
	if s == "" {
		return nil, nil
	}
	c, err := push.ParseCursor(s)
	if err != nil {
		return nil, errors.New(name + ": " + err.Error())
	}
	return &c, nil
}

func technique(r *http.Request, wait time.Duration) Technique {
	switch {
	case headerHas(r.Header, "Upgrade", "websocket"):
		return WebSocket
	case headerHas(r.Header, "Accept", "text/event-stream"):
		return ServerSentEvents
	case headerHas(r.Header, "Accept", "application/x-ndjson"):
		return Stream
	case wait > 0:
		return LongPolling
	}
	return Polling
}

// headerHas reports whether one of the comma-separated elements is value, its
// parameters left aside.
func headerHas(h http.Header, name, value string) bool {
	for _, line := range h.Values(name) {
		for element := range strings.SplitSeq(line, ",") {
			element, _, _ = strings.Cut(element, ";")
			if strings.EqualFold(strings.TrimSpace(element), value) {
				return true
			}
		}
	}
	return false
}

// number reads a parameter that must be a whole number from 1 to most; absent
// is 0.
func number(q url.Values, name string, most int) (int, error) {
	s := q.Get(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > most {
		return 0, errors.New(name + ": want a number from 1 to " + strconv.Itoa(most))
	}
	return n, nil
}

// wait reads a duration such as 25s, or a number of seconds. Longer waits than
// maxWait are cut.
func wait(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		d, err = time.ParseDuration(s + "s")
	}
	if err != nil || d < 0 {
		return 0, errors.New("wait: want a duration such as 25s")
	}
	return min(d, maxWait), nil
}
