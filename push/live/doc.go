// Package live is GET /api/v1/live: one stream of readings by every technique
// that a viewer may have. The viewer's request decides the technique; a
// [push.Subscription] is behind all of them, so that order, resumption, gap and
// reset are the same, and a viewer may change the technique and keep its cursor.
//
//   - WebSocket (RFC 6455): Upgrade: websocket
//   - server-sent events (HTML Living Standard, section 9.2): Accept: text/event-stream
//   - HTTP streaming of NDJSON: Accept: application/x-ndjson
//   - forever iframe (off unless Config says so): ?iframe=name and Accept: text/html
//   - long polling: ?after=<cursor>&wait=25s
//   - JSONP polling (off unless Config says so): ?callback=name
//   - polling: anything else
//
// A poll is answered with one message, of at most limit readings. Without limit
// the snapshot of ?last= comes whole; a limit that cuts it makes the cursor go on
// behind the last reading of the answer. An empty answer's cursor is the head, so
// that a poll of a rare reading does not fall behind what is kept.
//
// Who may look is decided before a request comes here; see package auth.
package live
