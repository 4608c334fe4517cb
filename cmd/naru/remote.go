package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/rows"
)

// remote is a running gateway, over HTTP.
type remote struct {
	base  *url.URL
	token string // empty: none is needed
	// client knows the gateway's certificate, where the system's roots do not.
	client *http.Client
}

// newRemote returns the gateway at address. The token may stand in the flag, in
// the address or in the environment, in this order.
func newRemote(address, token, envToken string) (*remote, error) {
	base, err := url.Parse(address)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, &usageError{fmt.Errorf("url: want something like http://192.168.1.20:7780, not %q", address)}
	}
	return &remote{base, cmp.Or(token, base.Query().Get("token"), envToken), http.DefaultClient}, nil
}

// envToken returns NARU_TOKEN.
func envToken(environ []string) (token string) {
	for _, kv := range environ {
		if t, ok := strings.CutPrefix(kv, "NARU_TOKEN="); ok {
			token = t
		}
	}
	return token
}

// request returns a request for the path below the gateway's address.
func (r *remote) request(ctx context.Context, method, path string, q url.Values, body io.Reader) (*http.Request, error) {
	target := r.base.JoinPath(path)
	target.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, target.String(), body)
	if err != nil {
		return nil, err
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	return req, nil
}

// get asks for the path. An answer other than 200 is a *statusError.
func (r *remote) get(ctx context.Context, path string, q url.Values) (*http.Response, error) {
	req, err := r.request(ctx, http.MethodGet, path, q, nil)
	if err != nil {
		return nil, err
	}
	return r.do(req)
}

// do makes a request. An answer other than 200 is a *statusError.
func (r *remote) do(req *http.Request) (*http.Response, error) {
	resp, err := r.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(errorOf(resp), resp.Body.Close())
	}
	return resp, nil
}

// statusError is an answer other than 200.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

// errorOf returns what an answer other than 200 says.
func errorOf(resp *http.Response) *statusError {
	var m struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, 4096)).Decode(&m) // without a text the status says enough
	return &statusError{resp.StatusCode, strings.TrimSuffix(resp.Status+": "+printable(m.Error), ": ")}
}

// getJSON asks for the path and decodes the answer into v.
func (r *remote) getJSON(ctx context.Context, path string, q url.Values, v any) error {
	resp, err := r.get(ctx, path, q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("the gateway sent something else than an answer: %w", err)
	}
	return nil
}

// read calls yield for the readings of q, as storage.Log does.
func (r *remote) read(ctx context.Context, q url.Values, yield func(*device.Stored) error) error {
	q = maps.Clone(q)
	q.Set("format", "ndjson")
	q.Set("exact", "1")
	resp, err := r.get(ctx, "api/v1/readings", q)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	d := rows.NewDecoder(resp.Body, rows.Config{Format: rows.NDJSON})
	for {
		b, err := d.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("the answer broke off: %w", err)
		case len(b.Refused) > 0:
			return fmt.Errorf("the gateway sent something else than a reading: line %d: %s", b.Refused[0].Line, b.Refused[0].Err)
		}
		for i := range b.Readings {
			if err := yield(&device.Stored{Offset: b.Offsets[i], Reading: b.Readings[i]}); err != nil {
				return err
			}
		}
	}
}

// count returns how many readings q has.
func (r *remote) count(ctx context.Context, q url.Values) (int64, error) {
	var answer struct {
		Count int64 `json:"count"`
	}
	err := r.getJSON(ctx, "api/v1/readings/count", q, &answer)
	return answer.Count, err
}
