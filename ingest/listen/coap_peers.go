package listen

import (
	"container/list"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/ingest"
)

// coapPeer is what is remembered of a peer. CoAP.mu guards all but peer.
type coapPeer struct {
	peer      ingest.Peer
	at        time.Time // when it was heard
	place     *list.Element
	credit    int         // bytes that it may hear if its address may be forged
	exchanges []*exchange // the oldest first
	upload    *upload
	trusted   bool // it may hear a command, once, that is longer than what it has sent
}

// exchange is a request that was taken. Its id may be used by another one, of a
// device that has restarted, when print is not the same.
type exchange struct {
	id     uint16
	print  uint64
	began  time.Time
	answer []byte // to be sent for a retransmission; nil as long as there is none
}

// peerLocked returns what is known of a peer that has been heard. The caller holds
// mu.
func (c *CoAP) peerLocked(peer ingest.Peer, now time.Time) *coapPeer {
	p := c.peers[peer]
	if p == nil {
		if len(c.peers) >= maxCoAPPeers {
			c.forgetLocked(c.oldestLocked())
		}
		p = &coapPeer{peer: peer}
		p.place = c.heard.PushFront(p)
		c.peers[peer] = p
	}
	p.at = now
	c.heard.MoveToFront(p.place)
	return p
}

func (c *CoAP) oldestLocked() *coapPeer {
	if e := c.heard.Back(); e != nil {
		p, _ := e.Value.(*coapPeer)
		return p
	}
	return nil
}

// forgetLocked forgets a peer. What is being answered to it goes on. The caller
// holds mu.
func (c *CoAP) forgetLocked(p *coapPeer) {
	c.dropUploadLocked(p)
	c.exchanges -= len(p.exchanges)
	p.exchanges = nil
	c.heard.Remove(p.place)
	delete(c.peers, p.peer)
}

// expireLocked forgets the peers that have been silent, and uploads that nobody
// goes on with. The caller holds mu.
func (c *CoAP) expireLocked(now time.Time) {
	for p := c.oldestLocked(); p != nil && now.Sub(p.at) >= exchangeLife; p = c.oldestLocked() {
		c.forgetLocked(p)
	}
	if c.uploading == 0 {
		return
	}
	for _, p := range c.peers {
		if p.upload != nil && now.Sub(p.upload.at) >= uploadLife {
			c.dropUploadLocked(p)
		}
	}
}

// exchangeLocked returns the exchange of a request, and whether it was taken
// before. The caller holds mu.
func (c *CoAP) exchangeLocked(p *coapPeer, id uint16, print uint64, now time.Time) (x *exchange, again bool) {
	for len(p.exchanges) > 0 && now.Sub(p.exchanges[0].began) >= exchangeLife {
		c.shiftLocked(p)
	}
	if i := slices.IndexFunc(p.exchanges, func(x *exchange) bool { return x.id == id && x.print == print }); i >= 0 {
		return p.exchanges[i], true
	}
	if len(p.exchanges) >= maxExchangesPerPeer {
		c.shiftLocked(p)
	}
	for c.exchanges >= maxExchanges {
		if o := c.oldestLocked(); o != p {
			c.forgetLocked(o)
		} else {
			c.shiftLocked(p)
		}
	}
	x = &exchange{id: id, print: print, began: now}
	p.exchanges = append(p.exchanges, x)
	c.exchanges++
	return x, false
}

func (c *CoAP) shiftLocked(p *coapPeer) {
	p.exchanges = slices.Delete(p.exchanges, 0, 1)
	c.exchanges--
}

// admit takes a place among the requests that wait for the disk, and reports
// whether there was one.
func (c *CoAP) admit(p *coapPeer, size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := p.peer.Addr.Addr()
	if c.pendingAll >= maxPending || c.pending[at] >= maxPendingPerAddr || c.pendingBytes+size > maxPendingBytes {
		return false
	}
	c.pendingAll++
	c.pending[at]++
	c.pendingBytes += size
	return true
}

func (c *CoAP) leave(p *coapPeer, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := p.peer.Addr.Addr()
	c.pendingAll--
	c.pendingBytes -= size
	if c.pending[at]--; c.pending[at] == 0 {
		delete(c.pending, at)
	}
}

// Retransmission of a response of its own (RFC 7252, section 4.8).
const (
	ackTimeout    = 2 * time.Second
	ackRandom     = time.Second // at most so much longer
	maxRetransmit = 4
)

// nextID returns the id of a message to a peer, and what tells of its confirmation
// when it is to be confirmed and there is room.
func (c *CoAP) nextID(p *coapPeer, confirm bool) (id uint16, s *separate) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	if confirm && len(c.separate) < maxSeparate {
		key := separateKey{p.peer, c.id}
		if c.separate[key] == nil {
			s = &separate{settled: make(chan struct{})}
			c.separate[key] = s
		}
	}
	return c.id, s
}

// settle ends the retransmission of a message of ours.
func (c *CoAP) settle(key separateKey, reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.separate[key]; s != nil {
		s.reset = reset
		close(s.settled)
		delete(c.separate, key)
	}
}

// insist sends a confirmable message until it is settled or ctx is done, and
// reports whether the peer has taken it.
func (c *CoAP) insist(ctx context.Context, p *coapPeer, reply ingest.ReplyFunc, id uint16, s *separate, b []byte) bool {
	defer c.settle(separateKey{p.peer, id}, false)
	wait := ackTimeout + rand.N(ackRandom)
	for range maxRetransmit + 1 {
		c.send(p, reply, b)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.settled:
			timer.Stop()
			return !s.reset
		case <-ctx.Done():
			timer.Stop()
			return false
		}
		wait *= 2
	}
	return false
}
