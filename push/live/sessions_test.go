package live

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sessionID returns an id of the length that they have.
func sessionID(n int) string { return fmt.Sprintf("%020d", n) }

func reopen(t *testing.T, path string, before *Sessions) *Sessions {
	t.Helper()
	if before != nil {
		if err := before.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s, err := OpenSessions(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// known reports how many of the first n sessions are known again.
func known(s *Sessions, proofs []string) (n int) {
	for i, p := range proofs {
		if id, ok := s.recognize(p, []byte("sel")); ok && id == sessionID(i) {
			n++
		}
	}
	return n
}

func TestRecognize(t *testing.T) {
	s, other := NewSessions(), NewSessions()
	proof := s.proof(sessionID(1), []byte("a"))
	for _, c := range []struct {
		name, proof, selection string
		of                     *Sessions
		want                   bool
	}{
		{"its own", proof, "a", s, true},
		{"another selection", proof, "b", s, false},
		{"another key", proof, "a", other, false},
		{"nothing", "", "a", s, false},
		{"nonsense", "?", "a", s, false},
		{"cut", proof[:len(proof)-2], "a", s, false},
		{"longer", proof + "AA", "a", s, false},
		{"forged", "A" + proof[1:], "a", s, false},
		{"forged at the end", proof[:len(proof)-5] + "AAAAA", "a", s, false},
	} {
		id, ok := c.of.recognize(c.proof, []byte(c.selection))
		if ok != c.want || ok && id != sessionID(1) {
			t.Errorf("%s: %q, %v", c.name, id, ok)
		}
	}
}

// What has changed stays changed, whatever becomes of the program; all others are
// known again.
func TestSessionsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions")
	s := reopen(t, path, nil)
	proofs := make([]string, 40)
	for i := range proofs {
		proofs[i] = s.proof(sessionID(i), []byte("sel"))
	}
	if n := known(s, proofs); n != 40 {
		t.Errorf("%d are known", n)
	}
	var all sync.WaitGroup
	for i := range 15 {
		all.Go(func() {
			if err := s.change(sessionID(i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := s.change(sessionID(3)); err != nil { // a second time
		t.Error(err)
	}
	if n := known(s, proofs); n != 25 {
		t.Errorf("%d are known, want 25", n)
	}
	s = reopen(t, path, s)
	if n := known(s, proofs); n != 25 {
		t.Errorf("%d are known after a restart, want 25", n)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// A write that a power cut has cut off anywhere: the ids before it count, and
	// what is written afterwards does.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range sessionIDLen + 1 {
		if err := os.WriteFile(path, whole[:len(whole)-cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, path, s)
		want := 25
		if cut > 0 {
			want++
		}
		if n := known(s, proofs); n != want {
			t.Errorf("cut by %d: %d are known, want %d", cut, n, want)
		}
		if err := s.change(sessionID(39)); err != nil {
			t.Fatal(err)
		}
		s = reopen(t, path, s)
		if n := known(s, proofs); n != want-1 {
			t.Errorf("cut by %d, changed: %d are known, want %d", cut, n, want-1)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A file that is no longer what was written is begun anew: nobody is known.
func TestSessionsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions")
	for _, text := range []string{"", "x", "\n", "AAAA\n", strings.Repeat("A", 43), strings.Repeat("A", 43) + "\nshort\n", strings.Repeat("A", 43) + "\n" + strings.Repeat("x", 30) + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := reopen(t, path, nil)
		proofs := []string{s.proof(sessionID(0), []byte("sel"))}
		s = reopen(t, path, s)
		if n := known(s, proofs); n != 1 {
			t.Errorf("%q: the new file is not kept", text)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := OpenSessions(filepath.Join(t.TempDir(), "nowhere", "sessions")); err == nil {
		t.Error("a folder that is not there")
	}
}

// When there are too many, all begin anew, and the file is short again.
func TestSessionsBound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sessions")
	s := reopen(t, path, nil)
	proofs := []string{s.proof(sessionID(0), []byte("sel"))}
	ids := make([]string, maxChanged)
	for i := range ids {
		ids[i] = sessionID(i + 10)
	}
	if err := s.write(ids); err != nil {
		t.Fatal(err)
	}
	if n := known(s, proofs); n != 1 {
		t.Error("one that has not changed is not known")
	}
	if err := s.change(sessionID(1)); err != nil {
		t.Fatal(err)
	}
	if n := known(s, proofs); n != 0 {
		t.Error("one is known by the old key")
	}
	proofs[0] = s.proof(sessionID(0), []byte("sel"))
	s = reopen(t, path, s)
	if info, err := os.Stat(path); err != nil || info.Size() > 100 || known(s, proofs) != 1 {
		t.Errorf("%v, %v", info.Size(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// When the file cannot be written nobody is told that it was.
func TestSessionsFail(t *testing.T) {
	s := reopen(t, filepath.Join(t.TempDir(), "sessions"), nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.change(sessionID(1)); err == nil {
		t.Error("a change was noted in a closed file")
	}
}
