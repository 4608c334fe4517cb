package ingest

import (
	"crypto/subtle"
	"fmt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Register makes the gate know the registration of a device, nil when it has
// ended. What it says holds for the next message, also of open streams.
func (g *Gate) Register(id device.ID, r *device.Registration) {
	d := g.lock([]byte(id), true)
	d.registration = r
	g.dropLocked(d)
	removed := d.gone && d.told.ID != ""
	d.mu.Unlock()
	g.waiting.leave(id)
	if removed {
		g.onPresence(device.Presence{ID: id, State: device.Removed})
	}
	g.stir()
}

// lock returns the state of a device, made if there is none, with its lock held;
// nil when there are too many.
func (g *Gate) lock(id []byte, force bool) *deviceState {
	for {
		d := g.device(id, force)
		if d == nil {
			return nil
		}
		if d.mu.Lock(); !d.gone {
			return d
		}
		d.mu.Unlock()
	}
}

// dropLocked forgets a device of which nothing has been admitted and nothing is
// registered. The caller holds d.mu.
func (g *Gate) dropLocked(d *deviceState) {
	if len(d.metrics) == 0 && d.registration == nil {
		g.forget(d)
		d.gone = true
	}
}

// proof is the token by which a stream has proved a device. It holds as long as
// the device has it.
type proof struct {
	device device.ID
	secret []byte
}

// speaksLocked returns why the message may not speak for the device, or nil. The
// caller holds d.mu.
func (s *Session) speaksLocked(d *deviceState, peer Peer, m *wire.Message) *RefusalError {
	r := d.registration
	switch {
	case r == nil || !r.Guarded():
		return nil
	case r.Revoked:
		return &RefusalError{Reason: NoCredential, Detail: fmt.Sprintf("device %q is revoked", d.id)}
	case peer.Device == d.id:
		return nil
	case len(m.Token) > 0:
		i := r.MatchToken(m.Token)
		if i < 0 {
			return &RefusalError{Reason: NoCredential, Detail: fmt.Sprintf("the token is none of device %q", d.id)}
		}
		c := &r.Credentials[i]
		if c.Used == 0 && s.p.used != nil {
			s.p.used(d.id, c.Kind, c.Secret)
		}
		if s.stream {
			s.proof = proof{d.id, c.Secret}
		}
		return nil
	case s.proof.device == d.id && has(r, s.proof.secret):
		return nil
	}
	return &RefusalError{Reason: NoCredential, Detail: fmt.Sprintf("device %q has a credential, and this came without", d.id)}
}

// Listener returns the device whose commands the peer may take, the one that it
// has proved to be or calls itself, or a *RefusalError.
func (g *Gate) Listener(peer Peer) (device.ID, error) {
	name := nameOf(nil, peer)
	if err := device.CheckID(name); err != nil {
		return "", refuse(BadDevice, err)
	}
	g.mu.RLock()
	d := g.devices[string(name)]
	g.mu.RUnlock()
	id := device.ID(name)
	if d == nil {
		return id, nil // nothing waits for it
	}
	d.mu.Lock()
	r := d.registration
	d.mu.Unlock()
	switch {
	case r != nil && r.Revoked:
		return "", &RefusalError{Reason: NoCredential, Detail: fmt.Sprintf("device %q is revoked", id)}
	case r != nil && r.Guarded() && peer.Device != id:
		return "", &RefusalError{Reason: NoCredential, Detail: fmt.Sprintf("device %q has a credential: take its commands over DTLS", id)}
	}
	return id, nil
}

func has(r *device.Registration, secret []byte) bool {
	for i := range r.Credentials {
		if c := &r.Credentials[i]; c.Kind == device.Token && subtle.ConstantTimeCompare(c.Secret, secret) == 1 {
			return true
		}
	}
	return false
}

// newcomerLocked returns why a new device is not taken, or nil. The caller holds
// d.mu.
func (s *Session) newcomerLocked(d *deviceState, peer Peer, m *wire.Message, at, now device.Time) *RefusalError {
	g := s.p.gate
	switch {
	case g.admission == Open, len(d.metrics) > 0, d.registration != nil, peer.Device == d.id:
		return nil
	case g.admission == Known:
		return &RefusalError{Reason: Unknown, Detail: fmt.Sprintf("device %q is not registered", d.id)}
	}
	first := g.waiting.note(d.id, peer, m, at, now)
	return &RefusalError{Reason: NotApproved, Detail: fmt.Sprintf("device %q waits for approval", d.id), alike: !first}
}
