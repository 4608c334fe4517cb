package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/push/gzipped"
)

// How long a browser may use its copy. The build names what lies in assets/ by
// its content, so such a file never changes; everything else is asked for again
// and answered with 304 while its ETag holds.
const (
	cacheForever = "public, max-age=31536000, immutable"
	cacheAsk     = "no-cache"
)

// minGzip is the size in bytes from which compressing saves more than its
// header costs.
const minGzip = 256

// contentTypes of what the build makes. The list is ours because the one of
// package mime depends on the machine.
var contentTypes = map[string]string{
	".css":         "text/css; charset=utf-8",
	".html":        "text/html; charset=utf-8",
	".ico":         "image/x-icon",
	".js":          "text/javascript; charset=utf-8",
	".json":        "application/json",
	".png":         "image/png",
	".svg":         "image/svg+xml",
	".ts":          "text/plain; charset=utf-8", // types, which people read
	".txt":         "text/plain; charset=utf-8",
	".webmanifest": "application/manifest+json",
	".woff2":       "font/woff2",
}

// asset is one file in the forms in which it is sent. It is never written after
// load.
type asset struct {
	contentType string
	cache       string
	etag        string // of the plain form; the gzip form has its own
	plain       []byte
	gzipped     []byte // nil if compressing does not make it smaller
}

// load reads every file of files but those whose name begins with a dot.
func load(files fs.FS) (map[string]*asset, error) {
	assets := make(map[string]*asset)
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		a, err := newAsset(name, data)
		assets[name] = a
		return err
	})
	return assets, err
}

func newAsset(name string, data []byte) (*asset, error) {
	contentType, ok := contentTypes[path.Ext(name)]
	if !ok {
		return nil, fmt.Errorf("%s: no content type for %q", name, path.Ext(name))
	}
	sum := sha256.Sum256(data)
	a := &asset{
		contentType: contentType,
		cache:       cacheAsk,
		etag:        base64.RawURLEncoding.EncodeToString(sum[:12]),
		plain:       data,
	}
	if strings.HasPrefix(name, "assets/") {
		a.cache = cacheForever
	}
	if len(data) >= minGzip {
		zipped, err := compress(data)
		if err != nil {
			return nil, fmt.Errorf("%s: compress: %w", name, err)
		}
		if len(zipped) < len(data) {
			a.gzipped = zipped
		}
	}
	return a, nil
}

func compress(data []byte) ([]byte, error) {
	var buf bytes.Buffer
	zw, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := zw.Write(data); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", a.cache)
	body, etag := a.plain, `"`+a.etag+`"`
	if a.gzipped != nil {
		h.Add("Vary", "Accept-Encoding")
		if gzipped.Accepted(r) {
			h.Set("Content-Encoding", "gzip")
			body, etag = a.gzipped, `"`+a.etag+`-gzip"`
		}
	}
	h.Set("ETag", etag)
	// ServeContent leaves out the length of an encoded body; a range of one is
	// of no use to a browser, so it is not offered.
	if h.Get("Content-Encoding") != "" {
		r = withoutRange(r)
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

func withoutRange(r *http.Request) *http.Request {
	if r.Header.Get("Range") == "" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Del("Range")
	return r
}
