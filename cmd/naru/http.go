package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/push/auth"
	"github.com/naru-telemetry/naru/push/dashboard"
)

// routes returns the handler of the HTTP listener. Health, also as clients of
// InfluxDB ask for it, is open to everybody and tells nothing else, and so is the
// root by which devices know the gateway; all the rest passes the guard.
func (g *gateway) routes(guard *auth.Guard) http.Handler {
	inner := http.NewServeMux()
	inner.Handle("/api/v1/live", g.live)
	inner.Handle("/socket.io", g.live.SocketIO())
	inner.Handle("/socket.io/{$}", g.live.SocketIO())
	inner.Handle("/api/", g.api)
	inner.Handle("/metrics", promhttp.HandlerFor(g.registry(), promhttp.HandlerOpts{}))
	inner.Handle("/", dashboard.Handler(dashboard.Config{}))

	outer := http.NewServeMux()
	outer.HandleFunc("GET /healthz", g.healthz)
	outer.HandleFunc("GET /readyz", g.readyz)
	outer.HandleFunc("GET "+rootPath, g.serveRoot)
	guarded, open := api.InfluxPaths()
	for _, path := range guarded {
		outer.Handle(path, guard.WrapInflux(g.api))
	}
	for _, path := range open {
		outer.Handle(path, g.api)
	}
	outer.Handle("/", guard.Wrap(inner))
	return outer
}

// healthz says whether what is taken can be kept.
func (g *gateway) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := g.store.Healthy(); err != nil {
		g.log.Debug("health was asked for while commits fail", "error", err)
		why := "readings cannot be written to the disk"
		if g.store.Full() {
			why += ": it is full"
		}
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ok")
}

// readyz says whether the gateway takes readings and viewers.
func (g *gateway) readyz(w http.ResponseWriter, _ *http.Request) {
	if !g.ready.Load() {
		http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}
