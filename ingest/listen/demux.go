package listen

import (
	"context"
	"errors"
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// dtlsTransport is the transport of peers that have a session.
const dtlsTransport = "dtls"

// lane is one goroutine's way of records to a handler.
type lane struct {
	d     *DTLS
	h     Handler
	plain []byte // the last payload
}

// datagram takes the records of a datagram. The error is the handler's.
func (l *lane) datagram(ctx context.Context, from netip.AddrPort, b []byte) error {
	l.d.mu.Lock()
	s, k := l.d.sessions[from], l.d.shakes[from]
	l.d.mu.Unlock()
	now := time.Now()
	var forShake []byte
	for len(b) > 0 {
		r, rest, ok := cutRecord(b)
		if !ok || r.epoch > epoch {
			l.d.strays.Add(1)
			break
		}
		b = rest
		if r.epoch == epoch && s != nil {
			taken, err := l.take(ctx, s, r, now)
			if err != nil {
				return err
			}
			if taken {
				continue
			}
		}
		if h, isHello := parseHello(r); isHello {
			if next := l.d.hello(ctx, from, h, now); next != k {
				k, forShake = next, nil
			}
		}
		if k == nil {
			l.d.stray(from, r, s != nil)
			continue
		}
		if r.epoch == epoch && !k.hold(r) {
			l.d.strays.Add(1)
		}
		if r.epoch == 0 || r.kind == typeHandshake {
			forShake = append(forShake, r.whole...)
		}
	}
	if len(forShake) > 0 {
		k.conn.feed(forShake)
	}
	return nil
}

// farNumber is a record number beyond what a handshake that is given up can have
// used: a client takes none twice.
const farNumber = 1 << 20

// stray counts a record that belongs to nothing; an alert in clear ends nothing. A
// client who goes on with a handshake that we have given up is told, so that it
// begins anew at once; not one with a session, which a forged record must not make
// us disturb.
func (d *DTLS) stray(from netip.AddrPort, r record, hasSession bool) {
	d.strays.Add(1)
	if !hasSession && r.epoch == 0 && r.kind == typeHandshake && len(r.body) >= messageHead && r.body[0] == clientHello && r.body[4]|r.body[5] != 0 {
		d.send(from, append(appendHead(nil, typeAlert, 0, farNumber, 2), alertFatal, handshakeFailure))
	}
}

// sessionRecords takes records that were held back for a session.
func (l *lane) sessionRecords(ctx context.Context, s *session, b []byte) {
	now := time.Now()
	for first := true; len(b) > 0; {
		r, rest, ok := cutRecord(b)
		if !ok {
			return
		}
		b = rest
		if r.kind == typeHandshake && first {
			// The Finished that ended the handshake: its number is seen, and it wants
			// no answer any more.
			if _, v := s.take(nil, r, now); v != notOurs {
				first = false
			}
			continue
		}
		if _, err := l.take(ctx, s, r, now); err != nil {
			return
		}
	}
}

// take takes a record of a session. It reports false when it is not authentic.
func (l *lane) take(ctx context.Context, s *session, r record, now time.Time) (taken bool, err error) {
	plain, v := s.take(l.plain[:0], r, now)
	l.plain = plain[:0]
	switch v {
	case notOurs:
		return false, nil
	case payload:
		l.d.records.Add(1)
		return true, l.h.Handle(ctx, s.peer(), plain)
	case finished:
		if flight := s.lastFlight(); flight != nil {
			l.d.send(s.addr, flight)
		}
	case goodbye:
		l.d.sealed(s, typeAlert, []byte{alertWarning, closeNotify})
	case repeated, nothing:
	}
	return true, nil
}

func (s *session) peer() ingest.Peer {
	return ingest.Peer{Addr: s.addr, Transport: dtlsTransport, Device: s.device}
}

// answer sends an answer to the device of a session; nothing when the session is
// over, or another's by now.
func (d *DTLS) answer(peer ingest.Peer, b []byte) {
	d.mu.Lock()
	s := d.sessions[peer.Addr]
	d.mu.Unlock()
	if s == nil || s.device != peer.Device {
		d.unsent.Add(1)
		return
	}
	d.sealed(s, typeData, b)
}

// sealed sends a record.
func (d *DTLS) sealed(s *session, kind byte, b []byte) {
	out, low, err := s.seal(kind, b)
	if low {
		d.mark(s.addr)
	}
	if err != nil {
		d.unsent.Add(1)
		return
	}
	d.send(s.addr, out)
}

// hello takes the first ClientHello of a client, who may be at it for the first
// time, repeat it, or have restarted. It returns the handshake that is to have it.
func (d *DTLS) hello(ctx context.Context, from netip.AddrPort, h hello, now time.Time) *shake {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.shakes[from]; k != nil {
		if k.random == [32]byte(h.random) || k.conn.returned() && now.Sub(k.began) < staleShake {
			return k
		}
		k.cancel(errReplaced)
		d.dropShakeLocked(k)
	}
	if d.begun.Load() >= maxBeginning && d.perAddr[from.Addr()] == 0 && !d.away.again(from, h) {
		d.evicted.Add(1)
		return nil
	}
	d.roomLocked(from.Addr())
	ctx, cancel := context.WithCancelCause(ctx)
	d.shakeNo++
	d.begun.Add(1)
	k := &shake{
		conn: newShakeConn(from, d.send), cancel: cancel, began: now, random: [32]byte(h.random), number: d.shakeNo,
	}
	d.shakes[from] = k
	d.shakesAt[from.Addr()]++
	h.suites = slices.Clone(h.suites)
	k.conn.spoken = sync.OnceFunc(func() { d.begun.Add(-1) })
	d.shaking.Go(func() {
		defer cancel(nil)
		defer k.conn.spoken()
		d.shakeHands(ctx, k, h)
	})
	return k
}

// turnedAway remembers the ClientHellos that were not taken.
type turnedAway struct {
	seed maphash.Seed
	sums []uint64 // by their last bits; nil before the first
}

const maxTurnedAway = 1 << 17

// again reports whether the ClientHello has been turned away before, and remembers
// it.
func (a *turnedAway) again(from netip.AddrPort, h hello) bool {
	if a.sums == nil {
		a.seed, a.sums = maphash.MakeSeed(), make([]uint64, maxTurnedAway)
	}
	var m maphash.Hash
	m.SetSeed(a.seed)
	maphash.WriteComparable(&m, from)
	_, _ = m.Write(h.random) // it never fails
	sum := m.Sum64()
	slot := &a.sums[sum%maxTurnedAway]
	if *slot == sum {
		return true
	}
	*slot = sum
	return false
}

// roomLocked makes room for a handshake from an address. The caller holds mu.
func (d *DTLS) roomLocked(from netip.Addr) {
	if d.shakesAt[from] >= maxShakesPerAddr {
		d.evictLocked(d.oldestLocked(from))
	}
	if len(d.shakes) >= maxShakes {
		d.evictLocked(d.oldestLocked(netip.Addr{}))
	}
}

// strangeLocked reports whether nothing speaks for the truth of the address. The
// caller holds mu.
func (d *DTLS) strangeLocked(k *shake) bool {
	return d.perAddr[k.conn.to.Addr()] == 0 && !k.conn.returned()
}

// oldestLocked returns the oldest handshake of a stranger; when there is none, the
// oldest; of one address, if it is valid. The caller holds mu.
func (d *DTLS) oldestLocked(of netip.Addr) *shake {
	var oldest *shake
	strange := false
	for at, k := range d.shakes {
		if of.IsValid() && at.Addr() != of {
			continue
		}
		s := d.strangeLocked(k)
		if oldest == nil || s && !strange || s == strange && k.number < oldest.number {
			oldest, strange = k, s
		}
	}
	return oldest
}

// evictLocked ends a handshake for another. The caller holds mu.
func (d *DTLS) evictLocked(k *shake) {
	k.cancel(errEvicted)
	d.dropShakeLocked(k)
}

// dropShakeLocked forgets a handshake. The caller holds mu.
func (d *DTLS) dropShakeLocked(k *shake) {
	at := k.conn.to
	delete(d.shakes, at)
	if d.shakesAt[at.Addr()]--; d.shakesAt[at.Addr()] == 0 {
		delete(d.shakesAt, at.Addr())
	}
}

// errTaken is why a handshake does not become a session: another has begun.
var errTaken = errors.New("another handshake has begun meanwhile")

// install puts the session of a finished handshake into the place of an older
// one with the address, and makes room.
func (d *DTLS) install(s *session, k *shake) error {
	d.mu.Lock()
	var over []*session
	current := d.shakes[s.addr] == k
	if current {
		d.dropShakeLocked(k)
		over = d.makeRoomLocked(s)
		d.addLocked(s)
	}
	d.mu.Unlock()
	if !current {
		return errTaken
	}
	for _, o := range over {
		d.sealed(o, typeAlert, []byte{alertWarning, closeNotify})
	}
	d.mark(s.addr)
	return nil
}

// addLocked adds a session. The caller holds mu.
func (d *DTLS) addLocked(s *session) {
	d.sessions[s.addr] = s
	d.perAddr[s.addr.Addr()]++
	d.devices[s.device] = append(d.devices[s.device], s)
}

// removeLocked removes a session and marks it to be forgotten. The caller holds
// mu.
func (d *DTLS) removeLocked(s *session) {
	if d.sessions[s.addr] != s {
		return
	}
	delete(d.sessions, s.addr)
	if d.perAddr[s.addr.Addr()]--; d.perAddr[s.addr.Addr()] == 0 {
		delete(d.perAddr, s.addr.Addr())
	}
	rest := slices.DeleteFunc(d.devices[s.device], func(o *session) bool { return o == s })
	if d.devices[s.device] = rest; len(rest) == 0 {
		delete(d.devices, s.device)
	}
	d.gone.add(s)
	d.markLocked(s.addr)
}

// makeRoomLocked removes what has to go for s, and returns those of them whose
// devices are to be told. The caller holds mu.
func (d *DTLS) makeRoomLocked(s *session) []*session {
	if old := d.sessions[s.addr]; old != nil {
		d.removeLocked(old) // the device has begun anew: it knows
	}
	var over []*session
	remove := func(o *session) {
		if o != nil {
			d.removeLocked(o)
			over = append(over, o)
		}
	}
	if own := d.devices[s.device]; len(own) >= maxSessionsPerDevice {
		remove(silent(own, func(*session) bool { return true }))
	}
	if d.perAddr[s.addr.Addr()] >= orDefault(d.MaxPerAddr, DefaultMaxSessionsPerAddr) {
		remove(d.silentLocked(func(o *session) bool { return o.addr.Addr() == s.addr.Addr() }))
	}
	if len(d.sessions) >= orDefault(d.MaxSessions, DefaultMaxSessions) {
		remove(d.silentLocked(func(*session) bool { return true }))
	}
	return over
}

func (d *DTLS) silentLocked(among func(*session) bool) *session {
	all := make([]*session, 0, len(d.sessions))
	for _, s := range d.sessions {
		all = append(all, s)
	}
	return silent(all, among)
}

// silent returns the session that has been silent for the longest time.
func silent(all []*session, among func(*session) bool) *session {
	var oldest *session
	var since time.Time
	for _, s := range all {
		if !among(s) {
			continue
		}
		s.mu.Lock()
		heard := s.heard
		s.mu.Unlock()
		if oldest == nil || heard.Before(since) {
			oldest, since = s, heard
		}
	}
	return oldest
}

// Forget ends the sessions of a device whose credentials are no longer valid.
func (d *DTLS) Forget(id device.ID) {
	d.mu.Lock()
	over := slices.Clone(d.devices[id])
	for _, s := range over {
		d.removeLocked(s)
	}
	d.mu.Unlock()
	for _, s := range over {
		d.sealed(s, typeAlert, []byte{alertWarning, closeNotify})
	}
}
