package listen

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/coap"
)

const (
	// Bounds of who is told of commands. Beyond, a request is answered and not noted.
	maxObservers          = 4096
	maxObserversPerDevice = 4
	// observeAge is for how long a client may take the last notification for the
	// present one, in seconds. After it a client asks again, which also makes a
	// gateway that has been restarted know it.
	observeAge = 300
	// commandRoom holds a command with all around it.
	commandRoom = 768
)

// observer is a client that is told of the commands of a device (RFC 7641).
type observer struct {
	p      *coapPeer
	token  []byte
	device device.ID
	reply  ingest.ReplyFunc
}

// appendCommand appends what a client is told: {"command":{…}}, or {} when there
// is none.
func appendCommand(dst []byte, c *device.Command) []byte {
	if c == nil {
		return append(dst, "{}"...)
	}
	return append(c.AppendJSON(append(dst, `{"command":`...)), '}')
}

// commands answers who asks for the command of its device, and notes or forgets it
// as one who is told of the next.
func (r *coapRequest) commands(q *query) *coapAnswer {
	c := r.c
	if c.Listener == nil || c.Next == nil {
		return refusal(coap.NotFound, "there are no commands here")
	}
	if q.accept >= 0 && q.accept != coap.JSON {
		return refusal(coap.NotAcceptable, "commands are JSON, content format 50")
	}
	id, err := c.Listener(named(r.p.peer, q.name))
	if err != nil {
		code := coap.BadRequest // which the caller counts
		if e, ok := errors.AsType[*ingest.RefusalError](err); ok && e.Reason != ingest.BadDevice {
			code = codeOf(e.Reason)
			c.refuse(r.p.peer, e.Reason, e.Detail, nil)
		}
		return refusal(code, err.Error())
	}
	a := &coapAnswer{code: coap.Content}
	c.mu.Lock()
	if !r.p.trusted { // an address that may be forged hears this much once
		r.p.trusted, r.p.credit = true, r.p.credit+commandRoom
	}
	switch q.observe {
	case 0:
		if c.observeLocked(&observer{p: r.p, token: r.token, device: id, reply: r.reply}) {
			c.notification++
			a.options = append(a.options, coap.UintOption(coap.Observe, c.notification&0xffffff))
		}
	case 1:
		c.forgetObserverLocked(id, func(o *observer) bool { return o.p.peer == r.p.peer && bytes.Equal(o.token, r.token) })
	}
	c.mu.Unlock()
	a.options = append(a.options, coap.UintOption(coap.ContentFormat, coap.JSON), coap.UintOption(coap.MaxAge, observeAge))
	var next *device.Command
	if cmd, ok := c.Next(id); ok {
		next = &cmd
	}
	a.text = string(appendCommand(nil, next))
	return a
}

// addCommand puts the command of a device into the answer to what it has sent, if
// the peer may hear so much. One that it may not is told again later.
func (r *coapRequest) addCommand(a *coapAnswer, id device.ID) {
	if r.c.Next == nil {
		return
	}
	cmd, ok := r.c.Next(id)
	if !ok {
		return
	}
	text := string(appendCommand(nil, &cmd))
	r.c.mu.Lock()
	fits := r.p.peer.Device != "" || r.p.credit >= len(text)+32 // with head, token and options
	r.c.mu.Unlock()
	if fits {
		a.text = text
		a.options = append(a.options, coap.UintOption(coap.ContentFormat, coap.JSON))
	}
}

// observeLocked notes an observer in the place of itself, and reports whether there
// was room. The caller holds mu.
func (c *CoAP) observeLocked(o *observer) bool {
	c.forgetObserverLocked(o.device, func(old *observer) bool {
		return old.p.peer == o.p.peer && bytes.Equal(old.token, o.token)
	})
	if c.observing >= maxObservers {
		return false
	}
	if all := c.observers[o.device]; len(all) >= maxObserversPerDevice { // a client that forgot to end it
		c.forgetObserverLocked(o.device, func(old *observer) bool { return old == all[0] })
	}
	c.observers[o.device] = append(c.observers[o.device], o)
	c.observing++
	return true
}

// forgetObserverLocked forgets the observers of a device that are meant. The caller
// holds mu.
func (c *CoAP) forgetObserverLocked(id device.ID, meant func(*observer) bool) {
	all := c.observers[id]
	rest := slices.DeleteFunc(slices.Clone(all), meant)
	c.observing -= len(all) - len(rest)
	if c.observers[id] = rest; len(rest) == 0 {
		delete(c.observers, id)
	}
}

// Notify tells those who observe the commands of a device which is next. It does
// not wait for them, and it may be called before and while requests are served.
func (c *CoAP) Notify(id device.ID) {
	c.mu.Lock()
	n := len(c.observers[id])
	c.mu.Unlock()
	if n == 0 {
		return
	}
	cmd, ok := c.Next(id)
	if !ok {
		return
	}
	text := appendCommand(nil, &cmd)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range c.observers[id] { // none when the server has ended meanwhile
		c.start(func(ctx context.Context) { c.notify(ctx, o, text) })
	}
}

// notify sends one notification. An observer that refuses it, or does not confirm
// it, is forgotten.
func (c *CoAP) notify(ctx context.Context, o *observer, text []byte) {
	id, s := c.nextID(o.p, true)
	c.mu.Lock()
	c.notification++
	number := c.notification & 0xffffff
	c.mu.Unlock()
	m := coap.Message{
		Type: coap.NonConfirmable, Code: coap.Content, ID: id, Token: o.token, Payload: text,
		Options: []coap.Option{
			coap.UintOption(coap.Observe, number), coap.UintOption(coap.ContentFormat, coap.JSON), coap.UintOption(coap.MaxAge, observeAge),
		},
	}
	if s == nil {
		c.send(o.p, o.reply, m.Append(nil))
		return
	}
	m.Type = coap.Confirmable
	taken := c.insist(ctx, o.p, o.reply, id, s, m.Append(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	if taken { // who has heard it was really there
		o.p.credit += commandRoom
	} else if ctx.Err() == nil {
		c.forgetObserverLocked(o.device, func(old *observer) bool { return old == o })
	}
}
