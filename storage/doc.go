// Package storage keeps readings on disk: first in the order in which they were
// admitted, then compressed by device and time.
//
// [Log] is the append-only log of readings and the catalogue of the series in
// it, in the bbolt file hot.db. Append gives every reading its offset and makes
// it readable at once; one writer, [Log.Run], commits what has gathered, so that
// many readings share one fsync. Offsets are reserved durably ahead of their use:
// none is given twice, whatever happens to the process or the power.
//
// Beside the log, every reading is in memory until the keeper, which runs with
// Run, has flushed it into a block of its device, in the cold file of its stretch
// of time (package stretch; block is the codec). What is flushed leaves the log
// when it is old enough for no viewer to go on there. A stretch that is over is
// sealed into files that never change, one for each tier: readings, rollups of
// minutes, rollups of hours. Retention deletes sealed files.
//
// # Who has what
//
// A reading stands in up to four places, and counts once:
//
//	log      hot.db     offsets above logFloor, in their order; for After, and for
//	                    Open to take from it what is in no block
//	fresh    memory     what came since the last flush of the device
//	flushing memory     what a flush is writing
//	cold     file       what was flushed into its period
//	sealed   file       what was in the period when it was sealed
//
// Read, Count and History go by the last four, as layers: of readings of the same
// series and time that of the uppermost counts, which has the highest offset. A
// picture is what a reader sees of them at one moment. A sweep goes over the
// layers of one device in the order of time, an arrival over all in the order of
// offsets.
//
// # A crash at every step
//
//   - A flush waits until the log has its readings, so that no block has one that
//     a crash takes from the log. It commits blocks, rollups and the watermark of
//     the device in one transaction; Open takes from the log what is above the
//     watermark of its period. Flushing the same readings twice changes nothing:
//     late ones are summed up from the readings, not added.
//   - The log is trimmed only up to what is flushed.
//   - A new file is made under another name, synced, renamed, and the folder
//     synced. It names those that it replaces: Open deletes them. Of the files of
//     one sealing that with the readings is renamed last; until then the cold file
//     counts, whose rollups replace the same ones in the new files.
//   - Before a file leaves, the floor is moved in hot.db, so that a cursor below is
//     told of the gap.
//
// The package and those below it are the only ones that know bbolt. It refuses to
// interpret readings: names and values have been admitted by package device,
// retransmissions and rates are the business of ingest, and who may read is the
// business of the callers.
//
// Constructors start nothing. A Log may be used by several goroutines, except
// that Run is called once and Close after Run has ended. No transaction is
// open and no lock but the append lock is held while a caller's code runs.
//
// Errors that a caller may branch on are the sentinels [ErrFull], [ErrClosed],
// [ErrTooLarge], [ErrInUse] and [ErrNewerFormat]; everything else is wrapped
// with the failing operation.
package storage
