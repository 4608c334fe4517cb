package ingest

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// A session hands its readings on without being asked after so many readings or
// bytes of text, so that one huge payload cannot exceed what the sink takes at
// once.
const (
	sessionBatch = 4096
	sessionText  = 1 << 20
)

// maxUnanswered is for how many answers a stream may wait before it is read
// again. It keeps a device that asks for many from filling the queue of all.
const maxUnanswered = 1024

// Session takes the payloads of one socket goroutine through the pipeline. It
// must not be shared.
type Session struct {
	p      *Pipeline
	stream bool
	reply  ReplyFunc
	// request is set when the payload is answered as a whole: then reply is not
	// called.
	request *request
	accept  wire.Formats

	work    *work   // nil from Flush to Handle
	flight  *flight // of the batch; nil when it holds no seq
	group   group
	now     time.Time // when the batch began,
	at      int64     // and in nanoseconds of service
	proof   proof     // what a stream has proved by a token
	from    Peer
	allowed bool         // from may send readings
	device  *deviceState // the device of the last message,
	name    []byte       // and how it was named; empty: by from

	unanswered atomic.Int64  // answers on their way
	settled    chan struct{} // told when there are none any more, and half-way
}

// work is what a session needs while it has something to do. Idle sessions hold
// none: a batch may take half a megabyte.
type work struct {
	dec   wire.Decoder
	batch []device.Reading
	text  int      // bytes of texts in batch
	asked []answer // to messages since the last batch
	marks []mark   // seqs of the batch, to be forgotten if it is lost
}

type mark struct {
	device *deviceState
	seq    uint64
}

// NewSession returns a session. A stream waits for room in the sink and parts
// its payloads at newlines; otherwise a payload is a datagram, and when there is
// no room its readings are refused. reply sends answers.
func (p *Pipeline) NewSession(stream bool, reply ReplyFunc) *Session {
	return &Session{p: p, stream: stream, reply: reply, settled: make(chan struct{}, 1)}
}

// Accept has the session take these formats only. It is called before Handle.
func (s *Session) Accept(f wire.Formats) { s.accept = f }

// Handle decodes and admits one payload. It does not keep payload. Readings
// reach the sink with Flush at the latest; Flush must follow, whatever Handle
// returns.
func (s *Session) Handle(ctx context.Context, peer Peer, payload []byte) error {
	s.begin(peer)
	if !s.allowed {
		s.p.Refuse(peer, Forbidden, "plain readings are taken from private addresses only", nil)
		return nil
	}
	w := s.work
	messages := int64(0)
	defer func() { s.p.messages.Add(messages) }()
	w.dec.Reset(payload, s.stream)
	for w.dec.Next() {
		messages++
		m, err := w.dec.Message()
		s.message(peer, m, err)
		if len(w.batch) >= sessionBatch || w.text >= sessionText {
			if err := s.handOn(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin prepares for a payload.
func (s *Session) begin(peer Peer) {
	if s.work == nil {
		s.work, _ = s.p.works.Get().(*work)
		s.work.dec.Accept = s.accept
	}
	if len(s.work.batch) == 0 {
		s.now = s.p.now()
		s.at = int64(s.now.Sub(s.p.gate.begun))
	}
	if !s.stream {
		s.group.open = false
	}
	if peer == s.from {
		return
	}
	if len(s.name) == 0 || peer.Device != s.from.Device {
		s.device = nil
	}
	s.from, s.allowed = peer, s.request != nil || peer.Device != "" || mayBePlain(peer.Addr.Addr())
}

// Flush hands the readings to the sink. A stream waits for room, and then until
// not too many of its answers are on their way; the error is ctx's. Otherwise
// readings without room are refused.
func (s *Session) Flush(ctx context.Context) error {
	if s.work == nil {
		return nil
	}
	err := s.handOn(ctx)
	s.work.dec.Reset(nil, false)
	s.p.works.Put(s.work)
	s.work = nil
	return err
}

// handOn empties the batch.
func (s *Session) handOn(ctx context.Context) error {
	w := s.work
	if len(w.batch) == 0 && len(w.asked) == 0 {
		return nil
	}
	err := s.append(ctx)
	if err == nil {
		s.p.readings.Add(int64(len(w.batch)))
		if s.request != nil {
			s.request.Readings += len(w.batch)
		}
	} else {
		s.p.inspector.Count(Overload, len(w.batch))
	}
	s.land(err != nil)
	for i := range w.asked {
		s.send(&w.asked[i], err != nil)
	}
	clear(w.batch)
	clear(w.asked)
	w.batch, w.text, w.asked = w.batch[:0], 0, w.asked[:0]
	s.group.marked, s.group.answer = false, 0
	switch {
	case s.request != nil:
		return err
	case !s.stream:
		return nil
	case err != nil && ctx.Err() != nil:
		return err
	}
	s.wait(ctx, maxUnanswered)
	return nil
}

// append gives the batch to the sink. A stream whose ctx ends keeps waiting for
// a while: what has been read from the socket is not lost for the disk being
// busy. A request waits no longer than its sender does.
func (s *Session) append(ctx context.Context) error {
	batch := s.work.batch
	if len(batch) == 0 {
		return nil
	}
	last, err := s.p.sink.Append(batch)
	if (s.stream || s.request != nil) && errors.Is(err, ErrFull) {
		late, cancel := s.patience(ctx)
		defer cancel()
		for errors.Is(err, ErrFull) {
			if err = s.p.sink.Room(late, len(batch)); err == nil {
				last, err = s.p.sink.Append(batch)
			}
		}
		if err != nil && s.request != nil && late.Err() != nil {
			err = ErrFull
		}
	}
	s.p.watchSink(err, len(batch))
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

// patience returns the context in which the session waits for room.
func (s *Session) patience(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.request != nil {
		return context.WithTimeout(ctx, roomWait)
	}
	return extend(ctx, grace)
}

// extend returns a context that ends d after ctx.
func extend(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(late, func() { timer.Stop() })
	})
	return late, func() {
		stop()
		cancel()
	}
}

// watchSink logs when the sink begins to fail; being full is not failing.
func (p *Pipeline) watchSink(err error, readings int) {
	failing := err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, context.Canceled)
	if p.failing.Load() != failing && p.failing.Swap(failing) != failing && failing {
		p.log.Error("readings cannot be stored", "error", err, "readings", readings)
	}
}

// land tells the devices with seqs in the batch that it has been taken, or is
// lost: then the retransmissions of its messages are not duplicates.
func (s *Session) land(lost bool) {
	w := s.work
	for i, m := range w.marks {
		if !lost && i > 0 && w.marks[i-1].device == m.device {
			continue
		}
		m.device.mu.Lock()
		m.device.leaveLocked(s.flight)
		if lost {
			m.device.window.forget(m.seq)
		}
		m.device.mu.Unlock()
	}
	clear(w.marks)
	w.marks = w.marks[:0]
	if s.flight != nil {
		s.flight.lost = lost
		close(s.flight.landed)
		s.flight = nil
	}
	s.group.lost = s.group.lost || lost && s.group.marked
}

// send puts an answer into the queue; lost tells that the batch is.
func (s *Session) send(a *answer, lost bool) {
	if a.inBatch && lost {
		a.durable = false
		if !a.refused {
			a.refused, a.reason = true, Overload
		}
	}
	a.offset = s.p.last.Load()
	s.unanswered.Add(1)
	if !s.p.queue.put(*a) {
		s.p.drop(a)
	}
}

// Settle waits until every answer has gone out or ctx is done.
func (s *Session) Settle(ctx context.Context) { s.wait(ctx, 0) }

// wait waits until at most n answers are on their way or ctx is done.
func (s *Session) wait(ctx context.Context, n int64) {
	for s.unanswered.Load() > n {
		select {
		case <-s.settled:
		case <-ctx.Done():
			return
		}
	}
}

// answered counts an answer that has gone out or was dropped.
func (s *Session) answered() {
	if n := s.unanswered.Add(-1); n == 0 || n == maxUnanswered {
		select {
		case s.settled <- struct{}{}:
		default:
		}
	}
}
