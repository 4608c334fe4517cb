// Package auth decides who may do what over HTTP.
//
// A [Guard] stands before everything that is served. What a request needs is in
// one table, the policy; who makes it is found in three ways:
//
//   - From this machine nobody needs a token, and may everything. From this machine
//     means: the peer's address is loopback, the Host names loopback, so that a page
//     whose name was rebound to 127.0.0.1 does not pass, and no header says that a
//     proxy has forwarded it.
//   - A token, in the header Authorization or the parameter token, is known by its
//     SHA-256: the first one, an admin's, or one of [Grants], which have a role, may
//     be limited to devices and may end.
//   - A browser exchanges a token for a session, a cookie under a seal. It opens what
//     the grant does and ends with it.
//
// Which devices there are for whoever asks goes to the handlers as push.ViewerOf.
// Requests under way end with the access: their context is cancelled.
//
// Other sites' pages are kept out: a request that changes something or opens a
// WebSocket must come from the gateway's own page or from one of a configured
// origin, which may not administer; and a session changes nothing unless the
// browser says that our own page has asked.
//
// Tokens are compared in constant time, never logged, and taken out of addresses
// before anybody behind sees them. Wrong ones are bounded by address and in all,
// and answered alike.
package auth
