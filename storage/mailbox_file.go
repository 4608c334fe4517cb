package storage

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// bucketCommands holds command id u64 big-endian → command, as sealed JSON. Its
// sequence is the id of the newest.
var bucketCommands = []byte("commands")

// storedCommand is the JSON in the file; the id is the key.
type storedCommand struct {
	Device  device.ID       `json:"device"`
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value,omitempty"`
	Created device.Time     `json:"created"`
	Expires device.Time     `json:"expires"`
	State   string          `json:"state"`
	Sent    device.Time     `json:"sent,omitempty"`
	Tries   int             `json:"tries,omitempty"`
	Ended   device.Time     `json:"ended,omitempty"`
	Result  string          `json:"result,omitempty"`
}

func putCommand(b *bolt.Bucket, c *device.Command) error {
	text, err := json.Marshal(storedCommand{
		Device: c.Device, Name: c.Name, Value: c.Value, Created: c.Created, Expires: c.Expires,
		State: c.State.String(), Sent: c.Sent, Tries: c.Tries, Ended: c.Ended, Result: c.Result,
	})
	if err != nil {
		return err
	}
	key := numberKey(c.ID)
	return b.Put(key, boltfile.Seal(key, text))
}

// decodeCommand returns what a sealed value says; false when it is damaged.
func decodeCommand(key, sealed []byte) (device.Command, bool) {
	text, ok := boltfile.Unseal(key, sealed)
	var s storedCommand
	if !ok || len(key) != 8 || json.Unmarshal(text, &s) != nil || device.CheckID(s.Device) != nil {
		return device.Command{}, false
	}
	i := slices.IndexFunc(device.CommandStates, func(state device.CommandState) bool { return state.String() == s.State })
	if i < 0 {
		return device.Command{}, false
	}
	return device.Command{
		ID: keyNumber(key), Device: s.Device, Name: s.Name, Value: s.Value, Created: s.Created, Expires: s.Expires,
		State: device.CommandStates[i], Sent: s.Sent, Tries: s.Tries, Ended: s.Ended, Result: s.Result,
	}, true
}

// load reads the commands, which stores of earlier versions have not.
func (m *Mailbox) load(tx *bolt.Tx) error {
	b := tx.Bucket(bucketCommands)
	if b == nil {
		var err error
		if b, err = tx.CreateBucket(bucketCommands); err != nil {
			return err
		}
		if err := b.SetSequence(rand.Uint64N(firstCommand)); err != nil {
			return err
		}
	}
	m.boxes, m.all = map[device.ID][]*command{}, 0
	m.open.Store(0)
	return b.ForEach(func(k, v []byte) error {
		c, ok := decodeCommand(k, v)
		if !ok {
			m.log.stats.damagedEntries.Add(1)
			m.log.cfg.Logger.Error("a command was damaged, and its device is not told", "key", k)
			return nil
		}
		m.addLocked(&command{Command: c})
		return nil
	})
}

// put writes a new command, to which it gives the id, in the place of one that
// goes, if any does.
func (m *Mailbox) put(c *device.Command, gone *command) error {
	return m.log.update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketCommands)
		id, err := b.NextSequence()
		if err != nil {
			return err
		}
		c.ID = id
		if gone != nil {
			if err := b.Delete(numberKey(gone.ID)); err != nil {
				return err
			}
		}
		return putCommand(b, c)
	})
}

// keep writes what has changed until ctx is done, and then the last.
func (m *Mailbox) keep(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-m.wake:
		case <-ctx.Done():
		}
		for m.save() != nil && ctx.Err() == nil {
			wait(ctx, maxRetry)
		}
	}
}

// save writes what is unsaved and tells who waits. What cannot be written stays
// unsaved.
func (m *Mailbox) save() error {
	m.mu.Lock()
	cs := m.unsaved
	copies := make([]device.Command, len(cs))
	for i, c := range cs {
		copies[i] = c.Command
		c.unsaved = false
	}
	m.owed = append(m.owed, m.saved)
	m.unsaved, m.saved = nil, make(chan struct{})
	m.mu.Unlock()
	err := m.log.update(func(tx *bolt.Tx) error {
		for i := range copies {
			if err := putCommand(tx.Bucket(bucketCommands), &copies[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		m.log.cfg.Logger.Error("what became of commands could not be noted", "commands", len(cs), "error", err)
		m.mu.Lock()
		for _, c := range cs {
			if !c.unsaved {
				c.unsaved = true
				m.unsaved = append(m.unsaved, c)
			}
		}
		m.mu.Unlock()
		return err
	}
	for _, saved := range m.owed {
		close(saved)
	}
	m.owed = nil
	told := map[device.ID]bool{}
	for i := range copies {
		told[copies[i].Device] = true
	}
	for id := range maps.Keys(told) {
		m.tell(id)
	}
	return nil
}

// tell says that something has changed about the commands of a device.
func (m *Mailbox) tell(id device.ID) {
	if m.log.cfg.OnCommand != nil {
		m.log.cfg.OnCommand(id)
	}
}
