package device

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Errors of grants that a caller may branch on.
var (
	ErrGranted       = errors.New("in use")
	ErrNotGranted    = errors.New("no such access")
	ErrTooManyGrants = errors.New("too many access tokens")
)

// Role is what the owner of an access token may do over HTTP.
type Role uint8

// The roles.
const (
	RoleViewer Role = iota + 1 // look at readings
	RoleWriter                 // write readings
	RoleAdmin                  // everything
)

// Roles are all roles there are.
var Roles = []Role{RoleViewer, RoleWriter, RoleAdmin}

// String returns the role's name: viewer, writer, admin.
func (r Role) String() string {
	switch r {
	case RoleViewer:
		return "viewer"
	case RoleWriter:
		return "writer"
	case RoleAdmin:
		return "admin"
	}
	return "unknown"
}

// ParseRole returns the role of this name.
func ParseRole(name string) (Role, error) {
	if i := slices.IndexFunc(Roles, func(r Role) bool { return r.String() == name }); i >= 0 {
		return Roles[i], nil
	}
	return 0, fmt.Errorf("%w role %.40q: want viewer, writer or admin", ErrInvalid, name)
}

// Grant is an access token as the gateway knows it. It is shared and never
// changed.
type Grant struct {
	ID   uint64 // from 1
	Name string // for people; no other grant has it
	Role Role
	// Devices limits the grant to those that match one of the patterns, for which
	// there are no others; nil means none.
	Devices []string
	// Hash is the SHA-256 of the token, which has 130 random bits; see Credential.
	Hash    []byte
	Created Time
	Expires Time // 0: never
	// Damaged says that nothing but the id is known. Nobody has the token of such
	// a grant.
	Damaged bool
}

// Limit returns the selector of the devices that the grant is limited to, which
// is the zero Selector when it is not.
func (g *Grant) Limit() (Selector, error) { return NewSelector(g.Devices, nil) }

// Expired reports whether the grant has ended by its time.
func (g *Grant) Expired(now Time) bool { return g.Expires != 0 && now >= g.Expires }

// MaxGrantLife bounds the life of a grant that ends: a hundred years.
const MaxGrantLife = 100 * 365 * 24 * time.Hour

// GrantOrder is an access token that somebody asks for.
type GrantOrder struct {
	Name    string
	Role    Role
	Devices []string
	Life    time.Duration // 0: for ever
	By      string        // who asks, for the log
}

// Grant returns the grant, without its id, and its token, which is shown once.
func (o *GrantOrder) Grant(now Time) (*Grant, string, error) {
	if err := checkName(o.Name); err != nil {
		return nil, "", err
	}
	switch {
	case strings.TrimSpace(o.Name) == "":
		return nil, "", fmt.Errorf("%w name: it is empty", ErrInvalid)
	case !slices.Contains(Roles, o.Role):
		return nil, "", fmt.Errorf("%w role: want viewer, writer or admin", ErrInvalid)
	case o.Life < 0, o.Life > MaxGrantLife:
		return nil, "", fmt.Errorf("%w life: want more than nothing, and at most a hundred years", ErrInvalid)
	case o.Role == RoleAdmin && len(o.Devices) > 0:
		return nil, "", fmt.Errorf("%w devices: an admin can give access to all, and cannot be limited", ErrInvalid)
	case slices.ContainsFunc(o.Devices, func(p string) bool { return strings.TrimSpace(p) == "" }):
		return nil, "", fmt.Errorf("%w device pattern: it is empty; without any the access is to all", ErrInvalid)
	}
	if _, err := NewSelector(o.Devices, nil); err != nil {
		return nil, "", err
	}
	token := strings.ToLower(rand.Text())
	sum := sha256.Sum256([]byte(token))
	g := &Grant{Name: o.Name, Role: o.Role, Devices: slices.Clone(o.Devices), Hash: sum[:], Created: now}
	if o.Life > 0 {
		g.Expires = now + Time(o.Life.Microseconds())
	}
	return g, token, nil
}
