package live

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"

	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// crowd is the viewers there are.
type crowd struct {
	most, perAddr int
	exempt        []netip.Prefix // of perAddr

	mu      sync.Mutex // guards following
	all     int
	from    map[netip.Addr]int
	refused int64
}

// retryAfter is when a viewer that was turned away may come again, in seconds.
const retryAfter = 5

// What a viewer learns for whom there is no room.
var (
	tooMany     = &engine.Refusal{Status: http.StatusServiceUnavailable, RetryAfter: retryAfter, Message: "too many viewers"}
	tooManyFrom = &engine.Refusal{Status: http.StatusTooManyRequests, RetryAfter: retryAfter, Message: "too many viewers from this address"}
)

// enter counts a viewer in, until leave is called, or tells why there is no room.
func (c *crowd) enter(r *http.Request) (leave func(), full *engine.Refusal) {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // who has none is one address with all of those
	addr := peer.Addr().Unmap().WithZone("")
	free := addr.IsLoopback() || slices.ContainsFunc(c.exempt, func(p netip.Prefix) bool { return p.Contains(addr) })
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.all >= c.most:
		full = tooMany
	case !free && c.from[addr] >= c.perAddr:
		full = tooManyFrom
	}
	if full != nil {
		c.refused++
		return nil, full
	}
	if c.from == nil {
		c.from = map[netip.Addr]int{}
	}
	c.all++
	c.from[addr]++
	return func() { c.leave(addr) }, nil
}

func (c *crowd) leave(addr netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.from[addr]--; c.from[addr] == 0 {
		delete(c.from, addr)
	}
}

// turnedAway returns how many viewers were, so far.
func (c *crowd) turnedAway() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}
