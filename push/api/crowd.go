package api

import (
	"net/netip"
	"sync"
)

// Bounds of the writes under way at a time. A Raspberry Pi has the memory, and a
// gateway behind one address speaks for some hundred sensors with few requests.
const (
	maxWrites        = 256
	maxWritesPerAddr = 64
	maxHeld          = 64 << 20 // bytes of bodies
	maxHeldPerAddr   = 33 << 20 // one of the largest, and some more
)

// crowd is the writes under way.
type crowd struct {
	mu      sync.Mutex // guards following
	all     share
	perAddr map[netip.Addr]*share
}

// share is what some of the writes under way take.
type share struct{ writes, held int }

// guest is a write under way; it belongs to one goroutine.
type guest struct {
	c    *crowd
	addr netip.Addr
	held int
}

// enter lets a write in, unless there are too many.
func (c *crowd) enter(addr netip.Addr) (*guest, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	here := c.perAddr[addr]
	if c.all.writes >= maxWrites || here != nil && here.writes >= maxWritesPerAddr {
		return nil, false
	}
	if here == nil {
		if c.perAddr == nil {
			c.perAddr = map[netip.Addr]*share{}
		}
		here = &share{}
		c.perAddr[addr] = here
	}
	c.all.writes++
	here.writes++
	return &guest{c: c, addr: addr}, true
}

// hold says that the write holds n bytes now, and reports whether it may.
func (g *guest) hold(n int) bool {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	here, more := g.c.perAddr[g.addr], n-g.held
	if g.c.all.held+more > maxHeld || here.held+more > maxHeldPerAddr {
		return false
	}
	g.c.all.held += more
	here.held += more
	g.held = n
	return true
}

// leave gives back what the write took.
func (g *guest) leave() {
	g.c.mu.Lock()
	defer g.c.mu.Unlock()
	here := g.c.perAddr[g.addr]
	g.c.all.writes--
	g.c.all.held -= g.held
	here.held -= g.held
	if here.writes--; here.writes == 0 {
		delete(g.c.perAddr, g.addr)
	}
}
