package fleet

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/ingest/wire"
)

// server is the other end of all connections of a test. It runs in the bubble of
// the test, where time is fake.
type server struct {
	t     testing.TB
	start time.Time
	// answer says what the server answers to the n-th transmission of a message,
	// from 1; empty for nothing. hangup closes the connection instead.
	answer func(seq uint64, n int) string
	// refuse fails a Dial.
	refuse func(n int) error
	// hangupAfter closes each connection after so many payloads; 0: never.
	hangupAfter int

	mu       sync.Mutex // guards following
	dials    int
	payloads []arrival
	heard    []heard
	seen     map[uint64]int
	proved   []string // what devices have proved themselves with
	outcomes []string // of commands, as they came
	last     net.Conn // that was opened last
}

const hangup = "hang up"

// arrival is a payload and the time since the start.
type arrival struct {
	At   time.Duration
	Text string
}

func newServer(t testing.TB, answer func(seq uint64, n int) string) *server {
	return &server{t: t, start: time.Now(), answer: answer, seen: make(map[uint64]int)}
}

func ack(seq uint64, _ int) string { return string(wire.AppendAck(nil, seq, true)) }

func (s *server) target() Target { return Target{UDP: "server:1", Dial: s.dial} }

// dial connects to the part of the server that the host is named after.
func (s *server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dials++
	if s.refuse != nil {
		if err := s.refuse(s.dials); err != nil {
			return nil, err
		}
	}
	client, end := net.Pipe()
	s.last = end
	host, _, _ := net.SplitHostPort(address)
	switch Transport(host) { //nolint:exhaustive // the others are plain
	case TLS:
		go s.serveTLS(ctx, end)
	case DTLS:
		go s.serveDTLS(end, s.serve)
	case CoAP:
		go s.serveCoAP(end)
	case CoAPS:
		go s.serveDTLS(end, func(conn net.Conn, _ bool) { s.serveCoAP(conn) })
	case HTTP:
		go s.serveHTTP(end)
	default:
		go s.serve(end, network == "tcp")
	}
	return client, nil
}

// serve reads until the connection is closed. A pipe keeps writes apart, so that
// it stands for a datagram socket as well.
func (s *server) serve(conn net.Conn, stream bool) {
	defer conn.Close() //nolint:errcheck // of a pipe
	buf := make([]byte, 1<<16)
	for got := 1; ; got++ {
		n, err := conn.Read(buf)
		if err != nil {
			if !ended(err) {
				s.t.Error(err)
			}
			return
		}
		for _, a := range s.take(buf[:n], stream, false) {
			if a == hangup {
				return
			}
			if _, err := conn.Write([]byte(a + "\n")); err != nil {
				return
			}
		}
		if got == s.hangupAfter {
			return
		}
	}
}

// take notes a payload and returns the answers to it: to each message that asks for
// one, or to all.
func (s *server) take(payload []byte, stream, all bool) (answers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payloads = append(s.payloads, arrival{time.Since(s.start), string(payload)})
	var d wire.Decoder
	d.Reset(payload, stream)
	for d.Next() {
		m, err := d.Message()
		if err != nil {
			s.t.Errorf("%q: %v", payload, err)
			continue
		}
		if m.HasSeq {
			s.seen[m.Seq]++
		}
		if len(m.Token) > 0 {
			s.proved = append(s.proved, "token "+string(m.Token))
		}
		if m.Outcome.Command != 0 {
			s.outcomes = append(s.outcomes, m.Outcome.String())
		}
		if (m.Ack || all) && s.answer != nil {
			if a := s.answer(m.Seq, s.seen[m.Seq]); a != "" {
				answers = append(answers, a)
			}
		}
	}
	s.heard = append(s.heard, decode(s.t, payload, stream)...)
	return answers
}

// ended reports whether a connection ended as connections do.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, net.ErrClosed)
}

// times returns when payloads came.
func (s *server) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]time.Duration, len(s.payloads))
	for i, p := range s.payloads {
		out[i] = p.At
	}
	return out
}
