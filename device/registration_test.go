package device

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shape gives a registration as "name psk token* …": * for one that was used.
func shape(r *Registration) string {
	if r == nil {
		return "none"
	}
	out := []string{fmt.Sprintf("%s@%d", r.Name, r.Created)}
	if r.Revoked {
		out = append(out, "revoked")
	}
	for _, c := range r.Credentials {
		s := fmt.Sprintf("%s@%d", c.Kind, c.Created)
		if c.Used != 0 {
			s += fmt.Sprintf("*%d", c.Used)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestChange(t *testing.T) {
	type step struct {
		Change
		use  int // index of a credential that is used before; 0 means none, else index + 1
		want string
		err  error
	}
	do := func(a Act) Change { return Change{Act: a, ID: "gh1"} }
	add := func(psk, token bool) Change { return Change{Act: Register, ID: "gh1", PSK: psk, Token: token} }
	turn := func(psk, token bool) Change { return Change{Act: Rotate, ID: "gh1", PSK: psk, Token: token} }
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"a key when nothing is asked for", []step{{Change: do(Register), want: "@1 psk@1"}}},
		{"both", []step{{Change: add(true, true), want: "@1 psk@1 token@1"}}},
		{"twice", []step{{Change: add(false, true), want: "@1 token@1"}, {Change: do(Register), err: ErrRegistered, want: "@1 token@1"}}},
		{"rotated, the old one stays until the new one is used", []step{
			{Change: add(true, true), want: "@1 psk@1 token@1"},
			{Change: turn(false, true), want: "@1 psk@1 token@1 token@2"},
			{use: 2, Change: Change{Act: Rename, ID: "gh1", Name: "a"}, want: "a@1 psk@1 token@1*2 token@2"},
			{use: 3, Change: Change{Act: Rename, ID: "gh1", Name: "b"}, want: "b@1 psk@1 token@2*3"},
		}},
		{"rotated twice, the one never used goes", []step{
			{Change: add(true, false), want: "@1 psk@1"},
			{use: 1, Change: do(Rotate), want: "@1 psk@1*1 psk@2"},
			{Change: do(Rotate), want: "@1 psk@1*1 psk@3"},
		}},
		{"rotated, all kinds it has", []step{
			{Change: add(true, true), want: "@1 psk@1 token@1"}, {Change: do(Rotate), want: "@1 psk@1 token@1 psk@2 token@2"},
		}},
		{"revoked and given a new key", []step{
			{Change: add(false, true), want: "@1 token@1"},
			{Change: do(Revoke), want: "@1 revoked"},
			{Change: do(Approve), err: ErrRegistered, want: "@1 revoked"},
			{Change: turn(false, true), want: "@1 token@4"},
		}},
		{"revoked, never seen before", []step{{Change: do(Revoke), want: "@1 revoked"}, {Change: do(Register), err: ErrRegistered, want: "@1 revoked"}, {Change: do(Remove), want: "none"}}},
		{"approved, then given a key", []step{{Change: do(Approve), want: "@1"}, {Change: do(Approve), want: "@1"}, {Change: do(Rotate), want: "@1 psk@3"}}},
		{"named", []step{{Change: Change{Act: Approve, ID: "gh1", Name: "Glashaus ✿"}, want: "Glashaus ✿@1"}, {Change: do(Rename), want: "@1"}}},
		{"what is not there", []step{
			{Change: do(Rename), err: ErrNotRegistered, want: "none"}, {Change: do(Rotate), err: ErrNotRegistered, want: "none"}, {Change: do(Remove), err: ErrNotRegistered, want: "none"},
		}},
		{"what is nothing", []step{
			{Change: do("sell"), err: ErrInvalid, want: "none"},
			{Change: Change{Act: Approve, ID: "a b"}, err: ErrInvalid, want: "none"},
			{Change: Change{Act: Approve, ID: "a", Name: "a\nb"}, err: ErrInvalid, want: "none"},
			{Change: Change{Act: Approve, ID: "a", Name: "\xff"}, err: ErrInvalid, want: "none"},
			{Change: Change{Act: Approve, ID: "a", Name: strings.Repeat("x", 65)}, err: ErrInvalid, want: "none"},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var r *Registration
			for i, s := range c.steps {
				now := Time(i + 1)
				if s.use > 0 {
					r = r.Use(s.use-1, now-1)
				}
				before := shape(r)
				next, _, err := s.Apply(r, now)
				if !errors.Is(err, s.err) || (err == nil) != (s.err == nil) {
					t.Fatalf("step %d: %v, want %v", i+1, err, s.err)
				}
				if shape(r) != before {
					t.Fatalf("step %d changed what was there: %s to %s", i+1, before, shape(r))
				}
				if err == nil {
					r = next
				}
				if got := shape(r); got != s.want {
					t.Fatalf("step %d: %s, want %s", i+1, got, s.want)
				}
			}
		})
	}
}

// What was rotated is taken with both secrets, and no other.
func TestSecrets(t *testing.T) {
	add := Change{Act: Register, ID: "gh1", PSK: true, Token: true}
	r, first, err := add.Apply(nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	rotate := Change{Act: Rotate, ID: "gh1"}
	r, second, err := rotate.Apply(r, 2)
	if err != nil {
		t.Fatal(err)
	}
	if first.Token == second.Token || len(first.Token) != 26 || len(first.PSK) != 16 || slices.Equal(first.PSK, second.PSK) {
		t.Fatalf("%+v, then %+v", first, second)
	}
	for token, want := range map[string]int{
		first.Token: 1, second.Token: 3, "": -1, first.Token[:25]: -1, strings.ToUpper(first.Token): -1,
		string(r.Credentials[1].Secret): -1, string(first.PSK): -1,
	} {
		if got := r.MatchToken([]byte(token)); got != want {
			t.Errorf("%q is credential %d, want %d", token, got, want)
		}
	}
	used := r.Use(3, 5)
	if got := used.MatchToken([]byte(first.Token)); got != -1 || used.MatchToken([]byte(second.Token)) != 2 {
		t.Errorf("after the new token was used the old one is credential %d", got)
	}
	if used.Use(2, 9) != used {
		t.Error("using it again changes the registration")
	}
	if slices.ContainsFunc(r.Credentials, func(c Credential) bool { return strings.Contains(string(c.Secret), first.Token) }) {
		t.Error("a token is kept as it is")
	}
}
