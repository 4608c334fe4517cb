// Package gzipped writes answers compressed, where the client takes that and it pays.
// It knows nothing of what they say.
//
// A compressor takes half a megabyte, so there are few at a time. An answer does not
// wait for one: when all are busy it goes out as it is.
package gzipped

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const (
	// MinSize is the size in bytes of the smallest answer that is compressed: what is
	// smaller goes in one packet either way.
	MinSize = 1024
	// maxWorking bounds the compressors at work.
	maxWorking = 16
)

var (
	working     = make(chan struct{}, maxWorking)
	compressors = sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // knows the level
		return z
	}}
	bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

// maxKept bounds the buffers that are kept for later answers.
const maxKept = 256 << 10

// Write answers with a whole body. The caller has set what says of which type it is.
func Write(w http.ResponseWriter, r *http.Request, body []byte) error {
	var packed *bytes.Buffer
	if begins(w, r, len(body)) {
		packed, _ = bodies.Get().(*bytes.Buffer)
		packed.Reset()
		z := newWriter(packed)
		_, err := z.z.Write(body)
		if z.Close() == nil && err == nil && packed.Len() < len(body) {
			w.Header().Set("Content-Encoding", "gzip")
			body = packed.Bytes()
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, err := w.Write(body)
	if packed != nil && packed.Cap() <= maxKept {
		bodies.Put(packed)
	}
	return err
}

// Begin returns what the parts of an answer are to be written to, or nil when they are to
// go out as they are. size is of the first part.
func Begin(w http.ResponseWriter, r *http.Request, size int) *Writer {
	if !begins(w, r, size) {
		return nil
	}
	w.Header().Set("Content-Encoding", "gzip")
	return newWriter(w)
}

// begins reports whether an answer is to be compressed, and takes the place of a
// compressor for it.
func begins(w http.ResponseWriter, r *http.Request, size int) bool {
	w.Header().Add("Vary", "Accept-Encoding")
	if size < MinSize || !Accepted(r) {
		return false
	}
	select {
	case working <- struct{}{}:
		return true
	default:
		return false
	}
}

// Writer is a compressor at work, which is to end with Close or Abandon.
type Writer struct{ z *gzip.Writer }

func newWriter(to io.Writer) *Writer {
	z, _ := compressors.Get().(*gzip.Writer)
	z.Reset(to)
	return &Writer{z}
}

// Write implements io.Writer. What it is given goes out at once.
func (w *Writer) Write(b []byte) (int, error) {
	n, err := w.z.Write(b)
	if err == nil {
		err = w.z.Flush()
	}
	return n, err
}

// Close writes what is left.
func (w *Writer) Close() error {
	err := w.z.Close()
	w.Abandon()
	return err
}

// Abandon ends an answer that is broken off.
func (w *Writer) Abandon() {
	w.z.Reset(nil)
	compressors.Put(w.z)
	w.z = nil
	<-working
}

// Accepted reports whether the client takes gzip (RFC 9110, 12.5.3).
func Accepted(r *http.Request) bool {
	rest := false // what * says
	for _, v := range r.Header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(v, ",") {
			coding, params, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				return quality(params) > 0
			case "*":
				rest = quality(params) > 0
			}
		}
	}
	return rest
}

// quality returns the weight of "q=0.5", 1 if there is none.
func quality(params string) float64 {
	name, value, ok := strings.Cut(strings.TrimSpace(params), "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if err != nil {
		return 0
	}
	return q
}
