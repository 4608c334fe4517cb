package listen

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// open prepares for a UDP server's socket, restores the sessions that were kept and
// begins to keep them. end returns when handshakes, whose context must be done,
// have ended and everything is saved.
func (d *DTLS) open(newHandler func(ingest.ReplyFunc) Handler, reply ingest.ReplyFunc, send func(netip.AddrPort, []byte)) (end func()) {
	d.newHandler, d.reply, d.send = newHandler, reply, send
	d.dirty, d.kept = make(chan struct{}, 1), map[string]struct{}{}
	d.mu.Lock()
	d.sessions, d.perAddr = map[netip.AddrPort]*session{}, map[netip.Addr]int{}
	d.devices = map[device.ID][]*session{}
	d.shakes, d.shakesAt = map[netip.AddrPort]*shake{}, map[netip.Addr]int{}
	d.changed = map[string]netip.AddrPort{}
	d.mu.Unlock()
	if d.Store != nil {
		d.load()
	}
	done, kept := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(kept)
		d.keep(done)
	}()
	return func() {
		d.shaking.Wait()
		close(done)
		<-kept
	}
}

// load restores the sessions, and reserves numbers for all of them at once.
func (d *DTLS) load() {
	kept, err := d.Store.LoadSessions()
	if err != nil {
		logger(d.Logger).Error("sessions of devices were not restored: the devices shake hands again", "error", err)
		return
	}
	now := time.Now()
	broken := 0
	var good []*session
	forget := map[string]netip.AddrPort{}
	for name, saved := range kept {
		s, err := restoreNamed(name, saved, now)
		switch {
		case err != nil:
			broken++
			forget[name] = netip.AddrPort{}
		case !d.welcome(s, now) || len(good) >= orDefault(d.MaxSessions, DefaultMaxSessions):
			forget[name] = s.addr
		default:
			good = append(good, s)
		}
	}
	d.mu.Lock()
	d.changed = forget
	for _, s := range good {
		d.addLocked(s)
		d.markLocked(s.addr)
	}
	d.mu.Unlock()
	if broken > 0 {
		logger(d.Logger).Error("some sessions of devices could not be read: those devices shake hands again", "sessions", broken)
	}
	if len(good) > 0 {
		logger(d.Logger).Info("sessions of devices go on", "sessions", len(good))
	}
	d.save()
}

func restoreNamed(name string, saved []byte, now time.Time) (*session, error) {
	addr, err := netip.ParseAddrPort(name)
	if err != nil {
		return nil, err
	}
	return restore(addr, saved, now)
}

// welcome reports whether a session that was kept may go on.
func (d *DTLS) welcome(s *session, now time.Time) bool {
	idle, over := s.idle(now)
	return !over && idle < orDefault(d.Idle, DefaultSessionIdle) && d.entitled(s)
}

// entitled reports whether the device of a session may still come in the way that it
// has.
func (d *DTLS) entitled(s *session) bool {
	if s.certificate {
		return d.Certificate != nil && (d.Certified == nil || d.Certified(s.device))
	}
	return d.Keys != nil && len(d.Keys([]byte(s.device))) > 0
}

// mark has a session saved, or forgotten when it is over.
func (d *DTLS) mark(addr netip.AddrPort) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.markLocked(addr)
}

func (d *DTLS) markLocked(addr netip.AddrPort) {
	if d.Store == nil {
		return
	}
	d.changed[addr.String()] = addr
	select {
	case d.dirty <- struct{}{}:
	default:
	}
}

// keep saves what changes and ends what is silent, until done is closed; then it
// saves everything. What a session may send was reserved before, so that answers
// can still go out after that.
func (d *DTLS) keep(done <-chan struct{}) {
	sweep, windows := time.NewTicker(sweepEvery), time.NewTicker(windowEvery)
	defer sweep.Stop()
	defer windows.Stop()
	var gathered <-chan time.Time
	for {
		select {
		case <-done:
			d.markSessions(true) // for how long they have been idle
			d.save()
			return
		case <-sweep.C:
			d.sweep(time.Now())
		case <-windows.C:
			d.markSessions(false)
		case <-d.dirty:
			if gathered == nil {
				gathered = time.After(saveDelay)
			}
		case <-gathered:
			gathered = nil
			d.save()
		}
	}
}

// markSessions has every session saved, or those only that have been heard since
// they were.
func (d *DTLS) markSessions(all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for addr, s := range d.sessions {
		if all || s.heardSinceSaved() {
			d.markLocked(addr)
		}
	}
}

// save writes what has changed. What cannot be written is tried again with the
// next change.
func (d *DTLS) save() {
	type reservation struct {
		s     *session
		limit uint64
	}
	d.mu.Lock()
	changed := d.changed
	d.changed = map[string]netip.AddrPort{}
	sessions := make(map[string]*session, len(changed))
	for name, addr := range changed {
		sessions[name] = d.sessions[addr]
	}
	d.mu.Unlock()
	if d.Store == nil || len(changed) == 0 {
		return
	}
	now := time.Now()
	changes := make(map[string][]byte, len(changed))
	reserved := make([]reservation, 0, len(changed))
	for name, s := range sessions {
		if s == nil {
			changes[name] = nil
			continue
		}
		b, limit := s.save(now)
		changes[name] = b
		reserved = append(reserved, reservation{s, limit})
	}
	err := d.Store.SaveSessions(changes)
	if err != nil {
		if !d.failing {
			logger(d.Logger).Error("sessions of devices cannot be kept over a restart", "error", err)
		}
		d.failing = true
		d.mu.Lock()
		maps.Copy(d.changed, changed)
		d.mu.Unlock()
		return
	}
	d.failing = false
	for _, r := range reserved {
		r.s.reserved(r.limit)
	}
	for name, b := range changes {
		if b == nil {
			delete(d.kept, name)
		} else {
			d.kept[name] = struct{}{}
		}
	}
	d.keptNow.Store(int64(len(d.kept)))
}

// sweep ends the sessions that have been silent for too long, and forgets those
// that are over.
func (d *DTLS) sweep(now time.Time) {
	d.mu.Lock()
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	d.mu.Unlock()
	all = slices.DeleteFunc(all, func(s *session) bool {
		idle, over := s.idle(now)
		return !over && idle < orDefault(d.Idle, DefaultSessionIdle)
	})
	d.mu.Lock()
	for _, s := range all {
		d.removeLocked(s)
	}
	d.mu.Unlock()
	for _, s := range all {
		if _, over := s.idle(now); !over {
			d.sealed(s, typeAlert, []byte{alertWarning, closeNotify})
		}
	}
}
