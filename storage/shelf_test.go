package storage

import (
	"path/filepath"
	"testing"

	"github.com/naru-telemetry/naru/device"
)

// appendBatches appends the first readings of agedReading in small batches, each
// with a commit of its own.
func appendBatches(t *testing.T, l *Log, n int) {
	t.Helper()
	for from := 0; from < n; from += 10 {
		var rs []device.Reading
		for i := range min(10, n-from) {
			rs = append(rs, agedReading(from+i))
		}
		appendCommitted(t, l, rs)
	}
}

func appendCommitted(t *testing.T, l *Log, rs []device.Reading) {
	t.Helper()
	if _, err := l.Append(rs); err != nil {
		t.Fatal(err)
	}
	if err := l.commit(commitAll); err != nil {
		t.Fatal(err)
	}
}

// checkThere checks that the store has n readings, and that nothing is wrong with it.
func checkThere(t *testing.T, l *Log, n int) {
	t.Helper()
	read := len(readAll(t, l, device.Query{}))
	if s := l.Stats(); read != n || s.Damaged+s.DamagedParts+s.FilesPutAside != 0 {
		t.Errorf("%d readings, want %d; %+v", read, n, s)
	}
}

// inHours is how many readings agedReading has in so many hours.
func inHours(n int) int { return n * 3 * 360 }

// TestFewOpenFiles reads more files than may be open at a time.
func TestFewOpenFiles(t *testing.T) {
	l := openLog(t, agedConfig(t.TempDir()))
	appendBatches(t, l, inHours(5))
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.files.most = 1
	l.files.closeAll()
	for range 2 {
		checkThere(t, l, inHours(5))
	}
}

// TestRefillFlushes opens a store whose log has more in no block than memory may
// have.
func TestRefillFlushes(t *testing.T) {
	cfg := agedConfig(t.TempDir())
	l := openLog(t, cfg)
	appendBatches(t, l, inHours(2))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.MaxUnflushed = 100
	checkThere(t, openLog(t, cfg), inHours(2))
}

// TestHeldFile crashes while a reader holds on to a file that retention took and
// there is another one for a part of its stretch of time.
func TestHeldFile(t *testing.T) {
	cfg := agedConfig(t.TempDir())
	cfg.RetainAge = -1
	l := openLog(t, cfg)
	appendBatches(t, l, inHours(2))
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.shelf.periods) != 1 {
		t.Fatalf("%d periods, want them joined", len(l.shelf.periods))
	}
	held, err := l.pictureOfAll()
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	l.drop(l.shelf.periods[0].sealed, "the test wants it")
	late := agedReading(0)
	late.Time++
	appendCommitted(t, l, []device.Reading{late})
	if err := l.flush(t.Context(), allDevices); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = t.TempDir()
	copyFolder(t, l.cfg.Dir, cfg.Dir)
	checkThere(t, openLog(t, cfg), 1)
}

// TestHalfFlush crashes in the midst of a flush, with one file written and the
// other not, and then joins the two.
func TestHalfFlush(t *testing.T) {
	cfg := agedConfig(t.TempDir())
	cfg.RetainAge = -1
	l := openLog(t, cfg)
	n := inHours(2) - 99
	appendBatches(t, l, n)
	flush := func() {
		if err := l.flush(t.Context(), allDevices); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	first := l.shelf.periods[0].cold.name
	crashed := t.TempDir()
	copyFile(t, l.filePath(first), filepath.Join(crashed, first))
	late := agedReading(0)
	late.Time++
	appendCommitted(t, l, []device.Reading{late, agedReading(n)})
	flush()
	for _, name := range []string{hotName, l.shelf.periods[1].cold.name} {
		copyFile(t, l.filePath(name), filepath.Join(crashed, name))
	}
	cfg.Dir = crashed
	for range 2 {
		l := openLog(t, cfg)
		checkThere(t, l, n+2)
		for _, p := range l.shelf.periods {
			if p.cold == nil {
				continue
			}
			if err := l.seal(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if len(l.shelf.periods) != 1 {
			t.Fatalf("%d periods, want them joined", len(l.shelf.periods))
		}
		checkThere(t, l, n+2)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
