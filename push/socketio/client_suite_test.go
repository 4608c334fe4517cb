package socketio

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/push/pushtest"
	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// TestOfficialClientSuite runs the tests of the official client.
func TestOfficialClientSuite(t *testing.T) {
	pushtest.ClientSuite(t, New(newClientSuite().config()))
}

// clientSuite is the server that the suite of the official client wants.
type clientSuite struct {
	mu    sync.Mutex        // guards following
	known map[string]string // ids of sockets, by what their clients show
}

func newClientSuite() *clientSuite { return &clientSuite{known: map[string]string{}} }

func (c *clientSuite) config() Config {
	refuse := func(*Socket, json.RawMessage) (Handler, error) {
		return nil, errors.New("Auth failed (custom namespace)")
	}
	return Config{
		Engine: engine.Config{
			PingInterval: 2 * time.Second,
			Admit: func(*http.Request) (func(), error) {
				<-time.After(10 * time.Millisecond) // clients that wait for nothing time out
				return func() {}, nil
			},
		},
		Namespaces: map[string]Namespace{
			"/": c.connect, "/foo": c.connect, "/timeout_socket": c.connect, "/valid": c.connect,
			"/asd": c.connect, "/abc": c.greet, "/no": refuse,
		},
	}
}

// connect lets a client in, as the one that it was if it shows that.
func (c *clientSuite) connect(s *Socket, auth json.RawMessage) (Handler, error) {
	q, err := url.ParseQuery(s.Query())
	if err != nil {
		return nil, err
	}
	if q.Get("fail") != "" {
		return nil, errors.New("Auth failed (main namespace)")
	}
	var shown struct{ PID, Offset string }
	if len(auth) > 0 {
		if err := json.Unmarshal(auth, &shown); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if id, ok := c.known[shown.PID]; ok && shown.Offset != "" {
		s.SetID(id, shown.PID)
	} else {
		s.SetID(s.ID(), "private "+s.ID())
		c.known["private "+s.ID()] = s.ID()
	}
	return &suiteClient{s: s, auth: auth}, nil
}

// greet lets a client in and tells it of its handshake.
func (c *clientSuite) greet(s *Socket, auth json.RawMessage) (Handler, error) {
	h, err := c.connect(s, auth)
	if err != nil {
		return nil, err
	}
	return h, s.Emit("handshake", handshakeOf(s, auth))
}

// handshakeOf returns what the client has said of itself.
func handshakeOf(s *Socket, auth json.RawMessage) any {
	q, _ := url.ParseQuery(s.Query()) // was looked at
	query := map[string]string{}
	for name, values := range q {
		query[name] = values[0]
	}
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	return map[string]any{"query": query, "auth": auth}
}

// suiteClient answers the events of the suite.
type suiteClient struct {
	s        *Socket
	auth     json.RawMessage
	sent     int
	received map[string]bool // events that came
}

// emit sends an event that ends with an offset.
func (h *suiteClient) emit(args ...any) {
	h.sent++
	_ = h.s.Emit(append(args, "offset "+strconv.Itoa(h.sent))...)
}

var suiteTexts = []string{"てすと", "Я Б Г Д Ж Й", "Ä ä Ü ü ß", "utf8 — string", "utf8 — string"}

func (h *suiteClient) Event(e *Event) {
	switch e.Name() {
	case "hi":
		h.emit("hi")
	case "echo":
		_ = e.Acknowledge(e.Args[1])
	case "ack":
		_ = h.s.Ask(func(answer Raw) {
			if len(answer.Args) == 2 && string(answer.Args[0]) == "5" && string(answer.Args[1]) == `{"test":true}` {
				h.emit("got it")
			}
		}, "ack")
	case "getAckDate":
		_ = e.Acknowledge(time.Now())
	case "getDate":
		h.emit("takeDate", time.Now())
	case "getDateObj":
		h.emit("takeDateObj", map[string]any{"date": time.Now()})
	case "getUtf8":
		for _, text := range suiteTexts {
			h.emit("takeUtf8", text)
		}
	case "false":
		h.emit("false", false)
	case "getHandshake":
		_ = e.Acknowledge(handshakeOf(h.s, h.auth))
	case "getId":
		_ = e.Acknowledge(h.s.ID())
	default:
		h.bytes(e)
	}
}

// bytes answers events with attachments, when they have come as they should.
func (h *suiteClient) bytes(e *Event) {
	const placeholder = `{"_placeholder":true,"num":0}`
	arg := ""
	if len(e.Args) > 1 {
		arg = string(e.Args[1])
	}
	attached := len(e.Attachments) == 1 && len(e.Attachments[0]) > 0
	if h.received == nil {
		h.received = map[string]bool{}
	}
	h.received[e.Name()] = true
	switch name := e.Name(); {
	case name == "doge":
		h.emit("doge", []byte("asdfasdf"))
	case name == "buffa" && attached && arg == placeholder:
		h.emit("buffack")
	case name == "jsonbuff" && attached && arg == `{"hello":"lol","message":`+placeholder+`,"goodbye":"gotcha"}`:
		h.emit("jsonbuff-ack")
	case name == "abuff2" && h.received["abuff1"]:
		h.emit("abuff2-ack")
	}
}

func (*suiteClient) Closed(string) {}
