package storage

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

var crashRounds = flag.Int("crash-rounds", 10, "how often TestKill kills a writer")

// crashDirEnv makes the test binary the child of TestKill.
const crashDirEnv = "NARU_STORAGE_CRASH_DIR"

// crashReading is the reading that the child appends as its nth in all. An hour has
// a few hundred, and every eleventh is some hours late.
func crashReading(n int64) device.Reading {
	r := device.Reading{
		Device:   device.ID(fmt.Sprintf("d%d", n%7)),
		Metric:   device.Metric(fmt.Sprintf("m%d", n%3)),
		Time:     device.TimeOf(time.Unix(1_764_000_000+10*n, 0)),
		Received: device.Time(n),
		Value:    device.Int(n),
	}
	if n%11 == 0 {
		r.Time = r.Time.Add(-time.Duration(n%5)*time.Hour - time.Millisecond)
	}
	return r
}

// crashConfig has a log that keeps little, and files for short stretches of time.
func crashConfig(dir string) Config {
	return Config{
		Dir: dir, RetainAge: -1, LogAge: -1, Period: time.Hour, FlushAge: time.Nanosecond,
		CommitInterval: 5 * time.Millisecond, AckDelay: time.Millisecond,
	}
}

// crashChild appends until it is killed, or returns why it cannot. Meanwhile it
// commits, flushes and seals all the time, as Run does at times. It tells the parent of
// every batch that has got its offsets, and of every one that is durable.
func crashChild(dir string, parent io.Writer) error {
	l, err := Open(crashConfig(dir))
	if err != nil {
		return err
	}
	ctx := context.Background() // all ends with the process
	failed := make(chan error, 2)
	always := func(what func() error) {
		for {
			if err := what(); err != nil {
				failed <- err
				return
			}
			wait(ctx, time.Millisecond)
		}
	}
	go always(func() error { return l.commit(commitDue) })
	go always(func() error { return l.tend(ctx) })
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	n, err := l.Count(ctx, device.Query{})
	if err != nil {
		return err
	}
	for {
		rs := make([]device.Reading, 1+rng.IntN(50))
		for i := range rs {
			rs[i] = crashReading(n + int64(i))
		}
		last, err := l.Append(rs)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(parent, "given %d %d %d\n", last-uint64(len(rs))+1, len(rs), n); err != nil {
			return err
		}
		n += int64(len(rs))
		select {
		case err := <-failed:
			return err
		default:
		}
		if rng.IntN(3) == 0 {
			continue
		}
		if err := l.WaitDurable(ctx, last); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(parent, "durable %d 0 0\n", last); err != nil {
			return err
		}
	}
}

// TestKill kills a process that appends, again and again, and checks each time
// that everything it called durable is there and no offset was used twice.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(9, 10))
	given := map[uint64]int64{}
	var top, durable uint64
	for round := range *crashRounds {
		killed := runAndKill(t, dir, time.Duration(1+rng.IntN(80))*time.Millisecond)
		for _, line := range killed {
			if line.what == "durable" {
				durable = max(durable, line.offset)
				continue
			}
			if line.offset <= top {
				t.Fatalf("round %d: offset %d given again, %d was reached", round, line.offset, top)
			}
			for i := range line.n {
				top = line.offset + i
				given[top] = line.value + int64(i)
			}
		}
		checkKilled(t, dir, given, durable)
	}
	if files, err := filepath.Glob(filepath.Join(dir, "raw-*.db")); err != nil || len(files) == 0 {
		t.Errorf("%d sealed files, %v: nothing was sealed", len(files), err)
	}
	t.Logf("%d readings given, durable up to %d, last given %d", len(given), durable, top)
}

// childLine is "given first n value" or "durable last".
type childLine struct {
	what      string
	offset, n uint64
	value     int64
}

func runAndKill(t *testing.T, dir string, after time.Duration) (lines []childLine) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	for sc := bufio.NewScanner(out); sc.Scan(); {
		var l childLine
		if _, err := fmt.Sscan(sc.Text(), &l.what, &l.offset, &l.n, &l.value); err != nil {
			break // cut off in the middle
		}
		lines = append(lines, l)
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	if kill == nil {
		t.Error("the child said nothing")
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	return lines
}

// checkKilled compares what is in the files with what the children said, and
// takes out of given what was rightly lost.
func checkKilled(t *testing.T, dir string, given map[uint64]int64, durable uint64) {
	t.Helper()
	cfg := crashConfig(t.TempDir()) // so that this opening does not change what the next child finds
	copyFolder(t, dir, cfg.Dir)
	l := openLog(t, cfg)
	read := readAll(t, l, device.Query{})
	found := map[uint64]bool{}
	for _, r := range read {
		n, known := given[r.Offset]
		if !known {
			n = r.Value.Int() // killed before it could say so
		}
		want := crashReading(n)
		want.Received = 0 // blocks do not have it
		if r.Reading != want {
			t.Fatalf("offset %d holds %+v, want %+v", r.Offset, r.Reading, want)
		}
		found[r.Offset] = true
	}
	for o := range given {
		if o <= durable && !found[o] {
			t.Fatalf("offset %d is lost, durable was %d", o, durable)
		}
		if !found[o] {
			delete(given, o) // it was never called durable
		}
	}
	if err := (&cutChecker{story: &story{}, rng: rand.New(rand.NewPCG(durable, 1)), left: &survivor{}}).checkTrends(t.Context(), l, read); err != nil {
		t.Error(err)
	}
	if s := l.Stats(); s.Damaged+s.DamagedParts+s.DamagedNames+s.FilesPutAside != 0 {
		t.Errorf("damage: %+v", s)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
