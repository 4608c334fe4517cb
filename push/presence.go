package push

import (
	"container/list"
	"sync"

	"github.com/naru-telemetry/naru/device"
)

// presences holds the newest state of each device in the order of their changes.
// A viewer stands at a version, as it stands at a cursor among the readings: what
// it has missed of one device is only the newest.
type presences struct {
	mu      sync.Mutex // guards following
	version uint64
	changed list.List // of *presence, the latest at the back
	byID    map[device.ID]*list.Element
	waiting map[*Subscription]struct{}
}

type presence struct {
	id      device.ID
	version uint64
	removed bool
	frame   *Frame
}

// Announce tells viewers who ask for presence what is known of a device.
func (f *Feed) Announce(d device.Presence) {
	text := append(d.AppendJSON([]byte(`{"type":"device","device":`)), '}')
	frame := newFrame(len(text))
	frame.buf, frame.aside, frame.Kind = append(frame.buf, text...), true, "device"
	p := &f.presences
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byID == nil {
		p.byID = map[device.ID]*list.Element{}
	}
	if old := p.byID[d.ID]; old != nil {
		p.changed.Remove(old)
	}
	p.version++
	p.byID[d.ID] = p.changed.PushBack(&presence{d.ID, p.version, d.State == device.Removed, frame})
	for s := range p.waiting {
		s.waker.Wake(0)
	}
	clear(p.waiting)
}

// after returns the states of the devices that sel wants and that have changed
// after the version, oldest first, and the version they are as of. From 0 it
// leaves out those that were removed.
func (p *presences) after(version uint64, sel *device.Selector) ([]*Frame, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := p.changed.Back()
	if first == nil {
		return nil, version
	}
	for e := first; e != nil && stateOf(e).version > version; e = e.Prev() {
		first = e
	}
	var frames []*Frame
	for e := first; e != nil; e = e.Next() {
		if s := stateOf(e); s.version > version && sel.MatchDevice(s.id) && (version > 0 || !s.removed) {
			frames = append(frames, s.frame)
		}
	}
	return frames, p.version
}

func stateOf(e *list.Element) *presence {
	s, _ := e.Value.(*presence)
	return s
}

// wait registers s to be woken when something changes after the version that it
// knows; at once when it has already.
func (p *presences) wait(s *Subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.version > s.known {
		s.waker.Wake(0)
		return
	}
	if p.waiting == nil {
		p.waiting = map[*Subscription]struct{}{}
	}
	p.waiting[s] = struct{}{}
}

// unwait takes the registration back.
func (p *presences) unwait(s *Subscription) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, s)
}
