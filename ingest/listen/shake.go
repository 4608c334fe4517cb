package listen

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v2"
	"github.com/pion/logging"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

const (
	// shakeTimeout bounds a handshake: a device on a bad link may need all of its
	// retransmissions, 1 + 2 + 4 s.
	shakeTimeout = 10 * time.Second
	// wrongKeyGrace is how long a handshake goes on after a Finished that does not
	// open: a forged one must not end it when the true one is on its way.
	wrongKeyGrace = 100 * time.Millisecond
	// identityHint must not be empty: some clients of ECDHE-PSK fail without.
	identityHint = "naru"
)

// shake is a handshake that is under way.
type shake struct {
	conn   *shakeConn
	cancel context.CancelCauseFunc
	began  time.Time
	random [32]byte // the client's
	number uint64   // in the order of their beginnings

	// Owned by pion's goroutines, which call one after the other, until it has
	// returned.
	identity  []byte
	keys      []Key
	key       int // of keys; the one being tried
	certified device.ID
	master    []byte

	mu        sync.Mutex // guards following
	held      [][]byte   // records of epoch 1
	heldBytes int
	full      bool // nothing is held any more: the session has taken over
}

// hold keeps a record for the session to come, and reports whether there was room.
func (k *shake) hold(r record) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full || len(k.held) >= maxHeld || k.heldBytes+len(r.whole) > maxHeldBytes || !k.conn.returned() {
		return false
	}
	k.held = append(k.held, append([]byte(nil), r.whole...))
	k.heldBytes += len(r.whole)
	return true
}

// release returns what was held, and holds nothing any more.
func (k *shake) release() [][]byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.full = true
	return k.held
}

// Why a handshake ends early.
var (
	errWrongKey = errors.New("the keys differ")
	errEvicted  = errors.New("too many handshakes are under way")
	errReplaced = errors.New("the device has begun another handshake")
	errSlow     = errors.New("it was not finished in time")

	errUnwelcome = errors.New("the device has lost its credential meanwhile")
)

// listener watches pion's log for the one thing it tells nobody else: that a
// Finished did not open, the sign of a wrong key.
type listener struct {
	cancel context.CancelCauseFunc
	once   *sync.Once
}

// NewLogger implements logging.LoggerFactory.
func (l listener) NewLogger(string) logging.LeveledLogger { return l }

// Debugf implements logging.LeveledLogger.
func (l listener) Debugf(format string, _ ...any) {
	if strings.Contains(format, "decrypt failed") {
		l.once.Do(func() { time.AfterFunc(wrongKeyGrace, func() { l.cancel(errWrongKey) }) })
	}
}

func (listener) Trace(string)          {}
func (listener) Tracef(string, ...any) {}
func (listener) Debug(string)          {}
func (listener) Info(string)           {}
func (listener) Infof(string, ...any)  {}
func (listener) Warn(string)           {}
func (listener) Warnf(string, ...any)  {}
func (listener) Error(string)          {}
func (listener) Errorf(string, ...any) {}

// Write takes the line of a key log, by which pion gives out the master secret
// of every suite: CLIENT_RANDOM, the client's random, the secret.
func (k *shake) Write(line []byte) (int, error) {
	if f := bytes.Fields(line); len(f) == 3 {
		if b, err := hex.DecodeString(string(f[2])); err == nil {
			k.master = b
		}
	}
	return len(line), nil
}

// config returns pion's configuration for a handshake. The client's order of
// suites counts; one that offers suites with a key, or whose suites are not all
// known, never gets one with certificates, which it may offer too without having
// any. Nobody gets one with certificates without showing his.
func (d *DTLS) config(k *shake, h hello) (*dtls.Config, error) {
	c := &dtls.Config{
		LoggerFactory:        listener{k.cancel, new(sync.Once)},
		KeyLogWriter:         k,
		ExtendedMasterSecret: dtls.RequestExtendedMasterSecret,
	}
	if d.Certificate == nil || d.Keys != nil && (!h.whole || h.offers(pskSuites)) {
		c.PSK = func(identity []byte) ([]byte, error) { return d.secret(k, identity) }
		c.PSKIdentityHint = []byte(identityHint)
		c.CustomCipherSuites = chachaSuites
		c.CipherSuites = builtIn(pskSuites)
		return c, nil
	}
	certificate, err := d.Certificate()
	if err != nil {
		return nil, err
	}
	c.Certificates = []tls.Certificate{*certificate}
	c.ClientAuth, c.ClientCAs = dtls.RequireAndVerifyClientCert, d.ClientCAs
	c.CipherSuites = builtIn(certificateSuites)
	c.VerifyPeerCertificate = func(_ [][]byte, chains [][]*x509.Certificate) error {
		if len(chains) == 0 || len(chains[0]) == 0 {
			return errNoDevice
		}
		id, err := certificateDevice(chains[0][0])
		if err == nil && d.Certified != nil && !d.Certified(id) {
			err = fmt.Errorf("device %q may not come in", id)
		}
		k.certified = id
		return err
	}
	return c, nil
}

// builtIn returns the suites that pion has itself.
func builtIn(suites []*suite) []dtls.CipherSuiteID {
	var ids []dtls.CipherSuiteID
	for _, s := range suites {
		if s != ecdhePSKChaCha && s != pskChaCha {
			ids = append(ids, dtls.CipherSuiteID(s.id))
		}
	}
	return ids
}

var errNoDevice = errors.New("the certificate names no device: want its id as DNS name or common name")

// certificateDevice returns the device that a certificate names: by its first DNS
// name that is an id, else by its common name.
func certificateDevice(c *x509.Certificate) (device.ID, error) {
	for _, name := range append(slices.Clip(c.DNSNames), c.Subject.CommonName) {
		if device.CheckID(name) == nil {
			return device.ID(name), nil
		}
	}
	return "", errNoDevice
}

// secret returns the key to try for an identity. One that is unknown gets a key
// that nobody has, so that from outside it looks like a wrong key.
func (d *DTLS) secret(k *shake, identity []byte) ([]byte, error) {
	k.identity = append([]byte(nil), identity[:min(len(identity), maxIdentity)]...)
	if d.Keys != nil && device.CheckID(identity) == nil {
		k.keys = d.Keys(identity)
	}
	if len(k.keys) == 0 {
		nobody := make([]byte, 32)
		_, _ = rand.Read(nobody) // it never fails
		return nobody, nil
	}
	k.key = d.turns.of(k)
	return k.keys[k.key].Secret, nil
}

// maxIdentity is how much of an identity that is none of ours is kept for the log.
const maxIdentity = device.MaxIDLen

// maxTurns bounds how many devices' turns are remembered.
const maxTurns = 1024

// turns remembers which of several valid keys is to be tried next. A handshake
// can try only one: the device that has another is told at once that it failed,
// and gets in with the next. It counts by address, so that nobody can make a
// device on another machine take the wrong turn.
type turns struct {
	mu   sync.Mutex // guards next
	next map[turn]int
}

type turn struct {
	identity string
	addr     netip.Addr
}

func (t *turns) of(k *shake) int {
	if len(k.keys) < 2 {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next[turn{string(k.identity), k.conn.to.Addr()}] % len(k.keys)
}

// done notes how a handshake with several keys to choose from has ended.
func (t *turns) done(k *shake, ok bool) {
	if len(k.keys) < 2 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := turn{string(k.identity), k.conn.to.Addr()}
	if t.next == nil || len(t.next) >= maxTurns {
		t.next = map[turn]int{}
	}
	if t.next[at] = k.key; !ok {
		t.next[at] = k.key + 1
	}
}

// shakeHands shakes hands, and hands over to a session.
func (d *DTLS) shakeHands(ctx context.Context, k *shake, h hello) {
	ctx, cancel := context.WithTimeoutCause(ctx, shakeTimeout, errSlow)
	defer cancel()
	var conn *dtls.Conn
	config, err := d.config(k, h)
	if err == nil {
		conn, err = dtls.ServerWithContext(ctx, k.conn, config)
	}
	if err == nil {
		err = d.establish(ctx, k, k.conn.mute())
		_ = conn.Close() // it only ends goroutines
	}
	if err == nil {
		d.shaken.Add(1)
		return
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = context.Cause(ctx)
	}
	d.fail(k, err)
	_ = k.conn.Close()
}

// fail ends a handshake that has failed.
func (d *DTLS) fail(k *shake, err error) {
	d.mu.Lock()
	if d.shakes[k.conn.to] == k {
		d.dropShakeLocked(k)
	}
	d.mu.Unlock()
	switch {
	case errors.Is(err, errEvicted):
		d.evicted.Add(1)
	case errors.Is(err, context.Canceled), errors.Is(err, errReplaced):
	case !k.conn.returned():
		// The address may be anybody's: nothing is said about it.
		d.strangers.Add(1)
	default:
		d.failed.Add(1)
		if errors.Is(err, errWrongKey) {
			d.turns.done(k, false)
			k.conn.alert(decryptError)
		}
		d.tell(k, err)
	}
}

// tell says in words why a device did not get in.
func (d *DTLS) tell(k *shake, err error) {
	var why string
	switch {
	case !errors.Is(err, errWrongKey):
		why = bounded(fmt.Sprintf("handshake: %v", err))
	case len(k.keys) > 1:
		why = fmt.Sprintf("wrong key for device %q: number %d of %d was tried, the next attempt tries another", k.identity, k.key+1, len(k.keys))
	case len(k.keys) == 1:
		why = fmt.Sprintf("wrong key for device %q", k.identity)
	default:
		why = fmt.Sprintf("no key for an unknown device %q", k.identity)
	}
	if d.Refuse != nil {
		d.Refuse(ingest.Peer{Addr: k.conn.to, Transport: dtlsTransport}, ingest.Handshake, why, nil)
	}
	d.quiet.warn(d.Logger, k.conn.to, why)
}

// maxWhy bounds the words about a handshake that failed, in bytes; they may quote
// the peer's certificate.
const maxWhy = 200

func bounded(why string) string {
	return strings.ToValidUTF8(why[:min(len(why), maxWhy)], "")
}

// warnEvery bounds the lines in the log about failed handshakes; what is left out
// is counted.
const warnEvery = time.Second

// quiet is the state of such lines.
type quiet struct {
	last    atomic.Int64 // when the last was written, Unix ns; 0: never
	skipped atomic.Int64
}

func (q *quiet) warn(log *slog.Logger, addr netip.AddrPort, why string) {
	now, last := time.Now().UnixNano(), q.last.Load()
	if last != 0 && now-last < int64(warnEvery) || !q.last.CompareAndSwap(last, now) {
		q.skipped.Add(1)
		return
	}
	logger(log).Warn("a device did not get in", "remote", addr.String(), "why", why, "not_shown", q.skipped.Swap(0))
}

// establish makes the session of a finished handshake and hands on what has come
// for it meanwhile.
func (d *DTLS) establish(ctx context.Context, k *shake, out sent) error {
	cs := suiteOf(out.suite)
	if cs == nil || len(out.random) == 0 || len(k.master) == 0 {
		return errors.New("the handshake gave no keys")
	}
	id, certificate := k.certified, k.certified != ""
	if !certificate {
		if len(k.keys) == 0 {
			return errNoDevice
		}
		id = device.ID(k.identity)
	}
	now := time.Now()
	s, err := newSession(k.conn.to, id, cs, cs.expand(k.master, k.random[:], out.random), now)
	if err != nil {
		return err
	}
	s.certificate, s.flight, s.next, s.limit = certificate, out.flight, out.next[epoch], maxSeq
	if d.Store != nil {
		s.limit = s.next + reserveAhead
	}
	if !certificate {
		d.turns.done(k, true)
		if d.Used != nil {
			d.Used(id, k.keys[k.key])
		}
	}
	if err := d.install(s, k); err != nil {
		return err
	}
	// Who has lost his credential during the handshake: Forget has found no session.
	if !d.entitled(s) {
		d.Forget(id)
		return errUnwelcome
	}
	var records []byte
	for _, b := range k.release() {
		records = append(records, b...)
	}
	if len(records) == 0 {
		return nil
	}
	l := &lane{d: d, h: d.newHandler(d.reply)}
	l.sessionRecords(ctx, s, records)
	return l.h.Flush(ctx)
}
