package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/wsconn"
)

const (
	// closeGrace is how long a client may take to answer the closing handshake.
	closeGrace = 3 * time.Second
)

var (
	pingFrame  = []byte{0x80 | wsconn.Text, 1, byte(typePing)}
	probeFrame = append(wsconn.AppendHeader(nil, wsconn.Text, len(probePong)), probePong...)
)

const (
	probePing = "probe" // behind the type
	probePong = "3probe"
)

// socket is a WebSocket of a session.
type socket struct {
	ws      *websocket.Conn
	conn    *wsconn.Conn
	waiter  *wsconn.Waiter
	running *sync.WaitGroup

	mu      sync.Mutex  // held when closing is set
	closing atomic.Bool // the library may read, for the closing handshake
}

// idle waits until there is something to read.
func (c *socket) idle() {
	c.mu.Lock()
	empty := !c.closing.Load() && !c.conn.Unread()
	c.mu.Unlock()
	if empty {
		c.waiter.Wait()
	}
}

// close notes that the connection ends, and reports whether it was ending already.
func (c *socket) close() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing.Swap(true)
}

// accept makes the request a WebSocket, or answers it.
func (srv *Server) accept(w http.ResponseWriter, r *http.Request) *socket {
	c := &socket{running: &srv.running}
	ws, conn, err := wsconn.Accept(w, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin has been looked at
		CompressionMode:    websocket.CompressionDisabled,
		OnPingReceived:     func(context.Context, []byte) bool { return !c.closing.Load() },
	})
	if err != nil {
		if refused, ok := errors.AsType[*wsconn.Refusal](err); ok {
			refuse(w, refused.Status, codeRequest, refused.Reason)
		}
		return nil
	}
	ws.SetReadLimit(int64(srv.cfg.MaxPayload))
	c.ws, c.conn, c.waiter = ws, conn, wsconn.NewWaiter(conn.Conn, func() {})
	return c
}

// closeFor ends the connection of a session that has ended.
func (c *socket) closeFor(reason Reason) {
	switch reason {
	case PingTimeout, TransportError, Overflow:
		c.cut() // there is nobody to talk to
	case ParseError:
		c.end(websocket.StatusPolicyViolation, reason.String())
	case ShuttingDown:
		c.end(websocket.StatusGoingAway, "the server is stopping")
	case TransportClose, ForcedClose, reasons:
		c.end(websocket.StatusNormalClosure, "")
	}
}

func (c *socket) cut() {
	c.close()
	_ = c.conn.Close()
}

// end does the closing handshake, but does not wait long for the client's part.
func (c *socket) end(code websocket.StatusCode, reason string) {
	if c.close() {
		return
	}
	c.running.Go(func() {
		enough := time.AfterFunc(closeGrace, func() { _ = c.conn.Close() })
		defer enough.Stop()
		_ = c.ws.Close(code, reason)
	})
}

// openWebSocket begins the session on a WebSocket.
func (s *Session) openWebSocket(w http.ResponseWriter, r *http.Request) {
	c := s.server.accept(w, r)
	if c == nil {
		s.release()
		return
	}
	s.endpoint = s.server.cfg.Open(s, r)
	s.conn = c
	s.begin(WebSocket)
	hello := s.openPacket()
	if _, err := c.conn.Write(append(wsconn.AppendHeader(nil, wsconn.Text, len(hello)), hello...)); err != nil {
		s.Close(TransportError)
	}
	// The handler's return frees the server's buffers.
	s.server.running.Go(func() { s.read(c) }) //nolint:contextcheck // the request's context says nothing after Hijack
	if !s.leaveOutlet() {
		s.handOn()
	}
}

// upgrade tries a WebSocket for a session that has begun with polling.
func (s *Session) upgrade(w http.ResponseWriter, r *http.Request) {
	c := s.server.accept(w, r)
	if c == nil {
		return
	}
	s.mu.Lock()
	if s.state != open || s.via == WebSocket || s.probe != nil {
		s.mu.Unlock()
		c.end(websocket.StatusPolicyViolation, codeTexts[codeRequest])
		return
	}
	s.probe = c
	s.probing = &entry{f: s.giveUpProbe}
	s.server.agenda.set(s.probing, s.server.cfg.UpgradeTimeout, time.Now())
	s.mu.Unlock()
	s.server.running.Go(func() { //nolint:contextcheck // as above
		if s.try(c) {
			s.server.running.Go(func() { s.read(c) })
		}
	})
}

// try waits for the probe and for the upgrade. It reports whether the session has
// moved to the WebSocket.
func (s *Session) try(c *socket) bool {
	if c.expect(typePing, probePing) {
		s.mu.Lock()
		if s.probe == c {
			s.probed, s.noopAt = true, time.Now()
			s.startLocked()
		}
		s.mu.Unlock()
		if _, err := c.conn.Write(probeFrame); err == nil && c.expect(typeUpgrade, "") && s.move(c) {
			return true
		}
	}
	s.dropProbe(c)
	c.end(websocket.StatusNormalClosure, "")
	return false
}

// expect reads one packet, which is to be this one.
func (c *socket) expect(kind packetType, data string) bool {
	t, b, err := c.ws.Read(context.Background())
	if err != nil || t != websocket.MessageText {
		return false
	}
	p, err := parseText(b)
	return err == nil && p.kind == kind && string(p.data) == data
}

// move makes the WebSocket the session's transport. It reports false when it is
// too late for that.
func (s *Session) move(c *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open || s.probe != c {
		return false
	}
	s.server.agenda.clear(s.probing)
	s.conn, s.probe, s.probed = c, nil, false
	s.startLocked() // a poll that waits ends
	s.via = WebSocket
	s.server.now[Polling].Add(-1)
	s.server.now[WebSocket].Add(1)
	s.server.total[WebSocket].Add(1)
	s.woken = true
	s.startLocked()
	return true
}

// dropProbe goes on without the WebSocket that was tried.
func (s *Session) dropProbe(c *socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.probe == c {
		s.server.agenda.clear(s.probing)
		s.probe, s.probed = nil, false
	}
}

// giveUpProbe is called by the agenda when an upgrade takes too long.
func (s *Session) giveUpProbe() {
	s.mu.Lock()
	c := s.probe
	s.mu.Unlock()
	if c != nil {
		s.dropProbe(c)
		c.cut()
	}
}

// read takes packets until the connection ends. Behind each it goes on in another
// goroutine: the stack that reading and handling a packet has needed is twice what an
// idle session costs.
func (s *Session) read(c *socket) {
	c.idle()
	t, b, err := c.ws.Read(context.Background())
	if err != nil {
		reason := TransportError
		if websocket.CloseStatus(err) != -1 {
			reason = TransportClose
		}
		s.Close(reason)
		_ = c.ws.CloseNow()
		return
	}
	if err := s.take(t, b); err != nil {
		reason := ParseError
		if errors.Is(err, errClosedByClient) {
			reason = TransportClose
		}
		s.Close(reason)
	}
	s.server.running.Go(func() { s.read(c) })
}

// take handles one message of the WebSocket.
func (s *Session) take(t websocket.MessageType, b []byte) error {
	p := packet{kind: typeMessage, binary: true, data: b}
	if t == websocket.MessageText {
		var err error
		if p, err = parseText(b); err != nil {
			return err
		}
	}
	s.receiving.Lock()
	defer s.receiving.Unlock()
	return s.handle(p)
}
