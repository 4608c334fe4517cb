package fleet

import (
	"crypto/tls"
	"fmt"
)

// Transport is how a device reaches the server.
type Transport string

// The transports.
const (
	UDP   Transport = "udp"   // a payload in a datagram
	TCP   Transport = "tcp"   // payloads follow each other in a stream
	TLS   Transport = "tls"   // the same in TLS
	DTLS  Transport = "dtls"  // a payload in a record of DTLS 1.2 with a pre-shared key
	CoAP  Transport = "coap"  // a payload in a request of CoAP (RFC 7252)
	CoAPS Transport = "coaps" // the same in DTLS
	HTTP  Transport = "http"  // a payload in a request of HTTP
)

// keyed reports whether a pre-shared key proves the device.
func (t Transport) keyed() bool { return t == DTLS || t == CoAPS }

// answers reports whether the transport itself answers each request, so that the
// payload needs no place to ask for it.
func (t Transport) answers() bool { return t == CoAP || t == CoAPS || t == HTTP }

// streams reports whether payloads follow each other in one stream.
func (t Transport) streams() bool { return t == TCP || t == TLS }

// route is where a device sends, and how.
type route struct {
	transport Transport
	address   string
}

func (r route) String() string { return string(r.transport) + " " + r.address }

// Secret is what a device proves itself with. It does not show when it is printed.
type Secret struct {
	// PSK is the pre-shared key of DTLS and coaps. The identity is the device's id.
	PSK []byte
	// Token goes beside the readings, and on a stream once before them.
	Token string
	// Certificate is shown over TLS.
	Certificate *tls.Certificate
}

// Format implements fmt.Formatter.
func (s Secret) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "{psk: %t, token: %t, certificate: %t}", len(s.PSK) > 0, s.Token != "", s.Certificate != nil)
}
