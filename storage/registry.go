package storage

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// bucketRegistry holds device id → registration, as sealed JSON.
var bucketRegistry = []byte("registry")

// ErrTooManyRegistered says that the registry takes no more devices.
var ErrTooManyRegistered = errors.New("storage: too many registered devices")

const (
	// maxRegistered bounds the registry, which is in memory: some 10 MB.
	maxRegistered = 50_000
	// maxUses bounds the first uses of credentials that wait for the disk. One
	// that finds no room is noted the next time.
	maxUses = 1024
)

// Registry knows the devices that somebody has registered, and their
// credentials. PSKs are kept as they are, because a handshake computes with
// them, in a file that only its owner reads; of tokens the SHA-256. Its methods may be
// called concurrently.
//
// What it answers is on the disk. A value that damage has taken counts as
// revoked: its device is still spoken for.
type Registry struct {
	log  *Log
	wake chan struct{} // told of the first of uses; capacity 1

	// changing admits one change at a time, also while it is written. Taken before
	// mu and Log.commitMu.
	changing sync.Mutex

	mu   sync.RWMutex // guards following
	all  map[device.ID]*device.Registration
	uses map[use]struct{}
}

// use is a credential that has been used and is not noted to have been.
type use struct {
	id     device.ID
	kind   device.CredentialKind
	secret string
}

// Registry returns the registry of the store.
func (l *Log) Registry() *Registry { return l.registry }

// Registrations returns all, sorted by id.
func (r *Registry) Registrations() []*device.Registration {
	r.mu.RLock()
	all := slices.Collect(maps.Values(r.all))
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b *device.Registration) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Registration returns that of a device.
func (r *Registry) Registration(id device.ID) (*device.Registration, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	reg, ok := r.all[id]
	return reg, ok
}

// Keys returns the pre-shared keys that are valid for a DTLS identity, which is
// a device id, the newest first; none for a device without.
func (r *Registry) Keys(identity []byte) (keys [][]byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if reg := r.all[device.ID(identity)]; reg != nil {
		for _, c := range slices.Backward(reg.Credentials) {
			if c.Kind == device.PSK {
				keys = append(keys, c.Secret)
			}
		}
	}
	return keys
}

// KeyUsed notes that a key which Keys has returned has proved the identity, so
// that an older one is no longer valid. It does not wait for the disk.
func (r *Registry) KeyUsed(identity, key []byte) { r.Used(device.ID(identity), device.PSK, key) }

// Used is KeyUsed for credentials of any kind; secret is as in
// device.Credential.
func (r *Registry) Used(id device.ID, kind device.CredentialKind, secret []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reg := r.all[id]
	if reg == nil {
		return
	}
	i := findCredential(reg, kind, secret)
	if i < 0 || reg.Use(i, 1) == reg || len(r.uses) >= maxUses {
		return
	}
	r.uses[use{id, kind, string(secret)}] = struct{}{}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func findCredential(reg *device.Registration, kind device.CredentialKind, secret []byte) int {
	return slices.IndexFunc(reg.Credentials, func(c device.Credential) bool {
		return c.Kind == kind && subtle.ConstantTimeCompare(c.Secret, secret) == 1
	})
}

// Change changes the registration of one device. When it returns, the change is
// on the disk, Config.OnRegister has been told, and the log has a line. The
// registration is nil when it has ended.
func (r *Registry) Change(c device.Change) (*device.Registration, device.Secrets, error) {
	r.changing.Lock()
	defer r.changing.Unlock()
	old, known := r.Registration(c.ID)
	reg, secrets, err := c.Apply(old, device.TimeOf(r.log.cfg.Now()))
	if err != nil {
		return nil, device.Secrets{}, err
	}
	r.mu.RLock()
	full := !known && len(r.all) >= maxRegistered
	r.mu.RUnlock()
	if full {
		return nil, device.Secrets{}, fmt.Errorf("%w: %d", ErrTooManyRegistered, maxRegistered)
	}
	if err := r.put(c.ID, reg); err != nil {
		return nil, device.Secrets{}, fmt.Errorf("storage: registry: %w", err)
	}
	r.log.cfg.Logger.Info("the registry was changed", "act", string(c.Act), "device", string(c.ID),
		"credentials", describe(reg), "by", c.By)
	return reg, secrets, nil
}

// describe names the credentials without telling them.
func describe(reg *device.Registration) string {
	if reg != nil && reg.Revoked {
		return "revoked"
	}
	var kinds []string
	if reg != nil {
		for _, c := range reg.Credentials {
			kinds = append(kinds, c.Kind.String())
		}
	}
	return cmp.Or(strings.Join(kinds, " "), "none")
}

// put writes the registration, or with nil deletes it, then makes it valid. The
// caller holds changing.
func (r *Registry) put(id device.ID, reg *device.Registration) error {
	key := []byte(id)
	value, err := encodeRegistration(reg)
	if err != nil {
		return err
	}
	err = r.log.update(func(tx *bolt.Tx) error {
		if reg == nil {
			return tx.Bucket(bucketRegistry).Delete(key)
		}
		return tx.Bucket(bucketRegistry).Put(key, boltfile.Seal(key, value))
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	if reg == nil {
		delete(r.all, id)
	} else {
		r.all[id] = reg
	}
	r.mu.Unlock()
	if r.log.cfg.OnRegister != nil {
		r.log.cfg.OnRegister(id, reg)
	}
	return nil
}

// keep notes first uses of credentials until ctx is done, and then the last.
func (r *Registry) keep(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-r.wake:
		case <-ctx.Done():
		}
		r.noteUses()
	}
}

// noteUses writes the uses that wait. One that cannot be written is noted the
// next time that the credential is used.
func (r *Registry) noteUses() {
	r.mu.Lock()
	uses := r.uses
	r.uses = map[use]struct{}{}
	r.mu.Unlock()
	for u := range uses {
		if err := r.noteUse(u); err != nil {
			r.log.cfg.Logger.Warn("the use of a credential could not be noted", "device", string(u.id), "error", err)
		}
	}
}

func (r *Registry) noteUse(u use) error {
	r.changing.Lock()
	defer r.changing.Unlock()
	reg, ok := r.Registration(u.id)
	if !ok {
		return nil
	}
	i := findCredential(reg, u.kind, []byte(u.secret))
	if i < 0 {
		return nil
	}
	next := reg.Use(i, device.TimeOf(r.log.cfg.Now()))
	if next == reg {
		return nil
	}
	if err := r.put(u.id, next); err != nil {
		return err
	}
	r.log.cfg.Logger.Info("a credential was used for the first time", "device", string(u.id), "kind", u.kind.String())
	return nil
}

// storedRegistration is the JSON in the file; the id is the key.
type storedRegistration struct {
	Name        string             `json:"name,omitempty"`
	Created     device.Time        `json:"created"`
	Revoked     bool               `json:"revoked,omitempty"`
	Credentials []storedCredential `json:"credentials,omitempty"`
}

type storedCredential struct {
	Kind    string      `json:"kind"`
	Secret  []byte      `json:"secret"`
	Created device.Time `json:"created"`
	Used    device.Time `json:"used,omitempty"`
}

func encodeRegistration(reg *device.Registration) ([]byte, error) {
	if reg == nil {
		return nil, nil
	}
	s := storedRegistration{Name: reg.Name, Created: reg.Created, Revoked: reg.Revoked}
	for _, c := range reg.Credentials {
		s.Credentials = append(s.Credentials, storedCredential{c.Kind.String(), c.Secret, c.Created, c.Used})
	}
	return json.Marshal(s)
}

// decodeRegistration returns what a sealed value says; false when it is damaged.
func decodeRegistration(key, sealed []byte) (*device.Registration, bool) {
	text, ok := boltfile.Unseal(key, sealed)
	var s storedRegistration
	if !ok || device.CheckID(key) != nil || json.Unmarshal(text, &s) != nil {
		return nil, false
	}
	reg := &device.Registration{ID: device.ID(key), Name: s.Name, Created: s.Created, Revoked: s.Revoked}
	for _, c := range s.Credentials {
		i := slices.IndexFunc(device.CredentialKinds, func(k device.CredentialKind) bool { return k.String() == c.Kind })
		if i < 0 {
			return nil, false // of a newer version; without it the device might be open
		}
		reg.Credentials = append(reg.Credentials, device.Credential{
			Kind: device.CredentialKinds[i], Secret: c.Secret, Created: c.Created, Used: c.Used,
		})
	}
	return reg, true
}

// load reads the registry, which stores of earlier versions have not.
func (r *Registry) load(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketRegistry)
	if err != nil {
		return err
	}
	r.all, r.uses = map[device.ID]*device.Registration{}, map[use]struct{}{}
	return b.ForEach(func(k, v []byte) error {
		reg, ok := decodeRegistration(k, v)
		if !ok {
			r.log.stats.damagedEntries.Add(1)
			r.log.cfg.Logger.Error("a registration was damaged: its device is refused until it gets a new key", "device", string(k))
			reg = &device.Registration{ID: device.ID(k), Revoked: true}
		}
		if device.CheckID(k) == nil { // nobody can speak in another name
			r.all[reg.ID] = reg
		}
		return nil
	})
}
