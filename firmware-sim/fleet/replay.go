package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Defaults of a ReplayConfig.
const (
	// DefaultReplayWindow fills a small receive buffer, which holds some 256
	// datagrams.
	DefaultReplayWindow = 256
	// DefaultReplayRate is one that a Raspberry Pi takes without loss.
	DefaultReplayRate = 20_000

	// replayOvertaken takes a datagram for lost that three later ones have
	// overtaken, as TCP does; where delay varies, more of them do.
	replayOvertaken         = 3
	replayOvertakenByJitter = 64

	// replayShortestWait is longer than a commit of the server takes.
	replayShortestWait = 200 * time.Millisecond
)

// ReplayConfig says how the readings of a file are sent. Only one address of
// Target is needed; the zero value of everything else is its default.
type ReplayConfig struct {
	// Target has one address, of UDP, TCP, TLS, CoAP or HTTP: all devices of the file
	// share one socket, so that its order is kept, and have no secrets.
	Target
	// Acks.Share above 0 asks for the acknowledgement of every message.
	Acks Acks
	// Speed is how much faster than in the file time passes: 1 is real time, 0
	// as fast as possible.
	Speed float64
	// MaxGap, when positive, shortens pauses in the file to that long, before
	// Speed.
	MaxGap time.Duration
	// Rate bounds the readings in a second. 0 means DefaultReplayRate over UDP and
	// CoAP without acknowledgements, and no bound otherwise.
	Rate float64
	// Shift is added to all times. ToNow makes it so that the first reading is
	// one of now.
	Shift time.Duration
	ToNow bool
	// Seq numbers the messages of each device also without acknowledgements.
	// FirstSeq is the first number of the first device; 0 takes Unix
	// milliseconds at the start, so that a file that is sent again does not look
	// like a repetition.
	Seq      bool
	FirstSeq uint64
	// Loss, Duplicate, Reorder and Jitter are those of a Config, and Seed
	// decides them.
	Loss, Duplicate, Reorder float64
	Jitter                   time.Duration
	Seed                     uint64
}

func (c *ReplayConfig) validate() error {
	if err := c.Target.validate(UDP, TCP, TLS, CoAP, HTTP); err != nil {
		return err
	}
	if err := c.Acks.validate(); err != nil {
		return err
	}
	switch {
	case len(c.routes()) > 1:
		return fmt.Errorf("%w: a file is sent over one transport", ErrInvalidConfig)
	case c.Format != 0 && !carriesMore(c.Format):
		return fmt.Errorf("%w: a file is not sent as %v, which loses kinds and times", ErrInvalidConfig, c.Format)
	case !isRate(c.Speed) || !isRate(c.Rate) || c.MaxGap < 0 || c.Jitter < 0:
		return fmt.Errorf("%w: negative speed, rate, gap or jitter", ErrInvalidConfig)
	case !isChance(c.Loss) || !isChance(c.Duplicate) || !isChance(c.Reorder):
		return fmt.Errorf("%w: loss, duplicate and reorder are 0 to 1", ErrInvalidConfig)
	}
	return nil
}

// Replay sends the readings of a file: the values with their kinds, the times to
// the microsecond. Make one with NewReplay; it runs once.
type Replay struct {
	sender *sender
	stats  stats
}

// NewReplay reads the header of a CSV file with the columns device, metric,
// unix_ms and value, plain or compressed with gzip, and returns a replay that is
// ready to run. The file is read while it runs.
func NewReplay(cfg ReplayConfig, file io.Reader) (*Replay, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("fleet: %w", err)
	}
	records, err := newRecordReader(file)
	if err != nil {
		return nil, fmt.Errorf("fleet: read file: %w", err)
	}
	var policy *ackPolicy
	switch {
	case cfg.Acks.Share == 0:
	case cfg.CoAP != "":
		policy = cfg.Acks.coapPolicy(0)
	default:
		policy = cfg.Acks.policy(DefaultReplayWindow)
	}
	if policy != nil && cfg.UDP != "" {
		policy.shortest, policy.overtaken = replayShortestWait, replayOvertaken
		if cfg.Jitter > 0 {
			policy.overtaken = replayOvertakenByJitter
		}
	}
	if cfg.Rate == 0 && (cfg.UDP != "" || cfg.CoAP != "") && policy == nil {
		cfg.Rate = DefaultReplayRate
	}
	r := &Replay{}
	r.sender = &sender{
		target: &cfg.Target, stats: &r.stats, rng: rand.New(rand.NewPCG(cfg.Seed, 0)), strict: true,
		source: &replaySource{
			cfg: &cfg, records: records, stats: &r.stats, numbered: cfg.Seq || policy != nil,
			devices: make(map[string]*replayDevice), metrics: make(map[string][]byte),
		},
		link: link{
			impairment: impairment{loss: cfg.Loss, duplicate: cfg.Duplicate, reorder: cfg.Reorder, jitter: cfg.Jitter},
			rng:        rand.New(rand.NewPCG(cfg.Seed, 1)), stats: &r.stats,
		},
	}
	r.sender.route = cfg.route(0)
	if policy != nil {
		r.sender.outbox = newOutbox(*policy)
	}
	return r, nil
}

// Run sends until the file ends and the acknowledgements have come or were given
// up, or until ctx is done; all these are no error. It must not be called twice.
func (r *Replay) Run(ctx context.Context) error {
	r.stats.begin()
	defer r.stats.end()
	return r.sender.run(ctx)
}

// Report returns the counts so far. It may be called while the replay runs.
func (r *Replay) Report() Report { return r.stats.report() }

// replayDevice is a device of the file.
type replayDevice struct {
	id     device.ID
	format wire.Format
	seq    uint64 // next
}

// Bounds of one message of a replay: what fits into a datagram that is not cut
// up on its way, for any mixture of metrics and values.
const (
	replayFields = 32
	replayBytes  = 1100
	fieldBytes   = 28 // a number with its punctuation
)

// seqStride is how far apart the first seqs of two devices are, so that no two
// messages on the shared socket have the same one. 2^16 devices fit below 2^53.
const seqStride = 1 << 36

// replaySource makes messages of the records of a file: neighbours of one device
// and one time go together.
type replaySource struct {
	cfg      *ReplayConfig
	records  *recordReader
	stats    *stats
	numbered bool
	devices  map[string]*replayDevice
	metrics  map[string][]byte

	ahead  record // read but not sent
	hasOne bool
	failed bool // the file cannot be read further

	start    time.Time // when the first message was due
	first    device.Time
	previous device.Time
	cut      device.Time // by MaxGap, altogether
	free     time.Time   // when Rate allows the next message
	shift    time.Duration

	fields []wire.Field
	text   []byte
}

// restarted has no meaning for a file.
func (s *replaySource) restarted() {}

func (s *replaySource) next(m *message, now time.Time) (time.Time, bool) {
	if !s.fetch(now) {
		return time.Time{}, false
	}
	d := s.deviceOf(s.ahead.device, now)
	*m = message{format: s.formatOf(d), device: d.id, at: s.ahead.at.Add(s.shift)}
	at := s.ahead.at
	s.fields, s.text = s.fields[:0], s.text[:0]
	for size := 0; len(s.fields) == 0 || s.fetch(now) && s.belongs(m, d, at, size); s.hasOne = false {
		size += s.take()
	}
	m.fields = s.fields
	if s.numbered {
		m.seq, m.hasSeq = d.seq, true
		d.seq++
	}
	return s.due(at, len(m.fields), now), true
}

// fetch makes sure that there is a record ahead and reports whether there is.
func (s *replaySource) fetch(now time.Time) bool {
	for !s.hasOne && !s.failed {
		rec, err := s.records.next()
		if err == nil {
			if s.start.IsZero() {
				s.begin(rec.at, now)
			}
			err = s.sendable(&rec)
		}
		var line *LineError
		switch {
		case err == nil:
			s.ahead, s.hasOne = rec, true
		case errors.As(err, &line):
			s.stats.fail(err)
		case errors.Is(err, io.EOF):
			s.failed = true
		default:
			s.stats.fail(fmt.Errorf("read file: after line %d: %w", s.records.line, err))
			s.failed = true
		}
	}
	return s.hasOne
}

// Times that every format tells for what they are: with fewer digits they would
// be taken for another unit, with more they do not fit into nanoseconds.
const (
	earliest = device.Time(100_000_000_000_000)   // 1973-03-03
	latest   = device.Time(7_258_118_400_000_000) // 2200-01-01
)

// sendable returns a *LineError for a record that no format carries as it is.
func (s *replaySource) sendable(r *record) error {
	if at := r.at.Add(s.shift); at < earliest || at > latest {
		return &LineError{r.line, fmt.Errorf("time %s lies outside of %s to %s", at.Std().Format(time.RFC3339),
			earliest.Std().Format(time.DateOnly), latest.Std().Format(time.DateOnly))}
	}
	if f := s.fieldOf(r); !lineCarries(f) && !objectCarries(f) {
		return &LineError{r.line, fmt.Errorf("no format carries metric %q with this value", r.metric)}
	}
	return nil
}

func (s *replaySource) fieldOf(r *record) wire.Field {
	return wire.Field{Metric: r.metric, Value: r.value}
}

// begin sets the clocks at the first record.
func (s *replaySource) begin(first device.Time, now time.Time) {
	s.start, s.free = now, now
	s.first, s.previous = first, first
	s.shift = s.cfg.Shift
	if s.cfg.ToNow {
		s.shift += deviceTime(now).Sub(first)
	}
}

func (s *replaySource) deviceOf(id []byte, now time.Time) *replayDevice {
	d := s.devices[string(id)]
	if d == nil {
		n := len(s.devices)
		d = &replayDevice{id: device.ID(id), format: s.cfg.format(n), seq: s.cfg.FirstSeq}
		if d.seq == 0 {
			d.seq = uint64(now.UnixMilli())
		}
		d.seq += uint64(n) * seqStride
		s.devices[string(d.id)] = d
	}
	return d
}

// formatOf returns the device's format, or another one when the record ahead
// cannot be said in it.
func (s *replaySource) formatOf(d *replayDevice) wire.Format {
	f := s.fieldOf(&s.ahead)
	switch {
	case d.format == wire.FormatLine && !lineCarries(f):
		return wire.FormatJSON
	case d.format != wire.FormatLine && !objectCarries(f):
		return wire.FormatLine
	}
	return d.format
}

// belongs reports whether the record ahead goes into message m, which has so many
// bytes already.
func (s *replaySource) belongs(m *message, d *replayDevice, at device.Time, size int) bool {
	if s.ahead.at != at || string(s.ahead.device) != string(d.id) || s.formatOf(d) != m.format ||
		len(s.fields) == replayFields || size+s.size() > replayBytes {
		return false
	}
	if m.format == wire.FormatLine && s.numbered && sameMeasurement(append(s.fields, s.fieldOf(&s.ahead))) <= len(s.fields) {
		return false
	}
	return !slices.ContainsFunc(s.fields, func(f wire.Field) bool { return string(f.Metric) == string(s.ahead.metric) })
}

// size is a bound of what the record ahead adds to a message; escapes of JSON
// may double a text.
func (s *replaySource) size() int {
	return 2*len(s.ahead.metric) + 2*len(s.ahead.value.Text) + fieldBytes
}

// take appends the record ahead to the fields and returns its size.
func (s *replaySource) take() int {
	metric := s.metrics[string(s.ahead.metric)]
	if metric == nil {
		metric = slices.Clone(s.ahead.metric)
		s.metrics[string(metric)] = metric
	}
	v := s.ahead.value
	if v.Kind == device.KindText {
		start := len(s.text)
		s.text = append(s.text, v.Text...)
		v.Text = s.text[start:len(s.text):len(s.text)]
	}
	s.fields = append(s.fields, wire.Field{Metric: metric, Value: v})
	return s.size()
}

// longestReplay keeps the arithmetic of times in its bounds: 100 years.
const longestReplay = float64(100 * year)

// replayCatchUp is how far a replay that was held up may be behind its rate, to
// make up for it.
const replayCatchUp = 20 * time.Millisecond

// due returns when a message of n readings at the moment at of the file is sent.
func (s *replaySource) due(at device.Time, n int, now time.Time) time.Time {
	due := s.start
	if s.cfg.Speed > 0 {
		if gap := at - s.previous - device.Time(s.cfg.MaxGap.Microseconds()); s.cfg.MaxGap > 0 && gap > 0 {
			s.cut += gap
		}
		ahead := float64(at-s.first-s.cut) * 1000 / s.cfg.Speed
		due = s.start.Add(time.Duration(min(ahead, longestReplay)))
	}
	s.previous = max(s.previous, at)
	if s.cfg.Rate == 0 {
		return due
	}
	if behind := now.Add(-replayCatchUp); s.free.Before(behind) {
		s.free = behind
	}
	if s.free.After(due) {
		due = s.free
	}
	s.free = due.Add(time.Duration(float64(n) / s.cfg.Rate * 1e9))
	return due
}
