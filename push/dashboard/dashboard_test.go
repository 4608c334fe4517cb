package dashboard_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/naru-telemetry/naru/push/dashboard"
)

var script = strings.Repeat("let river = 'naru';\n", 100)

func page() fstest.MapFS {
	return fstest.MapFS{
		".gitkeep":            {},
		"index.html":          {Data: []byte("<!doctype html><title>Naru</title>" + strings.Repeat("<p>", 200))},
		"icon.svg":            {Data: []byte("<svg/>")},
		"assets/main-a1b2.js": {Data: []byte(script)},
		"client/naru.js":      {Data: []byte(script)},
		"client/naru.d.ts":    {Data: []byte("export {};")},
	}
}

// answer is what a browser gets.
type answer struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestHandlerAnswers(t *testing.T) {
	h := dashboard.Handler(dashboard.Config{Files: page()})
	for _, tt := range []struct {
		name, method, target string
		status               int
		contentType, cache   string
	}{
		{"page", "GET", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"page with a query", "GET", "/?token=x&transport=sse", 200, "text/html; charset=utf-8", "no-cache"},
		{"page by name", "GET", "/index.html", 200, "text/html; charset=utf-8", "no-cache"},
		{"page, head only", "HEAD", "/", 200, "text/html; charset=utf-8", "no-cache"},
		{"asset", "GET", "/assets/main-a1b2.js", 200, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"file without a hash in its name", "GET", "/icon.svg", 200, "image/svg+xml", "no-cache"},
		{"client", "GET", "/client/naru.js", 200, "text/javascript; charset=utf-8", "no-cache"},
		{"types of the client", "GET", "/client/naru.d.ts", 200, "text/plain; charset=utf-8", "no-cache"},
		{"unknown beside the client", "GET", "/client/naru.js.map", 404, "text/plain; charset=utf-8", ""},
		{"unknown", "GET", "/device/gh1", 404, "text/plain; charset=utf-8", ""},
		{"unknown asset", "GET", "/assets/main-0000.js", 404, "text/plain; charset=utf-8", ""},
		{"folder", "GET", "/assets/", 404, "text/plain; charset=utf-8", ""},
		{"dot file", "GET", "/.gitkeep", 404, "text/plain; charset=utf-8", ""},
		{"way out", "GET", "/../dashboard.go", 404, "text/plain; charset=utf-8", ""},
		{"post", "POST", "/", 405, "text/plain; charset=utf-8", ""},
		{"delete", "DELETE", "/icon.svg", 405, "text/plain; charset=utf-8", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := get(t, h, tt.method, tt.target)
			if res.status != tt.status {
				t.Errorf("status %d, want %d", res.status, tt.status)
			}
			if got := res.header.Get("Content-Type"); got != tt.contentType {
				t.Errorf("Content-Type %q, want %q", got, tt.contentType)
			}
			if got := res.header.Get("Cache-Control"); got != tt.cache {
				t.Errorf("Cache-Control %q, want %q", got, tt.cache)
			}
			checkSecure(t, res.header)
			if b := res.body; tt.method == "HEAD" && b != "" {
				t.Errorf("HEAD answered %d bytes", len(b))
			} else if tt.status >= 400 && (len(b) > 40 || strings.ContainsAny(b, "{<")) {
				t.Errorf("body %q, want a short text", b)
			}
			if tt.status == 405 && res.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow %q", res.header.Get("Allow"))
			}
		})
	}
}

func checkSecure(t *testing.T, h http.Header) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
		"X-Content-Type-Options":  "nosniff",
		"Referrer-Policy":         "no-referrer",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s %q, want %q", name, got, want)
		}
	}
}

func TestHandlerCompresses(t *testing.T) {
	h := dashboard.Handler(dashboard.Config{Files: page()})
	for _, tt := range []struct {
		accept string
		gzip   bool
	}{
		{"", false},
		{"gzip", true},
		{"gzip, deflate, br", true},
		{"br, GZIP", true},
		{"gzip;q=0.5", true},
		{"gzip; q=0", false},
		{"gzip;q=0.000, *", false},
		{"*", true},
		{"*;q=0", false},
		{"identity", false},
		{"gzip;q=nonsense", false},
		{"gzipped", false},
	} {
		t.Run(tt.accept, func(t *testing.T) {
			res := get(t, h, "GET", "/assets/main-a1b2.js", "Accept-Encoding", tt.accept)
			if res.header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("Vary %q", res.header.Get("Vary"))
			}
			got := res.body
			if tt.gzip != (res.header.Get("Content-Encoding") == "gzip") {
				t.Fatalf("Content-Encoding %q, want gzip: %t", res.header.Get("Content-Encoding"), tt.gzip)
			}
			if tt.gzip {
				if len(got) >= len(script) {
					t.Errorf("compressed to %d bytes from %d", len(got), len(script))
				}
				got = unzip(t, got)
			}
			if got != script {
				t.Errorf("body differs: %d bytes, want %d", len(got), len(script))
			}
		})
	}
	if res := get(t, h, "GET", "/icon.svg", "Accept-Encoding", "gzip"); res.header.Get("Content-Encoding") != "" {
		t.Error("six bytes are compressed")
	}
	res := get(t, h, "GET", "/assets/main-a1b2.js", "Accept-Encoding", "gzip", "Range", "bytes=0-9")
	if res.status != 200 || unzip(t, res.body) != script {
		t.Errorf("a range of compressed bytes: status %d", res.status)
	}
}

// Pages of other sites may have the client, when the guard says so: then its answer
// is another, compressed or not.
func TestHandlerVaries(t *testing.T) {
	h := dashboard.Handler(dashboard.Config{Files: page()})
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Cookie")
		h.ServeHTTP(w, r)
	})
	for target, want := range map[string]string{
		"/":                    "Cookie, Accept-Encoding",
		"/icon.svg":            "Cookie",
		"/client/naru.js":      "Cookie, Origin, Accept-Encoding",
		"/client/naru.d.ts":    "Cookie, Origin",
		"/client/elsewhere.js": "Cookie, Origin",
	} {
		if got := strings.Join(get(t, guarded, "GET", target).header.Values("Vary"), ", "); got != want {
			t.Errorf("%s: Vary %q, want %q", target, got, want)
		}
	}
}

func TestHandlerWithoutClient(t *testing.T) {
	files := page()
	delete(files, "client/naru.js")
	res := get(t, dashboard.Handler(dashboard.Config{Files: files}), "GET", "/client/naru.js")
	if want := "this gateway was built without Node.js, and so without naru.js\n"; res.status != 404 || res.body != want {
		t.Errorf("%d %q, want 404 %q", res.status, res.body, want)
	}
}

func unzip(t *testing.T, s string) string {
	t.Helper()
	zr, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(zr); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestHandlerAnswersUnchanged(t *testing.T) {
	h := dashboard.Handler(dashboard.Config{Files: page()})
	plain := get(t, h, "GET", "/").header.Get("ETag")
	zipped := get(t, h, "GET", "/", "Accept-Encoding", "gzip").header.Get("ETag")
	if plain == "" || plain == zipped {
		t.Fatalf("ETag %s plain, %s compressed: want two", plain, zipped)
	}
	for _, tt := range []struct {
		name, accept, etag string
		status             int
	}{
		{"plain", "", plain, 304},
		{"compressed", "gzip", zipped, 304},
		{"of the other form", "", zipped, 200},
		{"of another build", "", `"0000"`, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := get(t, h, "GET", "/", "Accept-Encoding", tt.accept, "If-None-Match", tt.etag)
			if res.status != tt.status {
				t.Errorf("status %d, want %d", res.status, tt.status)
			}
			checkSecure(t, res.header)
		})
	}
}

func TestHandlerBelowAPath(t *testing.T) {
	h := http.StripPrefix("/sub/naru", dashboard.Handler(dashboard.Config{Files: page()}))
	for _, target := range []string{"/sub/naru/", "/sub/naru/assets/main-a1b2.js"} {
		if res := get(t, h, "GET", target); res.status != 200 {
			t.Errorf("%s: status %d", target, res.status)
		}
	}
}

func TestHandlerRefusesFilesWithoutPage(t *testing.T) {
	for name, files := range map[string]fstest.MapFS{
		"no index":     {"assets/a.js": {}},
		"unknown kind": {"index.html": {}, "assets/a.exe": {}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			dashboard.Handler(dashboard.Config{Files: files})
		})
	}
}

var local = regexp.MustCompile(`(?:src|href)="(?:\./)?([^":]+)"`)

// The embedded page, full or small, has no absolute address in it and all that
// it names is there.
func TestEmbeddedPageIsWhole(t *testing.T) {
	h := dashboard.Handler(dashboard.Config{})
	page := get(t, h, "GET", "/").body
	if full := strings.Contains(page, "assets/"); full != dashboard.Built() {
		t.Errorf("Built() = %t, but the page is full: %t", dashboard.Built(), full)
	}
	found := local.FindAllStringSubmatch(page, -1)
	if len(found) == 0 {
		t.Fatal("the page names no file")
	}
	for _, m := range found {
		if strings.HasPrefix(m[1], "/") {
			t.Errorf("%s is not relative to the page", m[1])
		}
		if strings.HasPrefix(m[1], "api/") {
			continue // served by others
		}
		if res := get(t, h, "GET", "/"+m[1]); res.status != 200 {
			t.Errorf("%s: status %d", m[1], res.status)
		}
	}
	if strings.Contains(page, "<script>") || regexp.MustCompile(`\son[a-z]+=`).MatchString(page) {
		t.Error("inline script: the content security policy forbids it")
	}
}
