package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/push/dashboard"
)

// routes returns the handler of the HTTP listener. All of it stands behind the
// guard, whose policy says what everybody may have.
func (g *gateway) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range g.handlers() {
		mux.Handle(pattern, h)
	}
	return g.guard.Wrap(mux)
}

// handlers returns what is served, by pattern.
func (g *gateway) handlers() map[string]http.Handler {
	page := dashboard.Handler(dashboard.Config{})
	all := map[string]http.Handler{
		"/api/v1/live":    g.live,
		techniquesPath:    g.live.Negotiation(),
		"/socket.io":      g.live.SocketIO(),
		"/socket.io/{$}":  g.live.SocketIO(),
		"/api/":           g.api,
		"/metrics":        promhttp.HandlerFor(g.registry(), promhttp.HandlerOpts{}),
		"/":               page,
		"/client/":        page,
		"GET /healthz":    http.HandlerFunc(g.healthz),
		"GET /readyz":     http.HandlerFunc(g.readyz),
		"GET " + rootPath: http.HandlerFunc(g.serveRoot),
	}
	for _, path := range api.InfluxPaths() {
		all[path] = g.api
	}
	return all
}

// techniquesPath is where viewers find how live messages can be had.
const techniquesPath = "/api/v1/live/techniques"

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
