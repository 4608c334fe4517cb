package listen

import (
	"container/list"
	"context"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
)

// Transports of readings that came by CoAP.
const (
	coapTransport  = "coap"
	coapsTransport = "coaps"
)

const (
	// exchangeLife is EXCHANGE_LIFETIME of RFC 7252: so long a message id means the
	// same message, and so long a silent peer is remembered.
	exchangeLife = 247 * time.Second
	// pigTime is how long a confirmable request waits for its answer to ride on the
	// acknowledgement. Clients send again after two seconds.
	pigTime = 1500 * time.Millisecond

	// Bounds of what is remembered, some 10 MB. Beyond, who was heard longest ago is
	// forgotten, and of one peer the oldest exchange.
	maxCoAPPeers        = 4096
	maxExchanges        = 16_384
	maxExchangesPerPeer = 64

	// Bounds of the requests that wait for the disk.
	maxPending        = 256
	maxPendingPerAddr = 64
	maxPendingBytes   = 8 << 20
	// maxSeparate bounds the responses of their own that wait for an
	// acknowledgement; others are sent once.
	maxSeparate = 256

	// amplification is by how much more than it has sent an address hears that may
	// be forged.
	amplification = 3
)

// CoAP serves requests (RFC 7252) on the socket of a UDP server: readings are
// posted to /readings, /r or /, and answered when they are durable.
type CoAP struct {
	// Write stores a payload and returns when it is durable, as
	// ingest.Pipeline.Write does. ingest.ErrFull means try later.
	Write func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error)
	// Listener returns the device whose commands a peer may take, or a
	// *ingest.RefusalError, and Next the command that the device is to be told now:
	// ingest.Gate.Listener and ingest.Mailbox.Next. Either nil means there are none.
	Listener func(peer ingest.Peer) (device.ID, error)
	Next     func(id device.ID) (device.Command, bool)
	// Refuse is told of requests that cannot be read or may not be made; nil means
	// nobody.
	Refuse RefuseFunc

	requests, repeated, malformed, throttled, unsent atomic.Int64

	seed    maphash.Seed // of the prints by which retransmissions are told
	start   func(f func(ctx context.Context))
	running sync.WaitGroup

	mu           sync.Mutex // guards following
	peers        map[ingest.Peer]*coapPeer
	heard        list.List // of *coapPeer, who was heard last first
	exchanges    int       // of all peers
	uploading    int       // bytes of all uploads
	pending      map[netip.Addr]int
	pendingAll   int
	pendingBytes int
	separate     map[separateKey]*separate
	id           uint16 // of the message that was sent last
	observers    map[device.ID][]*observer
	observing    int    // of all devices
	notification uint32 // the last number of one
}

// separate is a message of ours that is to be confirmed.
type separate struct {
	settled chan struct{} // closed when it is, or refused:
	reset   bool          // valid then
}

type separateKey struct {
	peer ingest.Peer
	id   uint16
}

// CoAPStats counts since the start.
type CoAPStats struct {
	Requests  int64 // without retransmissions
	Repeated  int64 // retransmissions
	Malformed int64
	Throttled int64 // answered that there is no room
	Unsent    int64 // answers that would have been more than a forged address may hear
	Peers     int   // that are remembered
}

// Stats returns the counts.
func (c *CoAP) Stats() CoAPStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return CoAPStats{
		Requests: c.requests.Load(), Repeated: c.repeated.Load(), Malformed: c.malformed.Load(),
		Throttled: c.throttled.Load(), Unsent: c.unsent.Load(), Peers: len(c.peers),
	}
}

// open prepares for handlers; end waits until everything that has been begun is
// over, when ctx is done.
func (c *CoAP) open(ctx context.Context) (end func()) {
	c.mu.Lock()
	c.seed = maphash.MakeSeed()
	c.peers, c.pending, c.separate = map[ingest.Peer]*coapPeer{}, map[netip.Addr]int{}, map[separateKey]*separate{}
	c.observers, c.observing = map[device.ID][]*observer{}, 0
	c.start = func(f func(context.Context)) { c.running.Go(func() { f(ctx) }) }
	c.heard.Init()
	c.id = uint16(rand.Uint32())
	c.mu.Unlock()
	c.start(func(ctx context.Context) {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				c.mu.Lock()
				c.expireLocked(now)
				c.mu.Unlock()
			}
		}
	})
	return func() {
		c.mu.Lock()
		c.observers, c.observing = nil, maxObservers // nobody is told any more
		c.mu.Unlock()
		c.running.Wait()
	}
}

// coapHandler takes what is CoAP and leaves the rest to another handler.
type coapHandler struct {
	Handler
	c     *CoAP
	reply ingest.ReplyFunc
	msg   coap.Message
}

func (c *CoAP) handler(h Handler, reply ingest.ReplyFunc) Handler {
	return &coapHandler{Handler: h, c: c, reply: reply}
}

// Handle implements Handler.
func (h *coapHandler) Handle(ctx context.Context, peer ingest.Peer, b []byte) error {
	if !coap.Is(b) {
		return h.Handler.Handle(ctx, peer, b)
	}
	now := time.Now()
	bad := coap.Parse(b, &h.msg)
	m := &h.msg
	c := h.c
	c.mu.Lock()
	p := c.peerLocked(peer, now)
	p.credit += amplification * len(b)
	if m.Code == coap.Empty {
		c.mu.Unlock()
		h.empty(p, m)
		return nil
	}
	if m.Type > coap.NonConfirmable {
		bad = &coap.FormatError{Byte: 1, Msg: "a request is confirmable or not, never an acknowledgement or a reset"}
	}
	if bad != nil {
		c.mu.Unlock()
		c.malformed.Add(1)
		c.refuse(peer, ingest.Syntax, bad.Error(), b)
		h.reset(p, m)
		return nil
	}
	x, again := c.exchangeLocked(p, m.ID, maphash.Bytes(c.seed, b), now)
	answer := x.answer
	c.mu.Unlock()
	if again {
		c.repeated.Add(1)
		if m.Type == coap.Confirmable && answer != nil {
			c.send(p, h.reply, answer)
		}
		return nil
	}
	c.requests.Add(1)
	return h.request(ctx, p, x, m, b)
}

// empty takes a ping, or what settles a response of ours.
func (h *coapHandler) empty(p *coapPeer, m *coap.Message) {
	switch m.Type {
	case coap.Confirmable:
		h.reset(p, m)
	case coap.NonConfirmable:
	case coap.Acknowledgement, coap.Reset:
		h.c.settle(separateKey{p.peer, m.ID}, m.Type == coap.Reset)
	}
}

// reset refuses a confirmable message, so that it is not sent again.
func (h *coapHandler) reset(p *coapPeer, m *coap.Message) {
	if m.Type == coap.Confirmable {
		h.c.send(p, h.reply, (&coap.Message{Type: coap.Reset, ID: m.ID}).Append(nil))
	}
}

func (c *CoAP) refuse(peer ingest.Peer, r ingest.Reason, detail string, b []byte) {
	if c.Refuse != nil {
		c.Refuse(named(peer, ""), r, detail, b)
	}
}

// named returns the peer as the pipeline sees it.
func named(peer ingest.Peer, name string) ingest.Peer {
	transport := coapTransport
	if peer.Transport == dtlsTransport {
		transport = coapsTransport
	}
	peer.Transport, peer.Name = transport, device.ID(name)
	return peer
}

// send sends a message, unless the peer's address may be forged and would hear
// much more than it has sent.
func (c *CoAP) send(p *coapPeer, reply ingest.ReplyFunc, b []byte) {
	c.mu.Lock()
	ok := p.peer.Device != "" || p.credit >= len(b)
	if ok {
		p.credit -= len(b)
	}
	c.mu.Unlock()
	if !ok {
		c.unsent.Add(1)
		return
	}
	reply(p.peer, b)
}
