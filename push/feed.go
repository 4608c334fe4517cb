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
	// DefaultGather is how long readings for a busy topic are gathered: a write to
	// a viewer costs far more than a reading in it, and nobody sees the delay of a
	// video frame.
	DefaultGather = 20 * time.Millisecond
	// MaxLimit bounds the readings of a frame that a viewer may ask for: 1 MB of
	// numbers.
	MaxLimit = 10_000
	// frameReadings and scanReadings bound the work of one Next: what a frame
	// carries unless more is asked for, and what is looked through for it.
	frameReadings = 1000
	scanReadings  = 16_384
	chunkSize     = 256
	// keepBuilder is the largest buffer that a frame builder is kept with.
	keepBuilder = 1 << 18
	// ringText bounds the text values in memory, in bytes. A ring full of the
	// longest texts would take 32 MB, and up to six times that when encoded.
	ringText = 4 << 20
)

// Config sets up a Feed.
type Config struct {
	// Store is the store id of cursors.
	Store   string
	History History
	// Ring is how many readings are kept in memory, fewer where they are long
	// texts; 0 means DefaultRing.
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

	wave      wave
	builders  sync.Pool // of *frameBuilder
	presences presences

	head  atomic.Uint64 // highest offset published; written under mu
	woken []*topic      // scratch, owned by Publish

	mu       sync.RWMutex // guards following
	chunks   []*chunk     // consecutive; all but the last are full
	base     uint64       // offset of the first reading in chunks[0]
	text     int          // bytes of text values in chunks
	topics   map[string]*topic
	interest interest // of topics
	closed   bool
}

// chunk holds consecutive readings. A reading is immutable once the feed's head
// has passed it.
type chunk struct {
	readings [chunkSize]device.Stored
	text     int // bytes of text values in readings; guarded by Feed.mu

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
	f := &Feed{
		store: cfg.Store, history: cfg.History, ring: cfg.Ring, gather: max(cfg.Gather, 0),
		base: head + 1, topics: map[string]*topic{}, interest: newInterest(),
	}
	f.wave.gap = f.gather / 5
	f.head.Store(head)
	return f
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
		Subscriptions: f.subs.Load(), Topics: int64(len(f.topics)), Head: f.head.Load(),
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
	f.keepLocked(rs)
	f.interestedLocked(rs)
	f.mu.Unlock()
	if len(f.woken) == 0 {
		return
	}
	now := time.Now()
	for i, t := range f.woken {
		t.matched(now)
		f.woken[i] = nil
	}
	f.woken = f.woken[:0]
}

// keepLocked adds rs to the ring and drops its oldest chunks when it is too
// large. The last chunk always stays.
func (f *Feed) keepLocked(rs []device.Stored) {
	head := f.head.Load()
	for i := range rs {
		r := &rs[i]
		if r.Offset != head+1 {
			f.chunks, f.base, f.text = nil, r.Offset, 0 // offsets were skipped, as after a crash
		}
		n := (r.Offset - f.base) % chunkSize
		if n == 0 {
			f.chunks = append(f.chunks, &chunk{})
		}
		c := f.chunks[len(f.chunks)-1]
		c.readings[n] = *r
		if size := len(r.Value.Text()); size > 0 {
			c.text += size
			f.text += size
		}
		head = r.Offset
	}
	f.head.Store(head)
	extra := max(0, len(f.chunks)-f.ring/chunkSize-1)
	for i, c := range f.chunks[:len(f.chunks)-1] {
		if i >= extra && f.text <= ringText {
			break
		}
		f.text -= c.text
		extra = max(extra, i+1)
	}
	if extra > 0 {
		f.chunks = slices.Delete(f.chunks, 0, extra)
		f.base += uint64(extra) * chunkSize
	}
}

// interestedLocked puts the topics that want some of rs into woken, and notes
// on each what it wants.
func (f *Feed) interestedLocked(rs []device.Stored) {
	if len(f.topics) == 0 {
		return
	}
	var of device.ID
	var lists [2][]*topic
	for i := range rs {
		r := &rs[i]
		if i == 0 || r.Device != of {
			of, lists = r.Device, f.interest.in(r.Device)
		}
		for _, topics := range lists {
			for _, t := range topics {
				if !t.sel.MatchMetric(r.Metric) {
					continue
				}
				if t.newest < rs[0].Offset {
					f.woken = append(f.woken, t)
				}
				t.wantsLocked(r.Offset)
			}
		}
	}
}

// Head returns the cursor of the newest reading.
func (f *Feed) Head() Cursor {
	return Cursor{f.store, f.head.Load()}
}

// ended reports whether the feed is closed.
func (f *Feed) ended() bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.closed
}

// Keeps reports whether all readings behind the cursor can be asked for.
func (f *Feed) Keeps(c Cursor) bool {
	floor, _ := f.history.Bounds()
	f.mu.RLock()
	defer f.mu.RUnlock()
	return c.Store == f.store && c.Offset <= f.head.Load() && (floor <= c.Offset || f.base <= c.Offset+1)
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

// window is what the feed holds for a topic behind a cursor.
type window struct {
	after  uint64   // the cursor, moved over what the topic does not want
	below  bool     // after lies below what is in memory
	chunks []*chunk // none: nothing is wanted behind after
	base   uint64   // offset of the first reading in chunks
	head   uint64
	closed bool
	// known tells that wanted holds all that the topic wants behind after.
	known  bool
	wanted []uint64
}

// at returns where the reading at offset stands, which lies in chunks.
func (w *window) at(offset uint64) (*chunk, int) {
	n := offset - w.base
	return w.chunks[n/chunkSize], int(n % chunkSize)
}

// windowRoom is where a window's slices may stand.
type windowRoom struct {
	wanted [recentWanted]uint64
	chunks [scanReadings / chunkSize]*chunk
}

// window looks for what the topic wants behind after. The result stands in room.
func (f *Feed) window(t *topic, after uint64, room *windowRoom) window {
	f.mu.RLock()
	defer f.mu.RUnlock()
	w := window{head: f.head.Load(), closed: f.closed}
	w.after = t.skipLocked(after, w.head)
	w.wanted, w.known = t.wantedLocked(room.wanted[:0], w.after)
	if len(w.wanted) > 0 {
		w.after = w.wanted[0] - 1
	}
	switch {
	case w.after >= w.head:
	case w.after+1 < f.base:
		w.below = true
	default:
		first := int((w.after + 1 - f.base) / chunkSize)
		w.base = f.base + uint64(first)*chunkSize
		w.chunks = room.chunks[:copy(room.chunks[:], f.chunks[first:])]
	}
	return w
}
