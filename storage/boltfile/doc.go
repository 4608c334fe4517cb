// Package boltfile opens bbolt files that may be damaged, and keeps what a bad
// page does to bbolt from ending the program.
//
// bbolt trusts its pages: a damaged one makes it panic, at times on a goroutine
// of its own. So a file is locked and checked before bbolt sees it, and every
// transaction turns a panic, or a fault of the mapped file, into an error. A file
// whose structure is bad is for its owner to put aside.
//
// The package knows nothing of what the files hold.
package boltfile
