package storage

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// ageing tells how long ago readings came, without believing the wall clock: it
// counts the time for which the program runs, and of the time between two runs no
// more than maxPause. Marks join that time with offsets. So a clock that jumps
// ahead makes nothing old, and a machine that was off keeps its readings longer.
type ageing struct {
	// Service is the time of service in seconds when it was last noted, Wall the
	// wall clock then, in Unix seconds.
	Service int64     `json:"service"`
	Wall    int64     `json:"wall"`
	Marks   []ageMark `json:"marks"` // ascending

	noted time.Time // with a monotonic reading
}

// ageMark says that at a time of service the next offset was Next.
type ageMark struct {
	Service int64  `json:"service"`
	Next    uint64 `json:"next"`
}

const (
	// maxPause is how much of the time between two runs counts.
	maxPause = 24 * 3600
	// markEvery is how often a mark is set, in seconds.
	markEvery = 3600
	// maxMarks bounds the marks; then every other of the older half goes, and what
	// lies between counts as younger than it is.
	maxMarks = 512
)

var keyAge = []byte("age")

// load goes on with what the last run noted.
func (a *ageing) load(meta *bolt.Bucket, now time.Time) {
	*a = ageing{}
	if text, ok := boltfile.Unseal(keyAge, meta.Get(keyAge)); ok {
		if json.Unmarshal(text, a) != nil {
			*a = ageing{}
		}
	}
	a.resume(now)
}

// resume counts the time since the last run.
func (a *ageing) resume(now time.Time) {
	if a.Wall != 0 {
		a.Service += min(max(now.Unix()-a.Wall, 0), maxPause)
	}
	a.Wall, a.noted = now.Unix(), now
}

// pass counts the time since the last call and reports whether a mark was set.
func (a *ageing) pass(now time.Time, next uint64) bool {
	if s := int64(now.Sub(a.noted) / time.Second); s > 0 {
		a.Service += s
		a.noted = a.noted.Add(time.Duration(s) * time.Second)
	}
	a.Wall = now.Unix()
	if n := len(a.Marks); n > 0 && a.Service < a.Marks[n-1].Service+markEvery {
		return false
	}
	a.Marks = append(a.Marks, ageMark{a.Service, next})
	if len(a.Marks) > maxMarks {
		kept := a.Marks[:0]
		for i, m := range a.Marks {
			if i >= maxMarks/2 || i%2 == 0 {
				kept = append(kept, m)
			}
		}
		a.Marks = kept
	}
	return true
}

// before returns the offset below which everything came longer ago than age, as
// far as the marks can tell.
func (a *ageing) before(age time.Duration) uint64 {
	limit := a.Service - int64((age+time.Second-1)/time.Second)
	next := uint64(0)
	for _, m := range a.Marks {
		if m.Service <= limit {
			next = m.Next
		}
	}
	return next
}

// retain deletes the files that are too old or for which there is no room. cause
// is what the keeper could not do: when the disk is full the oldest file goes.
func (l *Log) retain(ctx context.Context, cause error) error {
	l.commitMu.Lock()
	now := l.cfg.Now()
	l.mu.RLock()
	next := l.next
	l.mu.RUnlock()
	marked := l.age.pass(now, next)
	var limits [stretch.Tiers]uint64
	for t, age := range []time.Duration{l.cfg.RetainAge, l.cfg.RetainMinutes, l.cfg.RetainHours} {
		if age >= 0 {
			limits[t] = l.age.before(age)
		}
	}
	var err error
	if marked {
		err = l.saveAge()
	}
	l.commitMu.Unlock()
	full := (noSpace(cause) || l.Full()) && time.Since(l.purged) >= keepRetry
	if flushErr := l.flushDoomed(ctx, limits[stretch.Readings], full); err == nil {
		err = flushErr
	}
	for t, limit := range limits {
		for _, v := range l.sealedFiles(stretch.Tier(t)) {
			if v.newest() >= limit {
				break
			}
			if stretch.Tier(t) == stretch.Readings {
				if err := l.promote(ctx, v); err != nil {
					return err
				}
			}
			l.drop(v, "age")
		}
	}
	for l.totalBytes() > l.cfg.RetainSize && l.dropOldest("size") {
	}
	if full {
		l.purged = time.Now()
		l.dropOldest("the disk is full")
	}
	return err
}

// flushDoomed flushes what came before readings that are about to leave: an
// opening must not take these from the log once more and add them to rollups that
// have them.
func (l *Log) flushDoomed(ctx context.Context, limit uint64, full bool) error {
	flushed, excess := l.flushedUpTo(), l.totalBytes()-l.cfg.RetainSize
	for i, v := range l.sealedFiles(stretch.Readings) {
		if v.newest() >= limit && excess <= 0 && (!full || i > 0) {
			break
		}
		if v.newest() > flushed {
			return l.flush(ctx, allDevices)
		}
		excess -= v.bytes.Load()
	}
	return nil
}

// saveAge stores the age. The caller holds commitMu.
func (l *Log) saveAge() error {
	text, err := json.Marshal(&l.age)
	if err != nil {
		return err
	}
	return l.db.Update(func(tx *bolt.Tx) error { return putMeta(tx.Bucket(bucketMeta), keyAge, text) })
}

// newest returns an offset that no reading in a sealed file is above.
func (v *volume) newest() uint64 {
	if last := v.last(); last > 0 {
		return last
	}
	return max(v.meta.Before, 1) - 1
}

// sealedFiles returns the sealed files of a tier, that whose readings came first
// first. Files of periods that have a cold file too are not among them: they are
// about to be replaced. Nor are rollups as long as there is a sealed file with
// readings that they sum up, or may be after a crash: History takes them in place
// of these.
func (l *Log) sealedFiles(tier stretch.Tier) (files []*volume) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if tier == stretch.Readings {
		for _, p := range l.shelf.periods {
			if p.sealed != nil && p.cold == nil {
				files = append(files, p.sealed)
			}
		}
	} else {
		for _, v := range l.shelf.tiers[tier] {
			needed := func(r *volume) bool {
				return r.meta.Kind == stretch.Raw && r.meta.Start < v.meta.End && r.meta.End > v.meta.Start
			}
			if !slices.ContainsFunc(l.shelf.volumes(), needed) && !slices.ContainsFunc(l.leaving, needed) {
				files = append(files, v)
			}
		}
	}
	slices.SortStableFunc(files, func(a, b *volume) int {
		if a.newest() < b.newest() {
			return -1
		} else if a.newest() > b.newest() {
			return 1
		}
		return 0
	})
	return files
}

// totalBytes returns what all files take. What the log has beyond its share is not
// counted: it leaves with the commits to come, and nothing is to leave in its place.
func (l *Log) totalBytes() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := min(l.stats.used.Load(), l.cfg.LogSize)
	for _, v := range l.shelf.volumes() {
		n += v.bytes.Load()
	}
	return n
}

// dropOldest deletes the oldest sealed file, readings before rollups of minutes
// before those of hours, and reports whether there was one.
func (l *Log) dropOldest(why string) bool {
	for t := range stretch.Tiers {
		if files := l.sealedFiles(stretch.Tier(t)); len(files) > 0 {
			l.drop(files[0], why)
			return true
		}
	}
	return false
}

// drop deletes a sealed file.
func (l *Log) drop(v *volume, why string) {
	raw := v.meta.Kind == stretch.Raw
	if raw {
		l.addCounts(v, -1)
	}
	l.mu.Lock()
	if raw {
		l.floor = max(l.floor, v.newest())
		l.shelf.periods = slices.DeleteFunc(slices.Clone(l.shelf.periods), func(p *period) bool { return p.sealed == v })
	}
	for t := range l.shelf.tiers {
		l.shelf.tiers[t] = slices.DeleteFunc(slices.Clone(l.shelf.tiers[t]), func(o *volume) bool { return o == v })
	}
	floor, flushed := l.floor, l.flushed
	l.mu.Unlock()
	l.stats.retired.Add(1)
	l.cfg.Logger.Info("a file of the history leaves", "file", v.name, "bytes", v.bytes.Load(), "because", why)
	if raw {
		// The floor is on disk before the readings are gone, unless the disk is
		// full: then room comes first.
		l.commitMu.Lock()
		err := l.db.Update(func(tx *bolt.Tx) error {
			meta := tx.Bucket(bucketMeta)
			return errors.Join(putMeta(meta, keyFloor, le64(floor)), putMeta(meta, keyFlushed, le64(flushed)))
		})
		l.commitMu.Unlock()
		if err != nil {
			l.cfg.Logger.Warn("the floor of the history could not be noted", "error", err)
		}
	}
	l.retire(v)
	if raw {
		_ = l.syncDir() // else it is leaving for longer, and its rollups stay
	}
}

// promote makes the rollups of those series of a sealed file that have none,
// before its readings leave.
func (l *Log) promote(ctx context.Context, v *volume) error {
	known, err := l.devicesOf(v)
	if err != nil {
		return err
	}
	s := sealer{log: l, unrolled: map[uint32][stretch.Tiers][]track{}}
	any := false
	for number, d := range known {
		var made [stretch.Tiers][]track
		for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
			var ids []uint32
			for _, series := range d.Series {
				if !series.Rolled[tier] {
					ids = append(ids, series.ID)
				}
			}
			if len(ids) == 0 {
				continue
			}
			sw := l.newSweep(number, stretch.Readings, []layer{{file: v}}, newBitmap(ids, int(slices.Max(ids))), math.MinInt64, math.MaxInt64)
			if made[tier], err = rollAll(ctx, sw, tier.Length()); err != nil {
				return err
			}
			any = any || len(made[tier]) > 0
		}
		s.unrolled[number] = made
	}
	if !any {
		return nil
	}
	for tier := stretch.ByMinute; int(tier) < stretch.Tiers; tier++ {
		if err := s.writeTier(ctx, tier, v.meta.Start, v.meta.End, v); err != nil {
			return s.abandon(err)
		}
	}
	if err := s.name(); err != nil {
		return s.abandon(err)
	}
	l.install(&s)
	return nil
}
