package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// open connects to the server. What it returns is closed by the caller, also
// while the carrier is in use, which ends its methods.
func (s *sender) open(ctx context.Context) (carrier, io.Closer, error) {
	network := "tcp"
	if s.route.transport.datagrams() {
		network = "udp"
	}
	conn, err := s.target.Dial(ctx, network, s.route.address)
	if err != nil {
		return nil, nil, err
	}
	switch s.route.transport {
	case UDP:
		return newDatagrams(newSocket(conn, &s.link, s.stats)), conn, nil
	case TCP:
		return newStream(conn, s.stats), conn, nil
	}
	return nil, nil, errors.Join(fmt.Errorf("%w: transport %q", ErrInvalidConfig, s.route.transport), conn.Close())
}
