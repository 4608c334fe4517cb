package listen

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// Defaults and bounds of DTLS.
const (
	// DefaultMaxSessions bounds the sessions, some 6 KiB each. Who comes in beyond
	// takes the place of the one that has been silent for the longest time.
	DefaultMaxSessions = 4096
	// DefaultMaxSessionsPerAddr is the same for one address.
	DefaultMaxSessionsPerAddr = 2048
	// DefaultSessionIdle is how long a session may be silent: a sensor that reports
	// once a day keeps it.
	DefaultSessionIdle = 25 * time.Hour
	// maxSessionsPerDevice lets a device that has restarted on another port, and
	// gateways that share an identity, coexist with what they had before.
	maxSessionsPerDevice = 4

	// maxShakes bounds the handshakes that are under way, some 30 KiB each. Beyond,
	// the oldest ends of a stranger, whose address has no session and who has not
	// returned the cookie: a flood of forged addresses pushes out itself.
	maxShakes = 320
	// maxBeginning bounds the handshakes of strangers that have not been given their
	// cookie yet, so that a flood leaves processors to everybody else. Who is turned
	// away gets in when he asks again: forged addresses do not.
	maxBeginning = 8
	// maxShakesPerAddr is the same for one address.
	maxShakesPerAddr = 64
	// staleShake is after which time a client with another random takes the place
	// of a handshake that has got as far as the cookie.
	staleShake = time.Second

	// sweepEvery is how often silent sessions are looked for, and how long one stays
	// after the device has closed it.
	sweepEvery = 10 * time.Second
	// saveDelay is how long new sessions gather before they are saved, and
	// windowEvery how often the replay windows of those that were heard are: what a
	// crash forgets of them can be replayed once.
	saveDelay   = time.Second
	windowEvery = time.Minute
)

// Key is one of the secrets under which a device may come in.
type Key struct {
	Secret []byte
	Name   string // tells DTLS.Used which it was
}

// SessionStore keeps sessions over a restart. What it is given are keys: it must
// keep them from everybody else.
type SessionStore interface {
	// LoadSessions returns what SaveSessions has been given, by name.
	LoadSessions() (map[string][]byte, error)
	// SaveSessions keeps the sessions under their names, and forgets those that are
	// nil, all or none; when it returns nil they survive a crash.
	SaveSessions(changes map[string][]byte) error
}

// DTLS takes the DTLS records of a UDP server: DTLS 1.2, in which a device shows by a
// pre-shared key, or by a certificate, who it is. pion shakes hands; after that our
// own record layer works on the keys.
type DTLS struct {
	// Keys returns the keys of the device that identity names, the newest first;
	// none when it is unknown. nil: no device comes in with a key.
	Keys func(identity []byte) []Key
	// Used is told which key a device has come in with; nil means nobody.
	Used func(id device.ID, k Key)
	// Certificate returns the server's; it is asked in each handshake. nil: suites
	// with certificates are not spoken. A device that has no key must then have one
	// that ClientCAs vouch for, with its id as DNS name or common name.
	Certificate func() (*tls.Certificate, error)
	ClientCAs   *x509.CertPool
	// Certified decides about the device of a valid certificate, and of a session that
	// one has begun; nil takes all.
	Certified func(id device.ID) bool
	// Store keeps the sessions; nil means that they end with the program.
	Store SessionStore
	// Refuse is told of devices that did not get in; nil means nobody.
	Refuse RefuseFunc
	// Idle is how long a session may be silent; 0 means DefaultSessionIdle.
	Idle time.Duration
	// MaxSessions and MaxPerAddr bound the sessions; 0 means the defaults.
	MaxSessions, MaxPerAddr int
	// Logger is told what goes wrong; nil means nobody.
	Logger *slog.Logger

	newHandler func(ingest.ReplyFunc) Handler
	reply      ingest.ReplyFunc
	send       func(to netip.AddrPort, b []byte)
	turns      turns
	quiet      quiet
	shaking    sync.WaitGroup
	dirty      chan struct{}       // to the keeper: there is something to save; capacity 1
	failing    bool                // the last save failed; owned by the keeper
	kept       map[string]struct{} // in the store; owned by the keeper
	keptNow    atomic.Int64        // len(kept)

	shaken, failed, evicted, strangers atomic.Int64
	records, strays, unsent            atomic.Int64
	gone                               ledger

	mu       sync.Mutex // guards following; before a session's
	sessions map[netip.AddrPort]*session
	perAddr  map[netip.Addr]int
	devices  map[device.ID][]*session
	shakes   map[netip.AddrPort]*shake
	shakesAt map[netip.Addr]int
	shakeNo  uint64
	begun    atomic.Int64 // handshakes without a cookie yet
	away     turnedAway
	changed  map[string]netip.AddrPort // to be saved, or forgotten when they are over
}
