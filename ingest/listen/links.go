package listen

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// Session is what is known of one session. The numbers of its records tell what
// happens on the way, whatever the firmware does.
type Session struct {
	Addr     netip.AddrPort
	Device   device.ID
	Suite    string        // IANA's name, without TLS_
	Idle     time.Duration // since the last authentic record
	Records, // received
	Lost, // numbers that have not come
	Late, // received behind a later one
	Repeated, // received again, or too late to tell
	Forged uint64 // not authentic
}

// Sessions returns the sessions there are, by address.
func (d *DTLS) Sessions() []Session {
	now := time.Now()
	d.mu.Lock()
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	d.mu.Unlock()
	out := make([]Session, 0, len(all))
	for _, s := range all {
		out = append(out, s.facts(now))
	}
	slices.SortFunc(out, func(a, b Session) int { return a.Addr.Compare(b.Addr) })
	return out
}

func (s *session) facts(now time.Time) Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &s.window
	return Session{
		Addr: s.addr, Device: s.device, Suite: s.suite.name, Idle: now.Sub(s.heard),
		Records: w.unique, Lost: w.lost(), Late: w.late, Repeated: w.again, Forged: s.forged,
	}
}

// ledger sums up sessions that are over.
type ledger struct{ lost, late, again, forged atomic.Uint64 }

func (l *ledger) add(s *session) {
	f := s.facts(time.Time{})
	l.lost.Add(f.Lost)
	l.late.Add(f.Late)
	l.again.Add(f.Repeated)
	l.forged.Add(f.Forged)
}

// DTLSStats counts since the start.
type DTLSStats struct {
	Sessions, Handshakes int64 // at present
	Kept                 int64 // sessions that a restart would find
	Shaken               int64 // handshakes that made a session
	Failed               int64 // that did not, of devices whose address was true
	Strangers            int64 // that nobody went on with: scans and forged addresses
	Evicted              int64 // that others pushed out
	Records              int64 // with readings, taken
	Unsent               int64 // answers that could not be sent
	Strays               int64 // records without a session or handshake, or broken
	// Of all sessions, those that go on included.
	Lost, Late, Repeated, Forged uint64
}

// Stats returns the counts.
func (d *DTLS) Stats() DTLSStats {
	st := DTLSStats{
		Kept:   d.keptNow.Load(),
		Shaken: d.shaken.Load(), Failed: d.failed.Load(), Strangers: d.strangers.Load(), Evicted: d.evicted.Load(),
		Records: d.records.Load(), Unsent: d.unsent.Load(), Strays: d.strays.Load(),
		Lost: d.gone.lost.Load(), Late: d.gone.late.Load(), Repeated: d.gone.again.Load(), Forged: d.gone.forged.Load(),
	}
	for _, s := range d.Sessions() {
		st.Sessions++
		st.Lost += s.Lost
		st.Late += s.Late
		st.Repeated += s.Repeated
		st.Forged += s.Forged
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	st.Handshakes = int64(len(d.shakes))
	return st
}
