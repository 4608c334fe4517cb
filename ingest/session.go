package ingest

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// sessionBatch is after how many readings a session hands them on without being
// asked, so that one huge payload cannot exceed what the sink takes at once.
const sessionBatch = 4096

// Session takes the payloads of one socket goroutine through the pipeline. It
// must not be shared.
type Session struct {
	p      *Pipeline
	stream bool
	reply  ReplyFunc
	dec    wire.Decoder
	batch  []device.Reading
	asked  []answer // answers to messages of the batch
	marks  []mark   // seqs of the batch, to be forgotten if it is lost
	device *deviceState
	name   []byte // what device was looked up by
	from   Peer   // and for whom
	now    time.Time

	// The message that lines with one seq form together, see sameMessage.
	current struct {
		device *deviceState
		seq    uint64
		first  uint64 // hash of its first line
		dup    bool
	}
	seed maphash.Seed

	unanswered atomic.Int64  // answers on their way
	settled    chan struct{} // told when there are none any more
}

type mark struct {
	device *deviceState
	seq    uint64
}

// NewSession returns a session. A stream waits for room in the sink and parts
// its payloads at newlines; otherwise a payload is a datagram, and when there is
// no room its readings are refused. reply sends answers.
func (p *Pipeline) NewSession(stream bool, reply ReplyFunc) *Session {
	return &Session{p: p, stream: stream, reply: reply, seed: maphash.MakeSeed(), settled: make(chan struct{}, 1)}
}

// Handle decodes and admits one payload. It does not keep payload. Readings
// reach the sink with Flush at the latest.
func (s *Session) Handle(ctx context.Context, peer Peer, payload []byte) error {
	if len(s.batch) == 0 {
		s.now = s.p.now()
	}
	if peer != s.from {
		s.from, s.device = peer, nil
	}
	if !mayBePlain(peer.Addr.Addr()) {
		s.p.Refuse(peer, Forbidden, "plain readings are taken from private addresses only", nil)
		return nil
	}
	if !s.stream {
		s.current.device = nil
	}
	s.dec.Reset(payload, s.stream)
	for s.dec.Next() {
		m, err := s.dec.Message()
		if refusal := s.admit(peer, m, err); refusal != nil {
			s.p.note(peer, m, refusal, device.TimeOf(s.now))
			if m.Ack {
				s.ask(peer, wire.AppendRefusal(nil, refusal.Reason.String(), m.Seq, m.HasSeq))
			}
		} else if m.Ack {
			s.ask(peer, wire.AppendAck(nil, m.Seq, m.HasSeq))
		}
		if len(s.batch) >= sessionBatch {
			if err := s.Flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// admit appends the readings of a message to the batch. A refusal may concern
// some of them only.
func (s *Session) admit(peer Peer, m *wire.Message, err error) *RefusalError {
	s.p.messages.Add(1)
	if err != nil {
		return refuse(Syntax, err)
	}
	d, refusal := s.lookup(m.Device, peer)
	if refusal != nil {
		return refusal
	}
	if len(m.Fields) == 0 {
		return &RefusalError{Empty, "the message holds no reading"}
	}
	now := device.TimeOf(s.now)
	at, absolute, wrong := moment(m.Time, now)
	if wrong {
		s.p.gate.wrongClock.Add(int64(len(m.Fields)))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addr, d.transport, d.clockWrong = peer.Addr.Addr(), peer.Transport, wrong
	if m.HasSeq && s.repeatedLocked(d, m, absolute) {
		return nil
	}
	count := len(s.batch)
	for i := range m.Fields {
		f := &m.Fields[i]
		metric, r := s.p.gate.metricLocked(d, f.Metric)
		if r != nil {
			refusal = first(refusal, r)
			continue
		}
		v, err := f.Value.Admit()
		if err != nil {
			refusal = first(refusal, refuse(BadValue, err))
			continue
		}
		s.batch = append(s.batch, device.Reading{Device: d.id, Metric: metric, Time: at, Received: now, Value: v})
	}
	s.p.readings.Add(int64(len(s.batch) - count))
	return refusal
}

func first(a, b *RefusalError) *RefusalError {
	if a != nil {
		return a
	}
	return b
}

// lookup returns the state of the device; most payloads repeat the last name.
func (s *Session) lookup(name []byte, peer Peer) (*deviceState, *RefusalError) {
	if s.device != nil && bytes.Equal(s.name, name) {
		return s.device, nil
	}
	d, refusal := s.p.gate.identify(name, peer)
	if refusal != nil {
		return nil, refusal
	}
	s.device, s.name = d, append(s.name[:0], name...)
	return d, nil
}

// repeatedLocked reports whether the message is a retransmission. Neighbouring
// lines with one seq are one message, so only a line that begins the same
// message anew counts as its retransmission. The caller holds d.mu.
func (s *Session) repeatedLocked(d *deviceState, m *wire.Message, absolute device.Time) bool {
	c := &s.current
	if c.device == d && c.seq == m.Seq && maphash.Bytes(s.seed, m.Raw) != c.first {
		return c.dup
	}
	c.device, c.seq, c.first = d, m.Seq, maphash.Bytes(s.seed, m.Raw)
	c.dup = !d.window.take(m.Seq, absolute, s.now)
	if c.dup {
		d.duplicates++
		s.p.gate.duplicates.Add(1)
	} else {
		s.marks = append(s.marks, mark{d, m.Seq})
	}
	return c.dup
}

// ask notes an answer; lines of one message are answered once.
func (s *Session) ask(peer Peer, body []byte) {
	if n := len(s.asked); n > 0 && s.asked[n-1].peer == peer && bytes.Equal(s.asked[n-1].body, body) {
		return
	}
	s.asked = append(s.asked, answer{peer: peer, body: body})
}

// Flush hands the readings to the sink. On a stream it waits for room; the error
// is ctx's. Otherwise readings without room are refused.
func (s *Session) Flush(ctx context.Context) error {
	if len(s.batch) == 0 && len(s.asked) == 0 {
		return nil
	}
	err := s.append()
	for s.stream && errors.Is(err, ErrFull) {
		if err := s.p.sink.Room(ctx, len(s.batch)); err != nil {
			s.lose()
			return err
		}
		err = s.append()
	}
	if err != nil {
		s.p.inspector.Count(Overload, len(s.batch))
		s.p.readings.Add(-int64(len(s.batch)))
		s.lose()
	}
	for _, a := range s.asked {
		a.from, a.offset = s, s.p.last.Load()
		if err != nil {
			a.offset, a.body = 0, overloaded(a.body)
		}
		s.p.enqueue(a)
	}
	clear(s.batch)
	clear(s.asked)
	s.batch, s.asked, s.marks = s.batch[:0], s.asked[:0], s.marks[:0]
	return nil
}

// Settle waits until every answer has gone out or ctx is done.
func (s *Session) Settle(ctx context.Context) {
	for s.unanswered.Load() > 0 {
		select {
		case <-s.settled:
		case <-ctx.Done():
			return
		}
	}
}

// answered counts an answer that has gone out or was dropped.
func (s *Session) answered() {
	if s.unanswered.Add(-1) == 0 {
		select {
		case s.settled <- struct{}{}:
		default:
		}
	}
}

func (s *Session) append() error {
	if len(s.batch) == 0 {
		return nil
	}
	last, err := s.p.sink.Append(s.batch)
	if err != nil {
		return err
	}
	for {
		old := s.p.last.Load()
		if last <= old || s.p.last.CompareAndSwap(old, last) {
			return nil
		}
	}
}

// lose takes back the marks of a batch that was not stored, so that its
// retransmission counts as new.
func (s *Session) lose() {
	for _, m := range s.marks {
		m.device.mu.Lock()
		m.device.window.forget(m.seq)
		m.device.mu.Unlock()
	}
	s.current.device = nil
}

// overloaded turns {"ack":7} into the refusal of the same seq.
func overloaded(body []byte) []byte {
	seq, ok := bytes.CutPrefix(body, []byte(`{"ack":`))
	if !ok {
		return body
	}
	out := append([]byte(`{"error":"`), Overload.String()...)
	return append(append(out, `","seq":`...), seq...)
}

func blankToken(raw, token []byte) []byte {
	if len(token) == 0 {
		return raw
	}
	return bytes.ReplaceAll(raw, token, []byte("***"))
}
