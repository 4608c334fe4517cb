package listen

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/device"
)

const (
	// epoch is that of all records of a session: there is no renegotiation.
	epoch = 1
	// reserveAhead is how many record numbers are reserved with each save of a
	// session. A crash skips at most that many of 2^48.
	reserveAhead = 1 << 16
	// maxRecords ends a session long before any bound of its ciphers on the number
	// of records under one key; the device shakes hands again.
	maxRecords = 1 << 32
)

// session is one device's connection after the handshake: our own record layer.
type session struct {
	addr        netip.AddrPort
	device      device.ID
	certificate bool // how the device has proved who it is
	suite       *suite
	keys        []byte // the key block
	began       time.Time

	mu     sync.Mutex // guards following
	in     *half
	out    *half
	window replay
	forged uint64 // records that were not authentic
	next   uint64 // number of the next record out
	limit  uint64 // where the reserved numbers end
	// flight is the datagram that ended the handshake, for a device that has not
	// got it; nil once the device has sent data.
	flight  []byte
	heard   time.Time
	stale   bool // heard since it was last saved
	closing bool // the device has said goodbye; what it had sent before may still come
}

// newSession returns a session of which no record has been seen.
func newSession(addr netip.AddrPort, id device.ID, s *suite, keys []byte, now time.Time) (*session, error) {
	client, server, err := s.newHalves(keys)
	if err != nil {
		return nil, err
	}
	return &session{
		addr: addr, device: id, suite: s, keys: keys, began: now, heard: now, in: client, out: server,
	}, nil
}

// verdict is what a record of a session is.
type verdict uint8

const (
	notOurs  verdict = iota // it is not authentic: forged, or of another session
	repeated                // it has been seen
	payload                 // readings
	finished                // the device repeats the end of the handshake
	goodbye                 // the device closes the session
	nothing                 // nothing that concerns us
)

// take opens a record. The payload, for readings only, is appended to dst.
func (s *session) take(dst []byte, r record, now time.Time) ([]byte, verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	plain, err := s.in.open(dst, r)
	switch {
	case err != nil:
		s.forged++
		return dst, notOurs
	case !s.window.take(r.seq):
		return dst, repeated
	}
	s.heard, s.stale = now, true
	text := plain[len(dst):]
	switch r.kind {
	case typeData:
		s.flight = nil
		return plain, payload
	case typeHandshake:
		return dst, finished
	case typeAlert:
		if len(text) == 2 && (text[0] == alertFatal || text[1] == closeNotify) {
			s.closing = true
			return dst, goodbye
		}
	}
	return dst, nothing
}

var errNoNumber = errors.New("listen: dtls: no record number is reserved")

// seal returns a record with payload. low tells that numbers should be reserved
// soon.
func (s *session) seal(kind byte, payload []byte) (out []byte, low bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next >= s.limit {
		return nil, true, errNoNumber
	}
	out, err = s.out.seal(nil, kind, epoch, s.next, payload)
	if err == nil {
		s.next++
	}
	return out, s.limit-s.next < reserveAhead/2, err
}

// lastFlight returns the datagram that ended the handshake, if the device may
// still want it.
func (s *session) lastFlight() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flight
}

// idle returns for how long nothing authentic has come, and whether the session
// is over for another reason.
func (s *session) idle(now time.Time) (d time.Duration, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Sub(s.heard), s.closing || s.window.highest >= maxRecords || s.next >= maxSeq/2
}

// A saved session is, little-endian: version u8, flags u8, suite u16, length of the
// device's id u8, the id, key block, limit u64, highest u64, bits u64, unique u64,
// late u64, again u64, and how long it had been idle when it was saved, in s, u32.
const (
	savedVersion   = 1
	savedHead      = 5
	savedTail      = 6*8 + 4
	flagCertified  = 1
	maxSavedLength = savedHead + device.MaxIDLen + 2*(32+12) + savedTail
)

var errSaved = errors.New("listen: dtls: not a saved session")

// save returns the session as it is saved, with numbers reserved ahead, and where
// those end. They may be used once it is durable.
func (s *session) save(now time.Time) (saved []byte, limit uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = false
	limit = min(max(s.next+reserveAhead, s.limit), maxSeq)
	var flags byte
	if s.certificate {
		flags |= flagCertified
	}
	dst := append(make([]byte, 0, maxSavedLength), savedVersion, flags)
	dst = binary.LittleEndian.AppendUint16(dst, s.suite.id)
	dst = append(dst, byte(len(s.device)))
	dst = append(dst, s.device...)
	dst = append(dst, s.keys...)
	w := &s.window
	for _, n := range []uint64{limit, w.highest, w.bits, w.unique, w.late, w.again} {
		dst = binary.LittleEndian.AppendUint64(dst, n)
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(now.Sub(s.heard)/time.Second)), limit
}

// heardSinceSaved reports whether the saved session has an old window.
func (s *session) heardSinceSaved() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stale
}

// reserved allows the numbers below limit.
func (s *session) reserved(limit uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = max(s.limit, limit)
}

// restore reads a saved session. It can send once numbers have been reserved.
func restore(addr netip.AddrPort, b []byte, now time.Time) (*session, error) {
	if len(b) < savedHead || len(b) > maxSavedLength || b[0] != savedVersion {
		return nil, errSaved
	}
	cs, n := suiteOf(binary.LittleEndian.Uint16(b[2:])), int(b[4])
	if cs == nil || len(b) != savedHead+n+cs.keyLength()+savedTail {
		return nil, errSaved
	}
	id := b[savedHead : savedHead+n]
	if err := device.CheckID(id); err != nil {
		return nil, errSaved
	}
	keys := append([]byte(nil), b[savedHead+n:savedHead+n+cs.keyLength()]...)
	tail := b[len(b)-savedTail:]
	idle := time.Duration(binary.LittleEndian.Uint32(tail[48:])) * time.Second
	s, err := newSession(addr, device.ID(id), cs, keys, now.Add(-idle))
	if err != nil {
		return nil, err
	}
	s.certificate = b[1]&flagCertified != 0
	number := func(i int) uint64 { return binary.LittleEndian.Uint64(tail[8*i:]) }
	s.next = min(number(0), maxSeq)
	s.limit = s.next
	s.window = replay{highest: number(1), bits: number(2), unique: number(3), late: number(4), again: number(5)}
	return s, nil
}
