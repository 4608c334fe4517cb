package storage

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"github.com/naru-telemetry/naru/device"
)

// survivor is a store after a power cut.
type survivor struct {
	files map[string]*content
	// numbers has the numbers of its readings by offset, and of those that
	// retention took.
	numbers map[uint64]int64
	gone    []gone
	floor   uint64
	head    uint64
	next    int64 // number of the next reading
}

// gone says that retention took the readings with start <= time < end and offsets
// up to last, in a step that began at a moment.
type gone struct {
	at         int
	start, end int64
	last       uint64
}

func (g *gone) has(offset uint64, t device.Time) bool {
	return offset <= g.last && g.reaches(int64(t), int64(t)+1)
}

func (g *gone) reaches(from, to int64) bool { return g.start < to && from < g.end }

// story is a recording and what its process said.
type story struct {
	*recording
	start *survivor
	steps []mark
	given []saying // readings that got their offsets
	acks  []saying // offset up to which everything is on disk
	gones []gone   // those of the start first
	// numbers has the readings that were ever given, and those of the start.
	numbers map[uint64]int64
	// readings are those of numbers.
	readings map[uint64]device.Reading
}

// saying is a line of the child's: of readings given, the first offset, their
// count and the first number; of an acknowledgement, the offset.
type saying struct {
	at            int
	offset, count uint64
	number        int64
}

// listen takes up what the process said. No offset may be given that was given,
// or only reserved, before.
func (s *story) listen() error {
	top := s.start.head
	for _, m := range s.marks {
		what, rest, _ := strings.Cut(m.text, " ")
		say := saying{at: m.at}
		var err error
		switch what {
		case "step":
			s.steps = append(s.steps, mark{m.at, rest})
		case "given":
			_, err = fmt.Sscan(rest, &say.offset, &say.count, &say.number)
			if say.offset <= top {
				return fmt.Errorf("offset %d is given again, %d was reached", say.offset, top)
			}
			for i := range say.count {
				top = say.offset + i
				s.numbers[top] = say.number + int64(i)
			}
			s.given = append(s.given, say)
		case "durable":
			_, err = fmt.Sscan(rest, &say.offset)
			s.acks = append(s.acks, say)
		case "gone":
			g := gone{at: s.steps[len(s.steps)-1].at}
			_, err = fmt.Sscan(rest, &g.start, &g.end, &g.last)
			s.gones = append(s.gones, g)
		}
		if err != nil {
			return fmt.Errorf("%w in %q", err, m.text)
		}
	}
	s.readings = make(map[uint64]device.Reading, len(s.numbers))
	for o, n := range s.numbers {
		s.readings[o] = powercutReading(n)
	}
	return nil
}

// before returns what was said before a moment.
func before(says []saying, at int) []saying {
	n, _ := slices.BinarySearchFunc(says, at, func(s saying, at int) int { return cmp.Compare(s.at, at) })
	return says[:n]
}

// top returns the last offset that was given before a moment.
func (s *story) top(at int) uint64 {
	if g := before(s.given, at); len(g) > 0 {
		return g[len(g)-1].offset + g[len(g)-1].count - 1
	}
	return s.start.head
}

// durable returns up to which offset everything was acknowledged before a
// moment.
func (s *story) durable(at int) uint64 {
	if a := before(s.acks, at); len(a) > 0 {
		return a[len(a)-1].offset
	}
	return s.start.head // whatever could be read at the start
}

// gone returns what retention has taken before a moment, or may just be taking.
func (s *story) gone(at int) []gone {
	n, _ := slices.BinarySearchFunc(s.gones, at, func(g gone, at int) int { return cmp.Compare(g.at, at) })
	return s.gones[:n]
}

// step returns what the process did at a moment.
func (s *story) step(at int) string {
	if n := s.stepNumber(at); n > 0 {
		return s.steps[n-1].text
	}
	return "start"
}

// stepAt returns when the step of a moment began.
func (s *story) stepAt(at int) int {
	if n := s.stepNumber(at); n > 0 {
		return s.steps[n-1].at
	}
	return 0
}

// stepNumber returns how many steps have begun before a moment.
func (s *story) stepNumber(at int) int {
	n, _ := slices.BinarySearchFunc(s.steps, at, func(m mark, at int) int { return cmp.Compare(m.at, at) })
	return n
}

// replayTo takes up all operations that begin or end before the position at.
func (s *story) replayTo(d *disk, events []diskEvent, at int) []diskEvent {
	for len(events) > 0 && events[0].at < at {
		if e := events[0]; !e.done {
			d.begin(e.op)
		} else if e.op.kind == opSync || e.op.kind == opSyncDir {
			d.sync(e.op)
		}
		events = events[1:]
	}
	return events
}

type diskEvent struct {
	at   int
	op   *diskOp
	done bool
}

func (s *story) events() (events []diskEvent) {
	for _, o := range s.ops {
		events = append(events, diskEvent{o.begun, o, false})
		if o.done != never {
			events = append(events, diskEvent{o.done, o, true})
		}
	}
	slices.SortStableFunc(events, func(a, b diskEvent) int { return cmp.Compare(a.at, b.at) })
	return events
}

// inNames are the parts of file names that make no difference between steps.
var inNames = regexp.MustCompile(`-[0-9][^.]*|[0-9]{3,}`)

// place is a position where the power can be cut: after the beginning or the end
// of an operation. Its name is the step and the files that are not synced.
type place struct {
	at   int
	name string
}

const atRest = "at rest" // in place of files that are not synced

func (s *story) places() (places []place) {
	d, _ := newDisk(s.start.files)
	for events := s.events(); len(events) > 0; {
		at := events[0].at + 1
		events = s.replayTo(d, events, at)
		files := d.unsynced()
		for i, name := range files {
			files[i] = inNames.ReplaceAllString(name, "-*")
		}
		where := strings.Join(slices.Compact(files), " ")
		places = append(places, place{at, fmt.Sprintf("%-10s %s", s.step(at), cmp.Or(where, atRest))})
	}
	return places
}

// choose picks n places: of every other one each name has as many, however
// seldom it is. It returns them in order.
func choose(places []place, n int, rng *rand.Rand) (chosen []place) {
	byName := map[string][]place{}
	for _, p := range places {
		if !strings.HasSuffix(p.name, atRest) {
			byName[p.name] = append(byName[p.name], p)
		}
	}
	names := slices.Sorted(maps.Keys(byName))
	for i := range n {
		among := places
		if i%2 == 0 {
			among = byName[names[i/2%len(names)]]
		}
		chosen = append(chosen, among[rng.IntN(len(among))])
	}
	slices.SortFunc(chosen, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	return chosen
}
