package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

const (
	// The writer tries a failed commit again after minRetry, then after twice
	// as long each time, up to maxRetry.
	minRetry = 50 * time.Millisecond
	maxRetry = time.Second
	// lastTries is how often Run tries to commit what is left at the end.
	lastTries = 5
	// idleCheck is how often retention by age is looked at when nothing is
	// appended.
	idleCheck = time.Minute
)

// writerState belongs to whoever holds commitMu.
type writerState struct {
	enc     []byte // encoded batches of one commit
	ends    []int  // where each of them ends
	scratch []byte
	rows    []byte // of a batch being trimmed
	failing bool
	// trimFirst says that the file was full: space is freed before anything
	// is added.
	trimFirst bool
	// oldest is the newest receive time of the oldest batch; 0: not known.
	oldest device.Time
	// pinned is Log.flushed when it last kept an old batch in the log.
	pinned uint64
}

// Run is the one writer. It commits what is pending every CommitInterval,
// within AckDelay when somebody waits, and at once when the buffer is half
// full. When a commit fails the readings stay pending and it tries again. It
// ends after ctx is done and everything pending is committed, or with the error
// that prevents this. The keeper, which moves what is committed into blocks, and
// those of the registry and the mailbox run as long.
func (l *Log) Run(ctx context.Context) error {
	keeping, end := context.WithCancel(ctx)
	var keepers sync.WaitGroup
	keepers.Go(func() { l.keep(keeping) })
	keepers.Go(func() { l.registry.keep(keeping) })
	keepers.Go(func() { l.mailbox.keep(keeping) })
	defer func() {
		end()
		keepers.Wait()
	}()
	timer := time.NewTimer(idleCheck)
	defer timer.Stop()
	retry := minRetry
	for ctx.Err() == nil {
		timer.Reset(l.nextCommit())
		select {
		case <-ctx.Done():
			continue
		case <-l.wake:
			if l.nextCommit() > 0 {
				continue
			}
		case <-timer.C:
		}
		err := l.commit(commitDue)
		if errors.Is(err, boltfile.ErrBroken) {
			return fmt.Errorf("storage: run: %w", err)
		}
		if err == nil {
			retry = minRetry
			continue
		}
		wait(ctx, retry)
		retry = min(2*retry, maxRetry)
	}
	var err error
	for range lastTries {
		if err = l.commit(commitAll); err == nil || errors.Is(err, boltfile.ErrBroken) {
			break
		}
		wait(context.WithoutCancel(ctx), retry)
	}
	if err != nil {
		return fmt.Errorf("storage: run: last commit: %w", err)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// nextCommit returns how long the writer may rest.
func (l *Log) nextCommit() time.Duration {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.pending == 0 {
		return idleCheck
	}
	if l.halfFullLocked() {
		return 0
	}
	due := l.pendingSince.Add(l.cfg.CommitInterval)
	if !l.waiterSince.IsZero() {
		if ack := l.waiterSince.Add(l.cfg.AckDelay); ack.Before(due) {
			due = ack
		}
	}
	return max(time.Until(due), 0)
}

// commitMode says what a commit is for.
type commitMode int

const (
	commitDue   commitMode = iota // what is pending, or retention when it is due
	commitAll                     // what is pending
	commitClose                   // the same, and the mark of a clean end
)

// commit writes everything that is pending in one transaction.
func (l *Log) commit(mode commitMode) error {
	l.commitMu.Lock()
	defer l.commitMu.Unlock()
	l.mu.Lock()
	l.sealLocked()
	job := commitJob{
		batches: slices.Clone(l.sealed),
		names:   l.cat.names[l.cat.written:],
		written: l.cat.written,
		last:    l.next - 1,
		bound:   l.bound,
		flushed: l.flushed,
		clean:   mode == commitClose,
	}
	l.taken, l.pendingSince, l.waiterSince = job.last, time.Time{}, time.Time{}
	l.mu.Unlock()

	if len(job.batches) == 0 && (mode == commitAll || mode == commitDue && !l.trimDue()) {
		return nil
	}
	if job.clean {
		job.bound = job.last
	} else if job.bound-job.last < offsetStep/2 {
		job.bound = job.last + offsetStep
	}
	start := time.Now()
	err := l.write(&job)
	l.finish(&job, err, time.Since(start))
	return err
}

// commitJob is what one commit writes, and after it what retention dropped.
type commitJob struct {
	batches []*batch
	names   []device.Series // new ones, with ids from written + 1
	written int
	last    uint64 // offset of the last reading
	bound   uint64
	flushed uint64 // offset up to which readings are in blocks
	clean   bool
	dropped dropped
}

func (l *Log) write(job *commitJob) error {
	w := &l.writer
	w.enc, w.ends = w.enc[:0], w.ends[:0]
	for _, b := range job.batches {
		w.enc, w.scratch = appendBatch(w.enc, b, w.scratch)
		w.ends = append(w.ends, len(w.enc))
	}
	if w.trimFirst {
		trim := commitJob{last: job.last, flushed: job.flushed}
		err := l.db.Update(func(tx *bolt.Tx) error { return l.trim(tx, &trim, minTrim) })
		if err != nil {
			return err
		}
		w.trimFirst = false
		l.forget(&trim.dropped)
	}
	return l.db.Update(func(tx *bolt.Tx) error {
		if err := l.trim(tx, job, 0); err != nil {
			return err
		}
		return l.put(tx, job)
	})
}

// put writes all of the job but what trim has done. Putting it twice changes
// nothing, so that a commit whose outcome is not known can be tried again.
func (l *Log) put(tx *bolt.Tx, job *commitJob) error {
	cat := tx.Bucket(bucketCat)
	for i, s := range job.names {
		if s == (device.Series{}) {
			continue
		}
		k := seriesKey(uint32(job.written + i + 1))
		if err := cat.Put(k, boltfile.Seal(k, seriesValue(s))); err != nil {
			return err
		}
	}
	log := tx.Bucket(bucketLog)
	log.FillPercent = 1 // keys only grow; the setting lives as long as tx
	from := 0
	for i, b := range job.batches {
		if err := log.Put(numberKey(b.first), l.writer.enc[from:l.writer.ends[i]]); err != nil {
			return err
		}
		from = l.writer.ends[i]
	}
	meta := tx.Bucket(bucketMeta)
	if job.clean {
		if err := putMeta(meta, keyClean, []byte{1}); err != nil {
			return err
		}
	}
	if old, ok := getMeta(meta, keyBound, 8); ok && binary.LittleEndian.Uint64(old) == job.bound {
		return nil
	}
	return putMeta(meta, keyBound, le64(job.bound))
}

// finish brings memory up to what is on disk now, and wakes the waiters.
func (l *Log) finish(job *commitJob, err error, took time.Duration) {
	l.noteOutcome(err)
	if err != nil {
		l.writer.trimFirst = errors.Is(err, berrors.ErrMaxSizeReached) || noSpace(err)
		if l.writer.trimFirst {
			l.press()
		}
		l.mu.Lock()
		l.taken = l.durable.Load()
		if l.pending > 0 && l.pendingSince.IsZero() {
			l.pendingSince = time.Now()
		}
		l.mu.Unlock()
		return
	}
	c := &l.stats
	c.commits.Add(1)
	c.commitSum.Add(int64(took))
	c.commitLast.Store(int64(took))
	c.commitMax.Store(max(c.commitMax.Load(), int64(took)))
	c.batchBytes.Add(int64(len(l.writer.enc)))
	l.forget(&job.dropped)
	if l.writer.oldest == math.MaxInt64 && len(job.batches) > 0 {
		l.writer.oldest = job.batches[0].received.max
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	n, bytes := 0, 0
	for _, b := range job.batches {
		n += b.count
		bytes += len(b.rows)
	}
	c.committed.Add(int64(n))
	l.sealed = slices.Clone(l.sealed[len(job.batches):])
	l.pending -= n
	l.pendingBytes -= bytes
	l.cat.written += len(job.names)
	l.bound = job.bound
	l.durable.Store(job.last)
	l.announceLocked()
}

// noteOutcome logs when commits begin to fail and when they work again.
func (l *Log) noteOutcome(err error) {
	w := &l.writer
	if err != nil {
		l.stats.commitErrors.Add(1)
		health := fmt.Errorf("storage: commit: %w", err)
		l.commitErr.Store(&health)
		if !w.failing {
			l.cfg.Logger.Error("commits fail: readings stay in memory", "error", err)
		}
	} else if w.failing {
		l.commitErr.Store(nil)
		l.cfg.Logger.Info("commits work again")
	}
	w.failing = err != nil
}
