package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

const (
	// maxOrder bounds the body of an order: the most and longest patterns fit.
	maxOrder = 16 << 10
	// bodyTime is how long a body may take to come.
	bodyTime = 10 * time.Second
)

// hurry ends a client that takes long to send a body.
func hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // fails only when the client is gone
}

// Access is an access token as the API tells it, which is not the token.
type Access struct {
	ID      uint64          `json:"id"`
	Name    string          `json:"name"`
	Role    string          `json:"role"`
	Devices []string        `json:"devices"` // patterns; none: all
	Created json.RawMessage `json:"created"` // milliseconds
	Expires json.RawMessage `json:"expires,omitempty"`
	// Used is the last request since the start of the gateway.
	Used json.RawMessage `json:"used,omitempty"`
	// State is valid, expired or damaged.
	State string `json:"state"`
	// Token is there once, in the answer to the request that made it.
	Token string `json:"token,omitempty"`
}

// Describe returns the grant as the API tells it.
func Describe(g *device.Grant, used, now device.Time, token string) Access {
	a := Access{ID: g.ID, Name: g.Name, Role: g.Role.String(), Devices: g.Devices, Created: g.Created.AppendMillis(nil), State: "valid", Token: token}
	if a.Devices == nil {
		a.Devices = []string{}
	}
	if g.Expires != 0 {
		a.Expires = g.Expires.AppendMillis(nil)
	}
	if used != 0 {
		a.Used = used.AppendMillis(nil)
	}
	switch {
	case g.Damaged:
		a.State = "damaged"
	case g.Expired(now):
		a.State = "expired"
	}
	return a
}

// session tells who asks what he may.
func (g *Guard) session(w http.ResponseWriter, r *http.Request, h *holder) {
	if r.Method != http.MethodGet {
		refuseMethod(w, "GET")
		return
	}
	out := struct {
		Name    string          `json:"name"`
		Role    string          `json:"role"`
		Devices []string        `json:"devices"`
		Expires json.RawMessage `json:"expires,omitempty"`
		// Token is whether there is a token that could be revoked, or a session that
		// could be left.
		Token bool `json:"token"`
	}{Name: h.grant.Name, Role: h.grant.Role.String(), Devices: h.grant.Devices, Token: h.grant.Hash != nil}
	if out.Devices == nil {
		out.Devices = []string{}
	}
	if h.grant.Expires != 0 {
		out.Expires = h.grant.Expires.AppendMillis(nil)
	}
	reply(w, http.StatusOK, out)
}

// access serves the list of the access tokens, and makes new ones.
func (g *Guard) access(w http.ResponseWriter, r *http.Request) {
	switch {
	case g.grants == nil:
		push.Refuse(w, http.StatusNotFound, "no such resource")
	case r.Method == http.MethodGet:
		out, now := []Access{}, device.TimeOf(g.now())
		for _, grant := range g.grants.Grants() {
			out = append(out, Describe(grant, g.holders.used(grant.ID), now, ""))
		}
		reply(w, http.StatusOK, map[string]any{"access": out})
	case r.Method == http.MethodPost:
		g.grant(w, r)
	default:
		refuseMethod(w, "GET, POST")
	}
}

// grant makes an access token.
func (g *Guard) grant(w http.ResponseWriter, r *http.Request) {
	hurry(w)
	o, err := parseGrantOrder(r.Body)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	o.By = push.By(r)
	g.granting.Lock()
	defer g.granting.Unlock()
	made, token, err := g.grants.Grant(o)
	if err != nil {
		g.refuseChange(w, err)
		return
	}
	h, err := newHolder(made)
	if err != nil {
		g.refuseChange(w, err)
		return
	}
	g.holders.add(h)
	reply(w, http.StatusCreated, Describe(made, 0, made.Created, token))
}

// oneAccess revokes an access token.
func (g *Guard) oneAccess(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], 10, 64)
	switch {
	case g.grants == nil, err != nil:
		push.Refuse(w, http.StatusNotFound, "no such access")
		return
	case r.Method != http.MethodDelete:
		refuseMethod(w, "DELETE")
		return
	}
	g.granting.Lock()
	defer g.granting.Unlock()
	if _, err := g.grants.Revoke(id, push.By(r)); err != nil {
		g.refuseChange(w, err)
		return
	}
	g.holders.remove(id)
	w.WriteHeader(http.StatusNoContent)
}

func (g *Guard) refuseChange(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, device.ErrInvalid):
		push.Refuse(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, device.ErrNotGranted):
		push.Refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, device.ErrGranted), errors.Is(err, device.ErrTooManyGrants):
		push.Refuse(w, http.StatusConflict, err.Error())
	default:
		g.log.Error("access cannot be changed", "error", err)
		push.Refuse(w, http.StatusInternalServerError, "access cannot be changed; the log of the gateway says why")
	}
}

// parseGrantOrder reads what access is asked for. Its errors are for the viewer.
func parseGrantOrder(in io.Reader) (device.GrantOrder, error) {
	var body struct {
		Name    string          `json:"name"`
		Role    string          `json:"role"`
		Devices []string        `json:"devices"`
		TTL     json.RawMessage `json:"ttl"`
	}
	b, err := io.ReadAll(io.LimitReader(in, maxOrder+1))
	switch {
	case err != nil:
		return device.GrantOrder{}, errors.New("the body broke off")
	case len(b) > maxOrder:
		return device.GrantOrder{}, errors.New("the body is too long")
	case json.Unmarshal(b, &body) != nil:
		return device.GrantOrder{}, errors.New(`want {"name":"…","role":"viewer","devices":["…"],"ttl":"30d"}`)
	}
	o := device.GrantOrder{Name: body.Name, Devices: body.Devices}
	if o.Role, err = device.ParseRole(body.Role); err != nil {
		return device.GrantOrder{}, err
	}
	if body.TTL != nil && string(body.TTL) != "null" {
		if o.Life, err = parseLife(body.TTL); err != nil {
			return device.GrantOrder{}, err
		}
	}
	return o, nil
}

// parseLife takes a duration as text, also in days, or a number of seconds.
func parseLife(text []byte) (time.Duration, error) {
	var s string
	var seconds float64
	if json.Unmarshal(text, &s) == nil {
		if days, ok := strings.CutSuffix(s, "d"); ok {
			if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
				return time.Duration(n) * 24 * time.Hour, nil
			}
		} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
			return d, nil
		}
	} else if json.Unmarshal(text, &seconds) == nil && seconds > 0 && seconds <= device.MaxGrantLife.Seconds() {
		return max(time.Duration(seconds*float64(time.Second)), time.Microsecond), nil
	}
	return 0, fmt.Errorf("ttl %.40s: want a duration such as \"30d\", or seconds", text)
}

func refuseMethod(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow)
	push.Refuse(w, http.StatusMethodNotAllowed, "want "+strings.Join(strings.Split(allow, ", "), " or "))
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only when the viewer is gone
}
