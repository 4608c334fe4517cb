package fleet

import (
	"container/heap"
	"slices"
	"time"
)

// ackPolicy says how a device waits for acknowledgements.
type ackPolicy struct {
	timeout time.Duration // until the first retransmission; each further one waits twice as long
	longest time.Duration // bound of that wait
	retries int           // retransmissions until the device gives up
	window  int           // messages that may wait at once
	// overtaken, when positive, is how many transmissions later than that of a
	// message the newest answered one is when the message is sent again at once,
	// as lost. Within one wait it takes four times as many each time, so that
	// mere delay makes no storm. The wait does not change.
	overtaken uint64
	// shortest, when positive, lets the first wait follow the time that answers
	// take, between shortest and timeout.
	shortest time.Duration
}

// maxAhead is how far the newest message may be ahead of the oldest one that
// waits: half of how far back the server recognises a retransmission.
const maxAhead = 2048

// outbox holds the messages that wait for their acknowledgement. It has no clock
// and sends nothing: its owner asks what is due. It belongs to one goroutine.
type outbox struct {
	policy  ackPolicy
	waiting map[uint64]*unacked
	queue   deadlines // of waiting and of already answered messages
	oldest  uint64    // no waiting message has a smaller ticket
	next    uint64    // ticket of the next message
	tickets map[uint64]struct{}

	lost []*unacked // overtaken, to be sent again
	// sendings are those whose fate is open, in order, by how often their message
	// had been overtaken.
	sendings     [maxOvertaken][]sending
	sent         uint64        // sendings so far
	mean, spread time.Duration // of the time until an answer; 0: none yet
	answered     uint64        // number of the newest one that has been answered
}

// maxOvertaken is how often a message may be overtaken within one wait: with the
// usual three, the fourth time is after 192 others, about a window.
const maxOvertaken = 4

// sending is one transmission of a message.
type sending struct {
	number  uint64
	message *unacked
}

// unacked is a message without an answer.
type unacked struct {
	seq     uint64
	ticket  uint64
	payload []byte
	sent    time.Time
	tries   int    // retransmissions so far
	sending uint64 // number of the newest transmission
	hurried int    // how often it has been overtaken within the present wait
	due     time.Time
}

func newOutbox(p ackPolicy) *outbox {
	return &outbox{policy: p, waiting: make(map[uint64]*unacked), tickets: make(map[uint64]struct{})}
}

// room reports whether one more message may be under way.
func (o *outbox) room() bool {
	return len(o.waiting) < o.policy.window && o.next-o.oldest < maxAhead
}

// idle reports whether no message waits.
func (o *outbox) idle() bool { return len(o.waiting) == 0 }

// add remembers a message that is sent for the first time. It keeps payload.
func (o *outbox) add(seq uint64, payload []byte, now time.Time) {
	u := &unacked{seq: seq, ticket: o.next, payload: payload, sent: now, due: now.Add(o.wait())}
	o.next++
	o.waiting[seq] = u
	o.tickets[u.ticket] = struct{}{}
	heap.Push(&o.queue, deadline{u.due, u})
	o.noteSending(u)
}

func (o *outbox) noteSending(u *unacked) {
	o.sent++
	u.sending = o.sent
	if o.policy.overtaken > 0 && u.hurried < maxOvertaken {
		o.sendings[u.hurried] = append(o.sendings[u.hurried], sending{o.sent, u})
	}
}

// hurry finds the messages that have been overtaken.
func (o *outbox) hurry() {
	for times := range o.sendings {
		open, n := o.sendings[times], 0
		for ; n < len(open) && open[n].number+o.policy.overtaken<<(2*times) <= o.answered; n++ {
			if u := open[n].message; o.waiting[u.seq] == u && u.sending == open[n].number {
				u.hurried++
				o.lost = append(o.lost, u)
			}
		}
		o.sendings[times] = slices.Delete(open, 0, n)
	}
}

// settle takes a message out that has been answered, and returns it; nil when
// none with this seq waits.
func (o *outbox) settle(seq uint64, now time.Time) *unacked {
	u := o.waiting[seq]
	if u == nil {
		return nil
	}
	o.remove(u)
	o.answered = max(o.answered, u.sending)
	o.hurry()
	if u.tries == 0 && u.hurried == 0 { // else the answer may be to an earlier transmission
		o.learn(now.Sub(u.sent))
	}
	return u
}

// learn takes the time that an answer took into account, as RFC 6298 does.
func (o *outbox) learn(took time.Duration) {
	if o.mean == 0 {
		o.mean, o.spread = took, took/2
		return
	}
	o.spread += ((o.mean - took).Abs() - o.spread) / 4
	o.mean += (took - o.mean) / 8
}

// wait returns how long the first wait for an answer is.
func (o *outbox) wait() time.Duration {
	if o.policy.shortest == 0 || o.mean == 0 {
		return o.policy.timeout
	}
	return min(max(o.mean+4*o.spread, o.policy.shortest), o.policy.timeout)
}

func (o *outbox) remove(u *unacked) {
	delete(o.waiting, u.seq)
	delete(o.tickets, u.ticket)
	for o.oldest < o.next {
		if _, ok := o.tickets[o.oldest]; ok {
			break
		}
		o.oldest++
	}
}

// due returns the next message whose wait is over at the moment now or that has
// been overtaken, and whether the device gives it up instead of sending it again.
func (o *outbox) due(now time.Time) (u *unacked, givenUp bool) {
	for len(o.lost) > 0 {
		u, o.lost = o.lost[0], o.lost[1:]
		if o.waiting[u.seq] == u {
			o.noteSending(u)
			return u, false
		}
	}
	for len(o.queue) > 0 {
		d := o.queue[0]
		if o.waiting[d.message.seq] != d.message || !d.at.Equal(d.message.due) {
			heap.Pop(&o.queue)
			continue
		}
		if d.at.After(now) {
			return nil, false
		}
		heap.Pop(&o.queue)
		u = d.message
		if u.tries == o.policy.retries {
			o.remove(u)
			return u, true
		}
		u.tries++
		u.hurried = 0
		wait := min(o.wait()<<min(u.tries, 20), o.policy.longest)
		u.due = now.Add(wait)
		heap.Push(&o.queue, deadline{u.due, u})
		o.noteSending(u)
		return u, false
	}
	return nil, false
}

// nextDue returns when the next wait is over, once due has returned nothing
// more; false when nothing waits.
func (o *outbox) nextDue() (time.Time, bool) {
	for len(o.queue) > 0 {
		d := o.queue[0]
		if o.waiting[d.message.seq] == d.message && d.at.Equal(d.message.due) {
			return d.at, true
		}
		heap.Pop(&o.queue)
	}
	return time.Time{}, false
}

// postpone lets a message wait until the moment at, before it is sent again.
func (o *outbox) postpone(u *unacked, at time.Time) {
	u.due = at
	heap.Push(&o.queue, deadline{at, u})
}

// find returns a waiting message that has what it needs; nil when none has.
func (o *outbox) find(has func(payload []byte) bool) *unacked {
	for _, u := range o.waiting {
		if has(u.payload) {
			return u
		}
	}
	return nil
}

// again makes every waiting message due at once: the connection is a new one.
func (o *outbox) again(now time.Time) {
	for _, u := range o.waiting {
		u.due = now
		heap.Push(&o.queue, deadline{now, u})
	}
}

// clear forgets all messages and returns how many they were.
func (o *outbox) clear() int {
	n := len(o.waiting)
	clear(o.waiting)
	clear(o.tickets)
	o.queue, o.lost, o.oldest = nil, nil, o.next
	clear(o.sendings[:])
	return n
}

// deadline is when a message's wait is over. It is void when the message has
// been answered or has a later one.
type deadline struct {
	at      time.Time
	message *unacked
}

// deadlines is a heap, by time and then by the order of sending.
type deadlines []deadline

func (d *deadlines) Len() int      { return len(*d) }
func (d *deadlines) Swap(i, j int) { (*d)[i], (*d)[j] = (*d)[j], (*d)[i] }

func (d *deadlines) Less(i, j int) bool {
	a, b := (*d)[i], (*d)[j]
	if !a.at.Equal(b.at) {
		return a.at.Before(b.at)
	}
	return a.message.ticket < b.message.ticket
}

// Push is called by heap.Push, with a deadline.
func (d *deadlines) Push(x any) {
	if added, ok := x.(deadline); ok {
		*d = append(*d, added)
	}
}

// Pop is called by heap.Pop, which has put the first one last.
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	first := (*d)[last]
	(*d)[last] = deadline{}
	*d = (*d)[:last]
	return first
}
