// Package device is the domain of Naru: what a reading is, who measured it,
// and which readings somebody wants.
//
// A [Reading] has been admitted: its ID, Metric and Value have passed the
// checks of this package and its Time is resolved. A [Stored] reading has, in
// addition, an offset in the log; only stored readings may be pushed. What a
// device sends is neither until ingest has admitted it (see package
// ingest/wire for the untrusted form).
//
// The package imports the standard library only and holds no state. All its
// types are values that may be copied and used by several goroutines.
package device
