package listen

// replay knows which record numbers of a peer have been seen, up to 64 below the
// highest, and counts what the numbers tell. All is fed with authentic records
// only.
type replay struct {
	highest uint64
	bits    uint64 // bit i: highest-i was seen; 0 before the first record
	unique  uint64 // records taken
	late    uint64 // of them, those that a later one had overtaken
	again   uint64 // records that were not taken: seen before, or too old to tell
}

const replayWindow = 64

// take marks a number. It reports false when the record is a duplicate, or too
// old to tell.
func (w *replay) take(seq uint64) bool {
	switch {
	case w.bits == 0 || seq > w.highest:
		if w.bits == 0 || seq-w.highest >= replayWindow {
			w.bits = 0
		} else {
			w.bits <<= seq - w.highest
		}
		w.highest, w.bits = seq, w.bits|1
	case w.highest-seq >= replayWindow || w.bits&(1<<(w.highest-seq)) != 0:
		w.again++
		return false
	default:
		w.bits |= 1 << (w.highest - seq)
		w.late++
	}
	w.unique++
	return true
}

// lost returns how many numbers of the epoch have not come: lost on the way, or
// still to come.
func (w *replay) lost() uint64 {
	if w.bits == 0 || w.unique > w.highest { // so that a restored count cannot underflow
		return 0
	}
	return w.highest + 1 - w.unique
}
