package fleet

import (
	"encoding/binary"
	"time"
)

// answered takes an answer of the server.
func (s *sender) answered(a answer, now time.Time) error {
	s.unheard = time.Time{}
	if a.reply != nil {
		if err := s.carrier.send(a.reply, 0); err != nil {
			return err
		}
	}
	if a.verdict == refused && a.seq != observation {
		s.stats.refuse(a.reason)
	}
	if u := s.meant(&a); u != nil {
		s.settle(u, &a, now)
	}
	if a.command != nil && s.firmware != nil {
		s.obey(a.command, now)
	}
	return nil
}

// obey lets the firmware carry out a command.
func (s *sender) obey(c *command, now time.Time) {
	switch s.firmware.obey(c, now) {
	case noEffect:
	case replan:
		if s.ready {
			s.firmware.unit.takeBack(&s.pending)
			s.ready = false
		}
	case reboot:
		s.stopping = true
	}
}

// meant returns the waiting message that an answer is to; nil when it has been
// answered before.
func (s *sender) meant(a *answer) *unacked {
	switch {
	case s.outbox == nil || a.verdict == silent:
		return nil
	case a.byID:
		return s.outbox.find(func(payload []byte) bool { return binary.BigEndian.Uint16(payload[idAt:]) == a.id })
	case a.hasSeq:
		return s.outbox.waiting[a.seq]
	}
	return nil
}

// settle takes the answer to a message that waits.
func (s *sender) settle(u *unacked, a *answer, now time.Time) {
	switch {
	case a.verdict == received:
		s.outbox.postpone(u, now.Add(coapSeparate))
		return
	case a.reason == overloaded:
		if a.again > 0 {
			s.outbox.postpone(u, now.Add(a.again))
		}
		if r, ok := s.carrier.(renewer); ok {
			r.renew(u.payload)
		}
		return
	}
	s.outbox.settle(u.seq, now)
	if a.verdict != acked || u.seq == observation {
		return
	}
	if s.firmware != nil {
		s.firmware.heard(u.seq)
	}
	s.stats.acked.Add(1)
	s.stats.latencies.add(now.Sub(u.sent))
}
