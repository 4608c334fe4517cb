package storage

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

const (
	// A commit drops at most trimBatches batches, or as many as make twice the
	// room that it needs, but never more than maxTrimBatches: what is freed
	// little by little is reused at once, and no commit takes long.
	trimBatches    = 64
	maxTrimBatches = 4096
	// minTrim is how much is freed when the file has reached its largest size.
	minTrim = 1 << 20

	// maxClockDrift is how far the wall clock may get away from the monotonic
	// one before it is not believed.
	maxClockDrift = time.Hour
	// settleTime is how long the wall clock must then have run evenly before
	// it is believed again.
	settleTime = 24 * time.Hour
)

// clockGuard tells whether the wall clock may decide what is too old. A machine
// without a battery-backed clock starts in the past and jumps when the network
// is up; one that was set wrong may jump by years and back. What such a clock
// says must not delete good data: after a jump, nothing is too old until the
// clock has run evenly for a day. Owned by the writer.
type clockGuard struct {
	opened  time.Time     // with a monotonic reading
	wall    time.Time     // at elapsed after opened
	elapsed time.Duration // monotonic
	believe time.Duration // from then on after opened
}

func newClockGuard(now time.Time) clockGuard { return clockGuard{opened: now, wall: now.Round(0)} }

// steady reports whether the wall clock can be believed when it shows wall, a
// monotonic while after the opening.
func (g *clockGuard) steady(wall time.Time, elapsed time.Duration) bool {
	drift := wall.Sub(g.wall) - (elapsed - g.elapsed)
	if drift > maxClockDrift || drift < -maxClockDrift {
		g.wall, g.elapsed, g.believe = wall, elapsed, elapsed+settleTime
	}
	return elapsed >= g.believe
}

// oldestKept returns the receive time before which the log need not have
// readings; false when the clock cannot tell. The caller holds commitMu.
func (l *Log) oldestKept() (device.Time, bool) {
	now := l.cfg.Now()
	if !l.clock.steady(now.Round(0), now.Sub(l.clock.opened)) {
		return 0, false
	}
	return device.TimeOf(now).Add(-max(l.cfg.LogAge, 0)), true
}

// trimDue reports whether the oldest batch may be too old. The caller holds
// commitMu.
func (l *Log) trimDue() bool {
	oldest, ok := l.oldestKept()
	return ok && l.writer.oldest < oldest && l.writer.pinned < l.flushedUpTo()
}

// dropped is what left the log in one transaction.
type dropped struct {
	readings int64
	floor    uint64 // offset of the last of them; 0: none
}

// knownSeries returns how many series there are. What is committed names no others.
func (l *Log) knownSeries() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.cat.names)
}

// flushedUpTo returns the offset up to which readings are in blocks.
func (l *Log) flushedUpTo() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.flushed
}

// trim deletes the oldest batches that are too old or for which there is no
// room beside the job's, at least minimum bytes if there are as many. What is in
// no block stays.
func (l *Log) trim(tx *bolt.Tx, job *commitJob, minimum int64) error {
	log := tx.Bucket(bucketLog)
	keys, err := l.doomed(tx, log.Cursor(), job, minimum)
	if err != nil || len(keys) == 0 {
		return err
	}
	// Who does not find a batch any more is to see that it left.
	l.raiseLogFloor(job.dropped.floor)
	for _, k := range keys {
		if err := log.Delete(k); err != nil {
			return err
		}
	}
	return putMeta(tx.Bucket(bucketMeta), keyFlushed, le64(job.flushed))
}

// doomed returns the keys that trim deletes, and notes in the job what goes
// with them. A damaged batch, whose age is not known, goes with the next one
// that is too old.
func (l *Log) doomed(tx *bolt.Tx, cur *bolt.Cursor, job *commitJob, minimum int64) (keys [][]byte, err error) {
	incoming := int64(len(l.writer.enc))
	excess := max(l.usedBytes(tx)+incoming-l.cfg.LogSize, minimum)
	allowance := 2*incoming + minimum
	age, aged := l.oldestKept()
	sure, known := 0, l.knownSeries()
	var b batch
	k, v := cur.First()
	for ; k != nil && len(keys) < maxTrimBatches; k, v = cur.Next() {
		if len(keys) >= trimBatches && allowance <= 0 {
			break
		}
		sound := l.parseKnown(&b, k, v, known)
		tooOld := sound && aged && b.received.max < age
		if sound {
			l.writer.oldest = b.received.max
		}
		if sound && excess <= 0 && !tooOld {
			break
		}
		if sound && b.last() > job.flushed {
			l.writer.pinned = job.flushed
			if excess > 0 {
				l.press()
			}
			break
		}
		keys = append(keys, k)
		end := keyNumber(k)
		if sound {
			end = b.last()
			if err := l.leave(tx, job, &b); err != nil {
				return nil, err
			}
		}
		if excess > 0 || tooOld {
			sure = len(keys)
			job.dropped.floor = end
		}
		size := int64(len(k) + len(v) + boltfile.ElementLen)
		excess -= size
		allowance -= size
	}
	if k == nil { // nothing is left that could grow too old
		l.writer.oldest = math.MaxInt64
	}
	return keys[:sure], nil
}

// usedBytes returns how many bytes of the file hold something. The free pages
// are those that the last commit left.
func (l *Log) usedBytes(tx *bolt.Tx) int64 {
	s := l.db.Stats()
	used := tx.Size() - int64(s.FreePageN+s.PendingPageN)*boltfile.PageSize
	l.stats.used.Store(used)
	return used
}

// leave notes what goes with the batch. Where it holds the newest reading on
// disk of a series, that reading is kept in a bucket of its own.
func (l *Log) leave(tx *bolt.Tx, job *commitJob, b *batch) error {
	job.dropped.readings += int64(b.count)
	keep := make([]bool, len(b.dict))
	needed := false
	l.mu.RLock()
	for i, e := range b.dict {
		// A head above job.last is in memory only; what the disk has before
		// it is not known here.
		head := l.cat.state[e.id-1].head
		keep[i] = head <= b.first || head > job.last
		needed = needed || keep[i]
	}
	l.mu.RUnlock()
	if !needed {
		return nil
	}
	return l.keepLast(tx, b, keep)
}

// keepLast stores the newest reading in b of the series marked in keep. A
// reading older than one in the log does no harm: the newest wins at opening.
func (l *Log) keepLast(tx *bolt.Tx, b *batch, keep []bool) error {
	newest := map[int]row{}
	var err error
	l.writer.rows, err = l.eachRow(b, l.writer.rows, keep, func(r *row) error {
		newest[r.index] = *r
		return nil
	})
	if err != nil {
		return err
	}
	bucket := tx.Bucket(bucketLast)
	// bbolt takes keys in their order at once, others one by one into their places.
	byKey := slices.SortedFunc(maps.Keys(newest), func(i, k int) int {
		return bytes.Compare(seriesKey(b.dict[i].id), seriesKey(b.dict[k].id))
	})
	for _, i := range byKey {
		r, id := newest[i], b.dict[i].id
		reading := r.stored(device.Series{}).Reading
		var one builder
		one.start(r.offset, &reading)
		hint := uint8(0)
		one.add(one.addSeries(id, 0), &reading, &hint)
		enc, _ := appendBatch(numberKey(r.offset), &one.batch, nil)
		if err := bucket.Put(seriesKey(id), enc); err != nil {
			return err
		}
	}
	return nil
}

// forget counts what was dropped.
func (l *Log) forget(d *dropped) { l.stats.trimmed.Add(d.readings) }

// raiseLogFloor has readers look for what is not above the floor in the blocks.
func (l *Log) raiseLogFloor(floor uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logFloor = max(l.logFloor, floor)
}

// logBegins returns the offset below the first of the log.
func (l *Log) logBegins() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.logFloor
}
