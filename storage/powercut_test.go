package storage

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var powerCuts = flag.Int("power-cuts", 200, "how often TestPowerCut cuts the power")

// A store is recorded powercutRecordings times; each but the first goes on from
// what one of the cuts of the one before has left. With powercutEach cuts there is
// a next store.
const (
	powercutRecordings = 3
	powercutEach       = 600
)

// TestPowerCut records what a store writes, syncs, renames and removes, and then
// lets the power fail anywhere in between: what was synced is kept, of the rest
// everything may be kept, lost or torn. Each time the store must open as if
// nothing had happened, with all that was acknowledged.
func TestPowerCut(t *testing.T) {
	if job := os.Getenv(powercutEnv); job != "" {
		powercutMain(t, job)
		return
	}
	if testing.Short() {
		t.Skip("records a process for some seconds")
	}
	strace := findStrace(t)
	rng := rand.New(rand.NewPCG(15, 16))
	cuts := map[string]int{}
	var last survivor
	recordings := powercutRecordings * max(1, *powerCuts/powercutEach)
	for i := range recordings {
		start := last
		if i%powercutRecordings == 0 {
			start = survivor{}
		}
		s := recordStore(t, strace, rng.Uint64(), &start)
		n := (*powerCuts + recordings - 1) / recordings
		t.Logf("recording %d: %d operations, %d readings with offsets from %d to %d, files gone %d",
			i+1, len(s.ops), len(s.numbers)-len(s.start.numbers), s.given[0].offset, s.top(never), len(s.gones)-len(s.start.gone))
		last = cutStore(t, s, n, rng, cuts)
		if t.Failed() {
			return
		}
		if i == 0 {
			checkNotices(t, s, rng)
		}
	}
	t.Log(cutTable(cuts))
}

// powercutMain is the child of TestPowerCut.
func powercutMain(t *testing.T, job string) {
	var seed uint64
	var n int64
	var dir string
	if _, err := fmt.Sscanf(job, "%d %d %s", &seed, &n, &dir); err != nil {
		t.Fatal(err)
	}
	if err := powercutChild(dir, seed, n, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		t.FailNow()
	}
}

// findStrace skips the test where processes cannot be traced.
func findStrace(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	if out, err := exec.CommandContext(t.Context(), path, "-f", "-e", "trace=fsync", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	return path
}

// memoryDir returns a folder in memory where there is one: thousands of stores
// are opened, and opening one syncs.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "naru-test-") //nolint:usetesting // whose folder is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func recordStore(t *testing.T, strace string, seed uint64, start *survivor) *story {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, trace := memoryDir(t), filepath.Join(t.TempDir(), "trace")
	if err := saveFiles(dir, start.files); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-xx", "-s", fmt.Sprint(maxTraced), "-e", "signal=none",
		"-e", "trace="+tracedCalls, "-o", trace, self, "-test.run", "^TestPowerCut$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", powercutEnv, seed, start.next, dir))
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("the recorded process: %v\n%s", err, said.String())
	}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	_, names := newDisk(start.files)
	rec, err := readTrace(f, dir, names)
	if err != nil {
		t.Fatal(err)
	}
	s := &story{recording: rec, start: start, gones: slices.Clone(start.gone), numbers: maps.Clone(start.numbers)}
	if s.numbers == nil {
		s.numbers = map[uint64]int64{}
	}
	if err := s.listen(); err != nil {
		t.Fatal(err)
	}
	return s
}

// powerCut is one cut and what it left.
type powerCut struct {
	place
	fate  string
	files map[string]*content
}

// eachCut calls fn with n cuts, several at a time.
func (s *story) eachCut(n int, rng *rand.Rand, fn func(i int, c *powerCut)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	d, _ := newDisk(s.start.files)
	events := s.events()
	for i, p := range choose(s.places(), n, rng) {
		events = s.replayTo(d, events, p.at)
		c := &powerCut{place: p}
		c.files, c.fate = d.cut(rng)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			fn(i, c)
		})
	}
	wg.Wait()
}

// cutStore cuts the power n times, counts the cuts by place and checks what is
// left. It returns one of the stores.
func cutStore(t *testing.T, s *story, n int, rng *rand.Rand, cuts map[string]int) (left survivor) {
	t.Helper()
	root := memoryDir(t)
	goesOn := n/4 + rng.IntN(n/2+1)
	var mu sync.Mutex // guards cuts
	s.eachCut(n, rng, func(i int, c *powerCut) {
		found, err := s.check(t, filepath.Join(root, fmt.Sprint(i)), c)
		if err != nil {
			t.Errorf("cut at %d of %d, %s: %v\n%s", c.at, s.end, c.name, err, c.fate)
		}
		mu.Lock()
		defer mu.Unlock()
		cuts[c.name]++
		if i == goesOn {
			left = *found
		}
	})
	return left
}

// checkNotices makes sure that the checks find something: on a disk, and with
// a folder, that promises to be synced and is not.
func checkNotices(t *testing.T, s *story, rng *rand.Rand) {
	t.Helper()
	for kind, name := range map[diskOpKind]string{opSync: "files", opSyncDir: "folder"} {
		lying := *s
		lying.recording = &recording{marks: s.marks, end: s.end, ops: slices.Clone(s.ops)}
		lying.ops = slices.DeleteFunc(lying.ops, func(o *diskOp) bool { return o.kind == kind })
		root := memoryDir(t)
		var mu sync.Mutex
		wrong := 0
		const cuts = 20
		lying.eachCut(cuts, rng, func(i int, c *powerCut) {
			_, err := lying.check(t, filepath.Join(root, fmt.Sprint(i)), c)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				wrong++
			}
		})
		t.Logf("a disk that does not sync the %s: %d of %d cuts are noticed", name, wrong, cuts)
		if wrong == 0 {
			t.Errorf("a disk that does not sync the %s is not noticed", name)
		}
	}
}

func cutTable(cuts map[string]int) string {
	total := 0
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(cuts)) {
		total += cuts[name]
		fmt.Fprintf(&b, "%6d  %s\n", cuts[name], name)
	}
	return fmt.Sprintf("%d cuts, by step and files not synced (. is the folder):\n%s", total, b.String())
}
