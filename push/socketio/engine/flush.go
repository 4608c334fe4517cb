package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/push/wsconn"
)

// maxBatch is about how much is written with one system call, in bytes, where it must
// be copied for that.
const maxBatch = 64 << 10

// batches are buffers for frames that are written together.
var batches = sync.Pool{New: func() any { b := make([]byte, 0, maxBatch); return &b }}

// handOn gives the outlet of a session that is on a WebSocket to the writers.
func (s *Session) handOn() {
	s.server.running.Add(1)
	s.server.writers.Add(s)
}

// flush writes what there is to the WebSocket, and gives the outlet up. It does not
// wait, for the client or the endpoint: a goroutine of the session's own goes on then.
func (s *Session) flush() { s.advance(false) }

// advance is flush, but waits when it is patient.
func (s *Session) advance(patient bool) {
	for {
		s.mu.Lock()
		ping := s.ping
		s.ping, s.woken = false, false
		alive := s.state == open
		s.mu.Unlock()
		switch {
		case alive && !s.write(ping, patient):
			return // somebody else goes on
		case s.leaveOutlet():
			s.server.running.Done()
			return
		case !patient:
			s.server.writers.Add(s) // it is the others' turn
			return
		}
	}
}

// write writes about maxBatch at most. It reports false when it has left the rest to a
// goroutine.
func (s *Session) write(ping, patient bool) bool {
	b := batch{conn: s.conn.conn}
	t := s.fill(&b, ping, patient)
	if patient {
		s.wrote(b.flush(), t)
		return true
	}
	rest, err := b.try()
	if rest != nil || errors.Is(err, wsconn.ErrBusy) {
		go s.patiently(b, rest, t)
		return false
	}
	s.wrote(err == nil, t)
	if errors.Is(t.err, ErrWait) {
		go s.advance(true)
		return false
	}
	return true
}

// patiently writes what the client did not take at once, rest or all of the batch, and
// goes on from there.
func (s *Session) patiently(b batch, rest []byte, t turn) {
	if rest != nil {
		s.wrote(b.finish(rest), t)
	} else {
		s.wrote(b.flush(), t)
	}
	s.advance(true)
}

// turn is what a write has in it, and what is behind it.
type turn struct {
	ping bool
	more bool  // there may be more
	err  error // the endpoint's
}

// fill gathers what is to be written.
func (s *Session) fill(b *batch, ping, patient bool) turn {
	if ping {
		b.add(pingFrame)
	}
	if len(s.rest) > 0 {
		b.add(s.rest)
		s.rest = nil
	}
	for b.size < maxBatch {
		m, err := s.endpoint.Next(patient)
		if err == nil && m == nil && s.isDraining() {
			err = ErrDone
		}
		if m == nil || err != nil {
			return turn{ping, errors.Is(err, ErrWait), err}
		}
		b.add(m.frames)
	}
	return turn{ping, true, nil}
}

// wrote notes what has come of a write, that there may be more to write, and gives the
// client its time to answer a ping from now on: before, it was behind what else was
// written.
func (s *Session) wrote(ok bool, t turn) {
	switch {
	case !ok:
		s.Close(TransportError)
	case t.err != nil && !errors.Is(t.err, ErrWait):
		s.fail(t.err)
	}
	if !t.more && !t.ping {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.woken = s.woken || t.more
	if t.ping && s.pinged && s.state == open {
		now := time.Now()
		s.deadline = now.Add(s.server.cfg.PingTimeout)
		s.server.agenda.set(&s.beat, s.server.cfg.PingTimeout, now)
	}
}

// batch gathers frames for one write. A lone one is written as it stands.
type batch struct {
	conn  *wsconn.Conn
	first []byte
	rest  *[]byte // holds first too; nil: there is none but first
	size  int
}

func (b *batch) add(frames []byte) {
	b.size += len(frames)
	switch {
	case b.first == nil:
		b.first = frames
		return
	case b.rest == nil:
		b.rest, _ = batches.Get().(*[]byte)
		*b.rest = append((*b.rest)[:0], b.first...)
	}
	*b.rest = append(*b.rest, frames...)
}

func (b *batch) bytes() []byte {
	if b.rest != nil {
		return *b.rest
	}
	return b.first
}

// try writes what was gathered as wsconn.Conn.TryWrite does.
func (b *batch) try() (rest []byte, err error) {
	if b.first == nil {
		return nil, nil
	}
	rest, err = b.conn.TryWrite(b.bytes())
	if rest == nil && !errors.Is(err, wsconn.ErrBusy) {
		b.release()
	}
	return rest, err
}

// finish writes the rest that try has left. It reports false when the connection has
// failed, as flush does.
func (b *batch) finish(rest []byte) bool {
	_, err := b.conn.Finish(rest)
	b.release()
	return err == nil
}

// flush writes what was gathered.
func (b *batch) flush() bool {
	if b.first == nil {
		return true
	}
	_, err := b.conn.Write(b.bytes())
	b.release()
	return err == nil
}

// release lets go of the buffer.
func (b *batch) release() {
	if b.rest != nil && cap(*b.rest) <= 2*maxBatch {
		batches.Put(b.rest)
	}
	b.rest = nil
}
