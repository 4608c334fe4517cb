package listen

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
)

// Paths.
const (
	readingsPath = "readings"
	shortPath    = "r"
	timePath     = "time"
	commandsPath = "commands"
	corePath     = ".well-known/core"
)

// coreLinks is what there is here (RFC 6690), short enough for who may hear three
// times what he has sent.
const coreLinks = `</readings>;ct="0 50 60 110 112",</commands>;obs,</time>`

// maxDiagnostic bounds what is said in words; a datagram that is never parted
// holds it.
const maxDiagnostic = 240

// Classes of answers that a client may not want (RFC 7967).
const (
	noSuccess = 1 << 1
	noAnswer  = noSuccess | 1<<3 | 1<<4
)

// query is what the options of a request say.
type query struct {
	path   string
	name   string // d=
	key    string // path, query and format: what the blocks of a payload share
	format int    // -1: none
	accept int    // -1: any
	size   uint32 // of the whole payload; 0: not said
	unwant uint32 // classes of answers, by bits
	block1 *coap.Block
	block2 *coap.Block
	// observe is 0 to be told of changes, 1 to be told no more; -1: not said.
	observe int
}

// queryOf reads the options of a request. An answer says why it cannot be served.
func queryOf(m *coap.Message) (*query, *coapAnswer) {
	q := &query{format: -1, accept: -1, observe: -1}
	var path, key []string
	last := -1
	for _, o := range m.Options {
		repeated := int(o.Number) == last
		last = int(o.Number)
		n, isUint := o.Uint()
		ok := !repeated
		switch o.Number {
		case coap.URIPath:
			path, ok = append(path, string(o.Value)), true
		case coap.URIQuery:
			ok = true
			if name, found := strings.CutPrefix(string(o.Value), "d="); found {
				q.name = name
			}
			key = append(key, string(o.Value))
		case coap.URIHost, coap.URIPort:
		case coap.Observe:
			if isUint && n <= 1 {
				q.observe = int(n)
			}
		case coap.ContentFormat:
			if ok = ok && isUint && n <= 0xffff; ok {
				q.format = int(n)
			}
		case coap.Accept:
			if ok = ok && isUint && n <= 0xffff; ok {
				q.accept = int(n)
			}
		case coap.Block1, coap.Block2:
			b, good := coap.BlockOf(o)
			switch {
			case !good:
				return q, refusal(coap.BadRequest, fmt.Sprintf("option %d is no block", o.Number))
			case o.Number == coap.Block1:
				q.block1 = &b
			default:
				q.block2 = &b
			}
		case coap.Size1:
			if isUint {
				q.size = n
			}
		case coap.NoResponse:
			q.unwant = n
		case coap.ProxyURI, coap.ProxyScheme:
			return q, refusal(coap.ProxyingNotSupported, "this is no proxy")
		default:
			ok = false
		}
		if !ok && o.Critical() {
			return q, refusal(coap.BadOption, fmt.Sprintf("option %d is not known here, or not twice", o.Number))
		}
	}
	q.path = strings.Join(path, "/")
	q.key = fmt.Sprintf("%q %q %d", path, key, q.format)
	if q.name != "" {
		if err := device.CheckID([]byte(q.name)); err != nil {
			return q, refusal(coap.BadRequest, "d: "+err.Error())
		}
	}
	return q, nil
}

// coapAnswer is what a request is answered.
type coapAnswer struct {
	code    coap.Code
	options []coap.Option
	text    string
}

func refusal(code coap.Code, text string) *coapAnswer { return &coapAnswer{code: code, text: text} }

// busy is the answer when there is no room.
func (c *CoAP) busy(again time.Duration) *coapAnswer {
	c.throttled.Add(1)
	return &coapAnswer{
		code: coap.TooManyRequests, options: []coap.Option{coap.UintOption(coap.MaxAge, uint32(again/time.Second))},
		text: "no room at present; send it again later",
	}
}

// coapRequest is a request that is being answered.
type coapRequest struct {
	c      *CoAP
	p      *coapPeer
	x      *exchange
	reply  ingest.ReplyFunc
	con    bool
	id     uint16
	token  []byte
	unwant uint32
}

// request answers a request, or has it answered. The error is the handler's.
func (h *coapHandler) request(ctx context.Context, p *coapPeer, x *exchange, m *coap.Message, b []byte) error {
	c := h.c
	r := &coapRequest{
		c: c, p: p, x: x, reply: h.reply, con: m.Type == coap.Confirmable, id: m.ID, token: append([]byte(nil), m.Token...),
	}
	q, a := queryOf(m)
	r.unwant = q.unwant
	switch {
	case a != nil && a.code == coap.BadOption && !r.con:
		// RFC 7252, section 5.4.1: such a message is rejected.
		r.c.send(p, h.reply, (&coap.Message{Type: coap.Reset, ID: m.ID}).Append(nil))
		return nil
	case a != nil:
	case !p.peer.Allowed():
		c.refuse(p.peer, ingest.Forbidden, "plain readings are taken from private addresses only", nil)
		a = refusal(coap.Forbidden, "plain CoAP is for private addresses: use DTLS")
	default:
		switch q.path {
		case "", readingsPath, shortPath:
			return h.post(ctx, r, q, m)
		case commandsPath:
			if m.Code != coap.GET {
				return h.post(ctx, r, q, m)
			}
			a = r.commands(q)
		case timePath:
			now := time.Now()
			a = content(m, q, coap.Text, fmt.Sprintf("%d.%03d", now.Unix(), now.Nanosecond()/1e6))
			if a.code == coap.Content {
				a.options = append(a.options, coap.UintOption(coap.MaxAge, 0))
			}
		case corePath:
			a = content(m, q, coap.Links, coreLinks)
		default:
			a = refusal(coap.NotFound, fmt.Sprintf("there is no /%.64s; readings go to /readings", q.path))
		}
		if a.code>>5 == 2 {
			a.part(q.block2)
		}
	}
	if a.code == coap.BadRequest || a.code == coap.BadOption {
		c.refuse(p.peer, ingest.Syntax, "CoAP: "+a.text, b)
	}
	r.answer(ctx, a)
	return nil
}

// content answers GET.
func content(m *coap.Message, q *query, format uint32, text string) *coapAnswer {
	switch {
	case m.Code != coap.GET:
		return refusal(coap.MethodNotAllowed, "only GET")
	case q.accept >= 0 && q.accept != int(format):
		return refusal(coap.NotAcceptable, fmt.Sprintf("there is content format %d only", format))
	}
	return &coapAnswer{code: coap.Content, options: []coap.Option{coap.UintOption(coap.ContentFormat, format)}, text: text}
}

// part leaves of a content the block that was asked for.
func (a *coapAnswer) part(b *coap.Block) {
	if b == nil {
		return
	}
	from := uint64(b.Number) * uint64(b.Size())
	if from >= uint64(len(a.text)) {
		*a = *refusal(coap.BadRequest, "there is no such block")
		return
	}
	rest := a.text[from:]
	got := coap.Block{Number: b.Number, More: len(rest) > b.Size(), Exp: b.Exp}
	a.text = rest[:min(len(rest), b.Size())]
	a.options = append(a.options, got.Option(coap.Block2))
}

// post takes readings.
func (h *coapHandler) post(ctx context.Context, r *coapRequest, q *query, m *coap.Message) error {
	c := r.c
	body := m.Payload
	var a *coapAnswer
	switch {
	case m.Code != coap.POST && m.Code != coap.PUT:
		a = refusal(coap.MethodNotAllowed, "only POST and PUT")
	case !takes(q.format):
		a = refusal(coap.UnsupportedContentFormat, "content formats: 0 text, 50 JSON, 60 CBOR, 110 and 112 SenML")
	case q.block1 != nil:
		body, a = c.gather(r.p, q, body, time.Now())
	}
	from := named(r.p.peer, q.name)
	if a == nil && !r.con && r.unwant&noAnswer == noAnswer {
		return h.Handler.Handle(ctx, from, body) // nobody waits for the disk
	}
	if a == nil && !c.admit(r.p, len(body)) {
		a = c.busy(time.Second)
	}
	if a != nil {
		r.answer(ctx, a)
		return nil
	}
	body = append([]byte(nil), body...)
	block := q.block1
	c.start(func(ctx context.Context) {
		r.write(ctx, from, body, block)
	})
	return nil
}

func takes(format int) bool {
	switch format {
	case -1, coap.Text, coap.JSON, coap.CBOR, coap.SenMLJSON, coap.SenMLCBOR:
		return true
	}
	return false
}

// write stores a payload and answers. A confirmable request is acknowledged
// meanwhile when that takes long.
func (r *coapRequest) write(ctx context.Context, from ingest.Peer, body []byte, block *coap.Block) {
	if r.con {
		timer := time.AfterFunc(pigTime, r.acknowledge)
		defer timer.Stop()
	}
	w, err := r.c.Write(ctx, from, body)
	r.c.leave(r.p, len(body))
	a := r.c.verdict(w, err)
	if a.code == coap.Changed && w.Device != "" {
		r.addCommand(a, w.Device)
	}
	if block != nil {
		a.options = append(a.options, block.Option(coap.Block1))
	}
	r.answer(ctx, a)
}

// verdict puts into CoAP's words what came of a payload.
func (c *CoAP) verdict(w ingest.Written, err error) *coapAnswer {
	switch {
	case errors.Is(err, ingest.ErrFull):
		return c.busy(2 * time.Second)
	case err != nil:
		return &coapAnswer{
			code: coap.ServiceUnavailable, options: []coap.Option{coap.UintOption(coap.MaxAge, 5)},
			text: "readings cannot be stored at present",
		}
	case w.Messages == 0:
		return refusal(coap.BadRequest, "no reading in the payload")
	case len(w.Told) == 0:
		return &coapAnswer{code: coap.Changed}
	}
	t := w.Told[0]
	text := t.Detail
	if t.Line > 0 && w.Messages > 1 {
		text = fmt.Sprintf("line %d: %s", t.Line, text)
	}
	if w.Refused > 1 {
		text += " (and " + strconv.Itoa(w.Refused-1) + " more)"
	}
	return refusal(codeOf(t.Reason), text)
}

func codeOf(r ingest.Reason) coap.Code {
	switch r { //nolint:exhaustive // the others concern what is in the payload
	case ingest.NoCredential:
		return coap.Unauthorized
	case ingest.Forbidden, ingest.NotApproved, ingest.Unknown, ingest.TooManyDevices, ingest.TooManySeries:
		return coap.Forbidden
	case ingest.TooLong:
		return coap.RequestEntityTooLarge
	}
	return coap.BadRequest
}

// acknowledge sends the empty acknowledgement, unless the answer has been sent.
func (r *coapRequest) acknowledge() {
	ack := (&coap.Message{Type: coap.Acknowledgement, ID: r.id}).Append(nil)
	if r.settle(ack) {
		r.c.send(r.p, r.reply, ack)
	}
}

// settle makes b what a retransmission is answered, if there is nothing yet.
func (r *coapRequest) settle(b []byte) bool {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.x.answer != nil {
		return false
	}
	r.x.answer = b
	return true
}

// answer answers the request: on the acknowledgement, or when that has been sent,
// or is not wanted, in a message of its own.
func (r *coapRequest) answer(ctx context.Context, a *coapAnswer) {
	if r.unwant>>(a.code>>5-1)&1 == 1 {
		if r.con {
			r.acknowledge()
		}
		return
	}
	m := coap.Message{Type: coap.Acknowledgement, Code: a.code, ID: r.id, Token: r.token, Options: a.options}
	if r.con {
		if b := r.sealed(&m, a.text); r.settle(b) {
			r.c.send(r.p, r.reply, b)
			return
		}
	}
	id, s := r.c.nextID(r.p, r.con)
	m.Type, m.ID = coap.NonConfirmable, id
	if s == nil {
		r.c.send(r.p, r.reply, r.sealed(&m, a.text))
		return
	}
	m.Type = coap.Confirmable
	r.c.insist(ctx, r.p, r.reply, id, s, r.sealed(&m, a.text))
}

// sealed returns the message with a text that is cut to what the peer may hear,
// when it says what is wrong.
func (r *coapRequest) sealed(m *coap.Message, text string) []byte {
	if m.Code>>5 > 2 {
		r.c.mu.Lock()
		room := maxDiagnostic
		if r.p.peer.Device == "" {
			room = min(room, r.p.credit-len(m.Append(nil))-1)
		}
		r.c.mu.Unlock()
		text = cut(text, max(room, 0))
	}
	m.Payload = []byte(text)
	return m.Append(nil)
}

// cut returns the beginning of a text in at most n bytes.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
