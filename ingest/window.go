package ingest

import (
	"time"

	"github.com/naru-telemetry/naru/device"
)

// windowBits is how far back a retransmission is recognised, in messages. A
// gateway that forwards 1,000 messages a second has four seconds to repeat one.
const windowBits = 4096

// Bounds by which a device that counts from the start again is told from one
// that repeats itself.
const (
	restartSilence = time.Minute // a smaller seq after such a pause is a restart
	restartFirst   = 1           // seqs that a device begins with: 0 or 1 …
	restartHighest = 16          // … seen when the count was at least this high
)

// window remembers which seqs of a device have been seen, up to windowBits below
// the highest. It belongs to one deviceState and is guarded by its lock.
type window struct {
	bits     []uint64 // ring of windowBits bits by seq; nil before the first seq
	highest  uint64
	newest   device.Time // latest device time among the messages seen; 0: none had one
	lastSeen time.Time   // when a seq was last taken as new
}

// take marks seq as seen. It reports false for a retransmission. at is the
// device's absolute time of the message, or 0.
//
// A seq that has been seen is a new one after all when the device has restarted:
// its time is later than any before, or it falls behind the window, or it begins
// at 0 or 1 again, or a minute has passed since.
func (w *window) take(seq uint64, at device.Time, now time.Time) bool {
	switch {
	case w.bits == nil:
		w.bits = make([]uint64, windowBits/64)
		w.restart(seq)
	case seq > w.highest:
		w.forward(seq)
	case w.restarted(seq, at, now):
		w.restart(seq)
	case w.has(seq):
		return false
	}
	w.bits[seq/64%(windowBits/64)] |= 1 << (seq % 64)
	w.newest = max(w.newest, at)
	w.lastSeen = now
	return true
}

// forget takes a mark back, for a message that could not be stored.
func (w *window) forget(seq uint64) {
	if w.bits != nil && w.highest-seq < windowBits {
		w.bits[seq/64%(windowBits/64)] &^= 1 << (seq % 64)
	}
}

func (w *window) has(seq uint64) bool {
	return w.bits[seq/64%(windowBits/64)]&(1<<(seq%64)) != 0
}

func (w *window) restart(seq uint64) {
	clear(w.bits)
	w.highest = seq
}

func (w *window) restarted(seq uint64, at device.Time, now time.Time) bool {
	return w.highest-seq >= windowBits ||
		w.has(seq) && at > w.newest && w.newest > 0 ||
		seq <= restartFirst && w.highest >= restartHighest ||
		seq < w.highest && now.Sub(w.lastSeen) > restartSilence
}

// forward moves the window up to seq and clears what it has not seen yet.
func (w *window) forward(seq uint64) {
	if seq-w.highest >= windowBits {
		clear(w.bits)
	} else {
		for s := w.highest + 1; s <= seq; s++ {
			w.bits[s/64%(windowBits/64)] &^= 1 << (s % 64)
		}
	}
	w.highest = seq
}
