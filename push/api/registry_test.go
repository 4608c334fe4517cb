package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"rsc.io/qr"

	"github.com/naru-telemetry/naru/device"
)

// registry is one in memory.
type registry struct {
	all     map[device.ID]*device.Registration
	failure error
	asked   []device.Change
}

func (r *registry) Registrations() (all []*device.Registration) {
	for _, id := range []device.ID{"gh1", "gh2"} {
		if reg := r.all[id]; reg != nil {
			all = append(all, reg)
		}
	}
	return all
}

func (r *registry) Registration(id device.ID) (*device.Registration, bool) {
	reg, ok := r.all[id]
	return reg, ok
}

func (r *registry) Change(c device.Change) (*device.Registration, device.Secrets, error) {
	r.asked = append(r.asked, c)
	if r.failure != nil {
		return nil, device.Secrets{}, r.failure
	}
	reg, s, err := c.Apply(r.all[c.ID], device.TimeOf(now))
	if err == nil {
		r.all[c.ID] = reg
		if reg == nil {
			delete(r.all, c.ID)
		}
	}
	return reg, s, err
}

func TestRegistry(t *testing.T) {
	reg := &registry{all: map[device.ID]*device.Registration{}}
	cfg := config(sample(t), io.Discard)
	cfg.Registry = reg
	a := New(cfg)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "", "", 200, `"devices":[],"waiting":[{"id":"new"`},
		{"POST", "", `{"id":"gh1","name":"Glashaus"}`, 201, `"name":"Glashaus","created":1764000000000,"credentials":[{"kind":"psk","created":1764000000000}],"secrets":{"psk":"`},
		{"POST", "", `{"id":"gh1"}`, 409, `registered already`},
		{"POST", "", `{"id":"gh 1"}`, 400, `invalid device id`},
		{"POST", "", ``, 400, `invalid device id`},
		{"POST", "", `[1]`, 400, `want {`},
		{"POST", "", strings.Repeat(" ", 5000), 400, `too long`},
		{"GET", "/gh1", "", 200, `{"id":"gh1","name":"Glashaus","created":1764000000000,"credentials":[{"kind":"psk","created":1764000000000}]}`},
		{"GET", "/gh2", "", 404, `not registered: gh2`},
		{"GET", "/gh%202", "", 400, `invalid device id`},
		{"PATCH", "/gh1", `{"name":""}`, 200, `{"id":"gh1","created"`},
		{"PATCH", "/gh1", `{}`, 400, `name: missing`},
		{"PATCH", "/gh2", `{"name":"x"}`, 404, `not registered`},
		{"POST", "/gh1/rotate", `{"token":true}`, 200, `"secrets":{"token":"`},
		{"POST", "/gh1/revoke", "", 200, `"revoked":true,"credentials":[]}`},
		{"POST", "/gh1/approve", "", 409, `revoked`},
		{"POST", "/gh2/approve", "", 200, `{"id":"gh2"`},
		{"GET", "", "", 200, `"devices":[{"id":"gh1","created":1764000000000,"revoked":true,"credentials":[]},{"id":"gh2","created":1764000000000,"credentials":[]}]`},
		{"DELETE", "/gh2", "", 204, ``},
		{"DELETE", "/gh2", "", 404, `not registered`},
	} {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), c.method, "/api/v1/registry"+c.path, strings.NewReader(c.body)))
		if got := strings.ReplaceAll(w.Body.String(), `\"`, `"`); w.Code != c.status || !strings.Contains(got, c.want) {
			t.Errorf("%s %s %.60s: %d %s\nwant %d %s", c.method, c.path, c.body, w.Code, got, c.status, c.want)
		}
	}
	if c := reg.asked[0]; c.By == "" || !strings.Contains(c.By, ":") {
		t.Errorf("who asks is not told: %+v", c)
	}
	reg.failure = errors.New("the disk is gone from /var/lib/secret")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/registry/gh1/rotate", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSetup(t *testing.T) {
	const psk, token = "00ff10e0c0ffee000000000000000000", "abcdefghijklmnopqrstuvwxyz"
	for _, c := range []struct {
		name      string
		secrets   NewSecrets
		about     About
		uri       string
		platforms string
		has       []string
	}{
		{
			"a key",
			NewSecrets{PSK: psk},
			About{Addresses: []string{"192.168.1.2", "10.0.0.1"}, UDP: 7700, TCP: 7701},
			"naru://192.168.1.2:7700/gh1?psk=" + psk, "shell (openssl), C (mbedTLS: ESP-IDF, Arduino-ESP32), C (Zephyr)",
			[]string{"-connect 192.168.1.2:7700 -psk_identity gh1 -psk " + psk, "{0x00,0xff,0x10,0xe0,0xc0,", `"192.168.1.2", "7700"`},
		},
		{
			"a token",
			NewSecrets{Token: token},
			About{Addresses: []string{"192.168.1.2"}, UDP: 7700, TCP: 7701},
			"naru://192.168.1.2:7700/gh1?token=" + token, "shell, Python, MicroPython, Arduino (ESP32, ESP8266)",
			[]string{"echo 'climate,device=gh1,token=" + token + " temp=21.5' | nc -u -w1 192.168.1.2 7700", `s.connect(("192.168.1.2", 7700))`},
		},
		{
			"streams only",
			NewSecrets{PSK: psk, Token: token},
			About{Addresses: []string{"fd00::2"}, TCP: 7701},
			"naru://[fd00::2]:7701/gh1?psk=" + psk + "&token=" + token, "shell, Python, MicroPython",
			[]string{"nc -w1 fd00::2 7701", "SOCK_STREAM"},
		},
		{"nothing listens", NewSecrets{Token: token}, About{}, "naru://127.0.0.1:0/gh1?token=" + token, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewSetup("gh1", c.secrets, c.about)
			var platforms []string
			all := ""
			for _, sn := range s.Snippets {
				platforms = append(platforms, sn.Platform)
				all += sn.Text + "\n"
			}
			if s.URI != c.uri || strings.Join(platforms, ", ") != c.platforms {
				t.Errorf("%s for %q; want %s for %q", s.URI, platforms, c.uri, c.platforms)
			}
			for _, want := range c.has {
				if !strings.Contains(all, want) {
					t.Errorf("the snippets do not say %s:\n%s", want, all)
				}
			}
			code, err := qr.Encode(c.uri, qr.M)
			if err != nil || len(s.QR) != code.Size || slices.ContainsFunc(s.QR, func(row string) bool { return len(row) != code.Size }) {
				t.Fatalf("%d rows of the QR code: %v", len(s.QR), err)
			}
			for _, finder := range []int{0, code.Size - 7} { // the squares by which a camera finds it
				if s.QR[0][finder:finder+7] != "#######" || s.QR[1][finder:finder+7] != "#     #" || s.QR[3][finder:finder+7] != "# ### #" {
					t.Errorf("no finder pattern at %d", finder)
				}
			}
		})
	}
}

// FuzzChange: whatever is asked for is refused or is a change that can be applied
// or refused.
func FuzzChange(f *testing.F) {
	f.Add("add", "gh1", `{"id":"gh1","name":"Glashaus","psk":true,"token":true}`)
	f.Add("rename", "gh1", `{"name":""}`)
	f.Add("rotate", "gh1", `{"psk":1}`)
	f.Add("remove", "", ``)
	f.Fuzz(func(t *testing.T, act, id, body string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.SetPathValue("id", id)
		c, err := parseChange(device.Act(act), r)
		if err != nil {
			return
		}
		reg, secrets, err := c.Apply(nil, 1)
		if err != nil || reg == nil {
			return
		}
		if device.CheckID(reg.ID) != nil || len(reg.Name) > 64 {
			t.Fatalf("%s %q gives %+v", act, body, reg)
		}
		if out := Describe(reg, secrets, About{UDP: 1, TCP: 1}); out.Setup != nil && len(out.Setup.QR) == 0 {
			t.Fatalf("%s has no QR code", out.Setup.URI)
		}
	})
}
