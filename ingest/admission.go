package ingest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Admission is what becomes of new devices: those that are not registered and of
// which nothing is stored.
type Admission uint8

// The ways of admission.
const (
	Open    Admission = iota // they are taken
	Approve                  // they wait until somebody registers them
	Known                    // they are refused
)

// String returns the name: open, approve, known.
func (a Admission) String() string { return [...]string{"open", "approve", "known"}[a] }

// ParseAdmission returns the admission of that name.
func ParseAdmission(s string) (Admission, error) {
	for _, a := range []Admission{Open, Approve, Known} {
		if s == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("want open, approve or known, not %q", s)
}

// Bounds of what is remembered of devices that wait: half a megabyte. Who floods
// the room with names makes those leave that were heard longest ago; a device
// that sends comes back with its next message.
const (
	maxWaiting       = 64
	maxWaitingValues = 32
	maxWaitingText   = 64 // bytes of a text
)

// Waiting is a device that waits for approval.
type Waiting struct {
	ID          device.ID
	Peer        Peer
	First, Last device.Time // when it was heard
	Messages    int64
	Values      []WaitingValue // the last of each metric
}

// WaitingValue is a value that is not stored.
type WaitingValue struct {
	Metric device.Metric
	Time   device.Time
	Value  device.Value
}

// waitingRoom holds the devices that wait.
type waitingRoom struct {
	mu      sync.Mutex // guards following
	devices map[device.ID]*Waiting
}

// note remembers a message, and reports whether the device is new in the room.
func (r *waitingRoom) note(id device.ID, peer Peer, m *wire.Message, at, now device.Time) (first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.devices[id]
	if w == nil {
		first = true
		if r.devices == nil {
			r.devices = map[device.ID]*Waiting{}
		}
		for len(r.devices) >= maxWaiting {
			r.evictLocked()
		}
		w = &Waiting{ID: id, First: now}
		r.devices[id] = w
	}
	w.Peer, w.Last = peer, now
	w.Messages++
	for i := range m.Fields {
		w.note(&m.Fields[i], at)
	}
	return first
}

func (r *waitingRoom) evictLocked() {
	var oldest *Waiting
	for _, w := range r.devices {
		if oldest == nil || w.Last < oldest.Last {
			oldest = w
		}
	}
	delete(r.devices, oldest.ID)
}

func (w *Waiting) note(f *wire.Field, at device.Time) {
	if device.CheckMetric(f.Metric) != nil {
		return
	}
	raw := f.Value
	if len(raw.Text) > maxWaitingText {
		raw.Text = []byte(strings.ToValidUTF8(string(raw.Text[:maxWaitingText]), ""))
	}
	v, err := raw.Admit()
	if err != nil {
		return
	}
	i := slices.IndexFunc(w.Values, func(v WaitingValue) bool { return string(v.Metric) == string(f.Metric) })
	switch {
	case i >= 0:
		w.Values[i].Time, w.Values[i].Value = at, v
	case len(w.Values) < maxWaitingValues:
		w.Values = append(w.Values, WaitingValue{device.Metric(f.Metric), at, v})
	}
}

func (r *waitingRoom) leave(id device.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.devices, id)
}

// all returns who waits, who came first first.
func (r *waitingRoom) all() []Waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Waiting, 0, len(r.devices))
	for _, w := range r.devices {
		c := *w
		c.Values = slices.Clone(w.Values)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Waiting) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Waiting returns the devices that wait for approval, who came first first.
func (g *Gate) Waiting() []Waiting { return g.waiting.all() }

// Admission returns what becomes of new devices.
func (g *Gate) Admission() Admission { return g.admission }
