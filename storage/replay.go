package storage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// replay reads the headers of the log and of every series its newest reading.
// Damaged values are counted and left out.
func (l *Log) replay(tx *bolt.Tx) {
	l.floor, l.flushed = 0, 0
	meta := tx.Bucket(bucketMeta)
	if v, ok := getMeta(meta, keyFloor, 8); ok {
		l.floor = binary.LittleEndian.Uint64(v)
	}
	if v, ok := getMeta(meta, keyFlushed, 8); ok && l.stats.putAside.Load() == 0 {
		l.flushed = binary.LittleEndian.Uint64(v)
	}
	l.replayLast(tx.Bucket(bucketLast))
	log := tx.Bucket(bucketLog)
	first, newest := uint64(0), uint64(0)
	var b batch
	cur := log.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		if !l.parse(&b, k, v) {
			continue
		}
		if first == 0 {
			first = b.first
		}
		newest = b.last()
		for _, e := range b.dict {
			l.cat.state[e.id-1].head = b.first
		}
	}
	l.logFloor = max(first, 1) - 1
	l.durable.Store(newest)
	l.replayNewest(log)
	for _, p := range l.shelf.periods {
		l.addCounts(p.sealed, +1)
		l.addCounts(p.cold, +1)
	}
}

// refill takes from the log what is in no block, and flushes in between when it
// is more than may be in memory.
func (l *Log) refill() error {
	s := l.newScan(device.Selector{})
	look := func(*batch) (bool, error) { return true, nil }
	for from := l.flushed + 1; ; from = s.chunk.next {
		if err := s.up(from, look); err != nil {
			return err
		}
		err := s.chunk.each(func(b *batch) (err error) {
			s.rows, err = l.eachRow(b, s.rows, nil, func(r *row) error {
				l.takeFresh(b.dict[r.index].id, r)
				return nil
			})
			return err
		})
		if err != nil {
			return err
		}
		if l.unflushed > l.cfg.MaxUnflushed/2 {
			if err := l.flush(context.Background(), allDevices); err != nil {
				return err
			}
			l.flushed = min(l.flushed, s.chunk.next-1) // it does not know what is still to come
		}
		if s.chunk.done {
			return nil
		}
	}
}

// takeFresh takes a reading of the log unless it is in a block.
func (l *Log) takeFresh(id uint32, r *row) {
	s := &l.cat.state[id-1]
	if s.dev == nil || r.offset <= l.flushed || r.offset <= l.shelf.done(s.dev.number, int64(r.time)) {
		return
	}
	s.fresh.add(r.offset, r.time, r.value)
	s.dev.fresh.add(r.offset, r.time)
	s.count++
	l.unflushed++
}

// addCounts adds the counts of the series in a file sign times.
func (l *Log) addCounts(v *volume, sign int64) {
	if v == nil {
		return
	}
	err := l.eachDevice(v, func(d *stretch.Device) error {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range d.Series {
			l.cat.state[s.ID-1].count += sign * s.Count
		}
		if v.devices[d.Number] == nil { // what the file says of it was damaged
			v.take(d)
		}
		return nil
	})
	if err != nil {
		l.damagedPart(v.name, err)
	}
}

// readCatalog returns the names of the series in the catalogue; damaged is told
// the keys of entries that cannot be read.
func readCatalog(cat *bolt.Bucket, damaged func(key []byte)) *nameList {
	names := &nameList{byID: map[uint32]device.Series{}, numbers: map[device.ID]uint32{}, devices: map[uint32]device.ID{}}
	cur := cat.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		id, n := binary.Uvarint(k)
		val, ok := boltfile.Unseal(k, v)
		dev, metric, found := bytes.Cut(val, []byte{0})
		if n <= 0 || id == 0 || id > maxSeries {
			damaged(k)
			continue
		}
		names.top = max(names.top, uint32(id))
		if !ok || !found || device.CheckID(dev) != nil || device.CheckMetric(metric) != nil {
			damaged(k)
			continue
		}
		names.byID[uint32(id)] = device.Series{Device: device.ID(dev), Metric: device.Metric(metric)}
	}
	return names
}

// fillCatalog makes the catalogue from the names, and stores those that the
// files of the history have brought.
func (l *Log) fillCatalog(names *nameList, cat *bolt.Bucket) error {
	// Devices share one copy of their name.
	shared := map[device.ID]device.ID{}
	for id := uint32(1); id <= names.top; id++ {
		s := names.byID[id]
		if known, ok := shared[s.Device]; ok {
			s.Device = known
		} else {
			shared[s.Device] = s.Device
		}
		l.cat.add(s)
	}
	for name, number := range names.numbers {
		if d := l.cat.devices[name]; d != nil {
			d.number = number
		}
	}
	l.cat.written = len(l.cat.names)
	for _, id := range names.adopted {
		k := seriesKey(id)
		if err := cat.Put(k, boltfile.Seal(k, seriesValue(names.byID[id]))); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) damagedEntry(key []byte) {
	l.stats.damagedEntries.Add(1)
	l.cfg.Logger.Error("catalogue entry was damaged: its series cannot be read", "key", fmt.Sprintf("%x", key))
}

// replayLast reads the last readings of series that may have none in the log.
func (l *Log) replayLast(last *bolt.Bucket) {
	cur := last.Cursor()
	for k, v := cur.First(); k != nil; k, v = cur.Next() {
		id, n := binary.Uvarint(k)
		if n <= 0 || id == 0 || id > uint64(len(l.cat.names)) || len(v) < 8 {
			l.damagedEntry(k)
			continue
		}
		var b batch
		if err := b.parse(binary.BigEndian.Uint64(v), v[8:]); err != nil || len(b.dict) != 1 || b.dict[0].id != uint32(id) {
			l.damagedEntry(k)
			continue
		}
		l.takeNewest(&b, nil)
	}
}

// replayNewest decodes the batches that hold the newest reading of a series.
func (l *Log) replayNewest(log *bolt.Bucket) {
	heads := map[uint64]struct{}{}
	for i := range l.cat.state {
		if h := l.cat.state[i].head; h != 0 {
			heads[h] = struct{}{}
		}
	}
	keys := make([]uint64, 0, len(heads))
	for k := range heads {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	var b batch
	var scratch []byte
	for _, k := range keys {
		if l.parse(&b, numberKey(k), log.Get(numberKey(k))) {
			scratch = l.takeNewest(&b, scratch)
		}
	}
}

// takeNewest makes the readings of b the last ones of the series that have
// none newer. It returns scratch for the next call.
func (l *Log) takeNewest(b *batch, scratch []byte) []byte {
	scratch, _ = l.eachRow(b, scratch, nil, func(r *row) error {
		id := b.dict[r.index].id
		if s := &l.cat.state[id-1]; r.offset > s.last.Offset {
			s.last = r.stored(l.cat.names[id-1])
		}
		return nil
	})
	return scratch
}

// stored returns the row as a reading of this series.
func (r *row) stored(s device.Series) device.Stored {
	return device.Stored{Offset: r.offset, Reading: device.Reading{
		Device: s.Device, Metric: s.Metric, Time: r.time, Received: r.received, Value: r.value,
	}}
}

// parse decodes the header of a value of the log and reports whether it is
// sound; the caller has exclusive use of the catalogue or holds no id above
// those it knows.
func (l *Log) parse(b *batch, key, value []byte) bool {
	return l.parseKnown(b, key, value, len(l.cat.names))
}

// parseKnown decodes the header of a value of the log and reports whether it
// is sound and names only the first n series. What is not is counted and
// logged, once for each key.
func (l *Log) parseKnown(b *batch, key, value []byte, n int) bool {
	err := b.parse(keyNumber(key), value)
	if err == nil {
		for _, e := range b.dict {
			if int(e.id) > n {
				err = fmt.Errorf("%w: series %d is not in the catalogue", errDamaged, e.id)
				break
			}
		}
	}
	if err != nil {
		l.damagedBatch(keyNumber(key), err)
	}
	return err == nil
}

// damage remembers what could not be read, at most maxDamage batches and parts of
// files.
type damage struct {
	mu    sync.Mutex // guards following
	keys  map[uint64]struct{}
	parts map[damagedPart]struct{}
	files map[string]struct{} // that have parts
}

// damagedPart is a part of a file of the history.
type damagedPart struct{ file, what string }

// has reports whether a file of the history has parts that could not be read.
func (d *damage) has(file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.files[file]
	return ok
}

// maxDamage bounds the memory that a badly damaged file takes.
const maxDamage = 10_000

func (l *Log) damagedBatch(key uint64, err error) {
	l.damage.mu.Lock()
	_, known := l.damage.keys[key]
	if !known && len(l.damage.keys) < maxDamage {
		if l.damage.keys == nil {
			l.damage.keys = map[uint64]struct{}{}
		}
		l.damage.keys[key] = struct{}{}
	}
	n := len(l.damage.keys)
	l.damage.mu.Unlock()
	if !known && n < maxDamage {
		l.stats.damagedBatches.Add(1)
		l.cfg.Logger.Error("log batch is damaged: its readings are left out", "key", key, "error", err)
	}
}

// damagedPart tells of something in a file of the history that cannot be read, once
// for each.
func (l *Log) damagedPart(name string, err error) {
	d := &l.damage
	part := damagedPart{name, err.Error()}
	d.mu.Lock()
	_, known := d.parts[part]
	if d.parts == nil {
		d.parts, d.files = map[damagedPart]struct{}{}, map[string]struct{}{}
	}
	d.files[name] = struct{}{}
	told := !known && len(d.parts) < maxDamage
	if told {
		d.parts[part] = struct{}{}
	}
	d.mu.Unlock()
	if told {
		l.stats.damagedParts.Add(1)
		l.cfg.Logger.Error("a part of the history is damaged: its readings are left out", "file", name, "error", err)
	}
}

// byOffset orders readings as they were appended.
func byOffset(a, b device.Stored) int { return cmp.Compare(a.Offset, b.Offset) }
