package dashboard

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// maxSmall bounds the small page, which every program carries.
const maxSmall = 4 << 10

func TestSmallPage(t *testing.T) {
	files := embedded(smallFiles, "small")
	size := 0
	var text strings.Builder
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		size += len(b)
		text.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if size > maxSmall {
		t.Errorf("%d bytes, at most %d", size, maxSmall)
	}
	for _, want := range []string{"api/v1/live?last=1", "EventSource", "Node.js", "make run", ">Device<", ">Metric<", ">Value<", ">Age<"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("says nothing of %q", want)
		}
	}
	h := Handler(Config{Files: files})
	for target, want := range map[string]string{"/": "text/html", "/small.js": "text/javascript"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), want) {
			t.Errorf("%s: %d %s", target, w.Code, w.Header().Get("Content-Type"))
		}
	}
}

func TestBuiltNeedsThePage(t *testing.T) {
	if !hasIndex(embedded(smallFiles, "small")) {
		t.Error("the small page has no index")
	}
	_, err := distFiles.ReadFile("dist/" + indexFile)
	if Built() != (err == nil) {
		t.Errorf("Built() = %t, reading the page: %v", Built(), err)
	}
}
