package device_test

import (
	"crypto/sha256"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

func TestGrantOrder(t *testing.T) {
	many := make([]string, device.MaxPatterns+1)
	for i := range many {
		many[i] = "gh" + strings.Repeat("?", i)
	}
	for _, c := range []struct {
		name  string
		order device.GrantOrder
		wrong string // part of the error; empty: none
	}{
		{"viewer", device.GrantOrder{Name: "kitchen", Role: device.RoleViewer}, ""},
		{"limited", device.GrantOrder{Name: "Küche", Role: device.RoleViewer, Devices: []string{"gh*", "shed"}}, ""},
		{"writer for a day", device.GrantOrder{Name: "telegraf", Role: device.RoleWriter, Devices: []string{"gh?"}, Life: 24 * time.Hour}, ""},
		{"admin", device.GrantOrder{Name: "me", Role: device.RoleAdmin, Life: device.MaxGrantLife}, ""},
		{"no name", device.GrantOrder{Role: device.RoleViewer}, "name"},
		{"a blank name", device.GrantOrder{Name: " ", Role: device.RoleViewer}, "name"},
		{"a line break in the name", device.GrantOrder{Name: "a\nb", Role: device.RoleViewer}, "name"},
		{"a long name", device.GrantOrder{Name: strings.Repeat("x", 65), Role: device.RoleViewer}, "name"},
		{"no role", device.GrantOrder{Name: "a"}, "role"},
		{"an unknown role", device.GrantOrder{Name: "a", Role: device.RoleAdmin + 1}, "role"},
		{"a limited admin", device.GrantOrder{Name: "a", Role: device.RoleAdmin, Devices: []string{"*"}}, "devices"},
		{"an empty pattern", device.GrantOrder{Name: "a", Role: device.RoleViewer, Devices: []string{"gh*", ""}}, "pattern"},
		{"a control character in a pattern", device.GrantOrder{Name: "a", Role: device.RoleViewer, Devices: []string{"a\x00"}}, "pattern"},
		{"too many patterns", device.GrantOrder{Name: "a", Role: device.RoleViewer, Devices: many}, "patterns"},
		{"a negative life", device.GrantOrder{Name: "a", Role: device.RoleViewer, Life: -1}, "life"},
		{"a life too long", device.GrantOrder{Name: "a", Role: device.RoleViewer, Life: device.MaxGrantLife + 1}, "life"},
	} {
		g, token, err := c.order.Grant(1_000_000)
		if c.wrong != "" {
			if !errors.Is(err, device.ErrInvalid) || !strings.Contains(err.Error(), c.wrong) || g != nil || token != "" {
				t.Errorf("%s: %v, %q, %v", c.name, g, token, err)
			}
			continue
		}
		if err != nil || !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(token) {
			t.Errorf("%s: %q, %v", c.name, token, err)
			continue
		}
		sum := sha256.Sum256([]byte(token))
		if !slices.Equal(g.Hash, sum[:]) || g.Name != c.order.Name || g.Role != c.order.Role || !slices.Equal(g.Devices, c.order.Devices) {
			t.Errorf("%s: %+v", c.name, g)
		}
		if _, other, _ := c.order.Grant(0); other == token {
			t.Errorf("%s: the same token twice", c.name)
		}
		if c.order.Life == 0 && (g.Expires != 0 || g.Expired(1<<60)) {
			t.Errorf("%s: it expires: %+v", c.name, g)
		}
		end := 1_000_000 + device.Time(c.order.Life.Microseconds())
		if c.order.Life != 0 && (g.Expires != end || g.Expired(end-1) || !g.Expired(end)) {
			t.Errorf("%s: expires at %d, want %d", c.name, g.Expires, end)
		}
	}
}

func TestParseRole(t *testing.T) {
	for _, r := range device.Roles {
		if got, err := device.ParseRole(r.String()); err != nil || got != r {
			t.Errorf("%v: %v, %v", r, got, err)
		}
	}
	for _, name := range []string{"", "Admin", "owner", "unknown", strings.Repeat("x", 1000)} {
		if r, err := device.ParseRole(name); !errors.Is(err, device.ErrInvalid) || r != 0 || len(err.Error()) > 120 {
			t.Errorf("%q: %v, %v", name, r, err)
		}
	}
}

func TestSelectorWithin(t *testing.T) {
	limit := selector(t, []string{"gh*", "shed"}, []string{"metrics say nothing here"})
	for _, c := range []struct {
		name    string
		devices []string
		limits  []device.Selector
		want    string // of these devices
		exact   string // those that are named; "-": not one by one
	}{
		{"no limit", nil, nil, "gh1 gh2 shed attic", "-"},
		{"everything", nil, []device.Selector{limit}, "gh1 gh2 shed", "-"},
		{"a pattern", []string{"*1", "attic"}, []device.Selector{limit}, "gh1", "-"},
		{"by name", []string{"shed", "attic"}, []device.Selector{limit}, "shed", "shed"},
		{"only what is outside", []string{"attic"}, []device.Selector{limit}, "", ""},
		{"a limit that is none", []string{"attic"}, []device.Selector{{}}, "attic", "attic"},
		{"two limits", nil, []device.Selector{limit, selector(t, []string{"*2", "attic"}, nil)}, "gh2", "-"},
	} {
		s := selector(t, c.devices, []string{"temp"})
		for _, l := range c.limits {
			s = s.Within(l)
		}
		var got []string
		for _, d := range []string{"gh1", "gh2", "shed", "attic"} {
			if s.MatchDevice(device.ID(d)) {
				got = append(got, d)
			}
			if s.Match(device.ID(d), "temp") != s.MatchDevice(device.ID(d)) || s.Match(device.ID(d), "hum") {
				t.Errorf("%s: %s with its metrics", c.name, d)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		ids, exact := s.Devices()
		var named []string
		for _, id := range ids {
			named = append(named, string(id))
		}
		if exact != (c.exact != "-") || exact && strings.Join(named, " ") != c.exact {
			t.Errorf("%s: named %q, %v", c.name, named, exact)
		}
	}
	all := device.Selector{}
	if all.Within(limit).All() || !all.Within(all).All() {
		t.Error("All does not see the limit")
	}
	keys := map[string]bool{}
	for _, s := range []device.Selector{
		all, all.Within(limit), limit, limit.Within(limit), all.Within(limit).Within(limit),
		all.Within(selector(t, []string{"gh*"}, nil)), all.Within(selector(t, []string{"shed"}, nil)),
	} {
		if keys[s.Key()] {
			t.Errorf("the key %q twice", s.Key())
		}
		if strings.Contains(s.Key(), "\x02") {
			t.Errorf("the key %q has a byte of others", s.Key())
		}
		keys[s.Key()] = true
	}
}
