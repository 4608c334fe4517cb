package api

import (
	"io"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/gzipped"
)

const (
	// chunkBytes is how much of an answer is gathered before it is written.
	chunkBytes = 32 << 10
	// writeTimeout ends a reader that does not take a chunk.
	writeTimeout = 30 * time.Second
)

// stream is an answer that is written while it is read from the store. buf is
// what has been gathered; who appends to it calls flush now and then.
type stream struct {
	w      http.ResponseWriter
	r      *http.Request
	out    *http.ResponseController
	buf    []byte
	begun  bool            // whether the viewer may have got a part
	packed *gzipped.Writer // nil: the viewer gets the answer as it is
}

func newStream(w http.ResponseWriter, r *http.Request) *stream {
	return &stream{w: w, r: r, out: http.NewResponseController(w), buf: make([]byte, 0, chunkBytes+4096)}
}

// flush writes what has been gathered once it is a chunk.
func (s *stream) flush() error {
	if len(s.buf) < chunkBytes {
		return nil
	}
	if !s.begun {
		s.begun, s.packed = true, gzipped.Begin(s.w, s.r, len(s.buf))
	}
	err := s.write()
	if err == nil && s.packed != nil {
		err = s.out.Flush() // compressed, it may be less than the server gathers
	}
	return err
}

func (s *stream) write() error {
	if err := s.out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	var to io.Writer = s.w
	if s.packed != nil {
		to = s.packed
	}
	_, err := to.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}

// end writes the last of the answer, or the whole, if that is no chunk.
func (s *stream) end() error {
	if !s.begun {
		s.begun = true
		if err := s.out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		return gzipped.Write(s.w, s.r, s.buf)
	}
	err := s.write()
	if err == nil && s.packed != nil {
		err, s.packed = s.packed.Close(), nil
	}
	return err
}

// finish ends the answer: with the rest of it, or, when err is not nil, with a
// refusal if the viewer has nothing yet, and else by breaking the connection.
func (a *API) finish(s *stream, r *http.Request, err error) {
	if err == nil {
		err = s.end()
	}
	if s.packed != nil {
		s.packed.Abandon()
	}
	switch {
	case err == nil:
	case !s.begun && r.Context().Err() == nil:
		a.cfg.Logger.Error("an answer could not be read", "path", r.URL.Path, "error", err)
		push.Refuse(s.w, http.StatusInternalServerError, "the store cannot be read")
	default:
		if r.Context().Err() == nil {
			a.cfg.Logger.Warn("an answer was broken off", "path", r.URL.Path, "error", err)
		}
		panic(http.ErrAbortHandler) // the server closes the connection without a word
	}
}
