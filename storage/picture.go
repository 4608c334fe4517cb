package storage

import (
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// picture is what a reader sees of the history: the files at one moment and what
// was in no block then. Close it after use.
type picture struct {
	log     *Log
	head    uint64
	names   []device.Series
	wanted  bitmap // series; nil: all
	numbers []uint32
	periods []period
	tiers   [stretch.Tiers][]*volume // see pinTiers
	fresh   []unblocked
	pinned  []*volume
}

// unblocked is what a device has in no block. What a flush is writing and what
// came after it are one each.
type unblocked struct {
	number uint32
	head
	ids     []uint32
	columns []column
	tracks  []track // of columns, made when they are first wanted
}

func (u *unblocked) bounds() (lo, hi uint64) { return u.first, u.last }

// tidied returns the columns in the order of time.
func (u *unblocked) tidied() []track {
	if u.tracks == nil {
		for i := range u.columns {
			u.tracks = append(u.tracks, u.columns[i].tidy(u.ids[i]))
		}
	}
	return u.tracks
}

// picture returns what is there now of the series that sel matches and of the
// times from from to to, both included.
func (l *Log) picture(sel device.Selector, from, to int64) (*picture, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	p := &picture{log: l, head: l.next - 1, names: l.cat.names}
	ids := l.cat.wanted(sel)
	slices.Sort(ids)
	if !sel.All() {
		p.wanted = newBitmap(ids, len(l.cat.names))
	}
	seen := map[uint32]bool{}
	for _, id := range ids {
		d := l.cat.state[id-1].dev
		if !seen[d.number] {
			seen[d.number] = true
			p.numbers = append(p.numbers, d.number)
		}
	}
	slices.Sort(p.numbers)
	l.freshLocked(p, ids, from, to)
	for _, s := range l.shelf.periods {
		if s.start > to || s.end <= from {
			continue
		}
		p.periods = append(p.periods, *s)
		p.pin(s.sealed, s.cold)
	}
	return p, nil
}

// freshLocked takes what is in no block of these series. The caller holds mu.
func (l *Log) freshLocked(p *picture, ids []uint32, from, to int64) {
	index := map[uint32]int{} // of the unblocked, by device number; flushing first
	for _, id := range ids {
		s := &l.cat.state[id-1]
		for k, of := range [2]struct {
			h *head
			c *column
		}{{&s.dev.flushing, &s.flushing}, {&s.dev.fresh, &s.fresh}} {
			if len(of.c.times) == 0 || of.h.minTime > to || of.h.maxTime < from {
				continue
			}
			key := s.dev.number<<1 | uint32(k)
			at, ok := index[key]
			if !ok {
				at = len(p.fresh)
				index[key] = at
				p.fresh = append(p.fresh, unblocked{number: s.dev.number, head: *of.h})
			}
			u := &p.fresh[at]
			u.ids, u.columns = append(u.ids, id), append(u.columns, *of.c)
		}
	}
	// What a flush is writing is older than what came after.
	slices.SortStableFunc(p.fresh, func(a, b unblocked) int {
		if a.number != b.number {
			return int(int64(a.number) - int64(b.number))
		}
		if a.first < b.first {
			return -1
		}
		return 1
	})
}

// narrow leaves out the series that want does not say.
func (p *picture) narrow(want func(id uint32) bool) {
	all := p.wanted
	p.wanted, p.numbers = newBitmap(nil, len(p.names)), nil
	p.log.mu.RLock()
	defer p.log.mu.RUnlock()
	seen := map[uint32]bool{}
	for id := uint32(1); int(id) <= len(p.names); id++ {
		if all != nil && !all.has(id) || !want(id) {
			continue
		}
		p.wanted[id/64] |= 1 << (id % 64)
		if d := p.log.cat.state[id-1].dev; d != nil && !seen[d.number] {
			seen[d.number] = true
			p.numbers = append(p.numbers, d.number)
		}
	}
	slices.Sort(p.numbers)
}

func (p *picture) pin(vs ...*volume) {
	for _, v := range vs {
		if v != nil {
			v.pin()
			p.pinned = append(p.pinned, v)
		}
	}
}

// close lets go of the files.
func (p *picture) close() {
	for _, v := range p.pinned {
		v.unpin()
	}
	p.pinned = nil
}

// freshOf returns what is in no block of the device, the older first.
func (p *picture) freshOf(number uint32) []*unblocked {
	i, _ := slices.BinarySearchFunc(p.fresh, number, func(u unblocked, n uint32) int { return int(int64(u.number) - int64(n)) })
	var out []*unblocked
	for ; i < len(p.fresh) && p.fresh[i].number == number; i++ {
		out = append(out, &p.fresh[i])
	}
	return out
}

// layers returns where the readings of a device in a period are, what is in no
// block included, the first to be replaced first.
func (p *picture) layers(s *period, number uint32) []layer {
	ls := s.layers()
	for _, u := range p.freshOf(number) {
		if u.minTime < s.end && u.maxTime >= s.start {
			ls = append(ls, layer{tracks: u.tidied()})
		}
	}
	return ls
}
