package dashboard

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
)

//go:embed all:dist
var distFiles embed.FS

//go:embed small
var smallFiles embed.FS

// indexFile is the page itself; every other file is fetched by it, but those
// below clientPath.
const indexFile = "index.html"

// clientPath is where the client for other pages and programs stands.
const clientPath = "client/"

// The page may load from its own origin only. Inline styles are allowed because
// charts position their parts with them; there is no inline script.
const contentSecurityPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; frame-ancestors 'none'"

// Config says what Handler serves. The zero value serves the embedded page.
type Config struct {
	// Files holds index.html and what it refers to; files below assets/ have
	// names that change with their content. nil means the embedded page, or the
	// small one if that was not built.
	Files fs.FS
}

// Built reports whether the full page is part of this program.
func Built() bool { return hasIndex(embedded(distFiles, "dist")) }

// Handler serves the page at / and its files below, among them the client for
// other pages and programs at /client/. The files are read and
// compressed once, here. It answers GET and HEAD; there is no page but /, since
// the page keeps its own place in the part of the address that stays in the
// browser.
//
// It panics if cfg.Files has no index.html or cannot be read, as that is a
// mistake of the program.
func Handler(cfg Config) http.Handler {
	files := cfg.Files
	if files == nil {
		files = embedded(smallFiles, "small")
		if Built() {
			files = embedded(distFiles, "dist")
		}
	}
	assets, err := load(files)
	if err != nil {
		panic(fmt.Sprintf("dashboard: load: %v", err))
	}
	if assets[indexFile] == nil {
		panic("dashboard: load: no " + indexFile)
	}
	return handler{assets: assets}
}

func embedded(files embed.FS, dir string) fs.FS {
	sub, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // dir is not a valid path: impossible for a constant
	}
	return sub
}

func hasIndex(files fs.FS) bool {
	info, err := fs.Stat(files, indexFile)
	return err == nil && info.Mode().IsRegular()
}

type handler struct {
	assets map[string]*asset // by path without the leading slash; never written after Handler
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	if name == "" {
		name = indexFile
	}
	a := h.assets[name]
	if strings.HasPrefix(name, clientPath) {
		w.Header().Add("Vary", "Origin") // pages of other sites, if they may, get what says so
	}
	if a == nil {
		http.Error(w, h.missing(name), http.StatusNotFound)
		return
	}
	a.serve(w, r)
}

// missing says why there is no such file.
func (h handler) missing(name string) string {
	if strings.HasPrefix(name, clientPath) && h.assets[clientPath+"naru.js"] == nil {
		return "this gateway was built without Node.js, and so without naru.js"
	}
	return "no such page"
}

func secure(h http.Header) {
	h.Set("Content-Security-Policy", contentSecurityPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}
