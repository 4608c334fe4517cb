package storage

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

func grant(t *testing.T, g *Grants, o device.GrantOrder) (*device.Grant, string) {
	t.Helper()
	made, token, err := g.Grant(o)
	if err != nil {
		t.Fatal(err)
	}
	return made, token
}

// summary names grants without their secrets.
func summary(g *Grants) string {
	var all []string
	for _, one := range g.Grants() {
		s := fmt.Sprint(one.ID, " ", one.Name, " ", one.Role, " ", one.Devices)
		if one.Damaged {
			s = fmt.Sprint(one.ID, " damaged")
		}
		all = append(all, s)
	}
	return strings.Join(all, ", ")
}

// A token that was shown is valid after a crash, and one that was revoked is not:
// nothing is closed. Neither the file nor the log tells it.
func TestGrantsAreDurable(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	var said bytes.Buffer
	l := openLog(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil))})
	g := l.Access()
	first, token := grant(t, g, device.GrantOrder{
		Name: "kitchen", Role: device.RoleViewer, Devices: []string{"gh*", "shed"}, Life: time.Hour, By: "the test",
	})
	second, _ := grant(t, g, device.GrantOrder{Name: "telegraf", Role: device.RoleWriter})
	grant(t, g, device.GrantOrder{Name: "me", Role: device.RoleAdmin})
	if _, err := g.Revoke(second.ID, "the test"); err != nil {
		t.Fatal(err)
	}
	if old, err := g.Revoke(second.ID, ""); !errors.Is(err, device.ErrNotGranted) || old != nil {
		t.Errorf("revoked twice: %v, %v", old, err)
	}
	if _, _, err := g.Grant(device.GrantOrder{Name: "Kitchen", Role: device.RoleViewer}); !errors.Is(err, device.ErrGranted) {
		t.Errorf("a name twice: %v", err)
	}
	if _, _, err := g.Grant(device.GrantOrder{Name: "x"}); !errors.Is(err, device.ErrInvalid) {
		t.Errorf("no role: %v", err)
	}
	const want = "1 kitchen viewer [gh* shed], 3 me admin []"
	if got := summary(g); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	file, err := os.ReadFile(hotPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(token)) || strings.Contains(said.String(), token) {
		t.Error("the token is told")
	}
	for _, line := range []string{"access was granted", "access was revoked", `by="the test"`, `name=kitchen`} {
		if !strings.Contains(said.String(), line) {
			t.Errorf("the log has no %q: %s", line, said.String())
		}
	}
	if err := os.WriteFile(hotPath(crashed), file, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, Config{Dir: crashed}).Access()
	if got := summary(again); got != want {
		t.Errorf("after the crash %q, want %q", got, want)
	}
	sum := sha256.Sum256([]byte(token))
	if got := again.Grants()[0]; !slices.Equal(got.Hash, sum[:]) || got.Expires != first.Expires || got.Created != first.Created {
		t.Errorf("after the crash %+v, want %+v", got, first)
	}
	if made, _ := grant(t, again, device.GrantOrder{Name: "telegraf", Role: device.RoleWriter}); made.ID != 4 {
		t.Errorf("the number %d is given again", made.ID)
	}
}

// A damaged grant opens nothing, is named by check, and can be revoked.
func TestGrantsDamaged(t *testing.T) {
	k := numberKey(1)
	resealed := func(text string) func(*bolt.Bucket) error {
		return func(b *bolt.Bucket) error { return b.Put(k, boltfile.Seal(k, []byte(text))) }
	}
	hash := strings.Repeat("A", 43) + "="
	for _, c := range []struct {
		name string
		edit func(b *bolt.Bucket) error
		want string
	}{
		{"a bit", func(b *bolt.Bucket) error { return b.Put(k, flip(b.Get(k), 20)) }, "1 damaged"},
		{"the checksum", func(b *bolt.Bucket) error { return b.Put(k, flip(b.Get(k), 0)) }, "1 damaged"},
		{"another's", func(b *bolt.Bucket) error { return b.Put(numberKey(9), b.Get(k)) }, "1 kitchen viewer [gh*], 9 damaged"},
		{"a key that is none", func(b *bolt.Bucket) error { return b.Put([]byte("x"), b.Get(k)) }, "1 kitchen viewer [gh*]"},
		{"no JSON", resealed("{"), "1 damaged"},
		{"a role of a newer version", resealed(`{"name":"a","role":"guest","hash":"` + hash + `"}`), "1 damaged"},
		{"a limit of a newer version", resealed(`{"name":"a","role":"viewer","metrics":["x"],"hash":"` + hash + `"}`), "1 damaged"},
		{"a pattern that is none", resealed(`{"name":"a","role":"viewer","devices":["\u0000"],"hash":"` + hash + `"}`), "1 damaged"},
		{"no hash", resealed(`{"name":"a","role":"admin"}`), "1 damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := sound(t)
			l, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			grant(t, l.Access(), device.GrantOrder{Name: "kitchen", Role: device.RoleViewer, Devices: []string{"gh*"}})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, dir, func(tx *bolt.Tx) error { return c.edit(tx.Bucket(bucketGrants)) })
			report, err := Check(t.Context(), dir, CheckOptions{})
			if err != nil || len(report.Problems) != 1 || !strings.Contains(report.Problems[0].What, "access token") {
				t.Errorf("check: %v, %+v", err, report)
			}
			l = openLog(t, Config{Dir: dir, RetainAge: -1})
			if got := summary(l.Access()); got != c.want || l.Stats().DamagedNames != 1 {
				t.Errorf("%q, %d damaged; want %q", got, l.Stats().DamagedNames, c.want)
			}
			for _, one := range l.Access().Grants() {
				if one.Damaged && len(one.Hash) != 0 {
					t.Error("a damaged grant has a hash")
				}
				if _, err := l.Access().Revoke(one.ID, "the test"); err != nil {
					t.Error(err)
				}
			}
			if got := summary(l.Access()); got != "" {
				t.Errorf("revoked, and there is %q", got)
			}
		})
	}
	dir, _ := sound(t)
	edit(t, dir, func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketGrants) })
	if l := openLog(t, Config{Dir: dir, RetainAge: -1}); len(l.Access().Grants()) != 0 || l.Stats().FilesPutAside != 0 {
		t.Error("a store without grants is not taken")
	}
}

func TestTooManyGrants(t *testing.T) {
	g := openLog(t, Config{Dir: t.TempDir()}).Access()
	for i := range uint64(maxGrants) {
		g.all[i+10] = &device.Grant{ID: i + 10, Name: fmt.Sprint(i)}
	}
	if _, _, err := g.Grant(device.GrantOrder{Name: "one more", Role: device.RoleViewer}); !errors.Is(err, device.ErrTooManyGrants) {
		t.Error(err)
	}
	delete(g.all, 10)
	grant(t, g, device.GrantOrder{Name: "one more", Role: device.RoleViewer})
}
