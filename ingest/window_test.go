package ingest

import (
	"math"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// seen is one message given to a window, and whether it must count as a
// retransmission.
type seen struct {
	seq    uint64
	print  uint16
	at     device.Time
	after  time.Duration // since the message before
	repeat bool
}

func run(from, to uint64) (out []seen) {
	for seq := from; seq <= to; seq++ {
		out = append(out, seen{seq: seq})
	}
	return out
}

func again(s []seen) (out []seen) {
	for _, x := range s {
		x.repeat, x.after = true, 0
		out = append(out, x)
	}
	return out
}

func TestWindow(t *testing.T) {
	join := func(parts ...[]seen) (out []seen) {
		for _, p := range parts {
			out = append(out, p...)
		}
		return out
	}
	const max = math.MaxUint64
	tests := []struct {
		name string
		in   []seen
	}{
		{"each once", run(1, 9000)},
		{"twice in a row", []seen{{seq: 5}, {seq: 5, repeat: true}, {seq: 5, repeat: true}}},
		{"out of order", []seen{{seq: 9}, {seq: 7}, {seq: 8}, {seq: 7, repeat: true}, {seq: 10}, {seq: 9, repeat: true}}},
		{"all of them again", join(run(0, 99), again(run(0, 99)))},
		{"all of a full window again", join(run(0, windowBits-1), again(run(0, windowBits-1)))},
		{"zero alone", []seen{{seq: 0}, {seq: 0, repeat: true}, {seq: 1}, {seq: 0, repeat: true}}},
		{"oldest in the window", []seen{{seq: 100}, {seq: 100 + windowBits - 1}, {seq: 100, repeat: true}}},
		{"just behind the window is a restart", []seen{
			{seq: 100},
			{seq: 100 + windowBits},
			{seq: 100},
			{seq: 101},
			{seq: 100, repeat: true},
			{seq: 100 + windowBits - 1},
			{seq: 100 + windowBits},
		}},
		{"jump clears what it passes", []seen{{seq: 1}, {seq: 64}, {seq: 1 + windowBits}, {seq: 65}, {seq: 64, repeat: true}}},
		{"long jump", []seen{{seq: 1}, {seq: 1e9}, {seq: 1e9 - 1}, {seq: 1e9, repeat: true}}},
		{"highest there is", []seen{
			{seq: max - 2},
			{seq: max},
			{seq: max - 1},
			{seq: max, repeat: true},
			{seq: max - 2, repeat: true},
			{seq: 0},
			{seq: 0, repeat: true},
			{seq: 1},
			{seq: max},
			{seq: max, repeat: true},
		}},

		{"restart by a later time", []seen{
			{seq: 7, at: 100},
			{seq: 8, at: 200},
			{seq: 7, at: 100, repeat: true},
			{seq: 7, at: 300, print: 1},
			{seq: 8, at: 400, print: 1},
			{seq: 7, at: 300, print: 1, repeat: true},
		}},
		{"restart by a later time than since the last restart", []seen{
			{seq: 9000, at: 900}, {seq: 5, at: 100}, {seq: 6, at: 200}, {seq: 5, at: 300, print: 1}, {seq: 6, at: 400, print: 1},
		}},
		{"time of its own says nothing when there was none before", []seen{{seq: 7}, {seq: 7, at: 100, repeat: true}}},
		{"restart at 0 with another content", join(run(0, 16), []seen{
			{seq: 0, print: 1}, {seq: 1}, {seq: 2}, {seq: 0, print: 1, repeat: true},
		})},
		{"restart at 1 with another content", join(run(1, 40), []seen{{seq: 1, print: 1}, {seq: 2}})},
		{"no restart at 2", join(run(1, 40), []seen{{seq: 2, print: 1, repeat: true}})},
		{"restart of a device that had hardly begun", join(run(0, 5), []seen{{seq: 0, print: 1}, {seq: 1, print: 1}, {seq: 2, print: 1}, {seq: 1, print: 1, repeat: true}})},
		{"no restart of a device that has sent nothing else", []seen{{seq: 1}, {seq: 1, print: 1, repeat: true}}},
		{"first message repeated late", join(run(1, 2000), []seen{{seq: 1, after: time.Hour, repeat: true}})},
		{"first message overtaken", join(run(1, 40), []seen{{seq: 0}}, again(run(0, 40)))},
		{"restart at 1 of a device first heard later", join(run(500, 600), []seen{{seq: 1}}, run(2, 700))},

		{"restart after a minute of silence", join(run(3, 10), []seen{
			{seq: 3, print: 1, after: time.Minute + 1}, {seq: 4, print: 1}, {seq: 3, print: 1, repeat: true},
		})},
		{"no restart within a minute", join(run(3, 10), []seen{{seq: 3, print: 1, after: time.Minute, repeat: true}})},
		{"restart beyond the contents known", join(run(3, 100), []seen{{seq: 3, after: time.Hour}, {seq: 4}})},
		{"acknowledgements lost in an outage", join(run(3, 10), []seen{
			{seq: 9, after: time.Hour, repeat: true}, {seq: 10, repeat: true}, {seq: 8, repeat: true}, {seq: 11},
		})},
		{"messages and acknowledgements lost in an outage", join(run(3, 8), []seen{
			{seq: 10}, {seq: 9, after: time.Hour}, {seq: 10, repeat: true}, {seq: 8, repeat: true},
		})},
		{"last message again for hours", []seen{
			{seq: 4}, {seq: 5}, {seq: 5, after: time.Hour, repeat: true}, {seq: 5, print: 1, after: time.Hour, repeat: true},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w window
			now := time.Unix(1_764_000_000, 0)
			for i, in := range tt.in {
				now = now.Add(in.after)
				s := sighting{in.seq, in.print, in.at, now}
				if got := w.repeated(s); got != in.repeat {
					t.Fatalf("message %d, seq %d: repeated = %t, want %t", i+1, in.seq, got, in.repeat)
				}
				if !in.repeat {
					w.take(s)
				}
			}
		})
	}
}

// TestWindowForget: a message that was lost is new when it comes again, and
// nothing else is.
func TestWindowForget(t *testing.T) {
	now := time.Unix(1_764_000_000, 0)
	for _, seq := range []uint64{0, 1, 2, 63, 64, 100, windowBits - 1} {
		var w window
		w.forget(seq) // nothing seen yet
		for i := range uint64(windowBits) {
			w.take(sighting{seq: i, now: now})
		}
		w.forget(seq)
		for i := range uint64(windowBits) {
			s := sighting{seq: i, now: now}
			if got, want := w.repeated(s), i != seq; got != want {
				t.Fatalf("forgot %d: repeated(%d) = %t, want %t", seq, i, got, want)
			}
		}
		w.forget(windowBits + 7) // above the highest
		w.take(sighting{seq: 3 * windowBits, now: now})
		w.forget(seq) // behind the window
		if !w.repeated(sighting{seq: 3 * windowBits, now: now}) {
			t.Fatal("forgetting what is behind the window took a mark away")
		}
	}
}

// TestWindowModel holds the window against a map, for seqs that never look like
// a restart.
func TestWindowModel(t *testing.T) {
	now := time.Unix(1_764_000_000, 0)
	var w window
	seenBefore := map[uint64]bool{}
	highest, state := uint64(10_000), uint64(1)
	for range 200_000 {
		state = state*6364136223846793005 + 1442695040888963407
		back := state >> 33 % windowBits
		seq := highest - back
		if state>>20&7 == 0 {
			highest += state >> 40 % 5
			seq = highest
		}
		if len(seenBefore) == 0 {
			seq = highest
		}
		s := sighting{seq: seq, now: now}
		if got := w.repeated(s); got != seenBefore[seq] {
			t.Fatalf("repeated(%d) = %t, highest %d", seq, got, highest)
		}
		if !seenBefore[seq] {
			w.take(s)
			seenBefore[seq] = true
		}
	}
}
