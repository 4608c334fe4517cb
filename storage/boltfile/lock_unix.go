//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package boltfile

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// errLocked says that another process holds the file.
var errLocked = errors.New("locked")

const lockRetry = 50 * time.Millisecond

// lockFile takes the exclusive lock of f that bbolt takes too. It belongs to
// the open file, so that bbolt's own attempt on it succeeds.
func lockFile(f *os.File, timeout time.Duration) error {
	end := time.Now().Add(timeout)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return err
		case time.Until(end) < lockRetry:
			return errLocked
		}
		<-time.After(lockRetry)
	}
}

// unlockFile gives up the lock, which otherwise lasts as long as the file is mapped.
func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
