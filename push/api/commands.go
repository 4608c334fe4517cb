package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Mailbox keeps commands for devices. Its errors wrap those of package device.
type Mailbox interface {
	// Commands returns those of a device, the newest first.
	Commands(id device.ID) []device.Command
	// Send returns when the command is on the disk.
	Send(o device.Order) (device.Command, error)
	// Cancel returns when the command has ended on the disk.
	Cancel(ctx context.Context, id device.ID, n uint64) (device.Command, error)
}

// Command is a command as the API tells it.
type Command struct {
	ID      uint64          `json:"id"`
	Device  device.ID       `json:"device"`
	Name    string          `json:"name"`
	Value   json.RawMessage `json:"value,omitempty"`
	State   string          `json:"state"`
	Created millis          `json:"created"`
	Expires millis          `json:"expires"`
	Sent    *millis         `json:"sent,omitempty"` // when the device was first told
	Tries   int             `json:"tries"`          // how often it was told
	Ended   *millis         `json:"ended,omitempty"`
	Result  string          `json:"result,omitempty"` // what the device says of it
}

// DescribeCommand returns the command as the API tells it.
func DescribeCommand(c *device.Command) Command {
	out := Command{
		ID: c.ID, Device: c.Device, Name: c.Name, Value: c.Value, State: c.State.String(),
		Created: millis(c.Created), Expires: millis(c.Expires), Tries: c.Tries, Result: c.Result,
	}
	if c.Sent != 0 {
		sent := millis(c.Sent)
		out.Sent = &sent
	}
	if c.Ended != 0 {
		ended := millis(c.Ended)
		out.Ended = &ended
	}
	return out
}

func (a *API) routeCommands() {
	a.handle("GET /api/v1/devices/{id}/commands", a.commands)
	a.handle("POST /api/v1/devices/{id}/commands", a.sendCommand)
	a.handle("DELETE /api/v1/devices/{id}/commands/{n}", a.cancelCommand)
}

// knownDevice returns the device of the path, or answers that there is none.
func (a *API) knownDevice(w http.ResponseWriter, r *http.Request) (device.ID, bool) {
	id, err := device.ParseID(r.PathValue("id"))
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return "", false
	}
	_, known := a.cfg.Catalog.Device(id)
	if !known {
		_, known = a.cfg.Registry.Registration(id)
	}
	if !known {
		push.Refuse(w, http.StatusNotFound, "no such device: "+string(id))
	}
	return id, known
}

func (a *API) commands(w http.ResponseWriter, r *http.Request) {
	id, ok := a.knownDevice(w, r)
	if !ok {
		return
	}
	out := []Command{}
	for _, c := range a.cfg.Mailbox.Commands(id) {
		out = append(out, DescribeCommand(&c))
	}
	reply(w, map[string]any{"commands": out})
}

func (a *API) sendCommand(w http.ResponseWriter, r *http.Request) {
	if !fromHere(w, r, "send commands") {
		return
	}
	id, ok := a.knownDevice(w, r)
	if !ok {
		return
	}
	o, err := parseOrder(r)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	o.Device = id
	c, err := a.cfg.Mailbox.Send(o)
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
	}
	a.answerCommand(w, &c, err)
}

func (a *API) cancelCommand(w http.ResponseWriter, r *http.Request) {
	if !fromHere(w, r, "cancel commands") {
		return
	}
	id, ok := a.knownDevice(w, r)
	if !ok {
		return
	}
	n, err := strconv.ParseUint(r.PathValue("n"), 10, 64)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, fmt.Sprintf("%q is no number of a command", r.PathValue("n")))
		return
	}
	c, err := a.cfg.Mailbox.Cancel(r.Context(), id, n)
	a.answerCommand(w, &c, err)
}

func (a *API) answerCommand(w http.ResponseWriter, c *device.Command, err error) {
	switch {
	case err == nil:
		reply(w, DescribeCommand(c))
	case errors.Is(err, device.ErrInvalid):
		push.Refuse(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, device.ErrNoCommand):
		push.Refuse(w, http.StatusNotFound, err.Error())
	case errors.Is(err, device.ErrMailboxFull), errors.Is(err, device.ErrCommandEnded):
		push.Refuse(w, http.StatusConflict, err.Error())
	default:
		a.cfg.Logger.Error("a command cannot be kept", "error", err)
		push.Refuse(w, http.StatusInternalServerError, "the command cannot be kept; the log of the gateway says why")
	}
}

// parseOrder reads what a command is to be. Its errors are for the viewer.
func parseOrder(r *http.Request) (device.Order, error) {
	var body struct {
		Name  string          `json:"name"`
		Value json.RawMessage `json:"value"`
		TTL   json.RawMessage `json:"ttl"`
	}
	b, err := shortBody(r)
	if err != nil {
		return device.Order{}, err
	}
	if json.Unmarshal(b, &body) != nil {
		return device.Order{}, errors.New(`want {"name":"…","value":…,"ttl":"1h"}`)
	}
	o := device.Order{Name: body.Name, Value: body.Value, Life: device.DefaultCommandLife, By: push.By(r)}
	if body.TTL != nil {
		if o.Life, err = parseLife(body.TTL); err != nil {
			return device.Order{}, err
		}
	}
	return o, nil
}

// parseLife takes a duration as text, or a number of seconds.
func parseLife(text []byte) (time.Duration, error) {
	var s string
	var seconds float64
	if json.Unmarshal(text, &s) == nil {
		if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
	} else if json.Unmarshal(text, &seconds) == nil && seconds > 0 && seconds < 1e9 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	return 0, fmt.Errorf("ttl %.40s: want a duration such as \"10m\", or seconds", text)
}
