package device

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Errors of a Change that a caller may branch on.
var (
	ErrRegistered    = errors.New("registered already")
	ErrNotRegistered = errors.New("not registered")
)

// CredentialKind is how a device proves that it is itself.
type CredentialKind uint8

// The kinds.
const (
	PSK   CredentialKind = iota + 1 // a pre-shared key, for DTLS
	Token                           // a text beside the readings
)

// CredentialKinds are all kinds there are.
var CredentialKinds = []CredentialKind{PSK, Token}

// String returns the kind's name: psk, token.
func (k CredentialKind) String() string {
	switch k {
	case PSK:
		return "psk"
	case Token:
		return "token"
	}
	return "unknown"
}

// pskLen is the length of a pre-shared key in bytes: 128 bits, what AES-128 has,
// and short enough for every firmware's buffer.
const pskLen = 16

// Credential is a secret by which a device proves that it is itself.
type Credential struct {
	Kind CredentialKind
	// Secret is the key itself of a PSK, which a handshake computes with, and the
	// SHA-256 of a token. A token has 130 random bits: nobody finds it by trying,
	// so that a slow hash would protect nothing and cost every reading.
	Secret  []byte
	Created Time
	Used    Time // when it was first used; 0: never
}

// Registration is what the registry knows of a device. It is shared and never
// changed: a Change makes another one.
type Registration struct {
	ID      ID
	Name    string // for people; may be empty
	Created Time
	// Revoked says that nobody may speak for the device.
	Revoked bool
	// Credentials are at most two of a kind, the older first.
	Credentials []Credential
}

// Guarded reports whether plain readings in the device's name are refused.
func (r *Registration) Guarded() bool { return r.Revoked || len(r.Credentials) > 0 }

// MatchToken returns the index of the credential that the token is, or -1. It
// takes as long for every token of a length.
func (r *Registration) MatchToken(token []byte) int {
	sum := sha256.Sum256(token)
	found := -1
	for i := range r.Credentials {
		if c := &r.Credentials[i]; c.Kind == Token && subtle.ConstantTimeCompare(c.Secret, sum[:]) == 1 {
			found = i
		}
	}
	return found
}

// Use returns the registration after credential i has proved the device: the
// older ones of its kind are no longer valid. It returns r when nothing changes.
func (r *Registration) Use(i int, now Time) *Registration {
	c := r.Credentials[i]
	older := slices.ContainsFunc(r.Credentials[:i], func(o Credential) bool { return o.Kind == c.Kind })
	if c.Used != 0 && !older {
		return r
	}
	out := *r
	out.Credentials = nil
	for j, o := range r.Credentials {
		if j == i && o.Used == 0 {
			o.Used = now
		}
		if j >= i || o.Kind != c.Kind {
			out.Credentials = append(out.Credentials, o)
		}
	}
	return &out
}

// Act is what a Change does.
type Act string

// The acts.
const (
	// Register begins a registration with credentials: a PSK when none is asked for.
	Register Act = "add"
	// Approve begins a registration without credentials.
	Approve Act = "approve"
	Rename  Act = "rename"
	// Rotate adds credentials, of the kinds that the device has when none is asked
	// for. The older one of a kind stays valid until the new one is used. What was
	// revoked is valid again.
	Rotate Act = "rotate"
	// Revoke takes all credentials away: nobody may speak for the device.
	Revoke Act = "revoke"
	// Remove ends the registration.
	Remove Act = "remove"
)

// Change is what somebody asks of the registry.
type Change struct {
	Act        Act
	ID         ID
	Name       string // of Register, Approve and Rename
	PSK, Token bool   // of Register and Rotate
	By         string // who asks, for the log
}

// Secrets are new credentials as the device needs them. They are shown once.
type Secrets struct {
	PSK   []byte // nil: none is new
	Token string // empty: none is new
}

// maxName bounds the name of a device, in bytes.
const maxName = 64

// Apply returns the registration after the change, nil when it has ended, and
// the secrets that are new. old is nil when there is none.
func (c *Change) Apply(old *Registration, now Time) (*Registration, Secrets, error) {
	if err := CheckID(string(c.ID)); err != nil {
		return nil, Secrets{}, err
	}
	if err := checkName(c.Name); err != nil {
		return nil, Secrets{}, err
	}
	fresh := &Registration{ID: c.ID, Name: c.Name, Created: now}
	switch c.Act {
	case Register:
		if old != nil {
			return nil, Secrets{}, fmt.Errorf("device %q is %w", c.ID, ErrRegistered)
		}
		return fresh.with(c, now)
	case Approve:
		switch {
		case old == nil:
			return fresh, Secrets{}, nil
		case old.Revoked:
			return nil, Secrets{}, fmt.Errorf("device %q is %w and revoked: rotate gives it a new key, remove forgets it", c.ID, ErrRegistered)
		}
		return old, Secrets{}, nil
	case Revoke:
		if old == nil {
			old = fresh
		}
		return &Registration{ID: c.ID, Name: old.Name, Created: old.Created, Revoked: true}, Secrets{}, nil
	case Rename, Rotate, Remove:
		return c.applyTo(old, now)
	}
	return nil, Secrets{}, fmt.Errorf("%w change of a device: %q", ErrInvalid, c.Act)
}

// applyTo is Apply for acts that need a registration.
func (c *Change) applyTo(old *Registration, now Time) (*Registration, Secrets, error) {
	switch {
	case old == nil:
		return nil, Secrets{}, fmt.Errorf("device %q is %w", c.ID, ErrNotRegistered)
	case c.Act == Rotate:
		return old.with(c, now)
	case c.Act == Remove:
		return nil, Secrets{}, nil
	}
	out := *old
	out.Name = c.Name
	return &out, Secrets{}, nil
}

// with returns the registration with new credentials.
func (r *Registration) with(c *Change, now Time) (*Registration, Secrets, error) {
	has := func(k CredentialKind) bool {
		return slices.ContainsFunc(r.Credentials, func(o Credential) bool { return o.Kind == k })
	}
	psk, token := c.PSK, c.Token
	if !psk && !token {
		psk, token = has(PSK), has(Token)
	}
	if !psk && !token {
		psk = true
	}
	out := *r
	out.Revoked, out.Credentials = false, slices.Clone(r.Credentials)
	var s Secrets
	if psk {
		s.PSK = make([]byte, pskLen)
		_, _ = rand.Read(s.PSK) // never fails
		out.push(Credential{Kind: PSK, Secret: slices.Clone(s.PSK), Created: now})
	}
	if token {
		s.Token = strings.ToLower(rand.Text())
		sum := sha256.Sum256([]byte(s.Token))
		out.push(Credential{Kind: Token, Secret: sum[:], Created: now})
	}
	return &out, s, nil
}

// push adds a credential in the place of one of its kind that was to follow the
// valid one and has never been used.
func (r *Registration) push(c Credential) {
	seen := false
	r.Credentials = slices.DeleteFunc(r.Credentials, func(o Credential) bool {
		drop := o.Kind == c.Kind && seen
		seen = seen || o.Kind == c.Kind
		return drop
	})
	r.Credentials = append(r.Credentials, c)
}

func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("%w name: %d bytes, at most %d", ErrInvalid, len(name), maxName)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("%w name %q: want UTF-8 without control characters", ErrInvalid, name)
	}
	return nil
}
