package boltfile

import (
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Unload gives back the memory that counts as the process's because it has read
// the mapped file; the kernel may keep the pages.
func (db *DB) Unload() error {
	return db.View(func(tx *bolt.Tx) error { // which keeps the mapping where it is
		if tx.Size() == 0 {
			return nil
		}
		_, _, errno := unix.Syscall(unix.SYS_MADVISE, db.Info().Data, uintptr(tx.Size()), unix.MADV_DONTNEED)
		if errno != 0 {
			return errno
		}
		return nil
	})
}
