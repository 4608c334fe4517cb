package push

import (
	"context"
	"net/http"

	"github.com/naru-telemetry/naru/device"
)

// Viewer is who makes a request, as package auth has found.
type Viewer struct {
	Name string // for logs; empty: nobody has asked
	// Limit is the selector of the devices that there are for the viewer, to see
	// or to write. The zero Selector is all of them.
	Limit device.Selector
	// OnEnd has f called when the access ends, at once when it has ended already. What
	// it returns ends the wait for that. f must not wait. It is for who serves a viewer
	// beyond the request, whose context ends with the access too; nil: the access does
	// not end.
	OnEnd func(f func()) (forget func())
}

type viewerKey struct{}

// WithViewer returns a context that says who makes the request.
func WithViewer(ctx context.Context, v *Viewer) context.Context {
	return context.WithValue(ctx, viewerKey{}, v)
}

// ViewerOf returns who makes the request. Where nobody has asked there is no
// limit: every way from outside leads past package auth, which denies or asks.
func ViewerOf(r *http.Request) *Viewer {
	if v, ok := r.Context().Value(viewerKey{}).(*Viewer); ok {
		return v
	}
	return anybody
}

// anybody is who makes a request where nobody has asked. It does not change.
var anybody = &Viewer{}

// By names who makes the request, for logs: the name of the access and the
// address.
func By(r *http.Request) string {
	if name := ViewerOf(r).Name; name != "" {
		return name + " at " + r.RemoteAddr
	}
	return r.RemoteAddr
}
