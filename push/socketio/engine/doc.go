// Package engine is Engine.IO, protocol 4, the server's side: sessions with
// clients over HTTP long polling or a WebSocket, begun on either, and upgraded
// from the first to the second without losing or reordering a message.
//
// What travels is the owner's: each session has an [Endpoint], which receives
// messages and is asked for more whenever the session can be written. There is no
// queue here. An endpoint that has something to say calls [Session.Wake]; it is
// then asked, by one goroutine at a time, until it has nothing more or the
// transport takes nothing more. What it returns, [Messages], is encoded already,
// immutable, and may be shared between any number of sessions.
//
// A session that is idle costs its WebSocket's reading goroutine, or the request
// of its poll, and nothing else: heartbeats and time-outs of all sessions stand in
// one agenda with one timer. Sessions on WebSockets that have something to send are
// taken by a few goroutines for all of them, which do not wait: one whose client does
// not take it at once, or whose endpoint would have to wait, gets its own meanwhile.
//
// Every malformed request is answered with the protocol's code and message before
// a WebSocket's 101; every malformed packet ends its session. Order of locks:
// Server.mu and agenda.mu are leaves; an endpoint is called under none but
// Session.receiving, which keeps calls of Receive apart.
package engine
