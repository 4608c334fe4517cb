package ingest

import (
	"bytes"
	"hash/maphash"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// group is the message that neighbouring lines with one seq form together: it is
// a retransmission as a whole or not at all, and answered once.
type group struct {
	open    bool
	seq     uint64
	print   uint64 // of its first line; where that comes again the message begins anew
	device  []byte // as the lines name it,
	named   bool   // known from a line that could be read
	settled bool   // repeat is valid: the window has been asked, and told if it is new
	repeat  bool
	marked  bool // the seq is among the marks of the present batch
	lost    bool // an earlier batch with part of it could not be stored
	answer  int  // number of its answer among those of the present batch; 0: none yet
}

// join makes a message with a seq part of the group, or begins a new one with
// it. A line that cannot be read joins by its seq alone.
func (g *group) join(m *wire.Message, print uint64, readable bool) {
	same := g.open && g.seq == m.Seq && g.print != print &&
		(!readable || !g.named || bytes.Equal(g.device, m.Device))
	if !same {
		*g = group{open: true, seq: m.Seq, print: print, device: g.device[:0]}
	}
	if readable && !g.named {
		g.named = true
		g.device = append(g.device, m.Device...)
	}
}

// message takes one decoded message through the gate: its readings to the
// batch, its refusal to the inspector, its answer to those that wait for the
// batch.
func (s *Session) message(peer Peer, m *wire.Message, bad error) {
	switch {
	case m.HasSeq:
		s.group.join(m, maphash.Bytes(s.p.gate.seed, m.Raw), bad == nil)
	case bad == nil:
		s.group.open = false
	}
	if s.request != nil {
		s.request.prepare(m)
	}
	a := answer{from: s, peer: peer, seq: m.Seq, hasSeq: m.HasSeq}
	refusal := s.admit(&a, m, bad)
	if refusal != nil {
		s.p.note(peer, m, refusal, device.TimeOf(s.now))
		a.refused, a.reason = true, refusal.Reason
	}
	switch {
	case s.request != nil:
		s.request.note(&a, m, bad, refusal)
	case m.Ack:
		s.ask(a)
	}
}

// ask notes an answer. Lines of one message share one: the first refusal, else
// the acknowledgement.
func (s *Session) ask(a answer) {
	w := s.work
	if a.hasSeq && s.group.answer > 0 {
		old := &w.asked[s.group.answer-1]
		old.durable = old.durable || a.durable
		if a.device != "" {
			old.device = a.device
		}
		if a.settled != nil { // what is noted later is noted together with what came before
			old.settled = a.settled
		}
		if a.refused && !old.refused {
			old.refused, old.reason = true, a.reason
		}
		return
	}
	w.asked = append(w.asked, a)
	if a.hasSeq {
		s.group.answer = len(w.asked)
	}
}

// admit appends the readings of a message to the batch, and says in a what they
// wait for. A refusal may concern some of them only.
func (s *Session) admit(a *answer, m *wire.Message, bad error) *RefusalError {
	if bad != nil {
		return refuseSyntax(bad)
	}
	greeting := s.stream && len(m.Fields) == 0 && len(m.Token) > 0 && m.Outcome.Command == 0
	if len(m.Fields) == 0 && !greeting && m.Outcome.Command == 0 {
		return &RefusalError{Reason: Empty, Detail: "the message holds no reading"}
	}
	if m.HasSeq && s.group.lost {
		return &RefusalError{Reason: Overload, Detail: "the beginning of the message could not be stored"}
	}
	d, refusal := s.lookup(m.Device, a.peer)
	if refusal != nil {
		return refusal
	}
	defer d.mu.Unlock()
	refusal = s.admitLocked(a, d, m, greeting)
	if len(d.metrics) == 0 {
		if s.p.gate.dropLocked(d); d.gone {
			s.device = nil
		}
	}
	return refusal
}

// admitLocked does it for a device, whose lock the caller holds. A greeting is a
// message on a stream that has a token and no readings.
func (s *Session) admitLocked(a *answer, d *deviceState, m *wire.Message, greeting bool) *RefusalError {
	g := s.p.gate
	if refusal := s.speaksLocked(d, a.peer, m); refusal != nil {
		return refusal
	}
	now := device.TimeOf(s.now)
	at, absolute, wrong := moment(m.Time, now)
	if refusal := s.newcomerLocked(d, a.peer, m, at, now); refusal != nil {
		return refusal
	}
	a.device = d.id
	if greeting {
		return nil
	}
	if m.Outcome.Command != 0 {
		a.settled = s.p.mailbox.Settle(d.id, m.Outcome)
	}
	if addr := a.peer.Addr.Addr(); addr != d.addr || d.address.gone.Load() {
		d.addr, d.address = addr, g.addresses.of(addr, s.at)
	}
	d.transport = a.peer.Transport
	if m.Time.Set {
		d.clockWrong = wrong
	}
	seen := sighting{seq: m.Seq, print: uint16(s.group.print), at: absolute, now: s.now}
	if m.HasSeq && s.repeatedLocked(d, seen) {
		g.hearLocked(d, s.at, now)
		s.repeatLocked(a, d, m)
		return nil
	}
	if refusal := g.spendLocked(d, s.at, max(len(m.Fields), 1), m.HasSeq && s.group.settled); refusal != nil {
		return refusal
	}
	if len(m.Fields) == 0 { // an outcome comes alone
		g.hearLocked(d, s.at, now)
		return nil
	}
	kept, refusal := s.keepLocked(d, m, device.Reading{Device: d.id, Time: at, Received: now})
	if kept == 0 {
		return refusal
	}
	a.inBatch, a.durable = true, true
	if m.HasSeq {
		s.markLocked(d, seen)
	}
	if wrong {
		g.wrongClock.Add(int64(kept))
	} else if absolute != 0 {
		d.skew.note(absolute - now)
	}
	g.hearLocked(d, s.at, now)
	return refusal
}

// keepLocked appends the readings of m to the batch, like r but for metric and
// value, and returns how many. The caller holds d.mu.
func (s *Session) keepLocked(d *deviceState, m *wire.Message, r device.Reading) (kept int, refusal *RefusalError) {
	w := s.work
	for i := range m.Fields {
		f := &m.Fields[i]
		var metric known
		var e *RefusalError
		if v, err := f.Value.Admit(); err != nil {
			e = refuse(BadValue, err)
		} else {
			r.Value = v
			metric, e = s.p.gate.heardMetricLocked(d, f.Metric, s.at)
		}
		if e != nil {
			if refusal == nil {
				refusal = e
			}
			continue
		}
		r.Metric = metric.metric
		if metric.role != noRole {
			d.measureLocked(metric.role, r.Value)
		}
		w.batch = append(w.batch, r)
		w.text += len(f.Value.Text)
		kept++
	}
	return kept, refusal
}

// lookup returns the state of the device with its lock held; most payloads repeat
// the last name.
func (s *Session) lookup(name []byte, peer Peer) (*deviceState, *RefusalError) {
	for {
		if s.device == nil || !bytes.Equal(s.name, name) {
			d, refusal := s.p.gate.identify(name, peer)
			if refusal != nil {
				return nil, refusal
			}
			s.device, s.name = d, append(s.name[:0], name...)
		}
		d := s.device
		if d.mu.Lock(); !d.gone {
			return d, nil
		}
		d.mu.Unlock()
		s.device = nil
	}
}

// repeatedLocked reports whether the message of the present group is a
// retransmission. The caller holds d.mu.
func (s *Session) repeatedLocked(d *deviceState, seen sighting) bool {
	g := &s.group
	if !g.settled && d.window.repeated(seen) {
		g.settled, g.repeat = true, true
	}
	return g.repeat
}

// repeatLocked counts a retransmission and says in a what the same answer as to
// the original waits for. The caller holds d.mu.
func (s *Session) repeatLocked(a *answer, d *deviceState, m *wire.Message) {
	d.duplicates++
	s.p.gate.duplicates.Add(1)
	if !m.Ack && s.request == nil {
		return
	}
	a.durable = true
	a.flights, a.inBatch = d.othersLocked(s.flight)
	for i := range m.Fields {
		f := &m.Fields[i]
		reason, refused := s.p.gate.refusedLocked(d, f.Metric)
		if !refused {
			if _, err := f.Value.Admit(); err != nil {
				reason, refused = BadValue, true
			}
		}
		if refused {
			a.refused, a.reason = true, reason
			return
		}
	}
}

// markLocked marks the seq of a message that has readings in the batch. The
// caller holds d.mu.
func (s *Session) markLocked(d *deviceState, seen sighting) {
	g := &s.group
	if !g.settled {
		d.window.take(seen)
		g.settled = true
	}
	if g.marked {
		return
	}
	g.marked = true
	if s.flight == nil {
		s.flight = newFlight()
	}
	d.boardLocked(s.flight)
	s.work.marks = append(s.work.marks, mark{d, seen.seq})
}
