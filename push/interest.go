package push

import (
	"slices"

	"github.com/naru-telemetry/naru/device"
)

// interest tells which topics may want the readings of a device, without asking all of
// them. It is guarded by Feed.mu.
type interest struct {
	named map[device.ID][]*topic // that name the device
	broad map[*topic]struct{}    // that have patterns
	// matched are those of broad that match a device; made when its first reading
	// comes, and kept up from then on.
	matched map[device.ID][]*topic
}

func newInterest() interest {
	return interest{map[device.ID][]*topic{}, map[*topic]struct{}{}, map[device.ID][]*topic{}}
}

// add takes a topic in.
func (n *interest) add(t *topic) {
	if ids, ok := t.sel.Devices(); ok {
		for _, id := range ids {
			n.named[id] = append(n.named[id], t)
		}
		return
	}
	n.broad[t] = struct{}{}
	for id, topics := range n.matched {
		if t.sel.MatchDevice(id) {
			n.matched[id] = append(topics, t)
		}
	}
}

// remove takes it out again.
func (n *interest) remove(t *topic) {
	if ids, ok := t.sel.Devices(); ok {
		for _, id := range ids {
			if n.named[id] = without(n.named[id], t); len(n.named[id]) == 0 {
				delete(n.named, id)
			}
		}
		return
	}
	delete(n.broad, t)
	if len(n.broad) == 0 {
		clear(n.matched) // devices may be gone when somebody looks again
		return
	}
	for id, topics := range n.matched {
		if t.sel.MatchDevice(id) {
			n.matched[id] = without(topics, t)
		}
	}
}

func without(topics []*topic, t *topic) []*topic {
	if i := slices.Index(topics, t); i >= 0 {
		last := len(topics) - 1
		topics[i], topics[last] = topics[last], nil
		return topics[:last]
	}
	return topics
}

// in returns the topics that may want readings of the device: those that name it, and
// those that match it.
func (n *interest) in(id device.ID) (lists [2][]*topic) {
	lists[0] = n.named[id]
	if len(n.broad) == 0 {
		return lists
	}
	topics, ok := n.matched[id]
	if !ok {
		for t := range n.broad {
			if t.sel.MatchDevice(id) {
				topics = append(topics, t)
			}
		}
		n.matched[id] = topics
	}
	lists[1] = topics
	return lists
}
