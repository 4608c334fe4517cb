package storage

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

// agedBegin is when the readings of an aged store begin, on the hour.
const agedBegin = device.Time(490_000 * 3600e6)

// agedConfig has a file for every hour, and readings in the log only as long as
// they are in no block.
func agedConfig(dir string) Config {
	return Config{Dir: dir, Period: time.Hour, RetainAge: 90 * time.Minute, LogAge: -1}
}

// agedReading is the nth reading, of one of three series; there are three every
// ten seconds.
func agedReading(n int) device.Reading {
	at := agedBegin.Add(time.Duration(n/3) * 10 * time.Second)
	r := device.Reading{Device: []device.ID{"a", "a", "b"}[n%3], Metric: []device.Metric{"n", "on", "n"}[n%3], Time: at, Received: at}
	if n%3 == 1 {
		r.Value = device.Bool(n%2 == 0)
	} else {
		r.Value = device.Int(int64(n))
	}
	return r
}

const (
	agedHours   = 6
	agedPerHour = 3 * 360
	agedFresh   = 60 // readings that are in no block
)

// aged makes a store with four sealed hours, one of them with late readings in a
// cold file beside it, and two that are open; what it holds is returned.
func aged(t testing.TB, dir string) (all []device.Stored) {
	t.Helper()
	l, err := Open(agedConfig(dir))
	if err != nil {
		t.Fatal(err)
	}
	push := func(rs []device.Reading) {
		if _, err := l.Append(rs); err != nil {
			t.Fatal(err)
		}
		if err := l.commit(commitDue); err != nil {
			t.Fatal(err)
		}
	}
	keep := func() {
		if err := l.flush(t.Context(), allDevices); err != nil {
			t.Fatal(err)
		}
		if err := l.sealDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for range agedHours {
		var rs []device.Reading
		for range agedPerHour {
			rs = append(rs, agedReading(n))
			n++
		}
		push(rs)
		keep()
	}
	var late []device.Reading
	for i := range 30 {
		r := agedReading(agedPerHour + i)
		r.Time++
		late = append(late, r)
	}
	push(late)
	keep()
	var fresh []device.Reading
	for range agedFresh {
		fresh = append(fresh, agedReading(n))
		n++
	}
	push(fresh)
	all = readAll(t, l, device.Query{})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(all) != agedHours*agedPerHour+30+agedFresh || l.logFloor == 0 {
		t.Fatalf("%d readings, the log begins behind %d", len(all), l.logFloor)
	}
	return all
}

// filesOf returns the names of the history's files in a folder.
func filesOf(t testing.TB, dir, pattern string) (names []string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		names = append(names, filepath.Base(path))
	}
	return names
}

// boundsOf returns the stretch of time of a file of an hour.
func boundsOf(t testing.TB, path string) (start, end device.Time) {
	t.Helper()
	kind, _ := kindOf(filepath.Base(path))
	f, err := stretch.Open(path, kind.Sealed(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return device.Time(f.Start), device.Time(f.End)
}

// otherBolt returns a bbolt file that is none of the store's.
func otherBolt(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("other"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestDamagedHistory lists what may happen to a file of the history: it is put
// aside, or parts of it are left out, and told; everything else is read as before,
// and the store goes on.
func TestDamagedHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := aged(t, dir)
	foreign := t.TempDir()
	aged(t, foreign)
	other := otherBolt(t)
	for what, damage := range map[string]func(name string, good []byte) []byte{
		"text":             func(string, []byte) []byte { return []byte("not a database\n") },
		"empty":            func(string, []byte) []byte { return nil },
		"truncated":        func(_ string, good []byte) []byte { return good[:5000] },
		"truncated metas":  func(_ string, good []byte) []byte { return good[:100] },
		"zeroed":           func(name string, good []byte) []byte { b := bytes.Clone(good); clear(b[2*pageOf(name):]); return b },
		"zeroed metas":     func(name string, good []byte) []byte { b := bytes.Clone(good); clear(b[:2*pageOf(name)]); return b },
		"another database": func(string, []byte) []byte { return other },
		"another store's": func(name string, _ []byte) []byte {
			prefix := strings.TrimSuffix(name[:strings.LastIndex(name, "-")], ".db")
			content, err := os.ReadFile(filepath.Join(foreign, filesOf(t, foreign, prefix+"-*.db")[0]))
			if err != nil {
				t.Fatal(err)
			}
			return content
		},
		"flipped bits": func(_ string, good []byte) []byte {
			b, rng := bytes.Clone(good), rand.New(rand.NewPCG(31, 32))
			for range 100 { // in the part that holds something
				b[rng.IntN(min(len(b), 24<<10))] ^= 1 << rng.IntN(8)
			}
			return b
		},
	} {
		for _, kind := range []string{"cold", "raw", "1m", "1h"} {
			for i, name := range filesOf(t, dir, kind+"-*.db") {
				if i == 2 {
					break
				}
				t.Run(fmt.Sprint(what, " ", kind, i), func(t *testing.T) {
					t.Parallel()
					copied := t.TempDir()
					copyFolder(t, dir, copied)
					start, end := boundsOf(t, filepath.Join(copied, name))
					if kind == "1m" || kind == "1h" {
						start, end = 0, 0
					}
					good, err := os.ReadFile(filepath.Join(copied, name))
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(copied, name), damage(name, good), 0o600); err != nil {
						t.Fatal(err)
					}
					checkDamaged(t, copied, name, what, all, func(r *device.Stored) bool { return r.Time >= start && r.Time < end })
				})
			}
		}
	}
}

// pageOf returns the page size of a file of the history.
func pageOf(name string) int {
	if kind, _ := kindOf(name); kind.Sealed() {
		return 1024
	}
	return boltfile.PageSize
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		copyFile(t, filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
	}
}

// checkDamaged opens a store with one bad file and checks that no more is lost than
// mayLack says.
func checkDamaged(t *testing.T, dir, name, what string, all []device.Stored, mayLack func(*device.Stored) bool) {
	t.Helper()
	var said bytes.Buffer
	cfg := agedConfig(dir)
	cfg.Logger = slog.New(slog.NewTextHandler(&said, nil))
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	check := func(more []device.Stored) {
		t.Helper()
		got := readAll(t, l, device.Query{})
		i := 0
		for _, r := range append(slices.Clone(all), more...) { // both in the order of offsets
			switch {
			case i < len(got) && plain(got[i]) == plain(r):
				i++
			case !mayLack(&r):
				t.Fatalf("%+v is lost", r)
			}
		}
		if i < len(got) {
			t.Fatalf("%+v was never appended", got[i])
		}
		if n, err := l.Count(t.Context(), device.Query{Selector: everything(t)}); err != nil || n != int64(len(got)) {
			t.Errorf("Count %d, %v, want %d", n, err, len(got))
		}
		// What is there in full is summed up in full.
		for _, points := range []int{7, 400} {
			checkSums(t, l, points, slices.DeleteFunc(slices.Clone(got), func(r device.Stored) bool { return mayLack(&r) }), mayLack)
		}
	}
	check(nil)
	s := l.Stats()
	if s.FilesPutAside+s.DamagedParts == 0 || !strings.Contains(said.String(), name) {
		t.Errorf("%d files put aside, %d parts damaged, said: %s", s.FilesPutAside, s.DamagedParts, &said)
	}
	if aside := filesOf(t, dir, "*.corrupt-*"); int64(len(aside)) != s.FilesPutAside || what != "flipped bits" && what != "zeroed" && len(aside) != 1 {
		t.Errorf("put aside: %v, want %d", aside, s.FilesPutAside)
	}
	more := appendAged(t, l, 3*agedPerHour)
	check(more)
	if err := l.flush(t.Context(), allDevices); err != nil {
		t.Fatal(err)
	}
	check(more)
	if err := l.sealDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(more)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if l, err = Open(cfg); err != nil {
			t.Fatal(err)
		}
		check(more)
		if err := l.sealAll(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check(more)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// plain is the reading without what blocks do not have.
func plain(r device.Stored) device.Stored {
	r.Received = 0
	return r
}

// appendAged appends the readings that come after those of an aged store, and some
// late ones for every hour.
func appendAged(t *testing.T, l *Log, n int) (more []device.Stored) {
	t.Helper()
	var rs []device.Reading
	for i := range n {
		rs = append(rs, agedReading(agedHours*agedPerHour+agedFresh+i))
	}
	for hour := range agedHours {
		r := agedReading(hour * agedPerHour)
		r.Time += 2
		rs = append(rs, r)
	}
	last, err := l.Append(rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rs {
		more = append(more, device.Stored{Offset: last - uint64(len(rs)-1-i), Reading: r})
	}
	if err := l.commit(commitDue); err != nil {
		t.Fatal(err)
	}
	return more
}

// checkSums compares History with sums over what Read gives, but for buckets that
// have to do with what may lack.
func checkSums(t *testing.T, l *Log, points int, got []device.Stored, mayLack func(*device.Stored) bool) {
	q := device.HistoryQuery{Points: points}
	err := l.History(t.Context(), q, func(h *device.History) error {
		step := h.Step.Microseconds()
		maimed := func(b bucket) bool {
			first, last := device.Stored{}, device.Stored{}
			first.Time, last.Time = b.start, b.start+device.Time(step)-1
			return mayLack(&first) || mayLack(&last)
		}
		want := slices.DeleteFunc(naive(got, h.Series, q, step), maimed)
		have := slices.DeleteFunc(bucketsOf(h), maimed)
		if !slices.EqualFunc(want, have, near) {
			t.Fatalf("%v, step %v:\n%s", h.Series, h.Step, diffBuckets(want, have))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLostHot lets hot.db get lost while the files of the history stay: a new store
// takes them over, with names, counts, last readings, and offsets above theirs.
func TestLostHot(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"deleted": os.Remove,
		"damaged": func(path string) error { return os.WriteFile(path, []byte("not a database\n"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			all := aged(t, dir)
			if err := lose(hotPath(dir)); err != nil {
				t.Fatal(err)
			}
			all = all[:len(all)-agedFresh] // these were in the log only
			l, err := Open(agedConfig(dir))
			if err != nil {
				t.Fatal(err)
			}
			check := func(more int) {
				t.Helper()
				got := readAll(t, l, device.Query{})
				if diff := diffStored(all, got[:len(got)-more]); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
				last := map[device.Series]device.Stored{}
				count := map[device.Series]int64{}
				for _, r := range got {
					s := device.Series{Device: r.Device, Metric: r.Metric}
					last[s] = r
					count[s]++
				}
				infos := l.Series(device.Selector{})
				if len(infos) != len(last) {
					t.Errorf("%d series, want %d", len(infos), len(last))
				}
				for _, info := range infos {
					if plain(info.Last) != plain(last[info.Series]) || info.Count != count[info.Series] {
						t.Errorf("%+v, want %+v and %d", info, last[info.Series], count[info.Series])
					}
				}
				newest, _, err := l.Latest(t.Context(), device.Selector{}, 1)
				if err != nil || len(newest) != len(last) {
					t.Errorf("%d newest readings, %v", len(newest), err)
				}
			}
			check(0)
			if floor, head := l.Bounds(); floor != 0 || head < all[len(all)-1].Offset {
				t.Errorf("bounds %d, %d, the largest offset is %d", floor, head, all[len(all)-1].Offset)
			}
			more := appendAged(t, l, 100)
			check(len(more))
			// Flushed into files that say of what the old store had done.
			if err := l.flush(t.Context(), allDevices); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = Open(agedConfig(dir)); err != nil {
				t.Fatal(err)
			}
			check(len(more))
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestMixedStores puts the files of one store beside those of another.
func TestMixedStores(t *testing.T) {
	dir, foreign := t.TempDir(), t.TempDir()
	all := aged(t, dir)
	aged(t, foreign)
	strangers := 0
	for _, name := range append(filesOf(t, foreign, "*-*.db"), "hot.db") {
		if name != "hot.db" {
			copyFile(t, filepath.Join(foreign, name), filepath.Join(dir, name))
			strangers++
		}
	}
	l := openLog(t, agedConfig(dir))
	if diff := diffStored(all, readAll(t, l, device.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(filesOf(t, dir, "*.corrupt-*")); n != strangers || l.Stats().FilesPutAside != int64(strangers) {
		t.Errorf("%d of %d files of another store put aside", n, strangers)
	}
}

// TestForeignNamesOfLostHot lets hot.db get lost where files of two stores lie: no
// reading comes under a wrong name.
func TestForeignNamesOfLostHot(t *testing.T) {
	dir, foreign := t.TempDir(), t.TempDir()
	all := aged(t, dir)
	l, err := Open(agedConfig(foreign))
	if err != nil {
		t.Fatal(err)
	}
	// The same numbers for other names.
	var rs []device.Reading
	for i := range 3000 {
		r := agedReading(i)
		r.Device, r.Time = "stranger-"+r.Device, r.Time.Add(1000*time.Hour)
		rs = append(rs, r)
	}
	if _, err := l.Append(rs); err != nil {
		t.Fatal(err)
	}
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range filesOf(t, foreign, "raw-*.db") {
		copyFile(t, filepath.Join(foreign, name), filepath.Join(dir, name))
	}
	if err := os.Remove(hotPath(dir)); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, agedConfig(dir))
	if diff := diffStored(all[:len(all)-agedFresh], readAll(t, l, device.Query{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := len(filesOf(t, dir, "*.corrupt-*")); n != len(filesOf(t, foreign, "raw-*.db")) {
		t.Errorf("%d files put aside", n)
	}
}

// TestLeftovers lists what a crash may leave in the folder.
func TestLeftovers(t *testing.T) {
	sealed := func(t *testing.T, dir string) []string {
		l, err := Open(agedConfig(dir))
		if err != nil {
			t.Fatal(err)
		}
		p, err := l.pictureOfAll() // a reader holds the files
		if err != nil {
			t.Fatal(err)
		}
		if err := l.sealAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, v := range l.shelf.volumes() {
			names[v.name] = true
		}
		crashed := t.TempDir()
		copyFolder(t, dir, crashed)
		p.close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if now, then := filesOf(t, dir, "*-*.db"), filesOf(t, crashed, "*-*.db"); len(now) != len(names) || len(then) <= len(now) {
			t.Fatalf("%d files, %d while a reader held them", len(now), len(then))
		}
		copyFolder(t, crashed, dir)
		return slices.Sorted(maps.Keys(names))
	}
	for name, leave := range map[string]func(t *testing.T, dir string) (want []string){
		"unfinished files": func(t *testing.T, dir string) []string {
			want := filesOf(t, dir, "*-*.db")
			for _, of := range []string{"cold-20251124T16-abcdef.db", "raw-20251124T16-abcdef.db", "1m-20251124T00-abcdef.db", "hot.db"} {
				if err := os.WriteFile(filepath.Join(dir, of+unfinished), []byte("half of a file"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return want
		},
		"replaced files": sealed,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			all := aged(t, dir)
			want := leave(t, dir)
			l := openLog(t, agedConfig(dir))
			if diff := diffStored(all, readAll(t, l, device.Query{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(want, filesOf(t, dir, "*-*.db*")); diff != "" || l.Stats().FilesPutAside != 0 {
				t.Errorf("%d files put aside, files (-want +got):\n%s", l.Stats().FilesPutAside, diff)
			}
			if left := filesOf(t, dir, "*"+unfinished); len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// TestDamagedParts damages single entries of an open file: no more than what they
// hold is lost, flushing and sealing go on, and the file is kept when it is sealed.
func TestDamagedParts(t *testing.T) {
	dir := t.TempDir()
	all := aged(t, dir)
	flipIn := func(bucket string, device byte, at func(n int) int) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			k, v := b.Cursor().Seek([]byte{0, 0, 0, device})
			return b.Put(bytes.Clone(k), flip(v, at(len(v))))
		}
	}
	last := func(n int) int { return n - 1 }
	front := func(int) int { return 5 }
	of := func(d device.ID) func(*device.Stored) bool {
		return func(r *device.Stored) bool { return r.Device == d }
	}
	for name, c := range map[string]struct {
		edit func(*bolt.Tx) error
		lost func(*device.Stored) bool // of the file's hour
	}{
		"block":           {flipIn("raw", 1, last), of("a")},
		"directory":       {flipIn("raw", 1, front), of("a")},
		"device":          {flipIn("devices", 1, front), of("nobody")},
		"another device":  {flipIn("devices", 3, last), of("nobody")},
		"key of a run":    {func(tx *bolt.Tx) error { return tx.Bucket([]byte("raw")).Put([]byte("x"), []byte("y")) }, of("nobody")},
		"key of a device": {func(tx *bolt.Tx) error { return tx.Bucket([]byte("devices")).Put([]byte("x"), []byte("y")) }, of("nobody")},
	} {
		t.Run(name, func(t *testing.T) {
			copied := t.TempDir()
			copyFolder(t, dir, copied)
			file := filesOf(t, copied, "cold-*.db")
			path := filepath.Join(copied, file[len(file)-2]) // the last full hour
			start, end := boundsOf(t, path)
			db, err := bolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Update(c.edit); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			l := openLog(t, agedConfig(copied))
			check := func(more []device.Stored) {
				t.Helper()
				want := slices.DeleteFunc(append(slices.Clone(all), more...), func(r device.Stored) bool {
					return r.Time >= start && r.Time < end && r.Offset <= all[len(all)-1].Offset && c.lost(&r)
				})
				if diff := diffStored(want, readAll(t, l, device.Query{})); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
				if n, err := l.Count(t.Context(), device.Query{}); err != nil || n != int64(len(want)) && name != "block" && name != "directory" {
					t.Errorf("Count %d, %v, want %d", n, err, len(want))
				}
			}
			check(nil)
			if n := l.Stats().DamagedParts; n != 1 {
				t.Errorf("%d damaged parts, want 1", n)
			}
			more := appendAged(t, l, 3*agedPerHour)
			if err := l.flush(t.Context(), allDevices); err != nil {
				t.Fatal(err)
			}
			check(more)
			if err := l.sealAll(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(more)
			if n, err := l.Count(t.Context(), device.Query{}); err != nil || n != int64(len(readAll(t, l, device.Query{}))) {
				t.Errorf("Count %d, %v", n, err)
			}
			if aside := filesOf(t, copied, "*.corrupt-*"); len(aside) != 1 || !strings.HasPrefix(aside[0], filepath.Base(path)) {
				t.Errorf("kept: %v", aside)
			}
		})
	}
}
