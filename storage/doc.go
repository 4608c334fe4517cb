// Package storage keeps readings on disk, in the order in which they were
// admitted.
//
// [Log] is the append-only log of readings and the catalogue of the series in
// it, in the bbolt file hot.db. Append gives every reading its offset and
// makes it readable at once; one writer, [Log.Run], commits what has gathered,
// so that many readings share one fsync. Offsets are reserved durably ahead of
// their use: none is given twice, whatever happens to the process or the
// power.
//
// The package is the only one that knows bbolt. It refuses to interpret
// readings: names and values have been admitted by package device, duplicates
// and rates are the business of ingest, and who may read is the business of
// the callers.
//
// Constructors start nothing. A Log may be used by several goroutines, except
// that Run is called once and Close after Run has ended. No transaction is
// open and no lock but the append lock is held while a caller's code runs.
//
// Errors that a caller may branch on are the sentinels [ErrFull], [ErrClosed],
// [ErrTooLarge], [ErrInUse] and [ErrNewerFormat]; everything else is wrapped
// with the failing operation.
package storage
