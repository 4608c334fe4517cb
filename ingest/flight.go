package ingest

import "slices"

// flight is a batch of one session on its way to the sink. The devices whose
// seqs it marks point to it until it has landed, so that a retransmission that
// comes by another socket in the meantime is not acknowledged before its
// original is in the log.
type flight struct {
	landed chan struct{} // closed when the sink has taken the batch, or it is lost
	lost   bool          // valid after landed
}

func newFlight() *flight { return &flight{landed: make(chan struct{})} }

// boardLocked notes that f holds a message of the device. The caller holds d.mu.
func (d *deviceState) boardLocked(f *flight) {
	if !slices.Contains(d.flights, f) {
		d.flights = append(d.flights, f)
	}
}

// leaveLocked undoes boardLocked. The caller holds d.mu.
func (d *deviceState) leaveLocked(f *flight) {
	if i := slices.Index(d.flights, f); i >= 0 {
		d.flights = slices.Delete(d.flights, i, i+1)
	}
}

// othersLocked returns the flights that hold messages of the device, without f,
// and whether f is one of them. The caller holds d.mu.
func (d *deviceState) othersLocked(f *flight) (others []*flight, aboard bool) {
	for _, o := range d.flights {
		if o == f {
			aboard = true
		} else {
			others = append(others, o)
		}
	}
	return others, aboard
}
