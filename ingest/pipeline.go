package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// ErrFull is what Sink.Append returns while it has no room.
var ErrFull = errors.New("ingest: no room for more readings at present")

// Sink stores admitted readings.
type Sink interface {
	// Append takes all the readings or none, gives them offsets in their order
	// and returns the last. It does not keep rs. ErrFull means try later.
	Append(rs []device.Reading) (last uint64, err error)
	// Room waits until n readings may be appended.
	Room(ctx context.Context, n int) error
	// WaitDurable waits until the reading with this offset survives a crash.
	WaitDurable(ctx context.Context, offset uint64) error
}

// ReplyFunc sends an answer to a peer. It copies b, never blocks for long and
// drops what cannot be sent.
type ReplyFunc func(peer Peer, b []byte)

// Config sets up a Pipeline.
type Config struct {
	Sink Sink
	// MaxDevices and MaxSeries bound the catalogue; 0 means the defaults.
	MaxDevices, MaxSeries int
	// Now is the wall clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Pipeline takes payloads to the sink. Its methods may be called concurrently.
type Pipeline struct {
	sink      Sink
	gate      *Gate
	inspector Inspector
	now       func() time.Time
	log       *slog.Logger

	readings atomic.Int64
	messages atomic.Int64
	acks     atomic.Int64
	lostAcks atomic.Int64
	last     atomic.Uint64 // highest offset given to any session

	answers chan answer
}

// answer waits for offset to be durable before it goes out.
type answer struct {
	offset uint64
	from   *Session
	peer   Peer
	body   []byte
}

// maxAnswers bounds the answers that wait for the disk: as many as readings may
// wait for it. A device whose answer is dropped sends again.
const maxAnswers = 65_536

// Stats counts what went through since the start.
type Stats struct {
	Readings, Messages, Duplicates int64
	WrongClock                     int64 // readings whose time was replaced by the receive time
	Acknowledged, LostAcks         int64
}

// New returns a pipeline that starts nothing; Run sends the answers.
func New(cfg Config) *Pipeline {
	if cfg.MaxDevices == 0 {
		cfg.MaxDevices = DefaultMaxDevices
	}
	if cfg.MaxSeries == 0 {
		cfg.MaxSeries = DefaultMaxSeries
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Pipeline{
		sink:    cfg.Sink,
		gate:    newGate(cfg.MaxDevices, cfg.MaxSeries),
		now:     cfg.Now,
		log:     cfg.Logger,
		answers: make(chan answer, maxAnswers),
	}
}

// Gate returns the pipeline's gate.
func (p *Pipeline) Gate() *Gate { return p.gate }

// Inspector returns the refusals.
func (p *Pipeline) Inspector() *Inspector { return &p.inspector }

// Stats returns the counts.
func (p *Pipeline) Stats() Stats {
	return Stats{
		Readings:     p.readings.Load(),
		Messages:     p.messages.Load(),
		Duplicates:   p.gate.duplicates.Load(),
		WrongClock:   p.gate.wrongClock.Load(),
		Acknowledged: p.acks.Load(),
		LostAcks:     p.lostAcks.Load(),
	}
}

// Refuse counts and keeps a refusal that a listener has found.
func (p *Pipeline) Refuse(peer Peer, r Reason, detail string, payload []byte) {
	p.inspector.Note(Refused{Time: device.TimeOf(p.now()), Peer: peer, Reason: r, Detail: detail, Payload: payload})
}

// Run sends answers as their readings become durable. When ctx is done it sends
// those that are waiting, within grace, and returns. No session may be used
// after ctx is done.
func (p *Pipeline) Run(ctx context.Context) error {
	for {
		select {
		case a := <-p.answers:
			if !p.answer(ctx, a) {
				return p.drain(ctx, a)
			}
		case <-ctx.Done():
			return p.drain(ctx)
		}
	}
}

// grace bounds the wait for the last commit; a healthy disk needs milliseconds.
const grace = 3 * time.Second

// drain sends the answers that are waiting, beginning with those given.
func (p *Pipeline) drain(ctx context.Context, waiting ...answer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	for _, a := range waiting {
		p.answer(ctx, a)
	}
	for ctx.Err() == nil {
		select {
		case a := <-p.answers:
			p.answer(ctx, a)
		default:
			return nil
		}
	}
	p.lostAcks.Add(int64(len(p.answers)))
	p.log.Warn("answers to devices were dropped at the end", "answers", len(p.answers))
	return nil
}

// answer reports false when ctx ended before the readings were durable.
func (p *Pipeline) answer(ctx context.Context, a answer) bool {
	if a.offset > 0 {
		if err := p.sink.WaitDurable(ctx, a.offset); err != nil {
			return false
		}
		p.acks.Add(1)
	}
	a.from.reply(a.peer, a.body)
	a.from.answered()
	return true
}

func (p *Pipeline) enqueue(a answer) {
	a.from.unanswered.Add(1)
	select {
	case p.answers <- a:
	default:
		p.lostAcks.Add(1)
		a.from.answered()
	}
}

// note keeps a refusal of a message for the inspector, with its token blanked.
func (p *Pipeline) note(peer Peer, m *wire.Message, e *RefusalError, now device.Time) {
	p.inspector.Note(Refused{
		Time: now, Peer: peer, Format: m.Format, Reason: e.Reason, Detail: e.Detail,
		Payload: blankToken(m.Raw, m.Token),
	})
}
