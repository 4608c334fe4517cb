package ingest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
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

// Mailbox has commands for devices. Its methods must not block.
type Mailbox interface {
	// Next returns the command that the device is to be told now, if there is one:
	// it is told with the answer that goes out.
	Next(id device.ID) (device.Command, bool)
	// Settle takes what the device says of a command. The channel is closed when
	// that survives a crash; nil: there is nothing to wait for.
	Settle(id device.ID, o device.Outcome) <-chan struct{}
}

// noMailbox is one without commands.
type noMailbox struct{}

func (noMailbox) Next(device.ID) (device.Command, bool)            { return device.Command{}, false }
func (noMailbox) Settle(device.ID, device.Outcome) <-chan struct{} { return nil }

// ReplyFunc sends an answer to a peer. It copies b, never blocks for long and
// drops what cannot be sent.
type ReplyFunc func(peer Peer, b []byte)

// Config sets up a Pipeline.
type Config struct {
	Sink Sink
	// Mailbox has the commands that ride in answers; nil means there are none.
	Mailbox Mailbox
	// MaxDevices and MaxSeries bound the catalogue; 0 means the defaults.
	MaxDevices, MaxSeries int
	// Rates bound how much is taken.
	Rates Rates
	// Admission is what becomes of new devices.
	Admission Admission
	// OnPresence is called by Gate.Run with what changes about a device; nil means
	// nobody is told. It must not block.
	OnPresence func(device.Presence)
	// Used is told when a device has proved itself by a credential that has not
	// been used before; nil means nobody. It must not block.
	Used func(id device.ID, kind device.CredentialKind, secret []byte)
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Logger is told when the sink begins to fail; nil means nobody.
	Logger *slog.Logger
}

// Pipeline takes payloads to the sink. Its methods may be called concurrently.
type Pipeline struct {
	sink      Sink
	mailbox   Mailbox
	gate      *Gate
	inspector Inspector
	now       func() time.Time
	used      func(device.ID, device.CredentialKind, []byte)
	log       *slog.Logger

	readings atomic.Int64
	messages atomic.Int64
	acks     atomic.Int64
	lostAcks atomic.Int64
	last     atomic.Uint64 // highest offset given to any session
	failing  atomic.Bool   // the sink's last answer was an error other than ErrFull
	works    sync.Pool     // of *work

	queue   answerQueue
	durable uint64 // offset known to be durable; owned by Run
	body    []byte // of the answer being sent; owned by Run
}

// Stats counts what went through since the start.
type Stats struct {
	Readings   int64 // handed to the sink
	Messages   int64 // decoded, good or bad: admitted, refused or duplicate
	Duplicates int64
	WrongClock int64 // readings whose time was replaced by the receive time
	// Acknowledged were sent; LostAcks are answers of either kind that were not.
	Acknowledged, LostAcks int64
}

// New returns a pipeline that starts nothing; Run sends the answers.
func New(cfg Config) *Pipeline {
	if cfg.MaxDevices == 0 {
		cfg.MaxDevices = DefaultMaxDevices
	}
	if cfg.MaxSeries == 0 {
		cfg.MaxSeries = DefaultMaxSeries
	}
	if cfg.Mailbox == nil {
		cfg.Mailbox = noMailbox{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.OnPresence == nil {
		cfg.OnPresence = func(device.Presence) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Pipeline{
		sink:    cfg.Sink,
		mailbox: cfg.Mailbox,
		gate:    newGate(cfg),
		used:    cfg.Used,
		now:     cfg.Now,
		log:     cfg.Logger,
		works:   sync.Pool{New: func() any { return new(work) }},
		queue:   answerQueue{wake: make(chan struct{}, 1)},
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

// note counts and keeps the refusal of a message.
func (p *Pipeline) note(peer Peer, m *wire.Message, e *RefusalError, now device.Time) {
	if e.alike {
		p.inspector.Count(e.Reason, 1)
		return
	}
	p.inspector.Note(Refused{
		Time: now, Peer: peer, Format: m.Format, Reason: e.Reason, Detail: e.Detail,
		Payload: withoutToken(m), Size: len(m.Raw), At: placeKept(m, e.at),
	})
}
