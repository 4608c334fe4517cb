package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func openSessions(t *testing.T, dir string) *Sessions {
	t.Helper()
	s, err := OpenSessions(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// kept returns the sessions as text.
func (s *Sessions) kept(t *testing.T) map[string]string {
	t.Helper()
	all, err := s.LoadSessions()
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for name, v := range all {
		texts[name] = string(v)
	}
	return texts
}

// TestSessions: what was saved is there when the file is opened again, also when
// nobody has closed it.
func TestSessions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSessions(t, dir)
	for _, step := range []struct {
		changes map[string][]byte
		want    map[string]string
	}{
		{nil, map[string]string{}},
		{map[string][]byte{"a": []byte("1"), "b": []byte("2")}, map[string]string{"a": "1", "b": "2"}},
		{map[string][]byte{"a": nil, "b": []byte("3"), "c": {}, "d": nil}, map[string]string{"b": "3", "c": ""}},
	} {
		if err := s.SaveSessions(step.changes); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step.want, s.kept(t)); d != "" {
			t.Error("(-want +got):\n", d)
		}
		file, err := os.ReadFile(filepath.Join(dir, sessionsName)) // as a crash would leave it
		if err != nil {
			t.Fatal(err)
		}
		other := t.TempDir()
		if err := os.WriteFile(filepath.Join(other, sessionsName), file, 0o644); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(step.want, openSessions(t, other).kept(t)); d != "" {
			t.Error("after a crash (-want +got):\n", d)
		}
		info, err := os.Stat(filepath.Join(other, sessionsName))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

// TestSessionsBounds: a change that is refused changes nothing.
func TestSessionsBounds(t *testing.T) {
	t.Parallel()
	s := openSessions(t, t.TempDir())
	many := map[string][]byte{}
	for i := range maxSessions {
		many[fmt.Sprint(i)] = []byte("x")
	}
	if err := s.SaveSessions(many); err != nil {
		t.Fatal(err)
	}
	for name, changes := range map[string]map[string][]byte{
		"one too many": {"0": []byte("y"), "new": []byte("x")},
		"long session": {"0": []byte(strings.Repeat("y", maxSessionLen+1))},
		"long name":    {"0": []byte("y"), strings.Repeat("n", maxSessionKey+1): nil},
		"no name":      {"0": []byte("y"), "": []byte("x")},
	} {
		if err := s.SaveSessions(changes); err == nil {
			t.Error(name, "was taken")
		}
	}
	if err := s.SaveSessions(map[string][]byte{"new": []byte("x")}); !errors.Is(err, ErrTooManySessions) {
		t.Errorf("error %v", err)
	}
	if got := s.kept(t); len(got) != maxSessions || got["0"] != "x" {
		t.Errorf("%d sessions, the first is %q", len(got), got["0"])
	}
	if err := s.SaveSessions(map[string][]byte{"0": nil, "new": []byte("x")}); err != nil {
		t.Error("one for another:", err)
	}
}

// TestSessionsDamage: a damaged session is empty, a damaged file is put aside.
func TestSessionsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, sessionsName)
	s := openSessions(t, dir)
	if err := s.SaveSessions(map[string][]byte{"a": []byte("1"), "b": []byte("2")}); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketSessions).Put([]byte("a"), []byte("nonsense"))
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"a": "", "b": "2"}, s.kept(t)); d != "" {
		t.Error("(-want +got):\n", d)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("nonsense", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := openSessions(t, dir).kept(t); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if aside, err := filepath.Glob(path + ".corrupt-*"); err != nil || len(aside) != 1 {
		t.Errorf("put aside: %v, %v", aside, err)
	}
}
