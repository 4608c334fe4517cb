package auth

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// A cookie opens what its grant does, until either ends, and only as it was made.
func TestSession(t *testing.T) {
	h := newHouse(t, Config{})
	made, secret := h.order(`{"name":"kitchen","role":"viewer","ttl":"24h"}`)
	other, _ := h.order(`{"name":"me","role":"admin"}`)
	grant := h.grants.Grants()[0]
	value := h.sessions.cookie(grant, h.at(), false).Value
	parts := strings.Split(value, ".")
	resealed := func(key string) string {
		text := parts[0] + "." + parts[1]
		return text + "." + strings.Split(newSessions([]byte(key)).cookie(grant, h.at(), false).Value, ".")[2]
	}
	if strings.Contains(value, secret) {
		t.Error("the cookie tells the token")
	}
	for _, c := range []struct {
		name, value string
		after       time.Duration
		want        bool
	}{
		{"as made", value, 0, true},
		{"just before the grant ends", value, 24*time.Hour - 2*time.Second, true},
		{"when the grant has ended", value, 24 * time.Hour, false},
		{"another grant", strconv.FormatUint(other.ID, 10) + "." + parts[1] + "." + parts[2], 0, false},
		{"the first token", "0." + parts[1] + "." + parts[2], 0, false},
		{"a later end", parts[0] + "." + "99999999999." + parts[2], 0, false},
		{"no seal", parts[0] + "." + parts[1] + ".", 0, false},
		{"a part of the seal", value[:len(value)-4], 0, false},
		{"another gateway's seal", resealed("another"), 0, false},
		{"no number", "x." + parts[1] + "." + parts[2], 0, false},
		{"a sign", "+1." + parts[1] + "." + parts[2], 0, false},
		{"no end", parts[0] + "." + parts[2], 0, false},
		{"empty", "", 0, false},
		{"dots", "...", 0, false},
		{"no base64", parts[0] + "." + parts[1] + ".!", 0, false},
	} {
		got := h.sessions.read(c.value, &h.holders, h.at().Add(c.after))
		if (got != nil) != c.want || got != nil && got.grant.ID != made.ID {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	h.do("DELETE", "/api/v1/access/1", "", bearer(token)...)
	if h.sessions.read(value, &h.holders, h.at()) != nil {
		t.Error("it outlives its grant")
	}
}

// With another first token the sessions of the one before are over.
func TestSessionOfFirstToken(t *testing.T) {
	g := guard(t, Config{Token: token})
	first := g.holders.withHash(hashOf(token), 0).grant
	value := g.sessions.cookie(first, time.Now(), false).Value
	for secret, want := range map[string]bool{token: true, token + "2": false, "": false} {
		again := guard(t, Config{Token: secret})
		if got := again.sessions.read(value, &again.holders, time.Now()) != nil; got != want {
			t.Errorf("with the token %q: %v", secret, got)
		}
	}
	if g.sessions.read(value, &g.holders, time.Now().Add(sessionLife)) != nil {
		t.Error("it lasts for ever")
	}
}

func TestCookie(t *testing.T) {
	s := newSessions(sessionKey)
	now := time.Now()
	for _, c := range []struct {
		expires time.Time
		most    int // seconds
	}{
		{time.Time{}, 365 * 24 * 3600},
		{now.Add(time.Hour), 3600},
		{now.Add(1000 * 24 * time.Hour), 365 * 24 * 3600},
		{now, 1}, // 0 would be no end at all
	} {
		g := &device.Grant{ID: 1, Hash: []byte("hash")}
		if !c.expires.IsZero() {
			g.Expires = device.TimeOf(c.expires)
		}
		k := s.cookie(g, now, true)
		if k.MaxAge > c.most || k.MaxAge < c.most-1 || !k.HttpOnly || !k.Secure || k.Path != "" {
			t.Errorf("%v: %v", c.expires, k)
		}
	}
	if newSessions([]byte("another")).name == s.name {
		t.Error("two gateways on one host take each other's cookies away")
	}
}

func TestLoadSessionKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "session-key")
	first, err := LoadSessionKey(path)
	if err != nil || len(first) != keyLen {
		t.Fatalf("%x, %v", first, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	again, err := LoadSessionKey(path)
	if err != nil || string(again) != string(first) {
		t.Errorf("%x, %v; want the same", again, err)
	}
	for _, damaged := range []string{"", "zz", strings.Repeat("\x00", 65), "abcd\n"} {
		if err := os.WriteFile(path, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		fresh, err := LoadSessionKey(path)
		if err != nil || len(fresh) != keyLen || string(fresh) == string(first) {
			t.Errorf("%q: %x, %v", damaged, fresh, err)
		}
	}
	if _, err := LoadSessionKey(t.TempDir()); err == nil {
		t.Error("a folder is taken for a key")
	}
	if _, err := LoadSessionKey(filepath.Join(t.TempDir(), "none", "key")); err == nil {
		t.Error("a file was made in a folder that is not there")
	}
}

func FuzzSession(f *testing.F) {
	g, err := New(Config{Token: token, SessionKey: sessionKey})
	if err != nil {
		f.Fatal(err)
	}
	good := g.sessions.cookie(g.holders.withHash(hashOf(token), 0).grant, time.Now(), false).Value
	for _, s := range []string{good, good + "x", "0.1.", "1.99999999999.AAAA", "..", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if h := g.sessions.read(value, &g.holders, time.Now()); h != nil && value != good {
			t.Fatalf("%q opens %v", value, h.grant)
		}
	})
}
