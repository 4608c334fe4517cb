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

// openDTLS prepares for devices that come in over DTLS, if any has a key.
func (g *gateway) openDTLS() error {
	keys, err := keysOf(g.settings.PSK)
	if err != nil || len(keys) == 0 || !on(g.settings.UDP) {
		return err
	}
	if g.sessions, err = storage.OpenSessions(g.settings.Data, g.log); err != nil {
		return err
	}
	g.udp.DTLS = &listen.DTLS{
		Keys:   func(identity []byte) []listen.Key { return keys[string(identity)] },
		Store:  g.sessions,
		Refuse: g.pipeline.Refuse,
		Logger: g.log.With("component", "dtls"),
	}
	return nil
}

// closeSessions closes the file of the sessions.
func (g *gateway) closeSessions() error {
	if g.sessions == nil {
		return nil
	}
	return g.sessions.Close()
}
