package storage

import (
	"os"
	"sync/atomic"
	"time"
)

// Stats are counters since Open and gauges of a moment.
type Stats struct {
	Appended      int64         // readings
	Committed     int64         // readings
	Full          int64         // Append calls refused with ErrFull
	Commits       int64         // that succeeded
	CommitErrors  int64         // attempts that failed
	CommitSum     time.Duration // of the successful commits
	CommitLast    time.Duration
	CommitMax     time.Duration
	BatchBytes    int64 // encoded batches committed
	Pending       int   // readings appended, not committed
	PendingBytes  int
	FileBytes     int64 // length of hot.db
	UsedBytes     int64 // pages of it that hold something
	Floor, Head   uint64
	Durable       uint64
	Devices       int
	Series        int
	Trimmed       int64 // readings dropped by retention
	Damaged       int64 // batches that could not be read
	DamagedNames  int64 // catalogue and meta entries that could not be read
	FilesPutAside int64
}

// counters are the parts of Stats that need no lock.
type counters struct {
	appended, committed, full        atomic.Int64
	commits, commitErrors            atomic.Int64
	commitSum, commitLast, commitMax atomic.Int64 // ns
	batchBytes, used, trimmed        atomic.Int64
	damagedBatches, damagedEntries   atomic.Int64
	putAside                         atomic.Int64
}

// Stats returns the counters.
func (l *Log) Stats() Stats {
	c := &l.stats
	s := Stats{
		Appended:      c.appended.Load(),
		Committed:     c.committed.Load(),
		Full:          c.full.Load(),
		Commits:       c.commits.Load(),
		CommitErrors:  c.commitErrors.Load(),
		CommitSum:     time.Duration(c.commitSum.Load()),
		CommitLast:    time.Duration(c.commitLast.Load()),
		CommitMax:     time.Duration(c.commitMax.Load()),
		BatchBytes:    c.batchBytes.Load(),
		UsedBytes:     c.used.Load(),
		Durable:       l.durable.Load(),
		Trimmed:       c.trimmed.Load(),
		Damaged:       c.damagedBatches.Load(),
		DamagedNames:  c.damagedEntries.Load(),
		FilesPutAside: c.putAside.Load(),
	}
	if info, err := os.Stat(l.path); err == nil {
		s.FileBytes = info.Size()
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	s.Floor, s.Head = l.floor, l.next-1
	s.Pending, s.PendingBytes = l.pending, l.pendingBytes
	s.Devices, s.Series = len(l.cat.devices), len(l.cat.names)
	return s
}

// Healthy returns nil, or why commits fail at present.
func (l *Log) Healthy() error {
	if err := l.commitErr.Load(); err != nil {
		return *err
	}
	return nil
}
