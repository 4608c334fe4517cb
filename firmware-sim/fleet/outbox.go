package fleet

import (
	"container/heap"
	"time"
)

// ackPolicy says how a device waits for acknowledgements.
type ackPolicy struct {
	timeout time.Duration // until the first retransmission; each further one waits twice as long
	longest time.Duration // bound of that wait
	retries int           // retransmissions until the device gives up
	window  uint64        // how far the newest message may be ahead of the oldest unacknowledged one
}

// outbox holds the messages that wait for their acknowledgement. It has no clock
// and sends nothing: its owner asks what is due. It belongs to one goroutine.
type outbox struct {
	policy  ackPolicy
	waiting map[key]*unacked
	queue   deadlines // of waiting and of already answered messages
	oldest  uint64    // no waiting message has a smaller ticket
	next    uint64    // ticket of the next message
	tickets map[uint64]struct{}
}

// key is what an answer names a message by.
type key = uint64

// unacked is a message without an answer.
type unacked struct {
	seq     key
	ticket  uint64
	payload []byte
	count   int // readings
	sent    time.Time
	tries   int // retransmissions so far
	due     time.Time
	busy    bool // the server was overloaded
}

func newOutbox(p ackPolicy) *outbox {
	return &outbox{policy: p, waiting: make(map[key]*unacked), tickets: make(map[uint64]struct{})}
}

// room reports whether one more message may be under way.
func (o *outbox) room() bool { return o.next-o.oldest < o.policy.window }

// empty reports whether nothing waits.
func (o *outbox) empty() bool { return len(o.waiting) == 0 }

// add remembers a message that is sent for the first time. It keeps payload.
func (o *outbox) add(seq key, payload []byte, count int, now time.Time) {
	u := &unacked{seq: seq, ticket: o.next, payload: payload, count: count, sent: now, due: now.Add(o.policy.timeout)}
	o.next++
	o.waiting[seq] = u
	o.tickets[u.ticket] = struct{}{}
	heap.Push(&o.queue, deadline{u.due, u})
}

// settle takes a message out that has been answered, and returns it; nil when
// none with this seq waits.
func (o *outbox) settle(seq key) *unacked {
	u := o.waiting[seq]
	if u == nil {
		return nil
	}
	delete(o.waiting, seq)
	delete(o.tickets, u.ticket)
	for o.oldest < o.next {
		if _, ok := o.tickets[o.oldest]; ok {
			break
		}
		o.oldest++
	}
	return u
}

// due returns the next message whose wait is over at the moment now, and
// whether the device gives it up instead of sending it again.
func (o *outbox) due(now time.Time) (u *unacked, givenUp bool) {
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
			return o.settle(u.seq), true
		}
		u.tries++
		wait := min(o.policy.timeout<<min(u.tries, 30), o.policy.longest)
		u.due = now.Add(wait)
		heap.Push(&o.queue, deadline{u.due, u})
		return u, false
	}
	return nil, false
}

// nextDue returns when the next wait is over; false when nothing waits.
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
	o.queue, o.oldest = nil, o.next
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

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if !d[i].at.Equal(d[j].at) {
		return d[i].at.Before(d[j].at)
	}
	return d[i].message.ticket < d[j].message.ticket
}
func (d deadlines) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)   { *d = append(*d, x.(deadline)) } //nolint:errcheck // heap.Interface is used with deadline only
func (d *deadlines) Pop() any {
	last := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = deadline{}
	*d = (*d)[:len(*d)-1]
	return last
}
