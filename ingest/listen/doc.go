// Package listen owns the sockets that devices send to: it turns datagrams and
// streams into payloads and calls a [Handler].
//
// It decides how much a peer may hold of memory and connections; what a payload
// means is the handler's. Servers take an open socket, so that whole servers run
// in tests over pipes, start nothing before Serve, and have ended all that they
// started when Serve returns.
package listen

import (
	"context"

	"github.com/naru-telemetry/naru/ingest"
)

// Handler takes the payloads of one goroutine. *ingest.Session is the one in
// use.
type Handler interface {
	// Handle takes one payload; it must not keep the slice. An error ends the
	// stream or the socket, after Flush.
	Handle(ctx context.Context, peer ingest.Peer, payload []byte) error
	// Flush ends a run of payloads that arrived together. It always follows
	// Handle.
	Flush(ctx context.Context) error
	// Settle waits until the answers to all payloads have gone out.
	Settle(ctx context.Context)
}

// RefuseFunc is told of what a listener itself refuses. payload may be nil and
// must not be kept.
type RefuseFunc func(peer ingest.Peer, r ingest.Reason, detail string, payload []byte)
