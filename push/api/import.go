package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/push"
)

const (
	// maxImports bounds the imports at a time: one keeps the disk busy, and each
	// costs some hundred kilobytes.
	maxImports = 4
	// readTimeout ends an import whose client sends nothing.
	readTimeout = time.Minute
	// MaxRefusedRows bounds the rows that an answer tells of.
	MaxRefusedRows = 1000
)

// Importer takes readings that were written down elsewhere.
type Importer interface {
	// Import appends what the rows in body hold and returns when that is durable,
	// or with what was taken before it failed. An *InputError says that nothing
	// of body can be read.
	Import(ctx context.Context, body io.Reader, o ImportOptions) (Imported, error)
}

// ImportOptions are what the client says about the rows; empty: nothing.
type ImportOptions struct {
	Format    string // csv, ndjson or line
	Device    string // of rows that name none
	Precision string // of times: s, ms, us or ns
}

// Imported is what came of an import.
type Imported struct {
	Readings int64        `json:"imported"`
	Refused  []RefusedRow `json:"refused"` // the first MaxRefusedRows
	Total    int64        `json:"refused_total"`
	// Reasons counts the refused by reason.
	Reasons map[string]int64 `json:"refused_reasons,omitempty"`
	// Error is why the import ended before the rows did.
	Error string `json:"error,omitempty"`
}

// RefusedRow is a row that was not taken.
type RefusedRow struct {
	Line  int64  `json:"line"`
	Error string `json:"error"`
}

// InputError says that what a client sent cannot be read at all.
type InputError struct{ Msg string }

func (e *InputError) Error() string { return e.Msg }

// importRows is POST /api/v1/import.
func (a *API) importRows(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuseUnread(w, http.StatusMethodNotAllowed, "want POST")
		return
	}
	select {
	case a.imports <- struct{}{}:
		defer func() { <-a.imports }()
	default:
		w.Header().Set("Retry-After", "5")
		refuseUnread(w, http.StatusTooManyRequests, "there are as many imports as may be at a time")
		return
	}
	ctx, end, ok := a.work.begin(r.Context())
	if !ok {
		refuseUnread(w, http.StatusServiceUnavailable, "the gateway is stopping")
		return
	}
	defer end()
	body := newBody(ctx, w, r, readTimeout)
	done, err := a.importFrom(ctx, r, body)
	if closeErr := body.close(); err == nil {
		err = closeErr
	}
	if deadlineErr := body.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); deadlineErr != nil {
		return // nobody can be told
	}
	if done.Refused == nil {
		done.Refused = []RefusedRow{}
	}
	status := a.importStatus(ctx, body, err, &done)
	if status != http.StatusOK {
		closeUnread(w)
	}
	if done.Readings > 0 {
		a.cfg.Logger.Info("readings were imported", "readings", done.Readings, "refused", done.Total, "by", push.By(r))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	reply(w, done)
}

func (a *API) importFrom(ctx context.Context, r *http.Request, body *body) (Imported, error) {
	q := r.URL.Query()
	o := ImportOptions{Format: q.Get("format"), Device: q.Get("device"), Precision: q.Get("precision")}
	if o.Format == "" {
		o.Format = formatOfType(r.Header.Get("Content-Type"))
	}
	rows, err := body.unpacked(r)
	if err != nil {
		return Imported{}, err
	}
	return a.cfg.Importer.Import(ctx, rows, o)
}

// importStatus returns the status of the answer, and puts the reason into it.
func (a *API) importStatus(ctx context.Context, body *body, err error, done *Imported) int {
	var bad *InputError
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &bad):
		done.Error = bad.Msg
		return http.StatusBadRequest
	case errors.Is(context.Cause(ctx), errStopping):
		done.Error = "the gateway is stopping"
		return http.StatusServiceUnavailable
	case body.err != nil, isGzip(err), ctx.Err() != nil:
		done.Error = "the body broke off"
		return http.StatusBadRequest
	}
	a.cfg.Logger.Error("an import failed", "error", err, "imported", done.Readings)
	done.Error = "the store cannot be written"
	return http.StatusInternalServerError
}

// mediaType returns a Content-Type without its parameters, in small letters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// formatOfType returns the format that a media type tells; empty for one that
// tells none.
func formatOfType(contentType string) string {
	switch mediaType(contentType) {
	case "text/csv":
		return "csv"
	case "application/x-ndjson", "application/json", "application/senml+json":
		return "ndjson"
	}
	return ""
}
