package main

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/listen"
	"github.com/naru-telemetry/naru/storage"
)

// Lengths of a pre-shared key in bytes: shorter ones can be guessed from one
// recorded handshake, longer ones are more than clients take.
const (
	minKey = 16
	maxKey = 64
)

// ofRegistry names the keys that the registry has.
const ofRegistry = "registered"

// keysOf reads the setting psk. Errors do not tell the keys.
func keysOf(pairs []string) (map[string][]listen.Key, error) {
	keys := map[string][]listen.Key{}
	for i, pair := range pairs {
		id, text, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("psk: want id=key, number %d has no =", i+1)
		}
		if err := device.CheckID(id); err != nil {
			return nil, fmt.Errorf("psk: %w", err)
		}
		secret, err := hex.DecodeString(text)
		if err != nil || len(secret) < minKey || len(secret) > maxKey {
			return nil, fmt.Errorf("psk: %s: want a key of %d to %d bytes in hex", id, minKey, maxKey)
		}
		keys[id] = append(keys[id], listen.Key{Secret: secret, Name: fmt.Sprint(len(keys[id]) + 1)})
	}
	return keys, nil
}

// openDTLS prepares for devices that come in over DTLS, with the keys of the
// registry, which may come at any time, and of the settings, or with certificates
// as over TLS.
func (g *gateway) openDTLS() error {
	fixed, err := keysOf(g.settings.PSK)
	if err != nil || !on(g.settings.UDP) {
		return err
	}
	registry := g.store.Registry()
	keys := func(identity []byte) (all []listen.Key) {
		for _, secret := range registry.Keys(identity) {
			all = append(all, listen.Key{Secret: secret, Name: ofRegistry})
		}
		return append(all, fixed[string(identity)]...)
	}
	used := func(id device.ID, k listen.Key) {
		if k.Name == ofRegistry {
			registry.KeyUsed([]byte(id), k.Secret)
		}
	}
	if g.sessions, err = storage.OpenSessions(g.settings.Data, g.log); err != nil {
		return err
	}
	g.udp.DTLS = &listen.DTLS{
		Keys:   keys,
		Used:   used,
		Store:  g.sessions,
		Refuse: g.pipeline.Refuse,
		Logger: g.log.With("component", "dtls"),
	}
	if g.settings.DTLSCertificates {
		g.udp.DTLS.Certificate, g.udp.DTLS.ClientCAs = g.tls.Certificate, g.tls.ClientCAs
		g.udp.DTLS.Certified = func(id device.ID) bool {
			r, ok := registry.Registration(id)
			return !ok || !r.Revoked
		}
	}
	return nil
}

// registered tells who has to know of a change of the registry. A device that is
// revoked loses its sessions: it is told, and cannot begin another.
func (g *gateway) registered(id device.ID, r *device.Registration) {
	g.pipeline.Gate().Register(id, r)
	if r != nil && r.Revoked && g.udp.DTLS != nil {
		g.udp.DTLS.Forget(id)
	}
}

// closeSessions closes the file of the sessions.
func (g *gateway) closeSessions() error {
	if g.sessions == nil {
		return nil
	}
	return g.sessions.Close()
}
