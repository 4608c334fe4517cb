package auth

import (
	"net/http"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// BenchmarkGuard is what the guard adds to a request that it lets through.
func BenchmarkGuard(b *testing.B) {
	m := &memory{now: time.Now}
	_, secret, err := m.Grant(device.GrantOrder{Name: "kitchen", Role: device.RoleViewer, Devices: []string{"gh*"}})
	if err != nil {
		b.Fatal(err)
	}
	g := guard(b, Config{Token: token, Grants: m})
	c := g.sessions.cookie(m.all[0], time.Now(), false)
	h := g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for name, fields := range map[string][]string{
		"token": {"Authorization", "Bearer " + secret}, "session": {"Cookie", c.Name + "=" + c.Value}, "first": {"Authorization", "Bearer " + token},
	} {
		b.Run(name, func(b *testing.B) {
			r := request(b.Context(), "/api/v1/readings?device=gh1", fields)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(discard{}, r)
			}
		})
	}
	b.Run("here", func(b *testing.B) {
		r := request(b.Context(), "/api/v1/readings?device=gh1", []string{"Accept", "*/*"})
		r.RemoteAddr, r.Host = "127.0.0.1:5000", "localhost"
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(discard{}, r)
		}
	})
}
