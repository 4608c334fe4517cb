package ingest

import (
	"context"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// answer is what a device is told of one message.
type answer struct {
	from   *Session
	peer   Peer
	seq    uint64
	hasSeq bool

	refused bool // in whole or in part, for this reason
	reason  Reason

	device device.ID // who was admitted and may be told commands; empty: nobody was

	// What it says of the log becomes true when:
	inBatch bool      // the present batch of from is taken; used until then only
	flights []*flight // these batches of other sessions are taken
	durable bool      // offset is durable
	offset  uint64
	settled <-chan struct{} // closed: the outcome of a command is noted; nil: there is none
}

const (
	// maxAnswers bounds the answers that wait for the disk: as many as readings
	// may wait for it. A device whose answer is dropped sends again.
	maxAnswers = 65_536
	// keepAnswers is how long a queue may stay when it has been emptied.
	keepAnswers = 1024
	// grace bounds the wait for the last commit; a healthy disk needs milliseconds.
	grace = 3 * time.Second
)

// answerQueue holds answers in the order in which they go out.
type answerQueue struct {
	wake chan struct{} // told of the first; capacity 1

	mu      sync.Mutex // guards following
	waiting []answer
}

// put appends an answer and reports whether there was room.
func (q *answerQueue) put(a answer) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxAnswers {
		return false
	}
	q.waiting = append(q.waiting, a)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the answers that wait and takes the memory of done, which are
// those it returned last.
func (q *answerQueue) take(done []answer) []answer {
	clear(done)
	if cap(done) > keepAnswers {
		done = nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := q.waiting
	q.waiting = done[:0]
	return waiting
}

// Run sends answers as their readings become durable. When ctx is done it sends
// those that are waiting, within a few seconds, and returns. No session may be
// used after ctx is done.
func (p *Pipeline) Run(ctx context.Context) error {
	var out []answer
	for ctx.Err() == nil {
		select {
		case <-p.queue.wake:
		case <-ctx.Done():
		}
		out = p.queue.take(out)
		for i := range out {
			if !p.send(ctx, &out[i]) {
				p.drain(ctx, out[i:])
				return nil
			}
		}
	}
	p.drain(ctx, nil)
	return nil
}

// drain sends the answers that are waiting, beginning with those given.
func (p *Pipeline) drain(ctx context.Context, out []answer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	dropped := 0
	for {
		for i := range out {
			if !p.send(ctx, &out[i]) {
				p.drop(&out[i])
				dropped++
			}
		}
		if out = p.queue.take(nil); len(out) == 0 {
			break
		}
	}
	if dropped > 0 {
		p.log.Warn("answers to devices were dropped at the end", "answers", dropped)
	}
}

// send waits until the answer is true and sends it. It reports false, and has
// sent nothing, when ctx ended before.
func (p *Pipeline) send(ctx context.Context, a *answer) bool {
	for _, f := range a.flights {
		select {
		case <-f.landed:
		case <-ctx.Done():
			return false
		}
		if f.lost && !a.refused {
			a.refused, a.reason, a.durable = true, Overload, false
		}
		a.offset = p.last.Load()
	}
	if a.settled != nil {
		select {
		case <-a.settled:
		case <-ctx.Done():
			return false
		}
	}
	if a.durable && a.offset > p.durable {
		if err := p.sink.WaitDurable(ctx, a.offset); err != nil {
			if ctx.Err() != nil {
				return false
			}
			p.drop(a)
			return true
		}
		p.durable = a.offset
	}
	if a.refused {
		p.body = wire.AppendRefusal(p.body[:0], a.reason.String(), a.seq, a.hasSeq)
	} else {
		p.body = wire.AppendAck(p.body[:0], a.seq, a.hasSeq)
		p.acks.Add(1)
	}
	if a.device != "" {
		if c, ok := p.mailbox.Next(a.device); ok {
			p.body = wire.AppendCommand(p.body, &c)
		}
	}
	a.from.reply(a.peer, p.body)
	a.from.answered()
	return true
}

// drop counts an answer that cannot be sent.
func (p *Pipeline) drop(a *answer) {
	p.lostAcks.Add(1)
	a.from.answered()
}
