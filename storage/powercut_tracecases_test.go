package storage

import (
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestTrace lists traces of the folder /d with the file a in it, and what they
// mean. The texts are put in for %s as strace -xx writes them.
func TestTrace(t *testing.T) {
	for _, tt := range []struct {
		name, trace string
		texts       []any
		want        []string // begun-done operation, or at "mark"
		err         string
	}{
		{
			name: "write and sync", trace: "7 openat(AT_FDCWD, %s, O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3\n" +
				"7 pwrite64(3, %s, 2, 4096)   = 2\n7 fdatasync(3) = 0\n7 close(3) = 0\n7 fsync(3) = -1 EBADF (Bad file descriptor)\n",
			texts: []any{"/d/a", "hi"},
			want:  []string{"2-3 file 0: write 4096+2", "4-5 file 0: sync"},
		},
		{
			name: "threads", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n" +
				"7  pwrite64(3, %s, 2, 0 <unfinished ...>\n8  fdatasync(3 <unfinished ...>\n7  <... pwrite64 resumed>) = 2\n" +
				"9  --- SIGURG {si_signo=SIGURG} ---\n8  <... fdatasync resumed>) = 0\n8 +++ exited with 0 +++\n",
			texts: []any{"/d/a", "hi"},
			want:  []string{"2-4 file 0: write 0+2", "3-5 file 0: sync"},
		},
		{
			name: "a new file, one write after the other", trace: "7 openat(AT_FDCWD, %s, O_WRONLY|O_CREAT|O_TRUNC, 0600) = 4\n" +
				"7 write(4, %s, 2) = 2\n7 write(4, %s, 3) = 3\n7 lseek(4, 1, SEEK_SET) = 1\n7 write(4, %s, 1) = 1\n",
			texts: []any{"/d/b.tmp", "hi", "you", "!"},
			want:  []string{"0-1 create b.tmp", "2-3 file 1: write 0+2", "4-5 file 1: write 2+3", "8-9 file 1: write 1+1"},
		},
		{
			name: "read, then write", trace: "7 open(%s, O_RDWR) = 4\n7 read(4, %s, 9) = 2\n7 write(4, %s, 1) = 1\n",
			texts: []any{"/d/a", "hi", "!"},
			want:  []string{"4-5 file 0: write 2+1"},
		},
		{
			name: "truncated when opened", trace: "7 openat(AT_FDCWD, %s, O_RDWR|O_TRUNC) = 4\n7 ftruncate(4, 8192) = 0\n",
			texts: []any{"/d/a"},
			want:  []string{"0-1 file 0: resize to 0", "2-3 file 0: resize to 8192"},
		},
		{
			name: "names", trace: "7 openat(AT_FDCWD, %s, O_RDONLY|O_CLOEXEC) = 5\n7 renameat(AT_FDCWD, %s, AT_FDCWD, %s) = 0\n" +
				"7 fsync(5) = 0\n7 unlinkat(5, %s, 0) = 0\n7 unlink(%s) = -1 ENOENT (No such file or directory)\n7 openat(5, %s, O_CREAT|O_RDWR) = 6\n",
			texts: []any{"/d", "/d/a", "/d/b", "b", "/d/c", "a"},
			want:  []string{"2-3 rename a to b", "4-5 sync", "6-7 remove b", "10-11 create a"},
		},
		{
			name: "a descriptor that means another file", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 close(3 <unfinished ...>\n" +
				"8 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 <... close resumed>) = 0\n8 pwrite64(3, %s, 1, 0) = 1\n",
			texts: []any{"/d/a", "/e/a", "x"},
		},
		{
			name: "never done", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 fsync(3) = ? ERESTARTSYS (To be restarted)\n7 fsync(3 <unfinished ...>\n",
			texts: []any{"/d/a"},
			want:  []string{"2-never file 0: sync", "4-never file 0: sync"},
		},
		{
			name: "marks", trace: "7 write(1, %s, 6) = 6\n7 write(1, %s, 3) = 3\n7 write(2, %s, 1) = 1\n",
			texts: []any{"one\ntw", "o\n3", "x"},
			want:  []string{`0 "one"`, `2 "two"`},
		},
		{
			name: "elsewhere", trace: "7 renameat(AT_FDCWD, %s, AT_FDCWD, %s) = 0\n7 linkat(AT_FDCWD, %s, AT_FDCWD, %s, 0) = 0\n" +
				"7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f00\n7 mkdirat(AT_FDCWD, %s, 0700) = -1 EEXIST (File exists)\n",
			texts: []any{"/dd/a", "/e/b", "/e/a", "/e/b", "/d"},
		},
		{
			name: "shared map", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3, 0) = 0x7f00\n",
			texts: []any{"/d/a"}, err: "map is not followed",
		},
		{
			name: "copied by the kernel", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 copy_file_range(4, NULL, 3, NULL, 5, 0) = 5\n",
			texts: []any{"/d/a"}, err: "not followed",
		},
		{name: "copied elsewhere by the kernel", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 copy_file_range(3, NULL, 4, NULL, 3, 0) = 3\n", texts: []any{"/d/a"}},
		{name: "reserved", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 fallocate(3, 0, 0, 4096) = 0\n", texts: []any{"/d/a"}, err: "not followed"},
		{name: "a folder in it", trace: "7 mkdirat(AT_FDCWD, %s, 0700) = 0\n", texts: []any{"/d/e"}, err: "not followed"},
		{name: "linked", trace: "7 linkat(AT_FDCWD, %s, AT_FDCWD, %s, 0) = 0\n", texts: []any{"/d/a", "/e/b"}, err: "not followed"},
		{name: "cut off", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 pwrite64(3, %s..., 2, 0) = 2\n", texts: []any{"/d/a", "h"}, err: "line 2: text"},
		{name: "short write", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 pwrite64(3, %s, 2, 0) = 1\n", texts: []any{"/d/a", "hi"}, err: "line 2: write 0+2 failed"},
		{name: "failed sync", trace: "7 openat(AT_FDCWD, %s, O_RDWR) = 3\n7 fsync(3) = -1 EIO (Input/output error)\n", texts: []any{"/d/a"}, err: "failed"},
		{name: "an end without a beginning", trace: "7 <... fsync resumed>) = 0\n", err: "did not begin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, text := range tt.texts {
				tt.texts[i] = hexText(fmt.Sprint(text))
			}
			rec, err := readTrace(strings.NewReader(fmt.Sprintf(tt.trace, tt.texts...)), "/d", map[string]int{"a": 0})
			if tt.err != "" || err != nil {
				if tt.err == "" || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %q", err, tt.err)
				}
				return
			}
			if diff := gocmp.Diff(tt.want, showTrace(rec)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func hexText(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, `\x%02x`, s[i])
	}
	return `"` + b.String() + `"`
}

func showTrace(rec *recording) (shown []string) {
	for _, o := range rec.ops {
		s := fmt.Sprintf("%d-%d ", o.begun, o.done)
		if o.done == never {
			s = fmt.Sprintf("%d-never ", o.begun)
		}
		if o.kind == opWrite || o.kind == opResize || o.kind == opSync {
			s += fmt.Sprintf("file %d: ", o.file)
		}
		shown = append(shown, s+o.String())
	}
	for _, m := range rec.marks {
		shown = append(shown, fmt.Sprintf("%d %q", m.at, m.text))
	}
	return shown
}

// FuzzTrace gives the reader of traces anything: it must end, without a panic.
func FuzzTrace(f *testing.F) {
	f.Add("7 openat(AT_FDCWD, " + hexText("/d/a") + ", O_RDWR) = 3\n7 pwrite64(3, " + hexText("hi") + ", 2, 0 <unfinished ...>\n7 <... pwrite64 resumed>) = 2\n")
	f.Add("7 renameat(AT_FDCWD, " + hexText("/d/a") + ", AT_FDCWD, " + hexText("/d/b") + ") = 0\n")
	f.Fuzz(func(_ *testing.T, trace string) {
		_, _ = readTrace(strings.NewReader(trace), "/d", map[string]int{"a": 0})
	})
}
