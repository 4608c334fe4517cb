package stretch_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// FuzzRun gives the parser hostile directories whose checksum is right: it must
// not panic, and what it takes must lie in the run, one block behind the other.
func FuzzRun(f *testing.F) {
	path := create(f, rawMeta, []run{{stretch.Readings, 1, -100, 0, [][]byte{readings(f, 1, 1, -100, -90), readings(f, 1, 3, -80)}}}, nil)
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		f.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		_, v := tx.Bucket([]byte("raw")).Cursor().First()
		f.Add(slices.Clone(v), uint8(20), int64(-100))
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 1, 9}, uint8(11), int64(0))
	f.Fuzz(func(t *testing.T, v []byte, n uint8, time int64) {
		v = slices.Clone(v)
		if len(v) >= 4 {
			stretch.SealRun(1, time, v, max(4, min(int(n), len(v))))
		}
		pieces, err := stretch.ParseRun(stretch.Readings, 1, time, v)
		if err != nil {
			if !errors.Is(err, stretch.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		total := 0
		for i := range pieces {
			p := &pieces[i]
			if p.MinTime < time || p.MaxTime < p.MinTime || p.MaxOffset < p.MinOffset || p.Count < 0 || p.Bytes() < 0 {
				t.Fatalf("piece %+v", p)
			}
			total += p.Bytes()
		}
		if total > len(v) {
			t.Fatalf("blocks of %d bytes in %d", total, len(v))
		}
	})
}

// FuzzDevice gives the parser hostile entries whose checksum is right: it must not
// panic, and what it takes must survive encoding.
func FuzzDevice(f *testing.F) {
	for i := range devices {
		f.Add(devices[i].Number, devices[i].Encode())
	}
	f.Fuzz(func(t *testing.T, number uint32, v []byte) {
		key := binary.BigEndian.AppendUint32(nil, number)
		var d, again stretch.Device
		if err := d.Parse(key, boltfile.Seal(key, v)); err != nil {
			if !errors.Is(err, stretch.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		last := uint32(0)
		for i, s := range d.Series {
			if i > 0 && s.ID <= last || s.Count < 0 {
				t.Fatalf("series %+v after %d", s, last)
			}
			last = s.ID
		}
		if err := again.Parse(key, boltfile.Seal(key, d.Encode())); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, again, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}
