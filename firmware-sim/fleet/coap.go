package fleet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// What RFC 7252 asks of a client (sections 4.7 and 4.8).
const (
	coapAckTimeout = 2 * time.Second
	coapAckSpread  = 0.5 // the first wait is up to so much longer, at random
	coapRetries    = 4
	coapWindow     = 1 // requests that wait for their answer
	// coapSeparate is how long the answer may take to a request that was received,
	// before it is asked for again.
	coapSeparate = 30 * time.Second
	// coapMaxAge is how long an answer holds that does not say so.
	coapMaxAge = 60 * time.Second
)

// noSuccess is the value of No-Response by which a device waits for refusals only
// (RFC 7967).
const noSuccess = 2

// observation is the seq under which the outbox knows the request for commands. No
// message has it, since those count below 2^63.
const observation = 1 << 63

// observeToken marks what belongs to that request. Those of messages are their seqs
// and do not begin with zero.
var observeToken = []byte{0}

// coap puts each message into a request of CoAP: confirmable, and answered by
// whose token is the seq, or one that nobody waits for.
type coap struct {
	conn        net.Conn
	confirmable bool
	// name is the device in the query of requests; empty where the session names it.
	name device.ID
	id   uint16 // of the next request
	buf  []byte // of receive
}

func newCoAP(conn net.Conn, confirmable bool, name device.ID) *coap {
	return &coap{conn: conn, confirmable: confirmable, name: name, id: uint16(rand.Uint32()), buf: make([]byte, maxAnswer)}
}

// contentFormats are the numbers of what devices send.
var contentFormats = map[wire.Format]uint32{
	wire.FormatJSON: 50, wire.FormatCBOR: 60, wire.FormatSenML: 110, wire.FormatSenMLCBOR: 112,
}

// request returns a request to a path, with the options that it needs everywhere.
func (c *coap) request(code coapCode, path string, format *uint32) *coapMessage {
	m := &coapMessage{kind: nonConfirmable, code: code, id: c.id, options: []coapOption{{optURIPath, []byte(path)}}}
	c.id++
	if c.confirmable {
		m.kind = confirmable
	}
	if format != nil {
		m.options = append(m.options, uintOption(optContentFormat, *format))
	}
	if c.name != "" {
		m.options = append(m.options, coapOption{optURIQuery, []byte("d=" + string(c.name))})
	}
	return m
}

func (c *coap) frame(dst []byte, m *message) []byte {
	said := *m
	said.ack = false // the answer to the request says it
	format := contentFormats[m.format]
	r := c.request(coapPOST, "readings", &format)
	r.payload = appendPayload(nil, &said, false)
	if c.confirmable {
		r.token = tokenOf(m.seq)
	} else {
		r.options = append(r.options, uintOption(optNoResponse, noSuccess))
	}
	return r.append(dst)
}

// observe returns the request by which the server tells of commands as they come.
func (c *coap) observe() []byte {
	m := c.request(coapGET, "commands", nil)
	m.token = observeToken
	m.options = append([]coapOption{{optObserve, nil}}, m.options...)
	return m.append(nil)
}

func (c *coap) send(framed []byte, _ uint64) error {
	_, err := c.conn.Write(framed)
	return err
}

// renew gives a request another id, since the server answers one that it knows as
// before.
func (c *coap) renew(framed []byte) {
	binary.BigEndian.PutUint16(framed[idAt:], c.id)
	c.id++
}

func (c *coap) receive() (answer, error) {
	for {
		n, err := c.conn.Read(c.buf)
		if err != nil {
			return answer{}, err
		}
		m, err := parseCoAP(c.buf[:n])
		if err != nil {
			return answer{}, &badAnswer{fmt.Errorf("answer %.40q: %w", c.buf[:n], err)}
		}
		if a, ok, err := c.answerOf(&m); ok || err != nil {
			return a, err
		}
	}
}

// answerOf returns what a message says; false for one that says nothing.
func (c *coap) answerOf(m *coapMessage) (a answer, ok bool, err error) {
	if m.code == coapEmpty {
		switch m.kind {
		case acknowledgement:
			return answer{verdict: received, id: m.id, byID: true}, true, nil
		case reset:
			return answer{verdict: refused, id: m.id, byID: true, reason: "reset"}, true, nil
		case confirmable: // a ping
			return answer{reply: (&coapMessage{kind: reset, id: m.id}).append(nil)}, true, nil
		case nonConfirmable:
		}
		return answer{}, false, nil
	}
	a = verdictOf(m)
	if m.kind == confirmable {
		a.reply = (&coapMessage{kind: acknowledgement, id: m.id}).append(nil)
	}
	switch {
	case bytes.Equal(m.token, observeToken):
		a.seq, a.hasSeq = observation, true
	case len(m.token) > 0:
		a.seq, a.hasSeq = seqOf(m.token), true
	}
	if format, ok := m.uint(optContentFormat); ok && format == contentFormats[wire.FormatJSON] && a.verdict == acked {
		a.command, err = parseCommand(m.payload)
	}
	return a, true, err
}

// verdictOf returns what a status means.
func verdictOf(m *coapMessage) answer {
	switch {
	case m.code == coapTooMany || m.code == coapUnavailable:
		a := answer{verdict: refused, reason: overloaded, again: coapMaxAge}
		if s, ok := m.uint(optMaxAge); ok {
			a.again = min(time.Duration(s)*time.Second, longestRetryAfter)
		}
		return a
	case m.code>>5 == 2:
		return answer{verdict: acked}
	}
	return answer{verdict: refused, reason: fmt.Sprintf("%v %s", m.code, m.payload)}
}

// tokenOf returns a seq as a token, without leading zeros.
func tokenOf(seq uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, seq)
	return bytes.TrimLeft(b, "\x00")
}

func seqOf(token []byte) (seq uint64) {
	for _, c := range token {
		seq = seq<<8 | uint64(c)
	}
	return seq
}
