package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// sound makes a store of 40 batches of 25 readings and returns its folder and
// what it holds.
func sound(t testing.TB) (dir string, all []device.Stored) {
	t.Helper()
	dir = t.TempDir()
	l, err := Open(Config{Dir: dir, RetainAge: -1})
	if err != nil {
		t.Fatal(err)
	}
	f := newFleet(5)
	var rs []device.Reading
	for range 40 {
		rs = f.fill(rs, 25)
		if _, err := l.Append(rs); err != nil {
			t.Fatal(err)
		}
		if err := l.commit(commitAll); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Read(t.Context(), device.Query{}, func(r *device.Stored) error { all = append(all, *r); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, all
}

func hotPath(dir string) string { return filepath.Join(dir, "hot.db") }

// edit changes a store through bbolt.
func edit(t *testing.T, dir string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(hotPath(dir), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// flip returns v with one bit changed.
func flip(v []byte, at int) []byte {
	v = bytes.Clone(v)
	v[at] ^= 0x10
	return v
}

// TestPutAside lists files that cannot be opened: each is put aside unchanged,
// and a new store begun.
func TestPutAside(t *testing.T) {
	dir, _ := sound(t)
	good, err := os.ReadFile(hotPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	foreign := t.TempDir()
	edit(t, foreign, func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("other"))
		if err != nil {
			return err
		}
		return b.Put([]byte("a"), []byte("b"))
	})
	other, err := os.ReadFile(hotPath(foreign))
	if err != nil {
		t.Fatal(err)
	}
	zeroed := bytes.Clone(good)
	clear(zeroed[2*boltfile.PageSize:])
	for name, content := range map[string][]byte{
		"text":                   []byte("not a database\n"),
		"long text":              bytes.Repeat([]byte("not a database\n"), 10_000),
		"one byte":               {0},
		"truncated in the metas": good[:boltfile.PageSize+100],
		"truncated to the metas": good[:2*boltfile.PageSize],
		"truncated in the tree":  good[:5*boltfile.PageSize+17],
		"both metas zero":        append(make([]byte, 2*boltfile.PageSize), good[2*boltfile.PageSize:]...),
		"all but the metas zero": zeroed,
		"another bbolt database": other,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(hotPath(dir), content, 0o600); err != nil {
				t.Fatal(err)
			}
			var said bytes.Buffer
			l := openLog(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
			if _, err := l.Append([]device.Reading{crashReading(1)}); err != nil {
				t.Error(err)
			}
			if s := l.Stats(); s.FilesPutAside != 1 {
				t.Errorf("%d files put aside, want 1", s.FilesPutAside)
			}
			aside, err := filepath.Glob(hotPath(dir) + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("put aside: %v, %v", aside, err)
			}
			kept, err := os.ReadFile(aside[0])
			if err != nil {
				t.Fatal(err)
			}
			// A foreign database is looked into, which bbolt does in place.
			if !bytes.HasPrefix(kept, content[:min(len(content), boltfile.PageSize)]) {
				t.Error("the file put aside was changed")
			}
			if !strings.Contains(said.String(), "put aside") {
				t.Errorf("log says nothing: %s", &said)
			}
		})
	}
}

func TestOpenNew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hotPath(dir), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, Config{Dir: dir})
	if s := l.Stats(); s.FilesPutAside != 0 {
		t.Error("an empty file was put aside")
	}
	if id := l.StoreID(); len(id) != storeIDLen || strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		t.Errorf("store id %q", id)
	}
}

func TestNewerFormat(t *testing.T) {
	dir, _ := sound(t)
	edit(t, dir, func(tx *bolt.Tx) error {
		return putMeta(tx.Bucket(bucketMeta), keyFormat, binary.LittleEndian.AppendUint32(nil, formatVersion+1))
	})
	for range 2 {
		if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrNewerFormat) || !strings.Contains(err.Error(), dir) {
			t.Fatalf("got %v, want ErrNewerFormat that names the folder", err)
		}
	}
	if aside, _ := filepath.Glob(hotPath(dir) + ".corrupt-*"); len(aside) != 0 {
		t.Errorf("put aside: %v", aside)
	}
}

// TestDamagedValues damages single values: the rest stays readable, and is the
// same whichever way it is read.
func TestDamagedValues(t *testing.T) {
	damageLog := func(n int) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			cur := tx.Bucket(bucketLog).Cursor()
			k, v := cur.First()
			for range n {
				k, v = cur.Next()
			}
			return tx.Bucket(bucketLog).Put(bytes.Clone(k), flip(v, len(v)/2))
		}
	}
	entry := func(bucket, key []byte) func(tx *bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket(bucket)
			return b.Put(key, flip(b.Get(key), 5))
		}
	}
	for name, c := range map[string]struct {
		edit           func(*bolt.Tx) error
		batches, names int64
		lost           int
		newID          bool
		skips          bool
	}{
		"first batch":       {edit: damageLog(0), batches: 1, lost: 24},
		"batch in between":  {edit: damageLog(20), batches: 1, lost: 24},
		"last batch":        {edit: damageLog(39), batches: 1, lost: 24},
		"store id":          {edit: entry(bucketMeta, keyStore), names: 1, newID: true},
		"reservation":       {edit: entry(bucketMeta, keyBound), names: 1, skips: true},
		"name of a series":  {edit: entry(bucketCat, seriesKey(3)), names: 1, lost: 48},
		"batch without key": {edit: func(tx *bolt.Tx) error { return tx.Bucket(bucketLog).Put([]byte("x"), []byte("y")) }, batches: 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, all := sound(t)
			var id string
			edit(t, dir, func(tx *bolt.Tx) error {
				v, _ := getMeta(tx.Bucket(bucketMeta), keyStore, storeIDLen)
				id = string(v)
				return c.edit(tx)
			})
			l := openLog(t, Config{Dir: dir, RetainAge: -1})
			s := l.Stats()
			if s.Damaged != c.batches || s.DamagedNames != c.names || s.FilesPutAside != 0 {
				t.Errorf("damaged: %d batches, %d names, %d files", s.Damaged, s.DamagedNames, s.FilesPutAside)
			}
			if (l.StoreID() != id) != c.newID {
				t.Errorf("store id %s, was %s", l.StoreID(), id)
			}
			if skipped := s.Head - uint64(len(all)); (skipped > offsetStep) != c.skips || !c.skips && skipped != 0 {
				t.Errorf("head %d after %d readings", s.Head, len(all))
			}
			got := readAll(t, l, device.Query{})
			if len(all)-len(got) != c.lost {
				t.Errorf("%d of %d readings lost, want %d", len(all)-len(got), len(all), c.lost)
			}
			checkSubset(t, all, got)
			checkWays(t, l, got)
		})
	}
}

// checkSubset checks that got is part of all, in the same order.
func checkSubset(t *testing.T, all, got []device.Stored) {
	t.Helper()
	i := 0
	for _, r := range got {
		for i < len(all) && all[i] != r {
			i++
		}
	}
	if i == len(all) && len(got) > 0 {
		t.Errorf("a reading of %d is none of those appended, or out of order", len(got))
	}
}

// checkWays checks that After, Count, Latest and Desc give what Read gave.
func checkWays(t *testing.T, l *Log, want []device.Stored) {
	t.Helper()
	var after []device.Stored
	_, head := l.Bounds()
	for next := uint64(0); next < head; {
		rs, n, err := l.After(t.Context(), device.Selector{}, next, 70)
		if err != nil || n <= next {
			t.Fatalf("After %d: next %d, %v", next, n, err)
		}
		after, next = append(after, rs...), n
	}
	if diff := diffStored(want, after); diff != "" {
		t.Errorf("After (-read +got):\n%s", diff)
	}
	if n, err := l.Count(t.Context(), device.Query{Selector: everything(t)}); err != nil || n != int64(len(want)) {
		t.Errorf("Count: %d, %v, want %d", n, err, len(want))
	}
	latest, _, err := l.Latest(t.Context(), device.Selector{}, MaxLatest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := diffStored(want, latest); diff != "" {
		t.Errorf("Latest (-read +got):\n%s", diff)
	}
	if desc := readAll(t, l, device.Query{Desc: true}); len(desc) != len(want) {
		t.Errorf("%d readings downwards, want %d", len(desc), len(want))
	}
}

// everything is a selector of all series that does not say so.
func everything(t *testing.T) device.Selector {
	t.Helper()
	sel, err := device.NewSelector([]string{"?*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sel
}

// TestFlippedBits flips bits all over the file. Whatever they hit, opening
// ends in a working log, and no reading comes back changed.
func TestFlippedBits(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	dir, all := sound(t)
	good, err := os.ReadFile(hotPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	known := map[device.Stored]bool{}
	for _, r := range all {
		known[r] = true
	}
	used := 40 * boltfile.PageSize // the file is longer than what is in it
	rng := rand.New(rand.NewPCG(21, 22))
	rounds := 150
	if testing.Short() {
		rounds = 20
	}
	aside, partly := 0, 0
	for range rounds {
		bad := bytes.Clone(good)
		for range 1 + rng.IntN(3) {
			at := rng.IntN(min(used, len(bad)))
			if rng.IntN(2) == 0 { // heads of pages and their elements
				at = at/boltfile.PageSize*boltfile.PageSize + rng.IntN(80)
			}
			bad[at] ^= 1 << rng.IntN(8)
		}
		dir := t.TempDir()
		if err := os.WriteFile(hotPath(dir), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(Config{Dir: dir, RetainAge: -1})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := l.Read(t.Context(), device.Query{}, func(r *device.Stored) error {
			if n++; !known[*r] {
				t.Errorf("a reading that nobody appended: %+v", *r)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if _, err := l.Append([]device.Reading{crashReading(1)}); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if l.Stats().FilesPutAside > 0 {
			aside++
		} else if n < len(all) {
			partly++
		}
	}
	t.Logf("%d files: %d put aside, %d with fewer readings", rounds, aside, partly)
	if aside == 0 || partly == 0 {
		t.Error("the flipped bits hit nothing")
	}
}
