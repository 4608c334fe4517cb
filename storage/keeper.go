package storage

import (
	"context"
	"errors"
	"syscall"
	"time"
)

const (
	// keepEvery is how often the keeper looks at what there is to do: what has
	// become due meanwhile is written together.
	keepEvery = time.Minute
	// keepRetry is when it looks again after it could not write.
	keepRetry = 10 * time.Second
)

// keep is the keeper: it moves readings from memory into blocks, seals the
// stretches of time that are over, and lets go of what is too old. It ends when
// ctx does, after what it is doing.
func (l *Log) keep(ctx context.Context) {
	timer := time.NewTimer(keepEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			if err := l.tend(ctx); err != nil {
				timer.Reset(keepRetry)
			} else {
				timer.Reset(keepEvery)
			}
		case <-l.pressed:
			if err := l.relieve(ctx); err != nil {
				wait(ctx, keepRetry)
			}
		}
	}
}

// press has the keeper make room in memory, or in the log.
func (l *Log) press() {
	select {
	case l.pressed <- struct{}{}:
	default:
	}
}

// tend does what is due.
func (l *Log) tend(ctx context.Context) error {
	now := time.Now()
	err := l.flush(ctx, func(d *deviceState) bool {
		return d.fresh.n >= target(len(d.series)) || now.Sub(d.fresh.since) >= l.cfg.FlushAge
	})
	if err == nil {
		err = l.sealDue(ctx)
	}
	l.noteKept(err)
	if keptErr := l.retain(ctx, err); err == nil {
		err = keptErr
	}
	l.unload()
	return err
}

// unload gives back the memory of the mapped files, which would else grow to what
// was ever read of them.
func (l *Log) unload() {
	_ = l.db.Unload() // memory that is not given back is no failure
	l.files.unload()
}

// relieve flushes the devices with many readings, or, when the log is pressed
// for room, all.
func (l *Log) relieve(ctx context.Context) error {
	l.mu.RLock()
	many := l.unflushed > l.cfg.MaxUnflushed/pressShare
	l.mu.RUnlock()
	want := allDevices
	if many {
		want = func(d *deviceState) bool { return d.fresh.n >= target(len(d.series))/4 }
	}
	err := l.flush(ctx, want)
	l.mu.RLock()
	still := l.unflushed > l.cfg.MaxUnflushed/2
	l.mu.RUnlock()
	if err == nil && still {
		err = l.flush(ctx, allDevices)
	}
	l.noteKept(err)
	if err != nil || l.Full() {
		return errors.Join(err, l.retain(ctx, err))
	}
	return nil
}

// pressShare is which part of MaxUnflushed has to be there for a flush out of
// turn.
const pressShare = 4

// noteKept logs when the keeper begins to fail and when it works again.
func (l *Log) noteKept(err error) {
	failing := l.keepErr.Load() != nil
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, errUncommitted): // the end, or the writer tells
	case err != nil:
		l.stats.keepErrors.Add(1)
		l.keepErr.Store(&err)
		if !failing {
			l.cfg.Logger.Error("the history cannot be written: readings stay in the log", "error", err)
		}
	case failing:
		l.keepErr.Store(nil)
		l.cfg.Logger.Info("the history can be written again")
	}
}

// noSpace reports whether an error says that the disk is full.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
