package engine

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/push/gzipped"
	"github.com/naru-telemetry/naru/push/wsconn"
)

const (
	// maxPoll is about how much the answer to a poll carries, in bytes; the rest
	// waits for the next poll.
	maxPoll = 256 << 10
	// mostForPython is how many packets python-engineio takes in one payload. It
	// drops the connection over one that has more.
	mostForPython = 16
	// noopPause is between answers to polls while the client tries a WebSocket.
	noopPause = 100 * time.Millisecond
	// probeGrace is how long a poll waits that comes while the client tries a
	// WebSocket: what it has sent there just before has then arrived too.
	probeGrace = 20 * time.Millisecond
	// postTimeout ends a client that does not send what it has begun to.
	postTimeout = 30 * time.Second
)

// openPolling begins the session with the answer to its first poll.
func (s *Session) openPolling(w http.ResponseWriter, r *http.Request) {
	s.mostPackets = packetsFor(r)
	s.endpoint = s.server.cfg.Open(s, r)
	s.begin(Polling)
	s.leaveOutlet()
	answer(w, r, s.openPacket(WebSocket.String()))
}

func answer(w http.ResponseWriter, r *http.Request, payload []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wsconn.Jittered(wsconn.WriteTimeout)))
	_ = gzipped.Write(w, r, payload) // a client that is gone comes back as a new session
}

// servePoll answers as soon as there is something.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	wake, probed, ok := s.enterPoll(w, r)
	if !ok {
		return
	}
	var pause <-chan time.Time
	for {
		payload, wait, done := s.pollOnce(wake)
		switch {
		case done && payload == nil && probed: // the client should not have sent it
			bad(w, codeRequest)
			return
		case done && payload == nil:
			answer(w, r, []byte{byte(typeNoop)})
			return
		case done:
			answer(w, r, payload)
			return
		}
		if wait > 0 && pause == nil {
			pause = time.After(wait)
		}
		select {
		case <-wake:
		case <-pause:
			pause = nil
		case <-r.Context().Done():
			s.leavePoll(wake)
			s.Close(TransportError)
			return
		}
	}
}

// enterPoll makes the request the one that waits; probed tells that the client is
// about to leave for a WebSocket. It reports false when the request has been
// answered.
func (s *Session) enterPoll(w http.ResponseWriter, r *http.Request) (wake chan struct{}, probed, ok bool) {
	s.mu.Lock()
	switch {
	case s.state == closing:
		farewell := s.farewell
		s.state = closed
		s.server.agenda.clear(s.hold)
		s.forget()
		s.mu.Unlock()
		answer(w, r, []byte{byte(farewell)})
		return nil, false, false
	case s.state == closed:
		s.mu.Unlock()
		bad(w, codeSession)
		return nil, false, false
	case s.poll != nil: // two at a time: the client has lost its way
		s.closeLocked(TransportError)
		s.mu.Unlock()
		bad(w, codeRequest)
		return nil, false, false
	}
	defer s.mu.Unlock()
	if late := time.Now().Add(probeGrace); s.probed && s.noopAt.Before(late) {
		s.noopAt = late
	}
	s.poll = make(chan struct{}, 1)
	return s.poll, s.probed, true
}

func (s *Session) leavePoll(wake chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poll == wake {
		s.poll = nil
	}
}

// pollOnce returns what the poll is answered with, when it is done, nil when the
// session has moved to a WebSocket; or after which time to look again at the
// latest, 0: when it is woken.
func (s *Session) pollOnce(wake chan struct{}) (payload []byte, wait time.Duration, done bool) {
	s.mu.Lock()
	switch now := time.Now(); {
	case s.via != Polling:
		s.poll = nil
		s.mu.Unlock()
		return nil, 0, true
	case s.state != open:
		s.poll = nil
		s.mu.Unlock()
		return []byte{byte(s.farewell)}, 0, true
	case s.busy, !s.woken && !s.ping && !s.probed:
		s.mu.Unlock()
		return nil, 0, false
	case s.probed && !s.woken && !s.ping:
		defer s.mu.Unlock()
		if rest := s.noopAt.Sub(now); rest > 0 {
			return nil, rest, false
		}
		s.noopAt, s.poll = now.Add(noopPause), nil
		return []byte{byte(typeNoop)}, 0, true
	}
	if s.ping {
		payload, s.ping = append(payload, byte(typePing)), false
	}
	s.woken, s.busy = false, true
	s.mu.Unlock()
	payload, more, err := s.gather(payload)
	if err != nil {
		s.fail(err)
	}
	return s.pollEnd(wake, payload, more)
}

// pollEnd gives the outlet up and returns what pollOnce does.
func (s *Session) pollEnd(wake chan struct{}, payload []byte, more bool) (_ []byte, wait time.Duration, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := s.state != open
	s.woken = s.woken || more
	if !s.leaveOutletLocked() { // the session has moved to a WebSocket meanwhile
		s.handOn()
	}
	switch {
	case ended && s.farewell != 0:
		payload = append(appendSeparated(payload), byte(s.farewell))
	case len(payload) == 0:
		if s.woken || s.probed || s.via != Polling {
			s.startLocked()
		}
		return nil, 0, false
	}
	if s.poll == wake {
		s.poll = nil
	}
	return payload, 0, true
}

// gather appends what the endpoint has to a payload; more tells that there may be
// more than one answer carries.
func (s *Session) gather(payload []byte) (_ []byte, more bool, err error) {
	left := s.mostPackets
	if len(payload) > 0 {
		left-- // a ping
	}
	for len(payload) < maxPoll && left > 0 {
		if len(s.rest) == 0 {
			m, err := s.endpoint.Next(true)
			if m == nil && err == nil && s.isDraining() {
				err = ErrDone
			}
			if m == nil || err != nil {
				return payload, false, err
			}
			if s.mostPackets == math.MaxInt { // all of it, as others get it too
				payload = append(appendSeparated(payload), m.asPayload()...)
				continue
			}
			s.rest = m.frames
		}
		payload, s.rest, left = appendPackets(payload, s.rest, left)
	}
	return payload, true, nil
}

// packetsFor returns how many packets the client takes in one payload.
func packetsFor(r *http.Request) int {
	if strings.Contains(strings.ToLower(r.UserAgent()), "python") {
		return mostForPython
	}
	return math.MaxInt
}

func (s *Session) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// servePost takes packets from the client.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	alive, first := s.enterPost()
	if first {
		defer s.leavePost()
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case !alive:
		bad(w, codeSession)
		return
	case !first, kind == "application/octet-stream": // bytes are a thing of older protocols
		s.Close(TransportError)
		bad(w, codeRequest)
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(postTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.server.cfg.MaxPayload)))
	if err != nil {
		s.Close(TransportError)
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			refuse(w, http.StatusRequestEntityTooLarge, codeRequest, "")
			return
		}
		bad(w, codeRequest)
		return
	}
	if !s.receive(body) {
		bad(w, codeRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "ok")
}

// enterPost makes the request the one that is taken, if it is the first and the
// session alive.
func (s *Session) enterPost() (alive, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	alive, first = s.state == open, !s.posting
	s.posting = true
	return alive, first
}

func (s *Session) leavePost() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posting = false
}

// receive handles the packets of a payload in order. It reports false when they
// cannot be understood.
func (s *Session) receive(payload []byte) bool {
	s.receiving.Lock()
	defer s.receiving.Unlock()
	switch err := parsePayload(payload, s.handle); {
	case err == nil:
		return true
	case errors.Is(err, errClosedByClient):
		s.Close(TransportClose)
		return true
	}
	s.Close(ParseError)
	return false
}
