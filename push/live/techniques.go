package live

import (
	"encoding/json"
	"net/http"
	"time"
)

// offer is a technique as the negotiation document tells of it.
type offer struct {
	Name string `json:"name"`
	// URL is relative to that of the document.
	URL string `json:"url"`
	// Header and Query are what asks for the technique; a value in angle brackets is
	// to be filled in.
	Header map[string]string `json:"header,omitempty"`
	Query  map[string]string `json:"query,omitempty"`
}

// offers returns what there is, the best first.
func (h *Handler) offers() []offer {
	const after, wait = "<cursor>", "25s"
	all := []offer{
		{Name: WebSocket.String(), URL: "../live", Header: map[string]string{"Upgrade": "websocket"}},
		{Name: "socketio", URL: "../../../socket.io/", Query: map[string]string{"EIO": "4", "transport": "<polling or websocket>"}},
		{Name: ServerSentEvents.String(), URL: "../live", Header: map[string]string{"Accept": "text/event-stream"}},
		{Name: Stream.String(), URL: "../live", Header: map[string]string{"Accept": "application/x-ndjson"}},
		{Name: LongPolling.String(), URL: "../live", Query: map[string]string{"after": after, "wait": wait}},
		{Name: Polling.String(), URL: "../live", Query: map[string]string{"after": after}},
	}
	if h.iframe {
		all = append(all, offer{Name: Iframe.String(), URL: "../live", Header: map[string]string{"Accept": "text/html"}, Query: map[string]string{"iframe": "<function>"}})
	}
	if h.jsonp {
		all = append(all, offer{Name: JSONP.String(), URL: "../live", Query: map[string]string{"after": after, "wait": wait, "callback": "<function>"}})
	}
	return all
}

// Negotiation is GET /api/v1/live/techniques: how live messages can be had here. Its
// time, in milliseconds, is for viewers whose clock is another.
func (h *Handler) Negotiation() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !getOnly(w, r) {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"techniques": h.offers(),
			"cursor":     h.feed.Head().String(),
			"time":       time.Now().UnixMilli(),
			"heartbeat":  heartbeat / time.Millisecond,
			"maxWait":    maxWait / time.Millisecond,
		})
	})
}
