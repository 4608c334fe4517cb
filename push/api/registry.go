package api

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Registry knows the registered devices.
type Registry interface {
	// Registrations returns all, sorted by id.
	Registrations() []*device.Registration
	Registration(id device.ID) (*device.Registration, bool)
	// Change returns when the change is on the disk; the registration is nil when
	// it has ended.
	Change(c device.Change) (*device.Registration, device.Secrets, error)
}

// maxChange bounds the body of a change and of a command.
const maxChange = 4096

// Registered is a registration as the API tells it: no secret is in it.
type Registered struct {
	ID          device.ID           `json:"id"`
	Name        string              `json:"name,omitempty"`
	Created     millis              `json:"created"`
	Revoked     bool                `json:"revoked,omitempty"`
	Credentials []CredentialSummary `json:"credentials"`
	// Secrets are there once, in the answer to the change that made them.
	Secrets *NewSecrets `json:"secrets,omitempty"`
	// Setup says how the device is told its secrets.
	Setup *Setup `json:"setup,omitempty"`
}

// CredentialSummary is a credential without its secret.
type CredentialSummary struct {
	Kind    string  `json:"kind"`
	Created millis  `json:"created"`
	Used    *millis `json:"used,omitempty"` // first use
}

// NewSecrets are the secrets that a change has made.
type NewSecrets struct {
	PSK   string `json:"psk,omitempty"` // hex
	Token string `json:"token,omitempty"`
}

// Describe returns a registration and the secrets that are new, for a device
// that reaches the gateway as it is told about.
func Describe(r *device.Registration, s device.Secrets, about About) Registered {
	out := Registered{ID: r.ID, Name: r.Name, Created: millis(r.Created), Revoked: r.Revoked, Credentials: []CredentialSummary{}}
	for _, c := range r.Credentials {
		summary := CredentialSummary{Kind: c.Kind.String(), Created: millis(c.Created)}
		if c.Used != 0 {
			used := millis(c.Used)
			summary.Used = &used
		}
		out.Credentials = append(out.Credentials, summary)
	}
	if s.PSK != nil || s.Token != "" {
		out.Secrets = &NewSecrets{PSK: hex.EncodeToString(s.PSK), Token: s.Token}
		out.Setup = NewSetup(r.ID, *out.Secrets, about)
	}
	return out
}

// changeBody is what a change may say.
type changeBody struct {
	ID    *device.ID `json:"id"`
	Name  *string    `json:"name"`
	PSK   bool       `json:"psk"`
	Token bool       `json:"token"`
}

func (a *API) routeRegistry() {
	a.handle("GET /api/v1/registry", a.registrations)
	a.handle("GET /api/v1/registry/{id}", a.registration)
	for pattern, act := range map[string]device.Act{
		"POST /api/v1/registry":              device.Register,
		"PATCH /api/v1/registry/{id}":        device.Rename,
		"DELETE /api/v1/registry/{id}":       device.Remove,
		"POST /api/v1/registry/{id}/approve": device.Approve,
		"POST /api/v1/registry/{id}/rotate":  device.Rotate,
		"POST /api/v1/registry/{id}/revoke":  device.Revoke,
	} {
		a.handle(pattern, a.change(act))
	}
}

func (a *API) registrations(w http.ResponseWriter, _ *http.Request) {
	out := []Registered{}
	for _, r := range a.cfg.Registry.Registrations() {
		out = append(out, Describe(r, device.Secrets{}, About{}))
	}
	waiting := []waitingJSON{}
	for _, d := range a.cfg.Waiting() {
		waiting = append(waiting, d.describe())
	}
	reply(w, map[string]any{"devices": out, "admission": a.cfg.Limits().Admission, "waiting": waiting})
}

func (a *API) registration(w http.ResponseWriter, r *http.Request) {
	id, err := device.ParseID(r.PathValue("id"))
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	reg, ok := a.cfg.Registry.Registration(id)
	if !ok {
		push.Refuse(w, http.StatusNotFound, "not registered: "+string(id))
		return
	}
	reply(w, Describe(reg, device.Secrets{}, About{}))
}

// change answers a request that changes the registry. Pages of other sites,
// which origins may let read, are no place to show secrets in.
func (a *API) change(act device.Act) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !fromHere(w, r, "change the registry") {
			return
		}
		c, err := parseChange(act, r)
		if err != nil {
			push.Refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		reg, secrets, err := a.cfg.Registry.Change(c)
		switch {
		case errors.Is(err, device.ErrInvalid):
			push.Refuse(w, http.StatusBadRequest, err.Error())
		case errors.Is(err, device.ErrNotRegistered):
			push.Refuse(w, http.StatusNotFound, err.Error())
		case errors.Is(err, device.ErrRegistered):
			push.Refuse(w, http.StatusConflict, err.Error())
		case err != nil:
			a.cfg.Logger.Error("the registry cannot be changed", "act", string(act), "device", string(c.ID), "error", err)
			push.Refuse(w, http.StatusInternalServerError, "the registry cannot be changed; the log of the gateway says why")
		case reg == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			if act == device.Register {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusCreated)
			}
			reply(w, Describe(reg, secrets, a.cfg.About()))
		}
	}
}

// fromHere reports whether a request comes from our own page or from no page, or
// answers that its origin may not do it.
func fromHere(w http.ResponseWriter, r *http.Request, do string) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return true
	}
	push.Refuse(w, http.StatusForbidden, "this origin may not "+do)
	return false
}

// shortBody reads a body of at most maxChange bytes. Its errors are for the viewer.
func shortBody(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxChange+1))
	switch {
	case err != nil:
		return nil, errors.New("the body broke off")
	case len(b) > maxChange:
		return nil, errors.New("the body is too long")
	}
	return b, nil
}

// parseChange reads the change that a request asks for. Its errors are for the
// viewer.
func parseChange(act device.Act, r *http.Request) (device.Change, error) {
	var body changeBody
	b, err := shortBody(r)
	if err != nil {
		return device.Change{}, err
	}
	if len(b) > 0 && json.Unmarshal(b, &body) != nil {
		return device.Change{}, errors.New(`want {"id":"…","name":"…","psk":true,"token":true}`)
	}
	c := device.Change{Act: act, ID: device.ID(r.PathValue("id")), PSK: body.PSK, Token: body.Token, By: push.By(r)}
	if act == device.Register && body.ID != nil {
		c.ID = *body.ID
	}
	if body.Name != nil {
		c.Name = *body.Name
	} else if act == device.Rename {
		return device.Change{}, errors.New("name: missing; an empty one takes it away")
	}
	return c, nil
}
