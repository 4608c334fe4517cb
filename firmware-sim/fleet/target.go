package fleet

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// formats are what devices send by themselves, each another one.
var formats = [...]wire.Format{wire.FormatJSON, wire.FormatLine, wire.FormatCBOR}

// Formats are what devices send when they are told to.
func Formats() []wire.Format {
	return append(slices.Clone(formats[:]), wire.FormatSenML, wire.FormatSenMLCBOR, wire.FormatStatsD)
}

// Target says where the readings go and how they look.
type Target struct {
	// Addresses of the server by transport, as in 127.0.0.1:7700; that of HTTP may be
	// a URL. Of several, devices take turns. At least one is needed.
	UDP, TCP, TLS, DTLS, CoAP, CoAPS, HTTP string
	// Format is that of all messages, one of Formats. 0 lets each device have one of
	// wire.FormatJSON, FormatLine and FormatCBOR.
	Format wire.Format
	// Secrets returns what a device proves itself with; nil means nothing.
	Secrets func(device.ID) Secret
	// Roots are whom the device trusts to name the server over TLS; nil means those
	// of the system.
	Roots *x509.CertPool
	// AccessToken allows writing over HTTP from another machine.
	AccessToken string
	// Dial opens a connection; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// routes returns those that have an address.
func (t *Target) routes() (all []route) {
	for _, r := range []route{{UDP, t.UDP}, {TCP, t.TCP}, {TLS, t.TLS}, {DTLS, t.DTLS}, {CoAP, t.CoAP}, {CoAPS, t.CoAPS}, {HTTP, t.HTTP}} {
		if r.address != "" {
			all = append(all, r)
		}
	}
	return all
}

// validate checks the target for who can do with these transports only; none means
// all.
func (t *Target) validate(only ...Transport) error {
	routes := t.routes()
	if len(routes) == 0 {
		return fmt.Errorf("%w: no address to send to", ErrInvalidConfig)
	}
	for _, r := range routes {
		if len(only) > 0 && !slices.Contains(only, r.transport) {
			return fmt.Errorf("%w: this goes over %v, not over %s", ErrInvalidConfig, only, r.transport)
		}
	}
	if strings.Contains(t.HTTP, "@") {
		return fmt.Errorf("%w: the address of HTTP has a user; there is the access token", ErrInvalidConfig)
	}
	if t.Format != 0 && !slices.Contains(Formats(), t.Format) {
		return fmt.Errorf("%w: devices do not send format %v", ErrInvalidConfig, t.Format)
	}
	if t.Dial == nil {
		t.Dial = new(net.Dialer).DialContext
	}
	return nil
}

// route returns that of the device or socket number i.
func (t *Target) route(i int) route {
	routes := t.routes()
	return routes[i%len(routes)]
}

// format returns the format of the device or socket number i. It changes less
// often than the transport, so that all of these see all of them.
func (t *Target) format(i int) wire.Format {
	if t.Format != 0 {
		return t.Format
	}
	return formats[i/max(2, len(t.routes()))%len(formats)]
}

// secret returns what a device proves itself with.
func (t *Target) secret(id device.ID) Secret {
	if t.Secrets == nil {
		return Secret{}
	}
	return t.Secrets(id)
}

// check says what keeps a device from sending over its transport.
func (r route) check(id device.ID, format wire.Format, secret *Secret, acked bool) error {
	switch t := r.transport; {
	case t.keyed() && len(secret.PSK) == 0:
		return fmt.Errorf("%w: %s has no key for %s", ErrInvalidConfig, id, t)
	case carriesMore(format):
	case acked && !t.answers():
		return fmt.Errorf("%w: %v has no place to ask for an acknowledgement over %s", ErrInvalidConfig, format, t)
	case secret.Token != "" && !t.streams() && !t.keyed():
		return fmt.Errorf("%w: %v has no place for the token of %s over %s", ErrInvalidConfig, format, id, t)
	}
	return nil
}
