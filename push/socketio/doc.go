// Package socketio is Socket.IO, protocol 5, the server's side, on package engine.
// It knows namespaces, events, acknowledgements and binary attachments, and
// nothing of what they mean.
//
// A [Namespace] is asked when a client connects to it and returns a [Handler],
// which is called with the client's events: one at a time, in order, while the
// transport waits. What goes to the client goes through a queue, bounded, for what
// answers the client, or comes from a [Source], for all the rest: it is asked when
// the client can take more, for messages that are encoded already and may be shared.
// So a slow client is a source that is not asked.
//
// Arguments are kept as JSON, so that numbers go back as they came. A packet that
// breaks the protocol ends the connection, as the reference implementation does.
package socketio
