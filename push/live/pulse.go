package live

import (
	"sync"
	"time"
)

// pulse looks after the connections of all viewers: it pings each of them every
// pingInterval, and closes those that have been silent for two. It is one goroutine
// as long as there are viewers.
type pulse struct {
	mu     sync.Mutex // guards following
	slots  [pulseSlots]map[*wsViewer]struct{}
	now    int // the slot of this moment
	all    int
	ticker bool // the goroutine runs
	ended  chan struct{}
}

// pulseStep is how exact the moment of a ping is.
const (
	pulseStep  = time.Second
	pulseSlots = int(pingInterval / pulseStep)
)

// add has a viewer looked after, beginning in one interval.
func (p *pulse) add(v *wsViewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v.slot = p.now
	if p.slots[p.now] == nil {
		p.slots[p.now] = map[*wsViewer]struct{}{}
	}
	p.slots[p.now][v] = struct{}{}
	p.all++
	if !p.ticker {
		p.ticker, p.ended = true, make(chan struct{}, 1)
		go p.run(p.ended)
	}
}

// remove ends that.
func (p *pulse) remove(v *wsViewer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.slots[v.slot][v]; !there {
		return
	}
	delete(p.slots[v.slot], v)
	if p.all--; p.all == 0 {
		p.ticker = false
		p.ended <- struct{}{}
	}
}

// run ticks until it is told to end.
func (p *pulse) run(ended <-chan struct{}) {
	tick := time.NewTicker(pulseStep)
	defer tick.Stop()
	var due []*wsViewer
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		due = due[:0]
		p.mu.Lock()
		p.now = (p.now + 1) % pulseSlots
		for v := range p.slots[p.now] {
			due = append(due, v)
		}
		p.mu.Unlock()
		for i, v := range due {
			v.beat()
			due[i] = nil
		}
	}
}
