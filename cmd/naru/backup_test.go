package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest/rows"
	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage"
)

// namesIn returns the names of the files in the folder.
func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A backup of a gateway that runs, or of a folder, is restored to the same
// readings, and its store has an id of its own.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running %v", running), func(t *testing.T) {
			t.Parallel()
			want := difficult(t, rows.NDJSON)
			data, backups, target := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "a", "b"), filepath.Join(t.TempDir(), "c", "d")
			must(t, "import", "--data", data, write(t, "x.ndjson", want))
			if running {
				startGateway(t, data)
			}
			stdout, _ := must(t, "backup", "--data", data, backups)
			if !strings.HasPrefix(stdout, "backed up ") || !strings.Contains(stdout, "; 0 more were there already\n") {
				t.Errorf("summary %q", stdout)
			}
			must(t, "backup", "--data", data, "--quiet", backups) // once more, over the first
			if got := namesIn(t, data); slices.ContainsFunc(got, func(n string) bool { return strings.Contains(n, "snapshot") }) {
				t.Errorf("%q are in the data folder", got)
			}
			names := namesIn(t, backups)
			if !slices.Contains(names, storeFile) || slices.Contains(names, tokenFile) || slices.Contains(names, addressFile) {
				t.Errorf("the backup holds %q", names)
			}
			wantModes(t, backups)

			stdout, stderr := must(t, "restore", backups, "--data", target)
			n := strings.Count(want, "\n")
			if !strings.Contains(stdout, fmt.Sprintf("restored %d readings", n)) {
				t.Errorf("summary %q %q", stdout, stderr)
			}
			wantModes(t, target)
			if got, _ := must(t, "export", "--data", target, "--format", "ndjson"); got != want {
				t.Errorf("restored\n%s\nwant\n%s", got, want)
			}
			if was, is := storeID(t, backups), storeID(t, target); was == is {
				t.Errorf("the restored store is still %s", is)
			}
			code, _, stderr := command(t, nil, "restore", backups, "--data", target)
			if code != 1 || !strings.Contains(stderr, target+" is not empty") {
				t.Errorf("restored over a store: exit code %d: %s", code, stderr)
			}
		})
	}
}

func storeID(t *testing.T, dir string) string {
	t.Helper()
	l, err := storage.Open(storage.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	id := l.StoreID()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return id
}

func wantModes(t *testing.T, dir string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// files is a snapshot of files in memory.
type files struct {
	all    []api.File
	bytes  map[string]string
	copied []string
	fail   string // the file that cannot be copied
}

func (f *files) Files() []api.File { return f.all }
func (f *files) Close() error      { return nil }

func (f *files) Copy(_ context.Context, name string, w io.Writer) error {
	f.copied = append(f.copied, name)
	if name == f.fail {
		_, _ = io.WriteString(w, "half")
		return errors.New("the line is dead")
	}
	_, err := io.WriteString(w, f.bytes[name])
	return err
}

// snapshotFiles returns a snapshot of files; the content of a file is its name
// and version. Sealed ones have a sum when sums says so.
func snapshotFiles(hot string, sealed ...string) *files {
	f := &files{bytes: map[string]string{"hot.db": hot}}
	f.all = append(f.all, api.File{Name: "hot.db", Bytes: int64(len(hot))})
	for _, s := range sealed {
		name, _, _ := strings.Cut(s, " ")
		f.bytes[name] = s
		f.all = append(f.all, api.File{Name: name, Bytes: int64(len(s)), Sealed: true})
	}
	return f
}

// Each step is a backup into the same folder.
func TestBackupSteps(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "backup")
	take := func(f *files) error {
		b, err := openBackup(dir, "k3v9")
		if err != nil {
			return err
		}
		return b.take(t.Context(), f, b.missing(f.all), newProgress(io.Discard, true, "", 0, bytesText))
	}
	broken := snapshotFiles("hot 3", "a.db 1", "c.db 1")
	broken.fail = "c.db"
	short := snapshotFiles("hot 3", "a.db 1", "c.db 1")
	short.all[0].Bytes++
	wrong := snapshotFiles("hot 3", "a.db 1", "c.db 1")
	wrong.all[2].Sum = strings.Repeat("0", 64)
	changed := snapshotFiles("hot 5", "a.db 1", "d.db 1")
	changed.all[1].Sum = strings.Repeat("0", 64)
	for _, c := range []struct {
		name   string
		files  *files
		copied []string
		err    string
		holds  map[string]string
	}{
		{"the first breaks off", func() *files { f := snapshotFiles("hot 0", "a.db 1"); f.fail = "a.db"; return f }(), []string{"hot.db", "a.db"}, "a.db: the line is dead", map[string]string{}},
		{"the first", snapshotFiles("hot 1", "a.db 1", "b.db 1"), []string{"hot.db", "a.db", "b.db"}, "", map[string]string{"hot.db": "hot 1", "a.db": "a.db 1", "b.db": "b.db 1"}},
		{"nothing new but the hot file", snapshotFiles("hot 2", "a.db 1", "b.db 1"), []string{"hot.db"}, "", map[string]string{"hot.db": "hot 2", "a.db": "a.db 1", "b.db": "b.db 1"}},
		{"breaks off", broken, []string{"hot.db", "c.db"}, "c.db: the line is dead", map[string]string{"hot.db": "hot 2", "a.db": "a.db 1", "b.db": "b.db 1"}},
		{"too short", short, []string{"hot.db"}, "hot.db: 5 bytes arrived, want 6", map[string]string{"hot.db": "hot 2", "a.db": "a.db 1", "b.db": "b.db 1"}},
		{"other bytes", wrong, []string{"hot.db", "c.db"}, "c.db: what arrived is not what was sent", map[string]string{"hot.db": "hot 2", "a.db": "a.db 1", "b.db": "b.db 1"}},
		{"one more and one less", snapshotFiles("hot 4", "a.db 1", "c.db 1"), []string{"hot.db", "c.db"}, "", map[string]string{"hot.db": "hot 4", "a.db": "a.db 1", "c.db": "c.db 1"}},
		{"another length", snapshotFiles("hot 4", "a.db 22", "c.db 1"), []string{"hot.db", "a.db"}, "", map[string]string{"hot.db": "hot 4", "a.db": "a.db 22", "c.db": "c.db 1"}},
		{"another sum", changed, []string{"hot.db", "a.db", "d.db"}, "a.db: what arrived is not what was sent", map[string]string{"hot.db": "hot 4", "a.db": "a.db 22", "c.db": "c.db 1"}},
	} {
		err := take(c.files)
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
		if want := c.copied[:len(c.files.copied)]; !slices.Equal(c.files.copied, want) || c.err == "" && len(want) != len(c.copied) {
			t.Errorf("%s: copied %q, want %q", c.name, c.files.copied, c.copied)
		}
		holds := map[string]string{}
		for _, name := range namesIn(t, dir) {
			if name == manifestFile {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			holds[name] = string(b)
		}
		if diff := cmp.Diff(c.holds, holds); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// What a backup that was killed has left goes with the next.
func TestBackupAfterKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := &backupFolder{dir: dir, manifest: manifest{Store: "k3v9", Arriving: []string{"b.db", "hot.db"}}}
	if err := b.save(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"b.db": "b.db 1", "hot.db.arriving": "ho"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := command(t, nil, "restore", dir, "--data", filepath.Join(t.TempDir(), "x")); code != 1 || !strings.Contains(stderr, "was never finished") {
		t.Errorf("restored: exit code %d: %s", code, stderr)
	}
	b, err := openBackup(dir, "k3v9")
	if err != nil {
		t.Fatal(err)
	}
	f := snapshotFiles("hot 1", "a.db 1")
	if err := b.take(t.Context(), f, b.missing(f.all), newProgress(io.Discard, true, "", 0, bytesText)); err != nil {
		t.Fatal(err)
	}
	if got, want := namesIn(t, dir), []string{"a.db", manifestFile, "hot.db"}; !slices.Equal(got, want) {
		t.Errorf("%q are there, want %q", got, want)
	}
}

func TestBackupRefuses(t *testing.T) {
	t.Parallel()
	data, full := filepath.Join(t.TempDir(), "data"), t.TempDir()
	must(t, "import", "--data", data, write(t, "x.csv", "device,metric,unix_s,value\nd,m,1,1\n"))
	other := filepath.Join(t.TempDir(), "other")
	must(t, "import", "--data", other, write(t, "x.csv", "device,metric,unix_s,value\nd,m,1,1\n"))
	ofOther, served, nonsense, hostile := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	must(t, "backup", "--data", other, ofOther)
	must(t, "backup", "--data", data, served)
	for path, text := range map[string]string{
		filepath.Join(full, "letter"):           "x",
		filepath.Join(served, addressFile):      "{}",
		filepath.Join(nonsense, manifestFile):   "{",
		filepath.Join(hostile, manifestFile):    `{"store":"x","taken":"2026-01-01T00:00:00Z","files":[{"name":"../../etc/passwd","bytes":1}]}`,
		filepath.Join(nonsense, "hot.db"):       "x",
		filepath.Join(t.TempDir(), "something"): "x",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	target := filepath.Join(t.TempDir(), "target")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"backup", "--data", data, full}, 1, "is not empty, and no backup"},
		{[]string{"backup", "--data", data, data}, 1, "is not empty, and no backup"},
		{[]string{"backup", "--data", data, ofOther}, 1, "holds a backup of another store"},
		{[]string{"backup", "--data", data, served}, 1, "has become the data folder of a gateway"},
		{[]string{"backup", "--data", data, nonsense}, 1, manifestFile},
		{[]string{"backup", "--data", data}, 2, "want one folder"},
		{[]string{"backup", "--data", full, target}, 1, "there are no readings in"},
		{[]string{"restore", full, "--data", target}, 1, "is no backup: there is no backup.json in it"},
		{[]string{"restore", hostile, "--data", target}, 1, `names a file "../../etc/passwd"`},
		{[]string{"restore", ofOther, "--data", full}, 1, "is not empty"},
		{[]string{"restore"}, 2, "want one folder"},
		{[]string{"check", "--data", full}, 1, "there are no readings in"},
		{[]string{"check", "x"}, 2, "x"},
		{[]string{"stats", "--data", full}, 1, "there are no readings in"},
	} {
		code, stdout, stderr := command(t, nil, c.args...)
		if code != c.code || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	if _, err := os.Stat(target); err == nil {
		t.Errorf("%s was made", target)
	}
}

// A gateway cannot make a backup write elsewhere.
func TestBackupFromHostile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../x", "token", "backup.json", "gateway.json", "a/b", ".hidden", "", "x.arriving", "a\\b"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(map[string]any{"id": "i", "store": "s", "files": []api.File{{Name: name, Bytes: 1}}})
		}))
		dir := filepath.Join(t.TempDir(), "backup")
		code, _, stderr := command(t, nil, "backup", "--url", s.URL, dir)
		s.Close()
		if code != 1 || !strings.Contains(stderr, fmt.Sprintf("the gateway names a file %q", name)) {
			t.Errorf("%q: exit code %d: %s", name, code, stderr)
		}
	}
}

// A damaged backup is restored as far as it goes, and said to be.
func TestRestoreDamaged(t *testing.T) {
	t.Parallel()
	data, backups, target := filepath.Join(t.TempDir(), "data"), t.TempDir(), filepath.Join(t.TempDir(), "target")
	must(t, "import", "--data", data, write(t, "x.csv", "device,metric,unix_s,value\n"+strings.Repeat("d,m,1,\"0123456789012345678901234567890123456789\"\n", 100)))
	must(t, "backup", "--data", data, backups)
	path := filepath.Join(backups, storeFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A page of the file that has become free may hold the text once more.
	if !bytes.Contains(text, []byte("0123456789")) {
		t.Fatal("the text is not in the file")
	}
	text = bytes.ReplaceAll(text, []byte("0123456789"), []byte("p123456789"))
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, nil, "restore", backups, "--data", target)
	if code != 1 || !strings.Contains(stderr, "hot.db: it is not what the backup took") || !strings.Contains(stdout, "restored 0 readings") || !strings.Contains(stdout, "hot.db: batch 1: ") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, nil, "check", "--data", target)
	if code != 1 || !strings.Contains(stdout, "hot.db: batch 1: ") || !strings.Contains(stderr, "1 problems were found") {
		t.Errorf("check: exit code %d: %s%s", code, stdout, stderr)
	}
	if stdout, _ := must(t, "check", "--data", data); !strings.HasPrefix(stdout, "checked 1 files, 1 blocks, 100 readings: 0 problems") {
		t.Errorf("check of the sound one: %s", stdout)
	}
}

func TestCheckInUse(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	startGateway(t, data)
	code, stdout, stderr := command(t, nil, "check", "--data", data)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "in use by another process") || !strings.Contains(stderr, "stop the gateway first") {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

// --repair puts aside what is in the way, and the gateway goes on with the rest.
func TestCheckRepair(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, storeFile), make([]byte, 64<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := command(t, nil, "check", "--data", data)
	if code != 1 || !strings.Contains(stdout, "how many readings are lost is not known") || len(namesIn(t, data)) != 1 {
		t.Errorf("exit code %d: %s, %q", code, stdout, namesIn(t, data))
	}
	code, stdout, _ = command(t, nil, "check", "--repair", "--data", data)
	if names := namesIn(t, data); code != 1 || !strings.Contains(stdout, "put aside as ") || len(names) != 1 || names[0] == storeFile {
		t.Errorf("exit code %d: %s, %q", code, stdout, names)
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	must(t, "import", "--data", data, write(t, "x.csv", "time,device,few,many\n"+
		strings.Repeat("1764000000,a,,1\n", 300)+"1764000000,bcd,1,\n"))
	g := startGateway(t, data)
	for _, place := range [][]string{{"--url", g.url("/")}, {"--data", data}} {
		stdout, _ := must(t, append([]string{"stats"}, place...)...)
		lines := strings.Split(stdout, "\n")
		if len(lines) < 6 || !strings.HasSuffix(lines[1], "  a       many") || !strings.HasSuffix(lines[2], "  bcd     few") ||
			!strings.HasPrefix(lines[4], "2 series, 301 readings, ") || !strings.HasSuffix(lines[5], " written to the disk today") {
			t.Errorf("%q:\n%s", place, stdout)
		}
		var u api.Usage
		stdout, _ = must(t, append([]string{"stats", "--json"}, place...)...)
		if err := json.Unmarshal([]byte(stdout), &u); err != nil || u.Readings != 301 || len(u.Series) != 2 || u.Series[0].Readings != 300 || u.Bytes <= 0 || len(u.Files) == 0 {
			t.Errorf("%q: %v: %s", place, err, stdout)
		}
	}
}
