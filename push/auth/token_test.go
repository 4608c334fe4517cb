package auth

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/push/pushtest"
)

func TestMain(m *testing.M) { pushtest.Main(m) }

func TestLoadTokenMakes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	// What a start that lost its power left behind.
	if err := os.WriteFile(path+".new", []byte("half"), 0o644); err != nil {
		t.Fatal(err)
	}
	first, made, err := LoadToken(path)
	if err != nil || !made || !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(first) {
		t.Fatalf("%q, %v, %v", first, made, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the part is still there: %v", err)
	}
	again, made, err := LoadToken(path)
	if again != first || made || err != nil {
		t.Errorf("again: %q, %v, %v", again, made, err)
	}
	other, _, err := LoadToken(filepath.Join(t.TempDir(), "token"))
	if other == first || err != nil {
		t.Errorf("another gateway has the same token: %v", err)
	}
}

func TestLoadTokenReads(t *testing.T) {
	for _, c := range []struct {
		name, file, want string
	}{
		{"as made", "abcdefghijklmnopqrstuvwxyz\n", "abcdefghijklmnopqrstuvwxyz"},
		{"with Windows' line end", "Chosen-by_me.1234~\r\n", "Chosen-by_me.1234~"},
		{"the longest", strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{"empty", "", ""},
		{"blank", " \n", ""},
		{"short", "fifteen-letters", ""},
		{"too long", strings.Repeat("x", 257), ""},
		{"zeros, as after a power failure", strings.Repeat("\x00", 27), ""},
		{"two lines", "abcdefghijklmnop\nabcdefghijklmnop", ""},
		{"what a cookie cannot hold", "abcdefghijklmnop;q", ""},
		{"not ASCII", "abcdefghijklmnopé", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			got, made, err := LoadToken(path)
			if got != c.want || made || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v, %v", got, made, err)
			}
			if err != nil && (!strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "abcdefgh")) {
				t.Errorf("the error must name the file, not its content: %v", err)
			}
			if kept, err := os.ReadFile(path); err != nil || string(kept) != c.file {
				t.Errorf("the file is another one now: %q, %v", kept, err)
			}
		})
	}
}

func TestLoadTokenFails(t *testing.T) {
	if _, _, err := LoadToken(t.TempDir()); err == nil {
		t.Error("a folder is taken for a token")
	}
	if _, _, err := LoadToken(filepath.Join(t.TempDir(), "none", "token")); err == nil {
		t.Error("a file was made in a folder that is not there")
	}
}
