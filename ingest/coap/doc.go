// Package coap is the codec of CoAP messages (RFC 7252): bytes to messages and
// back. It has no clock, socket or goroutine; who answers what is package
// listen's matter.
//
// # Telling CoAP from everything else
//
// A device sends to a server: requests, and empty messages (pings,
// acknowledgements, resets). [Is] takes a datagram for one of these when its first
// byte has version 1 (bits 01) and a token length of at most 8, and
//
//   - its second byte, the code, is a method, 0.01–0.07, and the token fits; or
//   - it is an empty message: code 0.00, no token, four bytes in all.
//
// The first byte is then one of @ A–H, P–X, ` a–h, p–x. JSON's { and [ are not
// among them, since they would have a token of 11 bytes, nor are CBOR (0x80–0xbf),
// DTLS records (20–25), gzip (0x1f) and collectd (0). Text may begin with such a
// letter, and ESPHome's packets (SE, HP) do, but the second byte is a control
// character other than tab and line ends, which no measurement, path, topic or
// name has there. An empty message is one letter and a NUL, and only @, P, ` or p.
// A method of ours and a path that exists are not asked for: who asks for another
// is to hear so (4.04, 4.05) and not to be read as line protocol. Responses to
// requests of the server would look like text (2.05 is E), but it makes none.
package coap
