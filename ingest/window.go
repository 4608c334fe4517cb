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
	restartSilence = time.Minute // a smaller seq after such a pause may be a restart
	restartFirst   = 1           // seqs that a device begins with: 0 or 1
)

// recentPrints is of how many of the last messages the window knows the
// content: as many as a device may send before it misses an acknowledgement.
const recentPrints = 64

// window remembers which seqs of a device have been seen, up to windowBits below
// the highest. It belongs to one deviceState and is guarded by its lock.
type window struct {
	bits     []uint64 // ring of windowBits bits by seq; nil before the first seq
	lowest   uint64   // where the window began
	highest  uint64
	newest   device.Time // latest device time among the messages seen; 0: none had one
	lastSeen time.Time   // when a seq was last taken as new
	// expected counts the seqs up to the highest, and arrived those of them that
	// were seen. The older half of what they count fades.
	expected, arrived uint32

	// prints tell messages with the same seq apart: one each of the seqs that a
	// device begins with, and one each of the most recent, by seq.
	prints [restartFirst + 1 + recentPrints]uint16
}

// sighting is one message with a seq, as the window sees it.
type sighting struct {
	seq   uint64
	print uint16      // of its content
	at    device.Time // its absolute time by the device's clock, or 0
	now   time.Time
}

// repeated reports whether the message is a retransmission: its seq has been
// seen, and the device has not begun to count anew since. It has when
//
//   - the message's time is later than any before, or
//   - the seq falls behind the window, or
//   - it is 0 or 1 again with another content than the first time, and higher ones
//     have come since, or
//   - it is smaller than before after a minute of silence, and its content is not
//     that of a recent message with this seq.
//
// What has the content of the message seen under its seq is never taken for the
// sign of a restart: that is how a retransmission looks, however late it comes.
func (w *window) repeated(s sighting) bool {
	return w.bits != nil && s.seq <= w.highest && !w.restarted(s) && w.has(s.seq)
}

// take marks the message as seen; it is no retransmission.
func (w *window) take(s sighting) {
	switch {
	case w.bits == nil:
		w.bits = make([]uint64, windowBits/64)
		w.expect(1)
		w.restart(s.seq)
	case s.seq > w.highest:
		if ahead := s.seq - w.highest; ahead < windowBits {
			w.expect(uint32(ahead))
		} else {
			w.expect(1) // it counts from elsewhere
		}
		w.forward(s.seq)
	case w.restarted(s):
		w.expect(1)
		w.restart(s.seq)
	}
	w.arrived = min(w.arrived+1, w.expected)
	w.bits[s.seq/64%(windowBits/64)] |= 1 << (s.seq % 64)
	w.prints[printOf(s.seq)] = s.print
	w.newest = max(w.newest, s.at)
	w.lastSeen = s.now
}

// lossMessages is of how many messages, at most, the losses are counted.
const lossMessages = 1024

// expect counts n more seqs.
func (w *window) expect(n uint32) {
	if w.expected >= lossMessages {
		w.expected, w.arrived = w.expected/2, w.arrived/2
	}
	w.expected += n
}

// losses returns how many of the last messages have not come.
func (w *window) losses() (expected, lost int) {
	return int(w.expected), int(w.expected - w.arrived)
}

// forget takes a mark back, for a message that could not be stored.
func (w *window) forget(seq uint64) {
	if w.arrived > 0 {
		w.arrived--
	}
	if w.bits != nil && seq <= w.highest && w.highest-seq < windowBits {
		w.bits[seq/64%(windowBits/64)] &^= 1 << (seq % 64)
	}
}

func (w *window) has(seq uint64) bool {
	return w.bits[seq/64%(windowBits/64)]&(1<<(seq%64)) != 0
}

// same reports whether the message seen under this seq had the same content, as
// far as that is still known.
func (w *window) same(s sighting) bool {
	known := s.seq <= restartFirst || w.highest-s.seq < recentPrints
	return known && w.prints[printOf(s.seq)] == s.print
}

func printOf(seq uint64) int {
	if seq <= restartFirst {
		return int(seq)
	}
	return restartFirst + 1 + int(seq%recentPrints)
}

func (w *window) restart(seq uint64) {
	clear(w.bits)
	w.lowest, w.highest, w.newest = seq, seq, 0
}

// restarted expects a seq that is not above the highest.
func (w *window) restarted(s sighting) bool {
	if w.highest-s.seq >= windowBits {
		return true
	}
	again := s.seq < w.highest && (s.seq <= restartFirst || s.now.Sub(w.lastSeen) > restartSilence)
	if !w.has(s.seq) {
		// It was lost or overtaken on the way, unless the window began later.
		return again && s.seq < w.lowest && w.lowest > restartFirst
	}
	return w.newest > 0 && s.at > w.newest || again && !w.same(s)
}

// forward moves the window up to seq and clears what it has not seen yet.
func (w *window) forward(seq uint64) {
	if seq-w.highest >= windowBits {
		clear(w.bits)
	} else {
		for w.highest != seq {
			w.highest++
			w.bits[w.highest/64%(windowBits/64)] &^= 1 << (w.highest % 64)
		}
	}
	w.highest = seq
}
