package api

import (
	"errors"
	"net/http"
	"strconv"
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

type jsonEncoding struct{}

func (jsonEncoding) contentType() string     { return "application/json" }
func (jsonEncoding) begin(dst []byte) []byte { return append(dst, `{"readings":[`...) }
func (jsonEncoding) end(dst []byte) []byte   { return append(dst, "]}\n"...) }

func (jsonEncoding) reading(dst []byte, s *device.Stored, first bool) []byte {
	if !first {
		dst = append(dst, ',')
	}
	return s.AppendJSON(dst)
}

type ndjsonEncoding struct{}

func (ndjsonEncoding) contentType() string     { return "application/x-ndjson" }
func (ndjsonEncoding) begin(dst []byte) []byte { return dst }
func (ndjsonEncoding) end(dst []byte) []byte   { return dst }

func (ndjsonEncoding) reading(dst []byte, s *device.Stored, _ bool) []byte {
	return append(s.AppendJSON(dst), '\n')
}

// csvEncoding is RFC 4180 with newlines as Unix writes them. Texts are quoted
// where they must be.
type csvEncoding struct{}

func (csvEncoding) contentType() string { return "text/csv; charset=utf-8; header=present" }

func (csvEncoding) begin(dst []byte) []byte {
	return append(dst, "offset,device,metric,time,value\n"...)
}

func (csvEncoding) end(dst []byte) []byte { return dst }

func (csvEncoding) reading(dst []byte, s *device.Stored, _ bool) []byte {
	dst = strconv.AppendUint(dst, s.Offset, 10)
	dst = append(dst, ',')
	dst = append(dst, s.Device...)
	dst = append(dst, ',')
	dst = appendCSV(dst, string(s.Metric))
	dst = append(dst, ',')
	dst = s.Time.AppendMillis(dst)
	dst = append(dst, ',')
	if s.Value.Kind() == device.KindText {
		dst = appendCSV(dst, s.Value.Text())
	} else {
		dst = s.Value.AppendJSON(dst)
	}
	return append(dst, '\n')
}

func appendCSV(dst []byte, s string) []byte {
	if !strings.ContainsAny(s, ",\"\r\n") {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}

// encodingOf returns the notation that the viewer asks for: format before
// Accept, JSON when neither says.
func encodingOf(r *http.Request) (encoding, error) {
	accept := r.Header.Get("Accept")
	switch r.URL.Query().Get("format") {
	case "json":
		return jsonEncoding{}, nil
	case "csv":
		return csvEncoding{}, nil
	case "ndjson":
		return ndjsonEncoding{}, nil
	case "":
		switch {
		case strings.Contains(accept, "text/csv"):
			return csvEncoding{}, nil
		case strings.Contains(accept, "application/x-ndjson"):
			return ndjsonEncoding{}, nil
		}
		return jsonEncoding{}, nil
	}
	return nil, errors.New("format: want json, csv or ndjson")
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
	out := newStream(w)
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
