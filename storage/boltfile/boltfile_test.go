package boltfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/storage/boltfile"
)

// keys is how many keys a file of the tests has; every tenth value is longer than a
// page.
const keys = 500

func key(i int) []byte { return fmt.Appendf(nil, "key %04d", i) }

func value(i int) []byte {
	n := 100
	if i%10 == 0 {
		n = 6000
	}
	return bytes.Repeat([]byte{byte(i)}, n)
}

// create makes a file with a bucket that has pages of its own and one that has
// none.
func create(tb testing.TB, o boltfile.Options) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a.db")
	db, err := boltfile.Open(path, o)
	if err != nil {
		tb.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucket([]byte("b"))
		if err != nil {
			return err
		}
		for i := range keys {
			if err := b.Put(key(i), value(i)); err != nil {
				return err
			}
		}
		inline, err := tx.CreateBucket([]byte("inline"))
		if err != nil {
			return err
		}
		return inline.Put([]byte("k"), []byte("v"))
	})
	if err := errors.Join(err, db.Sync(), db.Close()); err != nil {
		tb.Fatal(err)
	}
	return path
}

// readAll checks that all is there.
func readAll(db *boltfile.DB) error {
	return db.View(func(tx *bolt.Tx) error {
		for i := range keys {
			if got := tx.Bucket([]byte("b")).Get(key(i)); !bytes.Equal(got, value(i)) {
				return fmt.Errorf("key %d has %d bytes", i, len(got))
			}
		}
		if got := tx.Bucket([]byte("inline")).Get([]byte("k")); string(got) != "v" {
			return fmt.Errorf("inline has %q", got)
		}
		return nil
	})
}

// TestOpen opens files with the options that the store has.
func TestOpen(t *testing.T) {
	for name, o := range map[string]boltfile.Options{
		"default":     {},
		"hot":         {NoFreelist: true, MaxSize: 32 << 20, Mmap: 32 << 20, Grow: 4 << 20},
		"cold":        {Grow: 256 << 10, Mmap: 256 << 20},
		"sealed":      {NoSync: true, PageSize: 1024, Grow: 1024},
		"large pages": {PageSize: 16384},
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t, o)
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if size, err := boltfile.Check(path); err != nil || size != info.Size() {
				t.Errorf("Check: %d bytes, %v, want %d", size, err, info.Size())
			}
			for _, ro := range []bool{false, true} {
				// The size of a page is the file's, whatever is asked for.
				db, err := boltfile.Open(path, boltfile.Options{ReadOnly: ro})
				if err != nil {
					t.Fatal(err)
				}
				if err := readAll(db); err != nil {
					t.Errorf("read-only %v: %v", ro, err)
				}
				if want := max(o.PageSize, 1024); o.PageSize != 0 && db.Info().PageSize != want || o.PageSize == 0 && db.Info().PageSize != boltfile.PageSize {
					t.Errorf("pages of %d bytes", db.Info().PageSize)
				}
				if ro {
					if err := db.Update(func(*bolt.Tx) error { return nil }); err == nil {
						t.Error("a read-only file was written")
					}
				}
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestLocks(t *testing.T) {
	path := create(t, boltfile.Options{})
	db, err := boltfile.Open(path, boltfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boltfile.Open(path, boltfile.Options{}); !errors.Is(err, boltfile.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second opening: %v, want ErrInUse that names the file", err)
	}
	if _, err := boltfile.Check(path); !errors.Is(err, boltfile.ErrInUse) {
		t.Errorf("Check: %v, want ErrInUse", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	one, err := boltfile.Open(path, boltfile.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	two, err := boltfile.Open(path, boltfile.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("two readers: %v", err)
	}
	if err := errors.Join(readAll(one), readAll(two), one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
}

// TestNotOurs lists files that cannot be opened, read-only or not, and what stays
// as it was.
func TestNotOurs(t *testing.T) {
	good, err := os.ReadFile(create(t, boltfile.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	newer := bytes.Clone(good)
	for page := range 2 {
		meta := newer[page*boltfile.PageSize+16:]
		binary.NativeEndian.PutUint32(meta[4:], 3)
		binary.NativeEndian.PutUint64(meta[56:], fnv64(meta[:56]))
	}
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"text":            {[]byte("not a database\n"), boltfile.ErrStructure},
		"long text":       {bytes.Repeat([]byte("not a database\n"), 10_000), boltfile.ErrStructure},
		"zeros":           {make([]byte, 1<<16), boltfile.ErrStructure},
		"one byte":        {[]byte{7}, boltfile.ErrStructure},
		"two pages":       {good[:2*boltfile.PageSize], boltfile.ErrStructure},
		"a page too few":  {good[:3*boltfile.PageSize], boltfile.ErrStructure},
		"a newer version": {newer, boltfile.ErrNewerFormat},
	} {
		for _, ro := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "a.db")
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			db, err := boltfile.Open(path, boltfile.Options{ReadOnly: ro})
			if !errors.Is(err, c.want) || db != nil {
				t.Errorf("%s, read-only %v: %v, want %v", name, ro, err, c.want)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.content) {
				t.Errorf("%s, read-only %v: the file was changed, %v", name, ro, err)
			}
		}
	}
}

func fnv64(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// badPage damages the pages of an open file behind bbolt's back: the root of the
// bucket b becomes something that no page is.
func badPage(t *testing.T, db *boltfile.DB, path string) {
	t.Helper()
	var root uint64
	err := db.View(func(tx *bolt.Tx) error { root = uint64(tx.Bucket([]byte("b")).Root()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(db.Info().PageSize)
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xee}, int(size)), int64(root)*size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPanics lets a page go bad while the file is open: what bbolt makes of it is an
// error.
func TestPanics(t *testing.T) {
	for name, o := range map[string]boltfile.Options{"cold": {}, "sealed": {PageSize: 1024}} {
		t.Run(name, func(t *testing.T) {
			path := create(t, o)
			db, err := boltfile.Open(path, boltfile.Options{})
			if err != nil {
				t.Fatal(err)
			}
			badPage(t, db, path)
			for range 2 { // a view spoils nothing
				if err := readAll(db); !errors.Is(err, boltfile.ErrStructure) {
					t.Errorf("View: %v, want ErrStructure", err)
				}
			}
			write := func(tx *bolt.Tx) error { return tx.Bucket([]byte("b")).Put([]byte("k"), []byte("v")) }
			if err := db.Update(write); !errors.Is(err, boltfile.ErrBroken) || !errors.Is(err, boltfile.ErrStructure) {
				t.Errorf("Update: %v, want ErrBroken and ErrStructure", err)
			}
			if err := db.Update(write); !errors.Is(err, boltfile.ErrBroken) {
				t.Errorf("another Update: %v, want ErrBroken", err)
			}
			if err := db.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			// The lock is gone, and the next opening sees what is wrong.
			if _, err := boltfile.Open(path, boltfile.Options{}); !errors.Is(err, boltfile.ErrStructure) {
				t.Errorf("opened again: %v, want ErrStructure", err)
			}
		})
	}
}

// TestOwnErrors has functions whose errors come back as they are.
func TestOwnErrors(t *testing.T) {
	db, err := boltfile.Open(create(t, boltfile.Options{}), boltfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	own := errors.New("own")
	if err := db.View(func(*bolt.Tx) error { return own }); !errors.Is(err, own) {
		t.Errorf("View: %v", err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket([]byte("b")).Put(key(0), nil), own)
	})
	if !errors.Is(err, own) {
		t.Errorf("Update: %v", err)
	}
	if err := errors.Join(readAll(db), db.Close()); err != nil {
		t.Errorf("after an Update that failed: %v", err)
	}
}

func TestSeal(t *testing.T) {
	for _, c := range [][2]string{{"", ""}, {"key", ""}, {"", "value"}, {"key", "value"}, {"key", strings.Repeat("long", 10_000)}} {
		k, v := []byte(c[0]), []byte(c[1])
		sealed := boltfile.Seal(k, v)
		if got, ok := boltfile.Unseal(k, sealed); !ok || !bytes.Equal(got, v) {
			t.Errorf("%q: %q, %v", c, got, ok)
		}
		if _, ok := boltfile.Unseal(append(k, 0), sealed); ok {
			t.Errorf("%q: sound under another key", c)
		}
		for i := range min(len(sealed), 40) {
			bad := bytes.Clone(sealed)
			bad[i] ^= 0x10
			if _, ok := boltfile.Unseal(k, bad); ok {
				t.Errorf("%q: sound with byte %d changed", c, i)
			}
		}
	}
	for _, short := range [][]byte{nil, {}, {1, 2, 3}} {
		if _, ok := boltfile.Unseal([]byte("key"), short); ok {
			t.Errorf("%v is sound", short)
		}
	}
	if got := boltfile.Seal([]byte("a"), []byte("b")); string(got) != "\x36\x29\xa2\xe2b" { // the CRC32C of "ab"
		t.Errorf("sealed: %x", got)
	}
}

// TestPutAside puts files of one name aside at the same second.
func TestPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	now := time.Date(2025, 11, 24, 16, 0, 0, 0, time.FixedZone("", 3600))
	for i, want := range []string{".corrupt-20251124T150000Z", ".corrupt-20251124T150000Z-2", ".corrupt-20251124T150000Z-3"} {
		if err := os.WriteFile(path, []byte{byte(i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		aside, err := boltfile.PutAside(path, now)
		if err != nil || aside != path+want {
			t.Errorf("put aside as %s, %v, want %s", aside, err, want)
		}
		if got, err := os.ReadFile(aside); err != nil || !bytes.Equal(got, []byte{byte(i)}) {
			t.Errorf("%s has %v, %v", aside, got, err)
		}
	}
	if _, err := boltfile.PutAside(path, now); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
}

// TestFlippedPages flips bits in heads of pages and elements. What passes the check
// can be walked over by bbolt without a panic.
func TestFlippedPages(t *testing.T) {
	for name, o := range map[string]boltfile.Options{"default": {}, "sealed": {PageSize: 1024}} {
		t.Run(name, func(t *testing.T) {
			path := create(t, o)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			page := max(o.PageSize, 1024)
			rng := rand.New(rand.NewPCG(41, 42))
			passed, refused := 0, 0
			for range 300 {
				bad := bytes.Clone(good)
				at := rng.IntN(len(bad))/page*page + rng.IntN(64)
				bad[at%len(bad)] ^= 1 << rng.IntN(8)
				if err := boltfile.CheckStructure(bytes.NewReader(bad), int64(len(bad))); err != nil {
					if !errors.Is(err, boltfile.ErrStructure) && !errors.Is(err, boltfile.ErrNewerFormat) {
						t.Fatal(err)
					}
					refused++
					continue
				}
				passed++
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				db, err := boltfile.Open(path, boltfile.Options{})
				if err != nil {
					t.Fatalf("it passed the check: %v", err)
				}
				// Values may differ: they have checksums of their own.
				err = db.View(func(tx *bolt.Tx) error {
					return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return b.ForEach(func(_, _ []byte) error { return nil }) })
				})
				if err := errors.Join(err, db.Close()); err != nil {
					t.Errorf("byte %d: %v", at, err)
				}
			}
			if passed == 0 || refused == 0 {
				t.Errorf("%d passed, %d were refused", passed, refused)
			}
		})
	}
}

// FuzzStructure gives the check of the structure hostile pages: it must end,
// without a panic.
func FuzzStructure(f *testing.F) {
	good, err := os.ReadFile(create(f, boltfile.Options{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(2), uint16(8), []byte{1})
	f.Add(uint16(3), uint16(16), []byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, page, at uint16, patch []byte) {
		bad := bytes.Clone(good)
		from := int(page%64)*boltfile.PageSize + int(at)%boltfile.PageSize
		if from < len(bad) {
			copy(bad[from:], patch)
		}
		_ = boltfile.CheckStructure(bytes.NewReader(bad), int64(len(good)))
	})
}
