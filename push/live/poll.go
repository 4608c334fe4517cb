package live

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/gzipped"
)

// poll answers with one message: at once, or with a wait as soon as there is
// one. When there is none the answer is a readings message without readings.
func (h *Handler) poll(w http.ResponseWriter, r *http.Request, sub *push.Subscription, req request) {
	frame, err := sub.Poll(r.Context())
	if frame == nil && err == nil && req.wait > 0 {
		ctx, cancel := context.WithTimeout(r.Context(), req.wait)
		defer cancel()
		frame, err = sub.Next(ctx)
	}
	switch {
	case r.Context().Err() != nil: // the viewer is gone, or may look no longer
		push.Refuse(w, http.StatusUnauthorized, accessEnded)
		return
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, push.ErrClosed), frame == nil && err == nil:
		frame = push.Empty(sub.Cursor())
	case err != nil:
		h.log.Error("poll failed", "error", err)
		push.Refuse(w, http.StatusInternalServerError, storeFailed)
		return
	}
	body := append(frame.JSON()[:len(frame.JSON()):len(frame.JSON())], '\n')
	w.Header().Set("Content-Type", "application/json")
	if req.technique == JSONP {
		body = jsonpBody(req.name, frame)
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	_ = gzipped.Write(w, r, body) // a viewer that is gone comes again with the cursor
}
