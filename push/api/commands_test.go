package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// mailbox is one in memory, with room for two commands.
type mailbox struct {
	all     []device.Command
	orders  []device.Order
	failure error
}

func (m *mailbox) Commands(id device.ID) (out []device.Command) {
	for _, c := range slices.Backward(m.all) {
		if c.Device == id {
			out = append(out, c)
		}
	}
	return out
}

func (m *mailbox) Send(o device.Order) (device.Command, error) {
	m.orders = append(m.orders, o)
	c, err := o.Command(device.TimeOf(now))
	switch {
	case m.failure != nil:
		return c, m.failure
	case err != nil:
		return c, err
	case len(m.all) == 2:
		return c, fmt.Errorf("%w: 2", device.ErrMailboxFull)
	}
	c.ID = uint64(len(m.all) + 1)
	m.all = append(m.all, c)
	return c, nil
}

func (m *mailbox) Cancel(_ context.Context, id device.ID, n uint64) (device.Command, error) {
	for i := range m.all {
		c := &m.all[i]
		if c.Device != id || c.ID != n {
			continue
		}
		if !c.Open() {
			return *c, device.ErrCommandEnded
		}
		c.State, c.Ended = device.CommandCancelled, device.TimeOf(now)
		return *c, nil
	}
	return device.Command{}, device.ErrNoCommand
}

func TestCommands(t *testing.T) {
	m := &mailbox{}
	cfg := config(sample(t), io.Discard)
	cfg.Mailbox = m
	reg := &registry{all: map[device.ID]*device.Registration{"silent": {ID: "silent"}}}
	cfg.Registry = reg
	a := New(cfg)
	const created = `"created":1764000000000,"expires":`
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "gh1/commands", "", 200, `{"commands":[]}`},
		{"GET", "nobody/commands", "", 404, "no such device: nobody"},
		{"GET", "gh%201/commands", "", 400, "invalid device id"},
		{"POST", "nobody/commands", `{"name":"x"}`, 404, "no such device"},
		{"POST", "gh1/commands", ``, 400, "want {"},
		{"POST", "gh1/commands", `[]`, 400, "want {"},
		{"POST", "gh1/commands", `{}`, 400, "invalid name of a command"},
		{"POST", "gh1/commands", `{"name":"a b"}`, 400, "invalid name of a command"},
		{"POST", "gh1/commands", `{"name":"x","ttl":"soon"}`, 400, "ttl"},
		{"POST", "gh1/commands", `{"name":"x","ttl":true}`, 400, "ttl"},
		{"POST", "gh1/commands", `{"name":"x","ttl":0}`, 400, "ttl"},
		{"POST", "gh1/commands", `{"name":"x","ttl":"1000h"}`, 400, "time to live"},
		{"POST", "gh1/commands", `{"name":"x","value":"` + strings.Repeat("x", 600) + `"}`, 400, "at most 512"},
		{"POST", "gh1/commands", strings.Repeat(" ", 5000), 400, "too long"},
		{"POST", "gh1/commands", `{"name":"relay","value": {"on": true},"ttl":"10m"}`, 201, `{"id":1,"device":"gh1","name":"relay","value":{"on":true},"state":"waiting",` + created + `1764000600000,"tries":0}`},
		{"POST", "silent/commands", `{"name":"reboot","ttl":90}`, 201, `{"id":2,"device":"silent","name":"reboot","state":"waiting",` + created + `1764000090000,"tries":0}`},
		{"POST", "gh1/commands", `{"name":"relay"}`, 409, "too many commands wait"},
		{"GET", "gh1/commands", "", 200, `{"commands":[{"id":1,"device":"gh1"`},
		{"DELETE", "gh1/commands/7", "", 404, "no such command"},
		{"DELETE", "gh1/commands/x", "", 400, "no number of a command"},
		{"DELETE", "gh1/commands/1", "", 200, `"state":"cancelled",` + created + `1764000600000,"tries":0,"ended":1764000000000}`},
		{"DELETE", "gh1/commands/1", "", 409, "has ended already"},
		{"PUT", "gh1/commands", "", 404, "no such resource"},
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "/api/v1/devices/"+c.path, strings.NewReader(c.body)))
		if got := strings.ReplaceAll(w.Body.String(), `\"`, `"`); w.Code != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s %s %.60s: %d %s\nwant %d %s", c.method, c.path, c.body, w.Code, got, c.status, c.want)
		}
	}
	if o := m.orders[len(m.orders)-1]; o.Life != time.Hour || !strings.Contains(o.By, ":") {
		t.Errorf("%+v, want an hour and who asks", o)
	}
	m.failure = errors.New("the disk is gone from /var/lib/secret")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/devices/gh1/commands", strings.NewReader(`{"name":"x"}`)))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestDescribeCommand(t *testing.T) {
	c := device.Command{ID: 3, Device: "gh1", Name: "x", State: device.CommandFailed, Created: 1000, Expires: 2000, Sent: 1100, Tries: 2, Ended: 1200, Result: "stuck"}
	sent, ended := millis(1100), millis(1200)
	want := Command{ID: 3, Device: "gh1", Name: "x", State: "failed", Created: 1000, Expires: 2000, Sent: &sent, Tries: 2, Ended: &ended, Result: "stuck"}
	if d := cmp.Diff(want, DescribeCommand(&c)); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

// Pages of other sites change nothing.
func TestForeignOrigin(t *testing.T) {
	m := &mailbox{}
	cfg := config(sample(t), io.Discard)
	cfg.Mailbox = m
	a := New(cfg)
	for _, c := range []struct{ method, path string }{
		{"POST", "/api/v1/devices/gh1/commands"}, {"DELETE", "/api/v1/devices/gh1/commands/1"}, {"POST", "/api/v1/registry"},
	} {
		for site, status := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 400, "none": 400} {
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
			r.Header.Set("Sec-Fetch-Site", site)
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if c.method == "DELETE" && status == 400 {
				status = 404
			}
			if w.Code != status {
				t.Errorf("%s %s from %s: %d %s", c.method, c.path, site, w.Code, w.Body)
			}
		}
	}
	if len(m.orders) > 0 {
		t.Errorf("orders %+v", m.orders)
	}
}
