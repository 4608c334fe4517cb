package push

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// History is where readings are that the feed no longer holds.
type History interface {
	// After returns the readings that sel wants with larger offsets than after,
	// ascending, at most limit, and the offset up to which it has looked.
	After(ctx context.Context, sel device.Selector, after uint64, limit int) ([]device.Stored, uint64, error)
	// Latest returns the n newest readings of each series that sel wants,
	// ascending, and the head that they are the snapshot of.
	Latest(ctx context.Context, sel device.Selector, n int) ([]device.Stored, uint64, error)
	// Bounds returns floor and head: readings with floor < offset <= head are kept.
	Bounds() (floor, head uint64)
}

const (
	// DefaultRing is how many readings the feed keeps: half a minute at 1,000 a
	// second, some 4 MB.
	DefaultRing = 32_768
	// DefaultGather is how long readings for a busy topic are gathered. Below the
	// duration of a video frame nobody sees it.
	DefaultGather = 15 * time.Millisecond
	// frameReadings and scanReadings bound the work of one Next: what a frame
	// carries, and what is looked through for it.
	frameReadings = 1000
	scanReadings  = 16_384
	chunkSize     = 256
)

// Config sets up a Feed.
type Config struct {
	// Store is the store id of cursors.
	Store   string
	History History
	// Ring is how many readings are kept in memory; 0 means DefaultRing.
	Ring int
	// Gather is how long readings for a busy topic are gathered; 0 means
	// DefaultGather, less than 0 not at all.
	Gather time.Duration
}

// Feed is the hot end of the log. Its methods may be called concurrently, but
// for Publish.
type Feed struct {
	store   string
	history History
	ring    int
	gather  time.Duration

	published  atomic.Int64
	deliveries atomic.Int64
	frames     atomic.Int64
	subs       atomic.Int64

	mu       sync.RWMutex // guards following
	chunks   []*chunk     // consecutive; all but the last are full
	base     uint64       // offset of the first reading in chunks[0]
	head     uint64       // highest offset published
	topics   map[string]*topic
	byDevice map[device.ID][]*topic // who wants readings of a device; made on demand
	closed   bool
}

// chunk holds consecutive readings. A reading is immutable once the feed's head
// has passed it.
type chunk struct {
	readings [chunkSize]device.Stored

	mu   sync.Mutex // guards following
	json []byte     // readings as JSON, each encoded once, when first wanted
	span [chunkSize]struct{ from, to uint32 }
}

// encoded returns reading i as JSON. The result is immutable.
func (c *chunk) encoded(i int) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := &c.span[i]
	if s.to == 0 {
		s.from = uint32(len(c.json))
		c.json = c.readings[i].AppendJSON(c.json)
		s.to = uint32(len(c.json))
	}
	return c.json[s.from:s.to:s.to]
}

// NewFeed returns a feed that continues at the history's head. It starts
// nothing.
func NewFeed(cfg Config) *Feed {
	if cfg.Ring == 0 {
		cfg.Ring = DefaultRing
	}
	if cfg.Gather == 0 {
		cfg.Gather = DefaultGather
	}
	_, head := cfg.History.Bounds()
	return &Feed{
		store: cfg.Store, history: cfg.History, ring: cfg.Ring, gather: max(cfg.Gather, 0),
		base: head + 1, head: head,
		topics: map[string]*topic{}, byDevice: map[device.ID][]*topic{},
	}
}

// Stats counts what went through since the start.
type Stats struct {
	Published     int64
	Deliveries    int64 // readings handed to subscribers
	Frames        int64 // frames handed to subscribers
	Subscriptions int64 // open at present
	Topics        int64
	Head          uint64
}

// Stats returns the counts.
func (f *Feed) Stats() Stats {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return Stats{
		Published: f.published.Load(), Deliveries: f.deliveries.Load(), Frames: f.frames.Load(),
		Subscriptions: f.subs.Load(), Topics: int64(len(f.topics)), Head: f.head,
	}
}

// Publish takes readings in offset order; it copies them and never blocks for
// long. Calls must not overlap.
func (f *Feed) Publish(rs []device.Stored) {
	if len(rs) == 0 {
		return
	}
	f.published.Add(int64(len(rs)))
	f.mu.Lock()
	if rs[0].Offset != f.head+1 {
		f.chunks, f.base = nil, rs[0].Offset // offsets were skipped after a crash
	}
	for i := range rs {
		n := int(rs[i].Offset-f.base) % chunkSize
		if n == 0 {
			f.chunks = append(f.chunks, &chunk{})
		}
		f.chunks[len(f.chunks)-1].readings[n] = rs[i]
	}
	f.head = rs[len(rs)-1].Offset
	if extra := len(f.chunks) - f.ring/chunkSize - 1; extra > 0 {
		f.chunks = slices.Delete(f.chunks, 0, extra)
		f.base += uint64(extra) * chunkSize
	}
	woken := f.interestedLocked(rs)
	f.mu.Unlock()
	if len(woken) == 0 {
		return
	}
	now := time.Now()
	for _, t := range woken {
		t.matched(f.gather, now)
	}
}

// interestedLocked returns the topics that want some of rs, and notes on each
// the last offset that it wants.
func (f *Feed) interestedLocked(rs []device.Stored) []*topic {
	if len(f.topics) == 0 {
		return nil
	}
	var woken []*topic
	for i := range rs {
		r := &rs[i]
		topics, ok := f.byDevice[r.Device]
		if !ok {
			for _, t := range f.topics {
				if t.sel.MatchDevice(r.Device) {
					topics = append(topics, t)
				}
			}
			f.byDevice[r.Device] = topics
		}
		for _, t := range topics {
			if !t.sel.MatchMetric(r.Metric) {
				continue
			}
			if t.newest <= rs[0].Offset-1 {
				woken = append(woken, t)
			}
			t.newest = r.Offset
		}
	}
	return woken
}

// Head returns the cursor of the newest reading.
func (f *Feed) Head() Cursor {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return Cursor{f.store, f.head}
}

// Close ends all subscriptions, once they have delivered what is there.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	topics := make([]*topic, 0, len(f.topics))
	for _, t := range f.topics {
		topics = append(topics, t)
	}
	f.mu.Unlock()
	for _, t := range topics {
		t.mu.Lock()
		t.wakeLocked(time.Now())
		t.mu.Unlock()
	}
}

// window returns the readings in memory behind after: their chunks, the offset
// of the first reading in those, and the head. ok is false when after lies below
// what is kept.
func (f *Feed) window(after uint64) (chunks []*chunk, base, head uint64, closed, ok bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if after+1 < f.base {
		return nil, 0, f.head, f.closed, false
	}
	if after >= f.head {
		return nil, 0, f.head, f.closed, true
	}
	first := int(after+1-f.base) / chunkSize
	return slices.Clone(f.chunks[first:min(len(f.chunks), first+scanReadings/chunkSize)]),
		f.base + uint64(first)*chunkSize, f.head, f.closed, true
}
