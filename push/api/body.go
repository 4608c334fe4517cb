package api

import (
	"compress/flate"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/push"
)

// body is the body of a request, read as it comes. A client that sends nothing
// for long, or the end of ctx, ends it.
type body struct {
	ctx   context.Context //nolint:containedctx // the body lives as long as the request
	r     io.Reader
	conn  *http.ResponseController
	quiet time.Duration // how long the client may send nothing
	until time.Time     // when all must have come; zero: whenever
	stop  func() bool
	err   error // other than io.EOF
}

// newBody returns the body of r; close must follow.
func newBody(ctx context.Context, w http.ResponseWriter, r *http.Request, quiet time.Duration) *body {
	b := &body{ctx: ctx, r: r.Body, conn: http.NewResponseController(w), quiet: quiet}
	b.stop = context.AfterFunc(ctx, func() { _ = b.conn.SetReadDeadline(time.Now()) }) // ends a Read that waits
	return b
}

func (b *body) Read(p []byte) (int, error) {
	limit := time.Now().Add(b.quiet)
	if !b.until.IsZero() && b.until.Before(limit) {
		limit = b.until
	}
	err := b.conn.SetReadDeadline(limit)
	if b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	n := 0
	if err == nil {
		n, err = b.r.Read(p)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// unpacked returns the body without its Content-Encoding. An *InputError says
// that it has another than it should.
func (b *body) unpacked(r *http.Request) (io.Reader, error) {
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
		return b, nil
	case "gzip":
		z, err := gzip.NewReader(b)
		if err != nil && b.err == nil {
			return nil, &InputError{"the body is not gzip: " + err.Error()}
		}
		return z, err
	}
	return nil, &InputError{"want a body without encoding, or gzip"}
}

// close ends the reading. What waits for the connection to close must not run
// into the deadline.
func (b *body) close() error {
	b.stop()
	return b.conn.SetReadDeadline(time.Time{})
}

// isGzip reports whether err comes from gzip rather than from who was read.
func isGzip(err error) bool {
	_, corrupt := errors.AsType[flate.CorruptInputError](err)
	return corrupt || errors.Is(err, gzip.ErrChecksum) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF)
}

const (
	// passedOver is how much of a body is read for nothing, and for how long, so
	// that the client, which may still be writing it, reads the refusal.
	passedOver    = 4 << 20
	passedOverFor = 2 * time.Second
)

// passOver reads a body, or the first of it, for nothing.
func passOver(w http.ResponseWriter, r *http.Request) {
	if http.NewResponseController(w).SetReadDeadline(time.Now().Add(passedOverFor)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, passedOver) // the answer is the same however it ends
	}
}

// closeUnread keeps the server from waiting for the rest of the body before it
// answers.
func closeUnread(w http.ResponseWriter) { w.Header().Set("Connection", "close") }

func refuseUnread(w http.ResponseWriter, status int, msg string) {
	closeUnread(w)
	push.Refuse(w, status, msg)
}
