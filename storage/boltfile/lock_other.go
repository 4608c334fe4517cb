//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package boltfile

import (
	"errors"
	"os"
	"time"
)

// errLocked says that another process holds the file.
var errLocked = errors.New("locked")

// lockFile leaves locking to bbolt. A file that another process writes at this
// moment may then look damaged, but it cannot be renamed while it is open.
func lockFile(*os.File, time.Duration) error { return nil }

// unlockFile leaves unlocking to the end of the process.
func unlockFile(*os.File) error { return nil }
