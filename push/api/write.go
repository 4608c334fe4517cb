package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Bounds of a body that is written. Collectors send some thousand lines, well
// below a megabyte.
const (
	maxBody   = 32 << 20 // unpacked
	maxPacked = 8 << 20  // as gzip
	// quietBody and slowBody end a writer that sends nothing for long, or too
	// slowly.
	quietBody = 10 * time.Second
	slowBody  = 30 * time.Second
	// firstBody is the first buffer of a body, toldBody the largest that is made
	// because the client has told so.
	firstBody = 16 << 10
	toldBody  = 256 << 10
	// retryAfter is what an overloaded gateway answers, in seconds.
	retryAfter = "5"
)

// Labels of what is refused before it reaches the Writer, see Writer.Refuse.
const (
	refusedSyntax   = "syntax"
	refusedTooLong  = "too_long"
	refusedOverload = "overload"
	refusedCrowd    = "connections_limit"
)

// Writer takes what devices write.
type Writer interface {
	// Ready returns nil, or why nothing can be kept at present, for the client.
	Ready() error
	// Write admits what the body holds and returns when the good of it is durable.
	// An *InputError says that the request asks for what there is not; any other
	// error, that the client must send again.
	Write(ctx context.Context, p Payload) (Written, error)
	// Refuse counts and keeps a request that is refused before. reason is a label
	// of naru_refused_total.
	Refuse(from netip.AddrPort, reason, detail string)
}

// Payload is what a client writes. Body is the Writer's only while it writes.
type Payload struct {
	From      netip.AddrPort
	Limit     device.Selector // of the devices that the client may write
	Precision string          // of times, as InfluxDB names it; empty: as their size tells
	Body      []byte
}

// Written is what came of a payload.
type Written struct {
	Readings int          // taken
	Messages int          // lines and objects, good or bad
	Refused  int          // of these, in whole or in part
	Told     []RefusedRow // the first of them; their line is 0 in CBOR
}

// verdict is the answer to a write: 204, or what was wrong.
type verdict struct {
	status  int
	msg     string
	written Written // with 400
}

// sayFunc answers with a verdict other than 204 in the words of a protocol.
type sayFunc func(w http.ResponseWriter, v *verdict)

// writeHandler returns the handler of a path that takes payloads.
func (a *API) writeHandler(say sayFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := a.write(w, r)
		a.writes.count(v.status)
		if http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) != nil {
			return // nobody can be told
		}
		switch v.status {
		case http.StatusNoContent:
			w.WriteHeader(v.status)
			return
		case http.StatusServiceUnavailable:
			w.Header().Set("Retry-After", retryAfter)
		case http.StatusMethodNotAllowed:
			w.Header().Set("Allow", http.MethodPost)
		}
		say(w, v)
	}
}

// write takes a request to the Writer.
func (a *API) write(w http.ResponseWriter, r *http.Request) *verdict {
	if r.Method != http.MethodPost {
		closeUnread(w)
		return &verdict{status: http.StatusMethodNotAllowed, msg: "want POST"}
	}
	from := peerOf(r)
	body, v := a.writeBody(w, r, from)
	if v == nil {
		defer body.leave()
		v = a.writePayload(body, r, from)
	}
	if v.status != http.StatusNoContent && (body == nil || !body.whole) {
		closeUnread(w)
	}
	return v
}

// writtenBody is the body of a write that has been let in.
type writtenBody struct {
	ctx   context.Context //nolint:containedctx // the body lives as long as the request
	guest *guest
	end   func()
	text  []byte
	whole bool
}

func (b *writtenBody) leave() {
	b.end()
	b.guest.leave()
}

// writeBody lets a request in and reads its body, or returns why not.
func (a *API) writeBody(w http.ResponseWriter, r *http.Request, from netip.AddrPort) (*writtenBody, *verdict) {
	if err := a.cfg.Writer.Ready(); err != nil {
		passOver(w, r)
		return nil, a.refuseWrite(from, http.StatusServiceUnavailable, refusedOverload, err.Error())
	}
	guest, ok := a.crowd.enter(from.Addr())
	if !ok {
		return nil, a.refuseWrite(from, http.StatusServiceUnavailable, refusedCrowd, "as many writes as may be at a time are under way")
	}
	ctx, end, ok := a.work.begin(r.Context())
	if !ok {
		guest.leave()
		return nil, &verdict{status: http.StatusServiceUnavailable, msg: errStopping.Error()}
	}
	b := &writtenBody{ctx: ctx, guest: guest, end: end}
	in := newBody(ctx, w, r, quietBody)
	in.until = time.Now().Add(slowBody)
	var err error
	b.text, err = readBody(r, in, guest)
	b.whole = err == nil
	if closeErr := in.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		b.leave()
		return nil, a.unread(ctx, from, in, err)
	}
	return b, nil
}

var (
	errTooLong = fmt.Errorf("the body has more than %d MiB, or %d MiB as gzip; write less at a time", maxBody>>20, maxPacked>>20)
	errCrowd   = errors.New("the writes under way take all the memory there is for them")
)

// readBody returns the whole body, unpacked.
func readBody(r *http.Request, in *body, g *guest) ([]byte, error) {
	limit := int64(maxBody)
	if r.Header.Get("Content-Encoding") == "gzip" {
		limit = maxPacked
	}
	if r.ContentLength > limit {
		return nil, errTooLong
	}
	raw := &io.LimitedReader{R: in.r, N: limit + 1}
	in.r = raw
	text, err := in.unpacked(r)
	if err != nil {
		return nil, err
	}
	size := firstBody
	if text == io.Reader(in) && r.ContentLength >= 0 {
		size = int(min(r.ContentLength+1, toldBody)) // with a byte for the end
	}
	buf := []byte{}
	for {
		if !g.hold(size) {
			return nil, errCrowd
		}
		buf = append(make([]byte, 0, size), buf...)
		for len(buf) < cap(buf) {
			n, err := text.Read(buf[len(buf):cap(buf)])
			buf = buf[:len(buf)+n]
			switch {
			case raw.N == 0 || len(buf) > maxBody:
				return nil, errTooLong
			case errors.Is(err, io.EOF):
				return buf, nil
			case err != nil:
				return nil, err
			}
		}
		size = min(2*size, maxBody+1)
	}
}

// unread says why a body could not be read.
func (a *API) unread(ctx context.Context, from netip.AddrPort, in *body, err error) *verdict {
	bad, isBad := errors.AsType[*InputError](err)
	switch {
	case errors.Is(err, errTooLong):
		return a.refuseWrite(from, http.StatusRequestEntityTooLarge, refusedTooLong, err.Error())
	case errors.Is(err, errCrowd):
		return a.refuseWrite(from, http.StatusServiceUnavailable, refusedCrowd, err.Error())
	case errors.Is(context.Cause(ctx), errStopping):
		return &verdict{status: http.StatusServiceUnavailable, msg: errStopping.Error()}
	case isBad:
		return a.refuseWrite(from, http.StatusBadRequest, refusedSyntax, bad.Msg)
	case in.err == nil && isGzip(err):
		return a.refuseWrite(from, http.StatusBadRequest, refusedSyntax, "the gzip of the body is damaged: "+err.Error())
	case errors.Is(in.err, os.ErrDeadlineExceeded):
		return a.refuseWrite(from, http.StatusRequestTimeout, refusedSyntax, "the body did not come in time")
	}
	return a.refuseWrite(from, http.StatusBadRequest, refusedSyntax, "the body broke off")
}

func (a *API) refuseWrite(from netip.AddrPort, status int, reason, msg string) *verdict {
	a.cfg.Writer.Refuse(from, reason, msg)
	return &verdict{status: status, msg: msg}
}

// writePayload hands the body on.
func (a *API) writePayload(b *writtenBody, r *http.Request, from netip.AddrPort) *verdict {
	if isCBORType(r.Header.Get("Content-Type")) && len(b.text) > 0 && b.text[0] < 0x80 {
		return a.refuseWrite(from, http.StatusBadRequest, refusedSyntax, "the Content-Type says CBOR, and the body does not begin with a map or an array")
	}
	done, err := a.cfg.Writer.Write(b.ctx, Payload{From: from, Limit: push.ViewerOf(r).Limit, Precision: r.URL.Query().Get("precision"), Body: b.text})
	bad, isBad := errors.AsType[*InputError](err)
	switch {
	case isBad:
		return a.refuseWrite(from, http.StatusBadRequest, refusedSyntax, bad.Msg)
	case err != nil:
		return &verdict{status: http.StatusServiceUnavailable, msg: "not everything could be stored in time; send it again"}
	case done.Refused > 0:
		return &verdict{status: http.StatusBadRequest, msg: done.summary(), written: done}
	}
	return &verdict{status: http.StatusNoContent}
}

// summary says what was refused: the first in full.
func (d *Written) summary() string {
	if len(d.Told) == 0 {
		return fmt.Sprintf("%d of %d messages were refused", d.Refused, d.Messages)
	}
	s := d.Told[0].text()
	if d.Refused > 1 {
		s += fmt.Sprintf("; %d of %d messages were refused", d.Refused, d.Messages)
	}
	return s
}

func (r *RefusedRow) text() string {
	if r.Line == 0 {
		return r.Error
	}
	return fmt.Sprintf("line %d: %s", r.Line, r.Error)
}

func isCBORType(contentType string) bool {
	media := mediaType(contentType)
	return media == "application/cbor" || media == "application/senml+cbor"
}

// peerOf returns who sends the request, as far as it is an address.
func peerOf(r *http.Request) netip.AddrPort {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// sayNaru answers POST /api/v1/write.
func sayNaru(w http.ResponseWriter, v *verdict) {
	if v.written.Refused == 0 {
		push.Refuse(w, v.status, v.msg)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(v.status)
	reply(w, struct {
		Error   string       `json:"error"`
		Line    int64        `json:"line,omitempty"`
		Written int          `json:"written"`
		Refused []RefusedRow `json:"refused"`
		Total   int          `json:"refused_total"`
	}{v.msg, v.line(), v.written.Readings, v.written.Told, v.written.Refused})
}

// line returns the line of the first refusal; 0 when there is none.
func (v *verdict) line() int64 {
	if len(v.written.Told) == 0 {
		return 0
	}
	return v.written.Told[0].Line
}

// writeStatuses are the answers that are counted.
var writeStatuses = [...]int{
	http.StatusNoContent, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestTimeout,
	http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable,
}

// writeCounts counts answers by status.
type writeCounts [len(writeStatuses)]atomic.Int64

func (c *writeCounts) count(status int) {
	for i, s := range writeStatuses {
		if s == status {
			c[i].Add(1)
		}
	}
}

// Writes calls yield with each status that writes are answered with, and how
// often it was.
func (a *API) Writes(yield func(status int, n int64)) {
	for i, s := range writeStatuses {
		yield(s, a.writes[i].Load())
	}
}
