package socketio

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"sync/atomic"

	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// Socket is a client in a namespace. Its methods may be called concurrently,
// but for those that say otherwise.
type Socket struct {
	conn      *conn
	namespace string
	handler   Handler // set before events come
	id, pid   string  // set before the reply, which takes pid

	source Source // owned by who has the session's outlet, guarded by conn.mu too
	joined bool   // the reply is queued; guarded by conn.mu, as the next two
	held   []item // before that
	gone   bool

	asked     map[int64]func(Raw) // what takes an answer that has not come; guarded by conn.mu, as the next
	questions int64               // that were asked so far: the id of the next
}

const (
	idBytes = 15
	// maxAsked bounds the questions that a client has not answered.
	maxAsked = 64
)

func newSocket(c *conn, namespace string) *Socket {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // cannot fail
	return &Socket{conn: c, namespace: namespace, id: base64.RawURLEncoding.EncodeToString(b[:])}
}

// ID returns the socket's public id.
func (s *Socket) ID() string { return s.id }

// SetID makes the socket one that can be recovered: pid is told to the client, who
// shows it when it comes again, with the last argument of the last event, if that is
// a text. When id and pid are those of before, the client takes itself for recovered. For a
// Namespace only.
func (s *Socket) SetID(id, pid string) { s.id, s.pid = id, pid }

// Query returns the query of the handshake, as it came.
func (s *Socket) Query() string { return s.conn.query }

// Identity returns what Config.Identify has said of the handshake.
func (s *Socket) Identity() any { return s.conn.identity }

// Wake has the socket's source asked. It does not block.
func (s *Socket) Wake() { s.conn.session.Wake() }

// reply returns the answer to the client's connecting.
func (s *Socket) reply() *engine.Messages {
	data, _ := json.Marshal(struct { // cannot fail
		ID  string `json:"sid"`
		PID string `json:"pid,omitempty"`
	}{s.id, s.pid})
	s.pid = "" // nobody wants it any more
	return encode(&packet{kind: typeConnect, namespace: s.namespace, id: -1, data: data}, nil)
}

// Emit queues an event, whose first argument is its name. Values are encoded as
// JSON; those that are bytes become attachments.
func (s *Socket) Emit(args ...any) error {
	m, err := s.encodeArgs(typeEvent, -1, args)
	if err != nil {
		return err
	}
	s.send(item{messages: m})
	return nil
}

// Ask queues an event that wants an answer. It is given to f, called as Handler.Event is,
// unless the socket ends before.
func (s *Socket) Ask(f func(answer Raw), args ...any) error {
	id, err := s.question(f)
	if err != nil {
		return err
	}
	m, err := s.encodeArgs(typeEvent, id, args)
	if err != nil {
		s.answered(id)
		return err
	}
	s.send(item{messages: m})
	return nil
}

// question notes that the answer to the question with the id goes to f.
func (s *Socket) question(f func(Raw)) (id int64, err error) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if len(s.asked) >= maxAsked {
		return 0, errAsked
	}
	if s.asked == nil {
		s.asked = map[int64]func(Raw){}
	}
	id = s.questions
	s.questions++
	s.asked[id] = f
	return id, nil
}

// answered returns what takes the answer to a question, once; nil: nobody waits for it.
func (s *Socket) answered(id int64) func(Raw) {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	f := s.asked[id]
	delete(s.asked, id)
	return f
}

// Feed makes src the socket's source. Messages from e's acknowledgement come before any
// of it, and all messages of the source before it come earlier. e may be nil.
func (s *Socket) Feed(src Source, e *Event, args ...any) error {
	items := []item{}
	if e != nil && e.take() {
		m, err := s.encodeArgs(typeAck, e.id, args)
		if err != nil {
			return err
		}
		items = append(items, item{messages: m})
	}
	s.send(append(items, item{socket: s, source: src})...)
	return nil
}

// Close ends the whole connection.
func (s *Socket) Close() { s.conn.session.Close(engine.ForcedClose) }

// Disconnect tells the client to leave the namespace and not to come back by
// itself. Not to be called by the Namespace.
func (s *Socket) Disconnect() {
	s.send(item{messages: encode(&packet{kind: typeDisconnect, namespace: s.namespace, id: -1}, nil)})
	s.conn.drop(s, "server namespace disconnect")
}

func (s *Socket) send(items ...item) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case s.gone:
		closeSources(items)
	case !s.joined:
		s.held = append(s.held, items...)
	default:
		c.enqueueLocked(items...)
	}
}

// abandon lets go of what a Namespace has given to a socket that was refused.
func (s *Socket) abandon() { closeSources(s.held) }

// Event is an event from a client.
type Event struct {
	// Args are the event's name and arguments. Placeholders of attachments stand in
	// them as they came: {"_placeholder":true,"num":0}.
	Args        []json.RawMessage
	Attachments [][]byte

	socket *Socket
	id     int64
	acked  atomic.Bool
}

// Name returns the event's name; a number is returned as it is written.
func (e *Event) Name() string {
	var name string
	if json.Unmarshal(e.Args[0], &name) == nil {
		return name
	}
	return string(e.Args[0])
}

// Acknowledge answers the event, once, if the client wants that.
func (e *Event) Acknowledge(args ...any) error {
	if !e.take() {
		return nil
	}
	m, err := e.socket.encodeArgs(typeAck, e.id, args)
	if err != nil {
		return err
	}
	e.socket.send(item{messages: m})
	return nil
}

// Wanted reports whether the client wants an answer and has not been given one.
func (e *Event) Wanted() bool { return e.id >= 0 && !e.acked.Load() }

// take is Wanted, and notes that the answer is given now.
func (e *Event) take() bool { return e.id >= 0 && !e.acked.Swap(true) }

// Raw is arguments that have been received, with their attachments, to be sent as
// they came.
type Raw struct {
	Args        []json.RawMessage
	Attachments [][]byte
}

var (
	errAttachments = errors.New("socketio: too many attachments")
	errAsked       = errors.New("socketio: too many questions are not answered")
)

// encodeArgs encodes an event or an acknowledgement.
func (s *Socket) encodeArgs(kind packetType, id int64, args []any) (*engine.Messages, error) {
	p := packet{kind: kind, namespace: s.namespace, id: id, args: []json.RawMessage{}}
	var attachments [][]byte
	for _, a := range args {
		switch a := a.(type) {
		case Raw:
			if len(attachments) > 0 && len(a.Attachments) > 0 {
				return nil, errors.New("socketio: received attachments must be the first")
			}
			p.args, attachments = append(p.args, a.Args...), append(attachments, a.Attachments...)
		case []byte:
			p.args = append(p.args, appendPlaceholder(nil, len(attachments)))
			attachments = append(attachments, a)
		default:
			b, err := json.Marshal(a)
			if err != nil {
				return nil, err
			}
			p.args = append(p.args, b)
		}
	}
	if len(attachments) > maxAttachments {
		return nil, errAttachments
	}
	if p.attachments = len(attachments); p.attachments > 0 {
		p.kind += typeBinaryEvent - typeEvent
	}
	return encode(&p, attachments), nil
}

func encode(p *packet, attachments [][]byte) *engine.Messages {
	var b engine.Builder
	b.Text(p.append(nil))
	for _, a := range attachments {
		b.Binary(a)
	}
	return b.Messages()
}
