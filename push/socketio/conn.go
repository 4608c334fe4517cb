package socketio

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// conn is one client's connection: the endpoint of its session, and the sockets
// on it.
type conn struct {
	server   *Server
	session  *engine.Session
	query    string // of the handshake
	identity any    // of who has made it

	// partial is an event or acknowledgement whose attachments are coming; owned by
	// Receive.
	partial     *packet
	attachments [][]byte

	// turn is which socket's source is asked first; owned by Next.
	turn int

	mu      sync.Mutex // guards following
	sockets []*Socket  // connected, and being connected
	queue   []item
	queued  int // bytes in queue
	closed  bool
}

// item is what is queued for the client: messages, or that from here on a
// socket's source is another one.
type item struct {
	messages *engine.Messages
	socket   *Socket
	source   Source
}

// connectTimeout ends a connection that nobody uses.
func (c *conn) connectTimeout() {
	c.mu.Lock()
	idle := len(c.sockets) == 0
	c.mu.Unlock()
	if idle {
		c.session.Close(engine.ForcedClose)
	}
}

// Receive implements engine.Endpoint.
func (c *conn) Receive(binary bool, data []byte) error {
	if binary {
		return c.attach(data)
	}
	if c.partial != nil {
		return errPacket
	}
	p, err := parsePacket(data)
	switch {
	case err != nil:
		return err
	case p.attachments > 0:
		if c.socket(p.namespace) == nil {
			return errPacket
		}
		c.partial = &p
		return nil
	}
	return c.act(&p, nil)
}

// attach takes the next attachment.
func (c *conn) attach(data []byte) error {
	if c.partial == nil {
		return errPacket
	}
	c.attachments = append(c.attachments, slices.Clone(data))
	if len(c.attachments) < c.partial.attachments {
		return nil
	}
	p, attachments := c.partial, c.attachments
	c.partial, c.attachments = nil, nil
	return c.act(p, attachments)
}

// act does what a whole packet says.
func (c *conn) act(p *packet, attachments [][]byte) error {
	s := c.socket(p.namespace)
	if p.kind == typeConnect {
		if s != nil {
			return errPacket
		}
		return c.connect(p)
	}
	if s == nil {
		return errPacket
	}
	switch p.kind { //nolint:exhaustive // parsePacket lets no others through
	case typeDisconnect:
		c.drop(s, "client namespace disconnect")
	case typeEvent, typeBinaryEvent:
		s.handler.Event(&Event{Args: p.args, Attachments: attachments, socket: s, id: p.id})
	case typeAck, typeBinaryAck:
		if f := s.answered(p.id); f != nil {
			f(Raw{p.args, attachments})
		}
	}
	return nil
}

func (c *conn) socket(namespace string) *Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if s.namespace == namespace {
			return s
		}
	}
	return nil
}

// connect answers a client that wants to join a namespace.
func (c *conn) connect(p *packet) error {
	s := newSocket(c, p.namespace)
	open := c.server.cfg.Namespaces[p.namespace]
	c.mu.Lock()
	full := len(c.sockets) >= maxSockets
	c.mu.Unlock()
	if full {
		return errPacket
	}
	if open == nil {
		return c.refuse(p.namespace, "Invalid namespace")
	}
	handler, err := open(s, p.data)
	if err != nil {
		s.abandon()
		return c.refuse(p.namespace, err.Error())
	}
	s.handler = handler
	c.session.SetAlarm(0, nil)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		go func() { // no lock of ours is held while others are called
			s.abandon()
			handler.Closed(engine.TransportClose.String())
		}()
		return nil
	}
	c.sockets = append(c.sockets, s)
	c.enqueueLocked(append([]item{{messages: s.reply()}}, s.held...)...)
	s.held, s.joined = nil, true
	return nil
}

// refuse tells the client that it may not join the namespace.
func (c *conn) refuse(namespace, reason string) error {
	why, err := json.Marshal(struct {
		Message string `json:"message"`
	}{reason})
	if err != nil {
		return err
	}
	p := packet{kind: typeConnectError, namespace: namespace, id: -1, data: why}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.enqueueLocked(item{messages: encode(&p, nil)})
	return nil
}

// drop ends a socket.
func (c *conn) drop(s *Socket, reason string) {
	c.mu.Lock()
	i := slices.Index(c.sockets, s)
	if i >= 0 {
		c.sockets = slices.Delete(c.sockets, i, i+1)
		s.gone = true
		c.enqueueLocked(item{socket: s}) // lets go of its source
	}
	c.mu.Unlock()
	if i >= 0 {
		s.handler.Closed(reason)
	}
}

// enqueueLocked queues items for the client, and ends the session when they are
// too many.
func (c *conn) enqueueLocked(items ...item) {
	if c.closed {
		closeSources(items)
		return
	}
	for _, i := range items {
		if i.messages != nil {
			c.queued += i.messages.Size()
		}
	}
	c.queue = append(c.queue, items...)
	if c.queued > c.server.cfg.MaxQueue || len(c.queue) > maxItems {
		c.session.Close(engine.Overflow)
		return
	}
	c.session.Wake()
}

// closeSources lets go of sources that are not to be asked any more.
func closeSources(items []item) {
	for _, i := range items {
		if i.source != nil {
			i.source.Close()
		}
	}
}

// maxItems bounds the queue of a client that asks for one source after the other.
const maxItems = 4096

// Next implements engine.Endpoint.
func (c *conn) Next(wait bool) (*engine.Messages, error) {
	for {
		m, source := c.next()
		if m != nil {
			return m, nil
		}
		if source == nil {
			return c.ask(wait)
		}
		source.Close()
	}
}

// next returns the first messages in the queue, or a source that has been
// replaced on the way there.
func (c *conn) next() (*engine.Messages, Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		i := c.queue[0]
		c.queue[0] = item{}
		if c.queue = c.queue[1:]; len(c.queue) == 0 {
			c.queue = nil
		}
		if i.socket == nil {
			c.queued -= i.messages.Size()
			return i.messages, nil
		}
		old := i.socket.source
		if i.socket.source = i.source; old != nil {
			return nil, old
		}
	}
	return nil, nil
}

// ask returns what the sockets' sources have, one after the other.
func (c *conn) ask(wait bool) (*engine.Messages, error) {
	c.mu.Lock()
	var room [4]Source
	sources := room[:0]
	for _, s := range c.sockets {
		if s.source != nil {
			sources = append(sources, s.source)
		}
	}
	c.mu.Unlock()
	done := 0
	for i := range sources {
		n := (c.turn + i) % len(sources)
		m, err := sources[n].Next(wait)
		switch {
		case m != nil:
			c.turn = n + 1
			return m, nil
		case errors.Is(err, engine.ErrDone):
			done++
		case err != nil:
			return nil, err
		}
	}
	if done > 0 && done == len(sources) {
		return nil, engine.ErrDone
	}
	return nil, nil
}

// Closed implements engine.Endpoint.
func (c *conn) Closed(reason engine.Reason) {
	c.mu.Lock()
	c.closed = true
	sockets, queue := c.sockets, c.queue
	c.sockets, c.queue = nil, nil
	c.mu.Unlock()
	for _, i := range queue {
		if s := i.socket; s != nil && s.gone && s.source != nil {
			s.source.Close()
			s.source = nil
		}
	}
	closeSources(queue)
	for _, s := range sockets {
		if s.source != nil {
			s.source.Close()
		}
		s.handler.Closed(reason.String())
	}
}
