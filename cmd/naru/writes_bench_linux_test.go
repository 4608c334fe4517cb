package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkSystemWrites sends 100 readings a second for 60 s, with a commit a
// second, and measures what reaches the device: the sectors written to an ext4
// file system of its own, its journal included. Without the right to mount, it
// measures what the process has written into the page cache.
func BenchmarkSystemWrites(b *testing.B) {
	const rate, seconds = 25, 60 // datagrams of four readings
	for b.Loop() {
		data, written := deviceWrites(b)
		p := startForBench(b, data)
		if written == nil {
			written = func() int { return processWrites(b, p) }
			b.Log("cannot mount a file system: these are the bytes that the process has written")
		}
		load := newFlood(b, p.UDP)
		report := func(dst []byte, i int) []byte { return appendFour(dst, i, rate) }
		load.send(rate, 5*rate, report) // the file takes its shape
		waitStored(b, p, 5*rate*4)
		before := written()
		load.send(rate, rate*seconds, report)
		waitStored(b, p, (5+seconds)*rate*4)
		b.ReportMetric(float64(written()-before)/(rate*seconds*4), "dev-B/reading")
		b.ReportMetric(p.metric(b, "naru_batch_bytes_total", "")/((5+seconds)*rate*4), "batch-B/reading")
		endBench(b, p)
	}
}

// deviceWrites mounts a small ext4 image and returns a folder on it and what
// tells the bytes written to it; without the right to, just a folder.
func deviceWrites(b *testing.B) (dir string, written func() int) {
	b.Helper()
	image, at := filepath.Join(b.TempDir(), "image"), b.TempDir()
	command := func(name string, args ...string) (string, bool) {
		out, err := exec.CommandContext(b.Context(), name, args...).CombinedOutput()
		return strings.TrimSpace(string(out)), err == nil
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(image, 512<<20); err != nil {
		b.Fatal(err)
	}
	if _, ok := command("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); !ok {
		return b.TempDir(), nil
	}
	loop, ok := command("losetup", "--show", "-f", image)
	if !ok {
		return b.TempDir(), nil
	}
	b.Cleanup(func() { _ = exec.Command("losetup", "-d", loop).Run() }) //nolint:noctx // after the test's context
	if _, ok := command("mount", "-o", "noatime", loop, at); !ok {
		return b.TempDir(), nil
	}
	b.Cleanup(func() { _ = exec.Command("umount", at).Run() }) //nolint:noctx // after the test's context
	return filepath.Join(at, "data"), func() int {
		syncFileSystem(b, at)
		return sectorsWritten(b, filepath.Base(loop)) * 512
	}
}

func syncFileSystem(b *testing.B, at string) {
	b.Helper()
	f, err := os.Open(at)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		b.Fatal(err)
	}
}

// sectorsWritten reads the seventh field of a block device's statistics.
func sectorsWritten(b *testing.B, device string) int {
	b.Helper()
	stat, err := os.ReadFile(filepath.Join("/sys/block", device, "stat"))
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(stat))[6])
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func processWrites(b *testing.B, p *process) int {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "io"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nwrite_bytes: ")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.Fatal(err)
	}
	return n
}
