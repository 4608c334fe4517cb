// Package auth decides who may look.
//
// A [Guard] lets requests from this machine pass, and others that carry the
// access token. From this machine means: the peer's address is loopback, the
// Host names loopback, so that a page whose name was rebound to 127.0.0.1 does
// not pass, and no header says that a proxy has forwarded it.
//
// It also keeps other sites' pages out: a request that changes something or
// opens a WebSocket must come from the page's own origin or a configured one.
// Tokens are compared in constant time and never logged.
package auth
