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
	HotBytes      int64 // length of hot.db
	UsedBytes     int64 // pages of it that hold something
	HistoryBytes  int64 // files of the history
	HistoryFiles  int
	Floor, Head   uint64
	Durable       uint64
	Devices       int
	Series        int
	Unflushed     int   // readings in no block
	Flushed       int64 // readings moved into blocks
	ColdCommits   int64 // commits of files of the history
	KeepErrors    int64 // attempts to write these that failed
	Sealed        int64 // files sealed
	Retired       int64 // files that retention deleted
	Trimmed       int64 // readings that left the log
	Damaged       int64 // batches that could not be read
	DamagedParts  int64 // the same of entries and blocks of the history
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
	putAside, damagedParts           atomic.Int64
	flushed, coldCommits, sealed     atomic.Int64
	keepErrors, retired              atomic.Int64
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
		Flushed:       c.flushed.Load(),
		ColdCommits:   c.coldCommits.Load(),
		KeepErrors:    c.keepErrors.Load(),
		Sealed:        c.sealed.Load(),
		Retired:       c.retired.Load(),
		DamagedParts:  c.damagedParts.Load(),
	}
	if info, err := os.Stat(l.path); err == nil {
		s.HotBytes = info.Size()
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	s.Floor, s.Head = l.floor, l.next-1
	for _, v := range l.shelf.volumes() {
		s.HistoryBytes += v.bytes.Load()
		s.HistoryFiles++
	}
	s.Unflushed = l.unflushed
	s.Pending, s.PendingBytes = l.pending, l.pendingBytes
	s.Devices, s.Series = len(l.cat.devices), len(l.cat.names)
	return s
}

// Healthy returns nil, or why readings cannot be kept at present.
func (l *Log) Healthy() error {
	for _, p := range []*atomic.Pointer[error]{&l.commitErr, &l.keepErr} {
		if err := p.Load(); err != nil {
			return *err
		}
	}
	return nil
}

// Full reports whether the disk has no room for what is to be kept.
func (l *Log) Full() bool { return noSpace(l.Healthy()) }
