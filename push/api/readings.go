package api

import (
	"errors"
	"net/http"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// encoding is a notation of many readings.
type encoding interface {
	contentType() string
	begin(dst []byte) []byte
	reading(dst []byte, s *device.Stored, first bool) []byte
	end(dst []byte) []byte
}

type jsonEncoding struct{ exact bool }

func (jsonEncoding) contentType() string     { return "application/json" }
func (jsonEncoding) begin(dst []byte) []byte { return append(dst, `{"readings":[`...) }
func (jsonEncoding) end(dst []byte) []byte   { return append(dst, "]}\n"...) }

func (e jsonEncoding) reading(dst []byte, s *device.Stored, first bool) []byte {
	if !first {
		dst = append(dst, ',')
	}
	if e.exact {
		return s.AppendExactJSON(dst)
	}
	return s.AppendJSON(dst)
}

type ndjsonEncoding struct{ exact bool }

func (ndjsonEncoding) contentType() string     { return "application/x-ndjson" }
func (ndjsonEncoding) begin(dst []byte) []byte { return dst }
func (ndjsonEncoding) end(dst []byte) []byte   { return dst }

func (e ndjsonEncoding) reading(dst []byte, s *device.Stored, _ bool) []byte {
	if e.exact {
		return append(s.AppendExactJSON(dst), '\n')
	}
	return append(s.AppendJSON(dst), '\n')
}

type csvEncoding struct{ exact bool }

func (csvEncoding) contentType() string     { return "text/csv; charset=utf-8; header=present" }
func (csvEncoding) begin(dst []byte) []byte { return append(dst, device.CSVHeader...) }
func (csvEncoding) end(dst []byte) []byte   { return dst }

func (e csvEncoding) reading(dst []byte, s *device.Stored, _ bool) []byte {
	if e.exact {
		return s.AppendExactCSV(dst)
	}
	return s.AppendCSV(dst)
}

// encodingOf returns the notation that the viewer asks for: format before
// Accept, JSON when neither says. With exact=1 the kinds of values can be told.
func encodingOf(r *http.Request) (encoding, error) {
	q := r.URL.Query()
	exact := false
	switch q.Get("exact") {
	case "", "0":
	case "1":
		exact = true
	default:
		return nil, errors.New("exact: want 1 or 0")
	}
	accept := r.Header.Get("Accept")
	switch format := q.Get("format"); {
	case format == "json":
		return jsonEncoding{exact}, nil
	case format == "csv":
		return csvEncoding{exact}, nil
	case format == "ndjson":
		return ndjsonEncoding{exact}, nil
	case format != "":
		return nil, errors.New("format: want json, csv or ndjson")
	case strings.Contains(accept, "text/csv"):
		return csvEncoding{exact}, nil
	case strings.Contains(accept, "application/x-ndjson"):
		return ndjsonEncoding{exact}, nil
	}
	return jsonEncoding{exact}, nil
}

func (a *API) readings(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r, a.cfg.Now())
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	enc, err := encodingOf(r)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", enc.contentType())
	w.Header().Set("Vary", "Accept")
	out := newStream(w, r)
	out.buf = enc.begin(out.buf)
	first := true
	err = a.cfg.Readings.Read(r.Context(), q, func(s *device.Stored) error {
		out.buf = enc.reading(out.buf, s, first)
		first = false
		return out.flush()
	})
	if err == nil {
		out.buf = enc.end(out.buf)
	}
	a.finish(out, r, err)
}

func (a *API) count(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r, a.cfg.Now())
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	q.Limit = 0
	n, err := a.cfg.Readings.Count(r.Context(), q)
	if err != nil {
		if r.Context().Err() == nil {
			a.cfg.Logger.Error("readings could not be counted", "error", err)
			push.Refuse(w, http.StatusInternalServerError, "the store cannot be read")
		}
		return
	}
	reply(w, map[string]int64{"count": n})
}
