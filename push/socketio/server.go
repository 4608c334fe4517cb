package socketio

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/push/socketio/engine"
)

const (
	// DefaultConnectTimeout is how long a client may take to connect to a
	// namespace.
	DefaultConnectTimeout = 45 * time.Second
	// DefaultMaxQueue bounds what is queued for a client, in bytes: answers to what
	// it asks. One that asks and does not read is cut off.
	DefaultMaxQueue = 1 << 20
	// maxSockets bounds the namespaces of a connection.
	maxSockets = 16
)

// Source is what a socket is fed from. Its methods are called by one goroutine at
// a time.
type Source interface {
	// Next returns what is to be sent next, or nil when there is nothing at present;
	// Socket.Wake is to be called when there is. engine.ErrDone ends the connection
	// as one that has had everything, any other error as one that has failed;
	// engine.ErrWait and wait as in engine.Endpoint.
	Next(wait bool) (*engine.Messages, error)
	// Close is called once, behind the last call of Next.
	Close()
}

// Handler is the owner's side of a connected socket.
type Handler interface {
	// Event takes an event from the client. Calls do not overlap and are in the
	// order of sending; the connection waits for them.
	Event(e *Event)
	// Closed is called once. An Event may still be under way.
	Closed(reason string)
}

// Namespace decides on a socket. It may call the socket's methods; what it sends
// comes behind the reply. An error refuses the client, who is told its text.
type Namespace func(s *Socket, auth json.RawMessage) (Handler, error)

// Config sets up a Server.
type Config struct {
	// Engine configures the sessions below; Open is not to be set.
	Engine engine.Config
	// Namespaces are those there are, by name; the main one is /.
	Namespaces map[string]Namespace
	// Identify returns what Socket.Identity is to say of who makes a handshake; nil:
	// nothing.
	Identify func(r *http.Request) any
	// ConnectTimeout defaults to DefaultConnectTimeout when 0.
	ConnectTimeout time.Duration
	// MaxQueue is in bytes; 0 means DefaultMaxQueue.
	MaxQueue int
}

// Server serves Socket.IO.
type Server struct {
	cfg    Config
	engine *engine.Server
}

// New returns a server. It starts nothing.
func New(cfg Config) *Server {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = DefaultConnectTimeout
	}
	if cfg.MaxQueue == 0 {
		cfg.MaxQueue = DefaultMaxQueue
	}
	srv := &Server{cfg: cfg}
	cfg.Engine.Open = srv.open
	srv.engine = engine.New(cfg.Engine)
	return srv
}

func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { srv.engine.ServeHTTP(w, r) }

// Engine returns the server of the sessions, which counts and ends them.
func (srv *Server) Engine() *engine.Server { return srv.engine }

func (srv *Server) open(s *engine.Session, r *http.Request) engine.Endpoint {
	c := &conn{server: srv, session: s, query: r.URL.RawQuery}
	if srv.cfg.Identify != nil {
		c.identity = srv.cfg.Identify(r)
	}
	s.SetAlarm(srv.cfg.ConnectTimeout, c.connectTimeout)
	return c
}
