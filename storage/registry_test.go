package storage

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

func change(t *testing.T, r *Registry, c device.Change) device.Secrets {
	t.Helper()
	_, s, err := r.Change(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A credential that was shown is there at once after a crash: nothing is closed.
func TestRegistryIsDurable(t *testing.T) {
	dir, crashed := t.TempDir(), t.TempDir()
	var said bytes.Buffer
	var told []string
	l := openLog(t, Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&said, nil)), OnRegister: func(id device.ID, r *device.Registration) {
		told = append(told, fmt.Sprint(id, " ", describe(r)))
	}})
	r := l.Registry()
	first := change(t, r, device.Change{Act: device.Register, ID: "gh1", Name: "Glass house", PSK: true, Token: true, By: "the test"})
	second := change(t, r, device.Change{Act: device.Rotate, ID: "gh1", PSK: true})
	change(t, r, device.Change{Act: device.Approve, ID: "gh2"})
	change(t, r, device.Change{Act: device.Revoke, ID: "gh3"})
	change(t, r, device.Change{Act: device.Approve, ID: "gone"})
	change(t, r, device.Change{Act: device.Remove, ID: "gone"})
	if _, _, err := r.Change(device.Change{Act: device.Remove, ID: "gone"}); !errors.Is(err, device.ErrNotRegistered) {
		t.Error(err)
	}
	want := []string{"gh1 psk token", "gh1 psk token psk", "gh2 none", "gh3 revoked", "gone none", "gone none"}
	if !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	for _, secret := range []string{first.Token, hex.EncodeToString(first.PSK), hex.EncodeToString(second.PSK)} {
		if strings.Contains(said.String(), secret) {
			t.Errorf("the log tells a secret: %s", said.String())
		}
	}
	if got := strings.Count(said.String(), "the registry was changed"); got != 6 || !strings.Contains(said.String(), `by="the test"`) {
		t.Errorf("%d lines of changes, want 6: %s", got, said.String())
	}

	file, err := os.ReadFile(hotPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(file, []byte(first.Token)) {
		t.Error("the file holds the token as it is")
	}
	if err := os.WriteFile(hotPath(crashed), file, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, Config{Dir: crashed}).Registry()
	var got []string
	for _, reg := range again.Registrations() {
		got = append(got, fmt.Sprint(reg.ID, " ", reg.Name, " ", describe(reg)))
	}
	if want := []string{"gh1 Glass house psk token psk", "gh2  none", "gh3  revoked"}; !slices.Equal(got, want) {
		t.Errorf("after the crash %q, want %q", got, want)
	}
	keys := again.Keys([]byte("gh1"))
	if len(keys) != 2 || !bytes.Equal(keys[0], second.PSK) || !bytes.Equal(keys[1], first.PSK) {
		t.Errorf("keys %x, want the newest first", keys)
	}
	for _, id := range []string{"", "gh2", "gh3", "gone", strings.Repeat("x", 300)} {
		if keys := again.Keys([]byte(id)); keys != nil {
			t.Errorf("%q has keys %x", id, keys)
		}
	}
	if reg, _ := again.Registration("gh1"); reg.MatchToken([]byte(first.Token)) != 1 {
		t.Error("the token is no longer known")
	}
}

// The older key goes when the new one is used, on disk too.
func TestRegistryUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l, err := Open(Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- l.Run(ctx) }()
		r := l.Registry()
		old := change(t, r, device.Change{Act: device.Register, ID: "gh1", PSK: true}).PSK
		next := change(t, r, device.Change{Act: device.Rotate, ID: "gh1"}).PSK
		expect := func(what string, want ...[]byte) {
			t.Helper()
			synctest.Wait()
			if got := r.Keys([]byte("gh1")); !slices.EqualFunc(got, want, bytes.Equal) {
				t.Errorf("%s: keys %x, want %x", what, got, want)
			}
		}
		expect("rotated", next, old)
		r.KeyUsed([]byte("gh1"), old)
		r.KeyUsed([]byte("gh1"), []byte("another"))
		r.KeyUsed([]byte("nobody"), next)
		expect("the old one used", next, old)
		r.KeyUsed([]byte("gh1"), next)
		expect("the new one used", next)
		last := change(t, r, device.Change{Act: device.Rotate, ID: "gh1"}).PSK
		r.KeyUsed([]byte("gh1"), last) // when the gateway is about to stop
		cancel()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Fatal(err)
		}
		r.KeyUsed([]byte("gh1"), next) // too late, and harmless
		if _, _, err := r.Change(device.Change{Act: device.Approve, ID: "gh2"}); !errors.Is(err, ErrClosed) {
			t.Errorf("a change after Close: %v", err)
		}
		again := openLog(t, Config{Dir: dir}).Registry()
		if keys := again.Keys([]byte("gh1")); len(keys) != 1 || !bytes.Equal(keys[0], last) {
			t.Errorf("opened again: keys %x, want %x", keys, last)
		}
	})
}

// What damage takes stays spoken for; what an earlier version wrote opens.
func TestRegistryDamaged(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(b *bolt.Bucket) error
		want string
	}{
		{"a bit", func(b *bolt.Bucket) error { return b.Put([]byte("gh1"), flip(b.Get([]byte("gh1")), 20)) }, "gh1 revoked"},
		{"the checksum", func(b *bolt.Bucket) error { return b.Put([]byte("gh1"), flip(b.Get([]byte("gh1")), 0)) }, "gh1 revoked"},
		{"another device's", func(b *bolt.Bucket) error { return b.Put([]byte("gh9"), b.Get([]byte("gh1"))) }, "gh1 psk, gh9 revoked"},
		{"a credential of a newer version", func(b *bolt.Bucket) error {
			k := []byte("gh1")
			return b.Put(k, boltfile.Seal(k, []byte(`{"credentials":[{"kind":"passkey"}]}`)))
		}, "gh1 revoked"},
		{"no JSON", func(b *bolt.Bucket) error { return b.Put([]byte("gh1"), boltfile.Seal([]byte("gh1"), []byte("{"))) }, "gh1 revoked"},
		{"no id", func(b *bolt.Bucket) error { return b.Put([]byte("gh 1"), []byte("x")) }, "gh1 psk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, _ := sound(t)
			l, err := Open(Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			change(t, l.Registry(), device.Change{Act: device.Register, ID: "gh1"})
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			edit(t, dir, func(tx *bolt.Tx) error { return c.edit(tx.Bucket(bucketRegistry)) })
			report, err := Check(t.Context(), dir, CheckOptions{})
			if err != nil || len(report.Problems) != 1 || !strings.Contains(report.Problems[0].What, "registration") {
				t.Errorf("check: %v, %+v", err, report)
			}
			l = openLog(t, Config{Dir: dir, RetainAge: -1})
			var got []string
			for _, reg := range l.Registry().Registrations() {
				got = append(got, fmt.Sprint(reg.ID, " ", describe(reg)))
			}
			if strings.Join(got, ", ") != c.want || l.Stats().DamagedNames != 1 {
				t.Errorf("%q, %d damaged; want %q", got, l.Stats().DamagedNames, c.want)
			}
			change(t, l.Registry(), device.Change{Act: device.Rotate, ID: "gh1"})
		})
	}
	dir, _ := sound(t)
	edit(t, dir, func(tx *bolt.Tx) error { return tx.DeleteBucket(bucketRegistry) })
	if l := openLog(t, Config{Dir: dir, RetainAge: -1}); len(l.Registry().Registrations()) != 0 || l.Stats().FilesPutAside != 0 {
		t.Error("a store without a registry is not taken")
	}
}
