package device

import "time"

// Query asks the log for stored readings. The zero Query asks for all of them,
// oldest first.
type Query struct {
	Selector Selector
	// From and To bound the device's time: From <= Time < To. Zero means open.
	From, To Time
	// After asks for larger offsets only.
	After uint64
	// Limit bounds the answer; 0 means no bound.
	Limit int
	// Desc asks for the newest offsets first.
	Desc bool
}

// Covers reports whether the moment t lies in the query's time range.
func (q *Query) Covers(t Time) bool {
	return (q.From == 0 || t >= q.From) && (q.To == 0 || t < q.To)
}

// SeriesInfo sums up what the store knows of one series.
type SeriesInfo struct {
	Series
	// Last is the reading with the highest offset.
	Last Stored
	// Count is how many readings are kept.
	Count int64
}

// Info sums up what the store knows of one device.
type Info struct {
	ID ID
	// Series is how many metrics the device has sent.
	Series int
	// Count is how many of its readings are kept.
	Count int64
	// LastTime and LastReceived belong to the reading with the highest offset.
	LastTime, LastReceived Time
}

// HistoryQuery asks for the numeric readings of the selected series, summed up
// in buckets of time.
type HistoryQuery struct {
	Selector Selector
	// From and To bound the device's time: From <= Time < To. A zero From is the
	// oldest reading kept, a zero To lies behind the newest.
	From, To Time
	// Points is how many buckets a series may have at most, from 1.
	Points int
}

// History is one series summed up in buckets. Buckets without readings are left
// out, so that the slices may be shorter than the range divided by Step; all
// have the same length.
type History struct {
	Series
	// Step is the length of a bucket.
	Step time.Duration
	// Start is where each bucket begins, a multiple of Step since the epoch,
	// ascending.
	Start         []Time
	Min, Max, Avg []float64
	Count         []int64
}
