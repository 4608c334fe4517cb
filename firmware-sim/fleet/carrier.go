package fleet

import (
	"context"
	"net"

	"github.com/naru-telemetry/naru/ingest/wire"
)

// carrier takes the messages of one source to the server, and brings back what
// the server says, over one connection. A carrier that gathers what it is given
// is also a flusher, one that must be ended in order a finisher. All methods but
// receive belong to the goroutine of the sender.
type carrier interface {
	// frame appends m as it goes over the connection: the same bytes every time
	// that it is sent.
	frame(dst []byte, m *message) []byte
	// send passes on what frame has made, and does not keep it. The seq is that of
	// the message, or 0. Its error is the connection's end.
	send(framed []byte, seq uint64) error
	// receive waits for the next answer. It is called by one goroutine, beside all
	// the others. Its error is the connection's end, unless it is a badAnswer.
	receive() (answer, error)
}

// flusher is a carrier that gathers.
type flusher interface {
	// flush sends what has gathered.
	flush() error
}

// finisher is a carrier whose end the server confirms.
type finisher interface {
	// finish sends what is left and ends our side. It reports whether the server's
	// end follows: then receive brings the answers that are under way, and io.EOF.
	finish() (follows bool, err error)
}

// badAnswer is an answer that cannot be read. The next one may be.
type badAnswer struct{ err error }

func (e *badAnswer) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *badAnswer) Unwrap() error { return e.err }

// renewer is a carrier that must not send the same bytes again after the server
// has refused them for the moment.
type renewer interface {
	// renew changes in place what frame has made.
	renew(framed []byte)
}

// connection is a carrier with what ends it, also while it is in use.
type connection struct {
	carrier
	close func() error // says goodbye, where the transport has a word for it
	cut   func() error // does not
}

// end closes the connection, as a device does that loses its power or in order.
func (c *connection) end(powerless bool) {
	if powerless {
		_ = c.cut() // what is under way is lost
	}
	_ = c.close() // nothing is waiting in it
}

// open connects to the server.
func (s *sender) open(ctx context.Context) (*connection, error) {
	switch s.route.transport {
	case DTLS, CoAPS:
		session, raw, err := s.openDTLS(ctx)
		if err != nil {
			return nil, err
		}
		return &connection{s.speak(session), session.Close, raw.Close}, nil
	case TLS:
		session, raw, err := s.openTLS(ctx)
		if err != nil {
			return nil, err
		}
		return &connection{newStream(session, s.stats, s.introduction()), session.Close, raw.Close}, nil
	case HTTP:
		p, err := s.openPosts(ctx)
		if err != nil {
			return nil, err
		}
		return &connection{p, p.Close, p.Close}, nil
	case TCP:
		conn, err := s.target.Dial(ctx, "tcp", s.route.address)
		if err != nil {
			return nil, err
		}
		return &connection{newStream(conn, s.stats, s.introduction()), conn.Close, conn.Close}, nil
	case UDP, CoAP:
	}
	conn, err := s.target.Dial(ctx, "udp", s.route.address)
	if err != nil {
		return nil, err
	}
	return &connection{s.speak(newSocket(conn, &s.link, s.stats)), conn.Close, conn.Close}, nil
}

// speak returns what carries messages in datagrams, plain or in a session.
func (s *sender) speak(conn net.Conn) carrier {
	switch s.route.transport { //nolint:exhaustive // the others are no requests
	case CoAP:
		return newCoAP(conn, s.outbox != nil, s.id)
	case CoAPS:
		return newCoAP(conn, s.outbox != nil, "")
	}
	return newDatagrams(conn)
}

// introduction is what a device that has a token says first on a stream.
func (s *sender) introduction() []byte {
	if s.secret.Token == "" {
		return nil
	}
	return appendPayload(nil, &message{format: wire.FormatJSON, device: s.id, token: s.secret.Token}, true)
}
