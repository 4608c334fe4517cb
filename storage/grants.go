package storage

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// bucketGrants holds grant id u64 big-endian → grant, as sealed JSON. Its
// sequence is the id of the newest: none is used twice.
var bucketGrants = []byte("grants")

// maxGrants bounds the grants, which are in memory.
const maxGrants = 1000

// Grants keeps the access tokens that somebody has made, by their hashes. Its
// methods may be called concurrently. What it answers is on the disk.
type Grants struct {
	log *Log

	// changing admits one change at a time, also while it is written. Taken before
	// mu and Log.commitMu.
	changing sync.Mutex

	mu  sync.RWMutex // guards following
	all map[uint64]*device.Grant
}

// Access returns the grants of the store.
func (l *Log) Access() *Grants { return l.grants }

// Grants returns all, sorted by id.
func (g *Grants) Grants() []*device.Grant {
	g.mu.RLock()
	all := slices.Collect(maps.Values(g.all))
	g.mu.RUnlock()
	slices.SortFunc(all, func(a, b *device.Grant) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Grant makes a grant and its token, which is kept nowhere. Errors wrap those of
// package device, or are those of the disk.
func (g *Grants) Grant(o device.GrantOrder) (*device.Grant, string, error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	made, token, err := o.Grant(device.TimeOf(g.log.cfg.Now()))
	if err != nil {
		return nil, "", err
	}
	g.mu.RLock()
	n := len(g.all)
	for _, old := range g.all {
		if strings.EqualFold(old.Name, made.Name) {
			err = fmt.Errorf("the name %q is %w", made.Name, device.ErrGranted)
		}
	}
	g.mu.RUnlock()
	switch {
	case err != nil:
		return nil, "", err
	case n >= maxGrants:
		return nil, "", fmt.Errorf("%w: %d", device.ErrTooManyGrants, n)
	}
	err = g.log.update(func(tx *bolt.Tx) error { return putGrant(tx.Bucket(bucketGrants), made) })
	if err != nil {
		return nil, "", fmt.Errorf("storage: access: %w", err)
	}
	g.mu.Lock()
	g.all[made.ID] = made
	g.mu.Unlock()
	g.log.cfg.Logger.Info("access was granted", "access", made.ID, "name", made.Name, "role", made.Role.String(),
		"devices", made.Devices, "expires", expiryText(made), "by", o.By)
	return made, token, nil
}

func expiryText(g *device.Grant) string {
	if g.Expires == 0 {
		return "never"
	}
	return g.Expires.Std().UTC().Format("2006-01-02T15:04:05Z")
}

// Revoke ends a grant and returns it; by is who asks, for the log. Errors wrap
// device.ErrNotGranted, or are those of the disk.
func (g *Grants) Revoke(id uint64, by string) (*device.Grant, error) {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.mu.RLock()
	old := g.all[id]
	g.mu.RUnlock()
	if old == nil {
		return nil, fmt.Errorf("%w: %d", device.ErrNotGranted, id)
	}
	err := g.log.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketGrants).Delete(numberKey(id)) })
	if err != nil {
		return nil, fmt.Errorf("storage: access: %w", err)
	}
	g.mu.Lock()
	delete(g.all, id)
	g.mu.Unlock()
	g.log.cfg.Logger.Info("access was revoked", "access", id, "name", old.Name, "role", old.Role.String(), "by", by)
	return old, nil
}

// storedGrant is the JSON in the file; the id is the key.
type storedGrant struct {
	Name    string      `json:"name"`
	Role    string      `json:"role"`
	Devices []string    `json:"devices,omitempty"`
	Hash    []byte      `json:"hash"`
	Created device.Time `json:"created"`
	Expires device.Time `json:"expires,omitempty"`
}

// putGrant writes a new grant, to which it gives the id.
func putGrant(b *bolt.Bucket, made *device.Grant) error {
	id, err := b.NextSequence()
	if err != nil {
		return err
	}
	made.ID = id
	text, err := json.Marshal(storedGrant{
		Name: made.Name, Role: made.Role.String(), Devices: made.Devices, Hash: made.Hash, Created: made.Created, Expires: made.Expires,
	})
	if err != nil {
		return err
	}
	return b.Put(numberKey(id), boltfile.Seal(numberKey(id), text))
}

// hashLen is the length of a token's hash.
const hashLen = 32

// decodeGrant returns what a sealed value says; false when it is damaged, or
// says what this version does not know: without it the grant might be wider.
func decodeGrant(key, sealed []byte) (*device.Grant, bool) {
	text, ok := boltfile.Unseal(key, sealed)
	var s storedGrant
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if !ok || len(key) != 8 || d.Decode(&s) != nil || len(s.Hash) != hashLen {
		return nil, false
	}
	role, err := device.ParseRole(s.Role)
	if err != nil {
		return nil, false
	}
	g := &device.Grant{
		ID: keyNumber(key), Name: s.Name, Role: role, Devices: s.Devices, Hash: s.Hash, Created: s.Created, Expires: s.Expires,
	}
	if _, err := g.Limit(); err != nil {
		return nil, false
	}
	return g, true
}

// load reads the grants, which stores of earlier versions have not. A damaged one
// opens nothing, and stays to be named and revoked.
func (g *Grants) load(tx *bolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists(bucketGrants)
	if err != nil {
		return err
	}
	g.all = map[uint64]*device.Grant{}
	return b.ForEach(func(k, v []byte) error {
		grant, ok := decodeGrant(k, v)
		if !ok {
			g.log.stats.damagedEntries.Add(1)
			g.log.cfg.Logger.Error("an access token was damaged: who has it is refused", "access", keyNumber(k))
			grant = &device.Grant{ID: keyNumber(k), Damaged: true}
		}
		if len(k) == 8 { // another key cannot be named
			g.all[grant.ID] = grant
		}
		return nil
	})
}
