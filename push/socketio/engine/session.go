package engine

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Session is one client. Its methods may be called concurrently.
type Session struct {
	server   *Server
	id       string
	endpoint Endpoint
	release  func()       // of Config.Admit
	holding  atomic.Int32 // what keeps it from being called: the endpoint, and the place in the table

	mostPackets int    // that the client takes in the answer to a poll
	rest        []byte // frames that the last answer had no room for; owned by who has the outlet

	receiving sync.Mutex // held while the endpoint receives

	mu    sync.Mutex // guards following
	state state
	via   Transport
	// busy is set while somebody has the outlet: asks the endpoint and writes.
	busy     bool
	woken    bool // the endpoint may have something
	draining bool // the session ends when the endpoint has nothing more
	reason   Reason

	poll     chan struct{} // of the request that waits: holds a wake; nil: none waits
	posting  bool
	farewell packetType // closing: for the next poll

	conn   *socket   // the WebSocket in use
	probe  *socket   // one that is being tried
	probed bool      // and has been answered: polls end at once
	noopAt time.Time // when the next of them may be told so

	pinged   bool // a ping is under way
	ping     bool // and has not been written
	deadline time.Time

	beat    entry  // of the heartbeat
	alarm   *entry // the owner's; nil: none, as for the others
	probing *entry // ends a probe that takes too long
	hold    *entry // ends the wait of a closed session for a poll
}

type state int

const (
	open    state = iota
	closing       // closed, but a poll is still to be told
	closed
)

const (
	// closeNoop is for how long a poll that crosses the client's own closing is
	// answered as if it had waited.
	closeNoop = time.Second
	// closeHold is for how long a session that the server has closed waits for a
	// poll, to tell it.
	closeHold = 30 * time.Second
)

// newSession returns a session that is not in use yet.
func (srv *Server) newSession(release func()) *Session {
	s := &Session{server: srv, id: newID(), release: release, busy: true}
	s.holding.Store(2)
	s.beat.f = s.heartbeat
	return s
}

// begin puts the session into use. The caller has the outlet.
func (s *Session) begin(via Transport) {
	srv := s.server
	s.via = via
	srv.now[via].Add(1)
	srv.total[via].Add(1)
	srv.running.Add(1)
	srv.mu.Lock()
	srv.sessions[s.id] = s
	stopping := srv.stopping
	srv.mu.Unlock()
	srv.agenda.set(&s.beat, srv.cfg.PingInterval, time.Now())
	if stopping {
		s.drain()
	}
}

// openPacket returns the first packet of a session.
func (s *Session) openPacket(upgrades ...string) []byte {
	if upgrades == nil {
		upgrades = []string{}
	}
	c := &s.server.cfg
	b, _ := json.Marshal(struct { // cannot fail
		ID           string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"`
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"`
	}{s.id, upgrades, c.PingInterval.Milliseconds(), c.PingTimeout.Milliseconds(), c.MaxPayload})
	return append([]byte{byte(typeOpen)}, b...)
}

func (s *Session) transport() Transport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.via
}

// Wake has the endpoint asked for messages. It does not block.
func (s *Session) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.woken = true
	s.startLocked()
}

// startLocked sees to it that what is to be written is.
func (s *Session) startLocked() {
	switch {
	case s.via == WebSocket && s.state == open && !s.busy && (s.woken || s.ping):
		s.busy = true
		s.handOn()
	case s.poll != nil:
		select {
		case s.poll <- struct{}{}:
		default: // woken already
		}
	}
}

// SetAlarm has f called after d, unless the session has ended or the alarm has
// been set again. A nil f takes it back.
func (s *Session) SetAlarm(d time.Duration, f func()) {
	s.mu.Lock()
	old := s.alarm
	s.alarm = nil
	if f != nil && s.state == open {
		s.alarm = &entry{f: f}
		s.server.agenda.set(s.alarm, d, time.Now())
	}
	s.mu.Unlock()
	s.server.agenda.clear(old)
}

// heartbeat is called by the agenda: when a ping is due, and when the answer to
// it is overdue.
func (s *Session) heartbeat() {
	cfg := &s.server.cfg
	s.mu.Lock()
	if s.state != open {
		s.mu.Unlock()
		return
	}
	if s.pinged {
		s.mu.Unlock()
		s.Close(PingTimeout)
		return
	}
	// From when the ping was due, so that what is late here does not add up.
	base := time.Now()
	if late := base.Sub(s.beat.due); late > 0 && late < cfg.PingTimeout/16 {
		base = s.beat.due
	}
	s.pinged, s.ping = true, true
	s.deadline = base.Add(cfg.PingTimeout)
	s.server.agenda.set(&s.beat, cfg.PingTimeout, base)
	s.startLocked()
	s.mu.Unlock()
}

// pong notes that the client lives.
func (s *Session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pinged && s.state == open {
		s.pinged = false
		s.server.agenda.set(&s.beat, s.server.cfg.PingInterval, time.Now())
	}
}

// overdue reports whether the client has had its time to answer a ping.
func (s *Session) overdue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == open && s.pinged && !time.Now().Before(s.deadline)
}

// errClosedByClient ends the reading of a session whose client has closed it.
var errClosedByClient = errors.New("engine: the client has closed the session")

// handle acts on a packet. The caller holds receiving.
func (s *Session) handle(p packet) error {
	s.mu.Lock()
	alive := s.state == open
	s.mu.Unlock()
	if !alive {
		return errClosedByClient
	}
	switch p.kind {
	case typeMessage:
		return s.endpoint.Receive(p.binary, p.data)
	case typePong:
		s.pong()
	case typeClose:
		return errClosedByClient
	case typeNoop, typeUpgrade: // of no use here, and harmless
	case typeOpen, typePing:
		return errPacket
	default:
		return errPacket
	}
	return nil
}

// Close ends the session. Messages that have not been asked for are not sent.
func (s *Session) Close(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(reason)
}

func (s *Session) closeLocked(reason Reason) {
	if s.state != open {
		return
	}
	srv := s.server
	s.state, s.reason = closed, reason
	srv.ended[reason].Add(1)
	srv.now[s.via].Add(-1)
	srv.agenda.clear(&s.beat)
	srv.agenda.clear(s.probing)
	srv.agenda.clear(s.alarm)
	if s.probe != nil {
		s.probe.end(websocket.StatusNormalClosure, "")
		s.probe = nil
	}
	if s.conn != nil {
		s.conn.closeFor(reason)
	} else {
		s.leavePollingLocked(reason)
	}
	if s.state == closed {
		s.forget()
	}
	if !s.busy {
		s.finishLocked()
	}
}

// leavePollingLocked tells the poll that waits, or sees to it that the next one
// is told.
func (s *Session) leavePollingLocked(reason Reason) {
	hold := closeHold
	switch reason { //nolint:exhaustive // the others are as the default
	case PingTimeout, TransportError, ParseError:
		hold = 0 // nobody who comes is to be told
	case TransportClose:
		s.farewell, hold = typeNoop, closeNoop
	case ShuttingDown:
		hold = 0
	}
	if s.farewell == 0 {
		s.farewell = typeClose
	}
	switch {
	case s.poll != nil:
		s.startLocked()
	case hold > 0:
		s.state = closing
		s.hold = &entry{f: s.forgetClosing}
		s.server.agenda.set(s.hold, hold, time.Now())
	}
}

// forgetClosing ends the wait for a poll that is to be told.
func (s *Session) forgetClosing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closing {
		s.state = closed
		s.forget()
	}
}

// forget takes the session out of the table.
func (s *Session) forget() {
	s.server.mu.Lock()
	delete(s.server.sessions, s.id)
	s.server.mu.Unlock()
	s.letGo()
}

// letGo releases a session that has neither an endpoint nor a place in the table any
// more.
func (s *Session) letGo() {
	if s.holding.Add(-1) == 0 {
		s.release()
	}
}

// finishLocked lets go of the endpoint. Nobody has the outlet, nor will.
func (s *Session) finishLocked() {
	s.busy = true
	go func() {
		defer s.server.running.Done()
		s.endpoint.Closed(s.reason)
		s.letGo()
	}()
}

// leaveOutlet gives the outlet up. It returns false, and does not, when there is
// something to be flushed to a WebSocket.
func (s *Session) leaveOutlet() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leaveOutletLocked()
}

func (s *Session) leaveOutletLocked() bool {
	if s.state != open {
		s.busy = false
		s.finishLocked()
		return true
	}
	if s.via == WebSocket && (s.woken || s.ping) {
		return false
	}
	s.busy = false
	return true
}

// fail ends the session because of what its endpoint has said.
func (s *Session) fail(err error) {
	if errors.Is(err, ErrDone) {
		s.Close(ShuttingDown)
		return
	}
	s.Close(ForcedClose)
}

// drain has the session end when its endpoint has nothing more to send.
func (s *Session) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining, s.woken = true, true
	if s.via == Polling && s.poll == nil && !s.busy {
		s.closeLocked(ShuttingDown) // what is left is asked for again, with the cursor
		return
	}
	s.startLocked()
}

// abandon cuts the connection of a session that does not end.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closeLocked(ShuttingDown)
	if s.conn != nil {
		_ = s.conn.conn.Close()
	}
}
