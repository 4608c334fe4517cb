//go:build !linux

package boltfile

// Unload does nothing here.
func (db *DB) Unload() error { return nil }
