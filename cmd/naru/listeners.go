package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/listen"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// endpoint is one more socket for devices, as a setting names it:
// udp://:8125?dialect=statsd.
type endpoint struct {
	text    string
	network string // udp or tcp
	addr    string
	accept  wire.Formats // empty: every format
}

func parseEndpoint(text string) (endpoint, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "udp" && u.Scheme != "tcp" || u.Port() == "" || u.Path != "" || u.User != nil {
		return endpoint{}, fmt.Errorf("want udp://host:port or tcp://host:port, not %q", text)
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q: %w", text, err)
	}
	var names []string
	for key, values := range q {
		if key != "dialect" {
			return endpoint{}, fmt.Errorf("%q: want ?dialect=…, not %q", text, key)
		}
		for _, v := range values { // a plus sign has become a space
			names = append(names, strings.Fields(v)...)
		}
	}
	accept, err := wire.ParseFormats(names)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q: %w", text, err)
	}
	return endpoint{text: text, network: u.Scheme, addr: u.Host, accept: accept}, nil
}

// extra is an endpoint that is open: either a datagram socket or a listener.
type extra struct {
	endpoint
	udp  *listen.UDP
	conn *listen.Socket
	tcp  *listen.TCP
	ln   net.Listener
}

// openExtra opens the sockets beside the one of each kind that there always is.
func (g *gateway) openExtra(ctx context.Context) error {
	s := g.settings
	log := g.log.With("component", "ingest")
	for _, text := range s.Listen {
		e, err := parseEndpoint(text)
		if err != nil {
			return err
		}
		x := extra{endpoint: e}
		session := func(stream bool) func(ingest.ReplyFunc) listen.Handler {
			return func(reply ingest.ReplyFunc) listen.Handler {
				session := g.pipeline.NewSession(stream, reply)
				session.Accept(e.accept)
				return session
			}
		}
		switch e.network {
		case "udp":
			x.udp = &listen.UDP{NewHandler: session(false), Logger: log}
			if e.accept == 0 { // as on port 5683
				x.udp.CoAP = g.coap()
			}
			x.conn, _, err = listen.ListenUDP(ctx, e.addr, int(s.ReceiveBuffer))
		default:
			var lc net.ListenConfig
			x.tcp = &listen.TCP{
				NewHandler: session(true), Refuse: g.pipeline.Refuse, TLS: g.tls, Logger: log,
				Idle: s.Idle, MaxConns: s.MaxConns, MaxPerAddr: s.MaxConnsPerAddr,
			}
			x.ln, err = lc.Listen(ctx, "tcp", e.addr)
		}
		if err != nil {
			return fmt.Errorf("listen: %s: %w", text, err)
		}
		g.extras = append(g.extras, x)
	}
	return nil
}

// serve reads from the socket until ctx is done.
func (x *extra) serve(ctx context.Context, log *slog.Logger) error {
	log.Info("readings are taken", "component", "ingest", "listen", x.text, "dialects", x.accept.String())
	if x.udp != nil {
		return x.udp.Serve(ctx, x.conn)
	}
	return x.tcp.Serve(ctx, x.ln)
}

// listening returns the address that was opened.
func (x *extra) listening() string {
	if x.udp != nil {
		return x.conn.LocalAddr().String()
	}
	return x.ln.Addr().String()
}

// finish closes what serve has left open for answers.
func (x *extra) finish() error {
	if x.udp != nil {
		return x.conn.Close()
	}
	x.tcp.CloseConns()
	return nil
}

// closeExtra closes the sockets of a gateway that has not run.
func (g *gateway) closeExtra() error {
	var errs []error
	for i := range g.extras {
		if x := &g.extras[i]; x.udp != nil {
			errs = append(errs, x.conn.Close())
		} else {
			errs = append(errs, x.ln.Close())
		}
	}
	return errors.Join(errs...)
}

// coapStats are the counts of CoAP on all sockets together.
func (g *gateway) coapStats() listen.CoAPStats {
	sum := g.udp.CoAP.Stats()
	for i := range g.extras {
		if x := &g.extras[i]; x.udp != nil && x.udp.CoAP != nil {
			s := x.udp.CoAP.Stats()
			sum.Requests += s.Requests
			sum.Repeated += s.Repeated
			sum.Malformed += s.Malformed
			sum.Throttled += s.Throttled
			sum.Unsent += s.Unsent
			sum.Peers += s.Peers
		}
	}
	return sum
}

// notifyCommand tells who observes the commands of a device over CoAP, on all
// sockets.
func (g *gateway) notifyCommand(id device.ID) {
	g.udp.CoAP.Notify(id)
	for i := range g.extras {
		if x := &g.extras[i]; x.udp != nil && x.udp.CoAP != nil {
			x.udp.CoAP.Notify(id)
		}
	}
}

// socketStats are the counts of all sockets for devices together.
func (g *gateway) socketStats() (udp listen.UDPStats, tcp listen.TCPStats) {
	udp, tcp = g.udp.Stats(), g.tcp.Stats()
	for i := range g.extras {
		x := &g.extras[i]
		if x.udp != nil {
			s := x.udp.Stats()
			udp.Datagrams += s.Datagrams
			udp.KernelDrops += s.KernelDrops
			continue
		}
		s := x.tcp.Stats()
		tcp.Open += s.Open
		tcp.Accepted += s.Accepted
	}
	return udp, tcp
}
