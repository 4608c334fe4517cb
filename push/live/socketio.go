package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/socketio"
	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// maxSocketIO bounds what a client of Socket.IO may send at a time, in bytes: its
// selection, in JSON that may be escaped.
const maxSocketIO = 64 << 10

// socketIO serves viewers who come with a client of Socket.IO.
type socketIO struct {
	h        *Handler
	sessions *Sessions
	server   *socketio.Server

	recovered, anew atomic.Int64 // clients that came again

	mu    sync.Mutex // guards following
	known map[string]*socketViewer
}

func newSocketIO(h *Handler, sessions *Sessions) *socketIO {
	if sessions == nil {
		sessions = NewSessions()
	}
	o := &socketIO{h: h, sessions: sessions, known: map[string]*socketViewer{}}
	o.server = socketio.New(socketio.Config{
		Engine: engine.Config{
			// Admit bounds the sessions.
			MaxPayload: maxSocketIO, MaxSessions: math.MaxInt, Origins: h.origins, Admit: o.admit,
		},
		Namespaces: map[string]socketio.Namespace{"/": o.connect},
		Identify:   func(r *http.Request) any { return push.ViewerOf(r) },
	})
	return o
}

// SocketIO returns the handler of /socket.io/.
func (h *Handler) SocketIO() http.Handler { return h.socketIO.server }

// SocketIOStats counts the sessions of Socket.IO.
type SocketIOStats struct {
	// Recovered and Anew are clients that came again: those that went on, and those
	// that had to begin anew.
	Recovered, Anew int64
	// Ended is by reason, in the words of the protocol.
	Ended map[string]int64
}

// SocketIOStats returns the counts.
func (h *Handler) SocketIOStats() SocketIOStats {
	o := h.socketIO
	s := SocketIOStats{Recovered: o.recovered.Load(), Anew: o.anew.Load(), Ended: map[string]int64{}}
	for _, r := range engine.Reasons() {
		s.Ended[r.String()] = o.server.Engine().Ended(r)
	}
	return s
}

// admit counts a viewer in.
func (o *socketIO) admit(r *http.Request) (release func(), err error) {
	leave, full := o.h.crowd.enter(r)
	if full != nil {
		return nil, full
	}
	return leave, nil
}

// connect begins a viewer's stream, or takes it up again.
//
// What a client has missed goes out behind the reply to its connecting: what comes
// before that, the client keeps even when the connection is cut before the reply,
// and would then have twice.
func (o *socketIO) connect(s *socketio.Socket, auth json.RawMessage) (socketio.Handler, error) {
	who, _ := s.Identity().(*push.Viewer)
	req, err := parseSocketIO(s.Query(), auth, who.Limit)
	if err != nil {
		return nil, err
	}
	selection := req.selection()
	v := &socketViewer{of: o, socket: s, batch: req.batch, presence: req.options.Presence, limit: who.Limit}
	at, recovers := o.recall(&req, selection)
	if recovers {
		v.id = at
	} else {
		v.id = s.ID()
	}
	if req.options.After == nil && req.options.Last == 0 {
		head := o.h.feed.Head()
		req.options.After = &head
	}
	src, err := v.subscribe(req.options)
	if err != nil {
		return nil, err
	}
	src.greeting = hello(src, recovers)
	s.SetID(v.id, o.sessions.proof(v.id, selection))
	if who.OnEnd != nil {
		v.forget = who.OnEnd(s.Close)
	}
	o.enter(v)
	return v, s.Feed(src, nil)
}

// recall returns the id of the session that the client had, when it can go on. Then,
// and when it must be told what is missing, the request says where from.
func (o *socketIO) recall(req *socketRequest, selection []byte) (id string, recovers bool) {
	if req.pid == "" {
		return "", false
	}
	id, ok := o.sessions.recognize(req.pid, selection)
	if c, err := push.ParseCursor(req.offset); ok && err == nil {
		req.options.After, req.options.Last = &c, 0
		if o.h.feed.Keeps(c) {
			o.recovered.Add(1)
			return id, true
		}
	}
	o.anew.Add(1)
	return "", false
}

// enter makes the viewer the one of its session. The one before, whose connection
// may not know yet that it is dead, ends.
func (o *socketIO) enter(v *socketViewer) {
	o.mu.Lock()
	before := o.known[v.id]
	o.known[v.id] = v
	o.mu.Unlock()
	if before != nil {
		before.socket.Close()
	}
}

func (o *socketIO) leave(v *socketViewer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known[v.id] == v {
		delete(o.known, v.id)
	}
}

// socketRequest is what a client asks for when it connects.
type socketRequest struct {
	options     push.Options
	batch       bool
	pid, offset string
}

// selection returns a text that is the same for requests of the same messages.
func (r *socketRequest) selection() []byte {
	b := strconv.AppendBool(nil, r.batch)
	b = strconv.AppendBool(b, r.options.Presence)
	b = fmt.Appendf(b, "%v", r.options.Policy)
	return append(b, r.options.Selector.Key()...)
}

// parseSocketIO reads the parameters, which may stand in the query of the
// handshake and in what the client connects with; the latter counts. limit is of the
// devices that there are for the viewer. Errors are for him.
func parseSocketIO(query string, auth json.RawMessage, limit device.Selector) (req socketRequest, err error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return req, errors.New("the query is malformed")
	}
	for _, name := range []string{"device", "metric"} {
		var all []string
		for _, s := range q[name] {
			all = append(all, splitList(s)...)
		}
		q[name] = all
	}
	members := map[string]any{}
	if len(auth) > 0 && json.Unmarshal(auth, &members) != nil {
		return req, errors.New("auth: want an object")
	}
	for _, name := range []string{"device", "metric", "after", "last", "presence", "policy", "every", "deadband", "batch"} {
		if members[name] == nil {
			continue
		}
		if q[name], err = texts(members[name]); err != nil {
			return req, errors.New(name + ": " + err.Error())
		}
	}
	if req.options, err = options(q, http.Header{}, limit); err != nil {
		return req, err
	}
	req.pid, _ = members["pid"].(string)
	req.offset, _ = members["offset"].(string)
	req.batch, err = flag(q, "batch")
	return req, err
}

// splitList parts what the client's library has made of an array: the elements
// with commas between them. Those in the tags of a metric are none.
func splitList(s string) (out []string) {
	depth, from := 0, 0
	for i, c := range []byte(s) {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == ',' && depth <= 0:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// texts returns a member as it would stand in a query.
func texts(v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case bool:
		return []string{strconv.FormatBool(v)}, nil
	case float64:
		return []string{strconv.FormatFloat(v, 'f', -1, 64)}, nil
	case []any:
		var out []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, errors.New("want texts")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, errors.New("want a text")
}

// socketViewer is a viewer by Socket.IO.
type socketViewer struct {
	of       *socketIO
	socket   *socketio.Socket
	id       string
	batch    bool
	presence bool // device messages are asked for when connecting
	limit    device.Selector
	forget   func() // ends the wait for the end of access; nil: it does not end

	mu       sync.Mutex // guards following
	failures []string   // that the viewer is still to be told
}

// maxFailures bounds the error messages that wait for a viewer.
const maxFailures = 16

// Closed implements socketio.Handler.
func (v *socketViewer) Closed(string) {
	if v.forget != nil {
		v.forget()
	}
	v.of.leave(v)
}

// Event implements socketio.Handler.
func (v *socketViewer) Event(e *socketio.Event) {
	if err := v.event(e); err != nil {
		text := strings.ToValidUTF8(err.Error(), "\ufffd")
		if e.Wanted() {
			_ = e.Acknowledge(map[string]string{"error": text}) // cannot fail
			return
		}
		v.fail(text)
	}
}

// fail has the viewer told of an error. The last argument of each event must be
// where the viewer stands, which only its source knows.
func (v *socketViewer) fail(text string) {
	v.mu.Lock()
	if len(v.failures) < maxFailures {
		v.failures = append(v.failures, text)
	}
	v.mu.Unlock()
	v.socket.Wake()
}

// failure returns an error that the viewer is to be told.
func (v *socketViewer) failure() (text string, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.failures) == 0 {
		return "", false
	}
	text, v.failures = v.failures[0], v.failures[1:]
	return text, true
}

// event acts on an event. Its errors are for the viewer.
func (v *socketViewer) event(e *socketio.Event) error {
	if e.Name() != "subscribe" {
		return errors.New(`want the event "subscribe"`)
	}
	wanted := []byte("{}")
	if len(e.Args) > 1 {
		wanted = e.Args[1]
	}
	m, err := decodeSubscribe(wanted)
	if err != nil {
		return err
	}
	o, err := m.options()
	if err != nil {
		return err
	}
	o.Presence = o.Presence || v.presence
	o.Selector = o.Selector.Within(v.limit)
	// Before anything of the new selection goes out: a gateway that has been away
	// must not go on with the old one.
	if err := v.of.sessions.change(v.id); err != nil {
		v.of.h.log.Error("a session cannot be noted", "error", err)
		return errors.New("the store cannot be written")
	}
	src, err := v.subscribe(o)
	if err != nil {
		return err
	}
	return v.socket.Feed(src, e, map[string]string{"cursor": src.sub.Cursor().String()})
}

// subscribe returns a source. Its errors are for the viewer.
func (v *socketViewer) subscribe(o push.Options) (*socketSource, error) {
	sub, err := v.of.h.feed.Subscribe(context.Background(), o)
	if err != nil {
		v.of.h.log.Error("subscription failed", "technique", SocketIOWebSocket.String(), "error", err)
		return nil, errors.New(storeFailed)
	}
	src := &socketSource{v: v, sub: sub, wake: v.socket.Wake, at: sub.Resume()}
	if o.After != nil && *o.After != sub.Cursor() {
		src.at = *o.After // until the reset is delivered
	}
	return src, nil
}

// socketSource is a subscription that a socket is fed from.
type socketSource struct {
	v        *socketViewer
	sub      *push.Subscription
	wake     func()
	greeting *engine.Messages // to be sent first; nil: nothing
	at       push.Cursor      // where the client goes on that has got what was sent
}

// Close implements socketio.Source.
func (s *socketSource) Close() { s.sub.Close() }

func (s *socketSource) take(wait bool) (*push.Frame, error) {
	if wait {
		return s.sub.Take(context.Background(), s.wake)
	}
	return s.sub.TakeLive(s.wake)
}

// Next implements socketio.Source.
func (s *socketSource) Next(wait bool) (*engine.Messages, error) {
	if m := s.greeting; m != nil {
		s.greeting = nil
		return m, nil
	}
	if text, ok := s.v.failure(); ok {
		return event("error", push.Failure(text).JSON(), s.at), nil
	}
	for {
		frame, err := s.take(wait)
		switch {
		case errors.Is(err, push.ErrBehind):
			return nil, engine.ErrWait
		case errors.Is(err, push.ErrClosed):
			return nil, engine.ErrDone
		case err != nil:
			s.v.of.h.log.Error("a stream was broken off", "technique", SocketIOWebSocket.String(), "error", err)
			return nil, err
		case frame == nil:
			return nil, nil
		}
		if m := s.encode(frame); m.Size() > 0 {
			return m, nil
		}
	}
}
