package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// Bounds of a request to the gateway's registry.
const (
	registrarTimeout = time.Minute
	maxRegistration  = 1 << 20
)

// registrar has a gateway make secrets.
type registrar struct {
	api    string // address without a slash at its end
	access string // token; may be empty
}

// secret registers a device and returns its new secret. One that is registered gets
// another one, and the former is valid until that is used.
func (r *registrar) secret(ctx context.Context, id device.ID, psk bool) (secretText, error) {
	body := map[string]any{"id": id, "psk": psk, "token": !psk}
	status, s, err := r.post(ctx, "/api/v1/registry", body)
	if status == http.StatusConflict {
		_, s, err = r.post(ctx, "/api/v1/registry/"+string(id)+"/rotate", body)
	}
	if err == nil && s == (secretText{}) {
		err = errors.New("the gateway has made no secret")
	}
	return s, err
}

// post asks for a change. An error comes with the status, if there is one.
func (r *registrar) post(ctx context.Context, path string, body any) (status int, s secretText, err error) {
	ctx, cancel := context.WithTimeout(ctx, registrarTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return 0, s, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.api+path, bytes.NewReader(text))
	if err != nil {
		return 0, s, err
	}
	if r.access != "" {
		req.Header.Set("Authorization", "Bearer "+r.access)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, s, err
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct {
		Secrets secretText `json:"secrets"`
		Error   string     `json:"error"`
	}
	got, err := io.ReadAll(io.LimitReader(resp.Body, maxRegistration))
	if err != nil {
		return resp.StatusCode, s, err
	}
	if json.Unmarshal(got, &answer) != nil || resp.StatusCode/100 != 2 {
		return resp.StatusCode, s, fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	return resp.StatusCode, answer.Secrets, nil
}
