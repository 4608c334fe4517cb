package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

const (
	// roomWait is how long a payload that is answered as a whole waits for room. A
	// healthy disk makes some twice a second.
	roomWait = time.Second
	// durableWait is how long it waits for the disk: the clients there are give up
	// after five seconds.
	durableWait = 4 * time.Second
	// maxTold bounds the refusals that its answer tells of.
	maxTold = 20
)

// Written is what came of a payload that is answered as a whole.
type Written struct {
	Readings int    // given to the sink
	Messages int    // decoded, good or bad
	Refused  int    // messages of these, in whole or in part
	Told     []Told // the first of them
	// Device is who was admitted last and may be told commands; empty: nobody was.
	Device device.ID
}

// Told is a refusal as the sender hears of it.
type Told struct {
	Line int // of the payload, from 1; 0 in CBOR
	*RefusalError
}

// Write takes a payload that is answered as a whole, as over HTTP, and returns
// when its readings and the originals of its retransmissions are durable: the
// answer is the acknowledgement, whether a message asks for one or not. unit is
// how the times of all but SenML count; wire.Ago: as their size tells. Whether
// the peer may send is the caller's matter.
//
// An error means that the sender must send again, since not everything could be
// stored; ErrFull that there was no room in time, or that
// it came faster than the gate lets in. ctx ends the wait for room.
func (p *Pipeline) Write(ctx context.Context, peer Peer, payload []byte, unit wire.Unit) (Written, error) {
	r := &request{unit: unit}
	s := &Session{p: p, request: r}
	err := s.Handle(ctx, peer, payload)
	if flushErr := s.Flush(ctx); err == nil {
		err = flushErr
	}
	if err == nil {
		err = r.settle(ctx, p)
	}
	return r.Written, err
}

// request is what a session gathers for the one answer to its payload.
type request struct {
	unit wire.Unit
	Written
	hasty   bool            // something came faster than it may: the sender may send it again
	durable bool            // the answer waits for the disk,
	flights []*flight       // and for these batches of other sessions,
	settled <-chan struct{} // and for the outcome of a command; nil: it does not
}

// prepare counts a message and its time as the sender has said.
func (r *request) prepare(m *wire.Message) {
	r.Messages++
	if m.Format != wire.FormatSenML && m.Format != wire.FormatSenMLCBOR {
		m.Time = m.Time.As(r.unit)
	}
}

// note takes what the answer to a message would be.
func (r *request) note(a *answer, m *wire.Message, bad error, refusal *RefusalError) {
	r.durable = r.durable || a.durable
	for _, f := range a.flights {
		if !slices.Contains(r.flights, f) {
			r.flights = append(r.flights, f)
		}
	}
	if a.device != "" {
		r.Device = a.device
	}
	if a.settled != nil {
		r.settled = a.settled
	}
	if !a.refused {
		return
	}
	r.Refused++
	switch a.reason { //nolint:exhaustive // the others are for good
	case DeviceRate, AddressRate, SeriesRate:
		r.hasty = true
	}
	if len(r.Told) == maxTold {
		return
	}
	line := m.Line
	if e, ok := errors.AsType[*wire.SyntaxError](bad); ok && line > 0 {
		line, refusal = e.Line, &RefusalError{Reason: refusal.Reason, Detail: fmt.Sprintf("byte %d: %s", e.Byte, e.Msg)}
	}
	if refusal == nil { // of a retransmission
		refusal = &RefusalError{Reason: a.reason, Detail: "refused before: " + a.reason.String()}
	}
	r.Told = append(r.Told, Told{line, refusal})
}

// settle waits until the answer is true. What has been taken is waited for also
// when the sender is gone.
func (r *request) settle(ctx context.Context, p *Pipeline) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), durableWait)
	defer cancel()
	for _, f := range r.flights {
		select {
		case <-f.landed:
		case <-ctx.Done():
			return ctx.Err()
		}
		if f.lost {
			return ErrFull
		}
	}
	if r.settled != nil {
		select {
		case <-r.settled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if r.durable {
		if err := p.sink.WaitDurable(ctx, p.last.Load()); err != nil {
			return err
		}
	}
	if r.hasty {
		return ErrFull
	}
	return nil
}
