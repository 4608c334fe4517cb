package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// source says what a sender sends.
type source interface {
	// next fills in the message that follows and returns when it is due; false
	// when nothing follows. The fields stay as they are until the next call.
	next(m *message, now time.Time) (due time.Time, ok bool)
	// restarted tells the source that its device has rebooted.
	restarted()
}

// sender delivers the messages of one source over one connection at a time: it waits
// for their moment, sends them, and again until they are acknowledged. Its
// fields belong to the goroutine of run.
type sender struct {
	target *Target
	route  route
	id     device.ID // empty when the source has many devices
	secret Secret
	source source
	stats  *stats
	outbox *outbox // nil: nothing is acknowledged
	// firmware carries out commands; nil: none are obeyed.
	firmware *firmware
	observes bool // over CoAP it wants to hear of commands as they come
	link     link
	rng      *rand.Rand
	reboot   time.Duration // mean time between reboots; 0: none
	// strict ends the run when a connection breaks and nothing is acknowledged,
	// because what was under way may be lost.
	strict bool

	carrier  carrier   // of the present connection
	unheard  time.Time // first transmission since its last answer; zero: none
	scratch  []byte
	pending  message
	due      time.Time // of pending
	ready    bool      // pending is set
	ended    bool      // the source has no more
	rebootAt time.Time
	stopping bool // a command wants a reboot when nothing waits for an answer
}

// Waits before a connection is opened again, doubling from the first to the
// longest, and bounds of one write and of waiting for the server's end of a
// stream after ours.
const (
	firstRetry   = 250 * time.Millisecond
	longestRetry = 15 * time.Second
	settledAfter = 10 * time.Second // a connection that lasted so long was a good one
	writeTimeout = 30 * time.Second
	closeTimeout = 10 * time.Second
	streamBuffer = 32 << 10
)

// How long a device is off when it reboots.
const (
	shortestBoot = time.Second
	longestBoot  = 4 * time.Second
)

var errReboot = errors.New("device reboots")

// run sends until the source ends and nothing waits for an acknowledgement any
// more, or ctx is done; both are no error.
func (s *sender) run(ctx context.Context) error {
	defer s.abandon()
	s.planReboot(time.Now())
	for retry := firstRetry; ; {
		began := time.Now()
		err := s.connect(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, errReboot):
			s.restart()
			if !pause(ctx, shortestBoot+upTo(s.rng, longestBoot-shortestBoot)) {
				return nil
			}
			s.planReboot(time.Now())
			continue
		case s.stats.connected.Load() == 0, s.strict && s.outbox == nil:
			return fmt.Errorf("fleet: send: %w", err)
		}
		s.stats.fail(err)
		if time.Since(began) > settledAfter {
			retry = firstRetry
		}
		if !pause(ctx, retry) {
			return nil
		}
		retry = min(2*retry, longestRetry)
		s.stats.reconnects.Add(1)
	}
}

// pause waits and reports whether it was left in peace.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// upTo returns a random duration from 0 to d.
func upTo(rng *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(rng.Int64N(int64(d) + 1))
}

func (s *sender) planReboot(now time.Time) {
	s.rebootAt, s.stopping = time.Time{}, false
	if s.firmware != nil {
		s.firmware.restarted(now)
	}
	if s.reboot > 0 {
		s.rebootAt = now.Add(time.Duration(s.rng.ExpFloat64() * float64(s.reboot)))
	}
}

// restart forgets what a device loses with its power.
func (s *sender) restart() {
	s.stats.reboots.Add(1)
	s.abandon()
	s.link.forget()
	s.ready = false
	s.source.restarted()
}

func (s *sender) abandon() {
	if s.outbox == nil {
		return
	}
	if u := s.outbox.waiting[observation]; u != nil {
		s.outbox.remove(u)
	}
	s.stats.unacked.Add(int64(s.outbox.clear()))
}

// connect opens a connection and works on it. It returns nil when all is done.
func (s *sender) connect(ctx context.Context) (err error) {
	c, err := s.open(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", s.route, err)
	}
	s.stats.connected.Add(1)
	s.carrier, s.unheard = c.carrier, time.Time{}
	stop := context.AfterFunc(ctx, func() { c.end(false) })
	defer stop()
	var reader sync.WaitGroup
	defer reader.Wait()
	defer func() { c.end(errors.Is(err, errReboot)) }()
	answers, broken, done := make(chan answer, 64), make(chan error, 1), make(chan struct{})
	defer close(done)
	reader.Go(func() { broken <- s.listen(c, answers, done) })
	if s.outbox != nil {
		s.outbox.again(time.Now())
	}
	if err := s.observe(time.Now()); err != nil {
		return err
	}
	if err := s.work(ctx, answers, broken); err != nil {
		return err
	}
	return s.finish(ctx, answers, broken)
}

// observe asks a server of CoAP to tell of commands as they come.
func (s *sender) observe(now time.Time) error {
	c, ok := s.carrier.(*coap)
	if !ok || !s.observes {
		return nil
	}
	if u := s.outbox.waiting[observation]; u != nil {
		s.outbox.remove(u)
	}
	framed := c.observe()
	s.outbox.add(observation, framed, now)
	return s.transmit(framed, observation, now)
}

// work sends what is due and takes answers until all is done.
func (s *sender) work(ctx context.Context, answers <-chan answer, broken <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := s.takeAnswers(answers); err != nil {
			return err
		}
		wake, busy, err := s.step(time.Now())
		switch {
		case err != nil:
			return err
		case busy:
			continue
		}
		if f, ok := s.carrier.(flusher); ok {
			if err := f.flush(); err != nil {
				return err
			}
		}
		if wake.IsZero() {
			return nil
		}
		timer.Reset(time.Until(wake))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-broken:
			if bad := s.takeAnswers(answers); bad != nil {
				return bad
			}
			return fmt.Errorf("%s: %w", s.route, err)
		case a := <-answers:
			if err := s.answered(a, time.Now()); err != nil {
				return err
			}
		case <-timer.C:
		}
	}
}

func (s *sender) takeAnswers(answers <-chan answer) error {
	for range cap(answers) {
		select {
		case a := <-answers:
			if err := s.answered(a, time.Now()); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

// step does one thing that is due. It returns busy when there may be another, or
// else when there will be; the zero moment when there is nothing left to do.
func (s *sender) step(now time.Time) (wake time.Time, busy bool, err error) {
	earlier := func(t time.Time) {
		if wake.IsZero() || t.Before(wake) {
			wake = t
		}
	}
	if !s.ready && !s.ended {
		s.due, s.ready = s.source.next(&s.pending, now)
		s.ended = !s.ready
	}
	room := s.outbox == nil || s.outbox.room() && !s.stopping
	if s.stopping && s.outbox.idle() {
		return wake, false, errReboot
	}
	if s.ready && room {
		if !s.due.After(now) {
			s.ready = false
			return wake, true, s.sendNew(now)
		}
		earlier(s.due)
	}
	if s.ended {
		if err := s.link.letGo(now); err != nil {
			return wake, false, err
		}
	}
	if err := s.link.release(now); err != nil {
		return wake, false, err
	}
	if t, ok := s.link.next(); ok {
		earlier(t)
	}
	if s.outbox != nil {
		if u, givenUp := s.outbox.due(now); u != nil {
			return wake, true, s.sendAgain(u, givenUp, now)
		}
		if t, ok := s.outbox.nextDue(); ok {
			earlier(t)
		}
	}
	if !s.rebootAt.IsZero() && !wake.IsZero() {
		if !s.rebootAt.After(now) {
			return wake, false, errReboot
		}
		earlier(s.rebootAt)
	}
	return wake, false, nil
}

func (s *sender) sendNew(now time.Time) error {
	m := &s.pending
	m.ack = s.outbox != nil
	if s.firmware != nil {
		s.firmware.report(m)
	}
	s.scratch = s.carrier.frame(s.scratch[:0], m)
	s.stats.messages.Add(1)
	s.stats.readings.Add(int64(len(m.fields)))
	if m.ack {
		s.stats.asked.Add(1)
		s.outbox.add(m.seq, bytes.Clone(s.scratch), now)
	}
	return s.transmit(s.scratch, m.seq, now)
}

// transmit sends what frame has made, and notes since when nothing was answered.
func (s *sender) transmit(framed []byte, seq uint64, now time.Time) error {
	if s.unheard.IsZero() {
		s.unheard = now
	}
	return s.carrier.send(framed, seq)
}

func (s *sender) sendAgain(u *unacked, givenUp bool, now time.Time) error {
	if s.route.transport.keyed() && !s.unheard.IsZero() && now.Sub(s.unheard) > deafAfter {
		return errDeaf
	}
	switch {
	case u.seq == observation:
		if givenUp {
			return nil
		}
	case givenUp:
		s.stats.unacked.Add(1)
		return nil
	default:
		s.stats.retransmitted.Add(1)
	}
	return s.transmit(u.payload, u.seq, now)
}

// finish ends a carrier so that the server takes all that was sent.
func (s *sender) finish(ctx context.Context, answers <-chan answer, broken <-chan error) error {
	f, ok := s.carrier.(finisher)
	if !ok {
		return nil
	}
	if follows, err := f.finish(); err != nil || !follows {
		return err
	}
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			return nil
		case a := <-answers:
			if err := s.answered(a, time.Now()); err != nil {
				return err
			}
		case err := <-broken:
			if errors.Is(err, io.EOF) {
				return s.takeAnswers(answers)
			}
			return err
		}
	}
}

// listen reads answers until the connection ends, and returns why it did. It
// runs beside everything else and touches c, answers and stats only.
func (s *sender) listen(c carrier, answers chan<- answer, done <-chan struct{}) error {
	for {
		a, err := c.receive()
		var bad *badAnswer
		switch {
		case errors.As(err, &bad):
			s.stats.fail(err)
			continue
		case err != nil:
			return err
		}
		select {
		case answers <- a:
		case <-done:
			return nil
		}
	}
}
