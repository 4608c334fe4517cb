package live

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/wsconn"
)

// framing is how a streaming technique writes messages into one long response.
type framing interface {
	contentType() string
	// opening, message and silence append what begins the stream, carries a frame
	// and shows that the stream lives and stands at a cursor.
	opening(dst []byte) []byte
	message(dst []byte, f *push.Frame) []byte
	silence(dst []byte, at push.Cursor) []byte
}

// sse writes the event stream format. The event's id is the cursor, so that a
// browser resumes by itself.
type sse struct{}

func (sse) contentType() string { return "text/event-stream" }

func (sse) opening(dst []byte) []byte { return append(dst, "retry: 2000\n\n"...) }

func (sse) message(dst []byte, f *push.Frame) []byte {
	if f.Cursor.Store != "" {
		dst = append(dst, "id: "...)
		dst = append(dst, f.Cursor.String()...)
		dst = append(dst, '\n')
	}
	dst = append(dst, "data: "...)
	dst = append(dst, f.JSON()...)
	return append(dst, "\n\n"...)
}

// silence is no event to the browser, but moves its Last-Event-ID.
func (sse) silence(dst []byte, at push.Cursor) []byte {
	dst = append(dst, ":\nid: "...)
	dst = append(dst, at.String()...)
	return append(dst, "\n\n"...)
}

// ndjson writes one message a line; an empty line shows that the stream lives.
type ndjson struct{}

func (ndjson) contentType() string { return "application/x-ndjson" }

func (ndjson) opening(dst []byte) []byte { return dst }

func (ndjson) message(dst []byte, f *push.Frame) []byte {
	return append(append(dst, f.JSON()...), '\n')
}

func (ndjson) silence(dst []byte, _ push.Cursor) []byte { return append(dst, '\n') }

// stream writes messages until the viewer leaves, does not take one in time, or
// the feed is closed.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, sub *push.Subscription, f framing) {
	out := http.NewResponseController(w)
	w.Header().Set("Content-Type", f.contentType())
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the stream back
	buf := f.opening(nil)
	for send(w, out, buf) {
		var err error
		if buf, err = relay(r.Context(), w, out, sub, f, buf); err == nil {
			continue // silent
		}
		if !errors.Is(err, push.ErrClosed) && !errors.Is(err, errGone) && r.Context().Err() == nil {
			h.log.Error("a stream was broken off", "error", err)
			panic(http.ErrAbortHandler) // so that the viewer does not take it for an orderly end
		}
		return
	}
}

// errGone is returned when the viewer has left or takes nothing.
var errGone = errors.New("the viewer is gone")

// relay writes messages for the length of a heartbeat, and returns in buf what
// shows that the stream lives.
func relay(ctx context.Context, w http.ResponseWriter, out *http.ResponseController,
	sub *push.Subscription, f framing, buf []byte,
) ([]byte, error) {
	beat, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	for {
		frame, err := sub.Next(beat)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return f.silence(buf[:0], sub.Cursor()), nil
			}
			return nil, err
		}
		buf = f.message(buf[:0], frame)
		if !send(w, out, buf) {
			return nil, errGone
		}
	}
}

// send writes b through to the viewer. It reports false when the viewer is gone.
func send(w http.ResponseWriter, out *http.ResponseController, b []byte) bool {
	if out.SetWriteDeadline(time.Now().Add(wsconn.Jittered(writeTimeout))) != nil {
		return false
	}
	if _, err := w.Write(b); err != nil {
		return false
	}
	return out.Flush() == nil
}
