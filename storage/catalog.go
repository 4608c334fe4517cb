package storage

import (
	"cmp"
	"slices"

	"github.com/naru-telemetry/naru/device"
)

// catalog knows every series by its id. Ids count from 1 and are never given
// to another series; names only grows, so that a copy of its header is a
// snapshot.
type catalog struct {
	ids     map[device.Series]uint32
	names   []device.Series // by id − 1; zero for an id whose entry is lost
	state   []seriesState   // by id − 1
	devices map[device.ID]*deviceState
	// written is how many of names are in the file.
	written int
}

// seriesState is what changes about a series with its readings.
type seriesState struct {
	last  device.Stored // newest reading; offset 0: there was none
	count int64         // readings kept
	head  uint64        // key of the newest batch that holds the series; 0: none
	gen   uint32        // Log.gen of the batch that index belongs to
	index int32         // in that batch's dictionary
	hint  uint8         // decimal exponent of the last float
	dev   *deviceState
	// fresh is what is in no block yet, beside what a flush is writing.
	fresh, flushing column
}

// deviceState is what is known of a device. Its number stands for it in the
// files of the history.
type deviceState struct {
	id     device.ID
	number uint32
	series []uint32 // ids, ascending
	// fresh sums up the columns of the series, and flushing those that a flush
	// is writing.
	fresh, flushing head
}

func newCatalog() catalog {
	return catalog{ids: map[device.Series]uint32{}, devices: map[device.ID]*deviceState{}}
}

// id returns the id of the series and gives it one when it is new; false when
// there are too many.
func (c *catalog) id(s device.Series) (uint32, bool) {
	if id, ok := c.ids[s]; ok {
		return id, true
	}
	if len(c.names) >= maxSeries {
		return 0, false
	}
	c.add(s)
	return uint32(len(c.names)), true
}

// add appends a series with the next id; the zero series only takes the id up.
func (c *catalog) add(s device.Series) {
	c.names = append(c.names, s)
	c.state = append(c.state, seriesState{})
	if s == (device.Series{}) {
		return
	}
	id := uint32(len(c.names))
	c.ids[s] = id
	d := c.devices[s.Device]
	if d == nil {
		d = &deviceState{id: s.Device, number: id}
		c.devices[s.Device] = d
	}
	d.series = append(d.series, id)
	c.state[id-1].dev = d
}

// wanted returns the ids of the series that sel matches, in no order.
func (c *catalog) wanted(sel device.Selector) []uint32 {
	var ids []uint32
	add := func(of []uint32) {
		for _, id := range of {
			if sel.MatchMetric(c.names[id-1].Metric) {
				ids = append(ids, id)
			}
		}
	}
	if names, exact := sel.Devices(); exact {
		for _, d := range names {
			if d := c.devices[d]; d != nil {
				add(d.series)
			}
		}
		return ids
	}
	for id, d := range c.devices {
		if sel.MatchDevice(id) {
			add(d.series)
		}
	}
	return ids
}

// info sums up a device from its series.
func (c *catalog) info(d *deviceState) (device.Info, bool) {
	info := device.Info{ID: d.id}
	newest := uint64(0)
	for _, id := range d.series {
		s := &c.state[id-1]
		if s.last.Offset == 0 {
			continue
		}
		info.Series++
		info.Count += s.count
		if s.last.Offset > newest {
			newest, info.LastTime, info.LastReceived = s.last.Offset, s.last.Time, s.last.Received
		}
	}
	return info, newest != 0
}

// Devices returns what is known of every device, sorted by id. A device whose
// readings are no longer kept stays known.
func (l *Log) Devices() []device.Info {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]device.Info, 0, len(l.cat.devices))
	for _, d := range l.cat.devices {
		if info, ok := l.cat.info(d); ok {
			out = append(out, info)
		}
	}
	slices.SortFunc(out, func(a, b device.Info) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Device returns what is known of one device.
func (l *Log) Device(id device.ID) (device.Info, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if d := l.cat.devices[id]; d != nil {
		return l.cat.info(d)
	}
	return device.Info{}, false
}

// Series returns the series that sel matches, sorted by device and metric. A
// series whose readings are no longer kept stays known, with its last reading.
func (l *Log) Series(sel device.Selector) []device.SeriesInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	ids := l.cat.wanted(sel)
	out := make([]device.SeriesInfo, 0, len(ids))
	for _, id := range ids {
		if s := &l.cat.state[id-1]; s.last.Offset != 0 {
			out = append(out, device.SeriesInfo{Series: l.cat.names[id-1], Last: s.last, Count: s.count})
		}
	}
	slices.SortFunc(out, func(a, b device.SeriesInfo) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Metric, b.Metric))
	})
	return out
}

// bitmap is a set of series ids.
type bitmap []uint64

func newBitmap(ids []uint32, n int) bitmap {
	m := make(bitmap, n/64+1)
	for _, id := range ids {
		m[id/64] |= 1 << (id % 64)
	}
	return m
}

func (m bitmap) has(id uint32) bool {
	return int(id/64) < len(m) && m[id/64]>>(id%64)&1 == 1
}
