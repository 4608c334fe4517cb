//go:build linux || darwin || freebsd

package storage

import "syscall"

// diskSize returns the size of the file system that has the folder, in bytes; 0
// when it is not known.
func diskSize(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0
	}
	return int64(s.Blocks) * int64(s.Bsize) //nolint:unconvert // its type is another elsewhere
}
