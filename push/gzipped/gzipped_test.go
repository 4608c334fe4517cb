package gzipped

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
)

func asking(accept string) *http.Request {
	return &http.Request{Header: http.Header{"Accept-Encoding": {accept}}}
}

// plain returns the body of an answer as it was before it was compressed, if it was.
func plain(t *testing.T, w *httptest.ResponseRecorder) (body string, packed bool) {
	t.Helper()
	if w.Header().Get("Vary") != "Accept-Encoding" {
		t.Errorf("Vary: %q", w.Header()["Vary"])
	}
	if n := w.Header().Get("Content-Length"); n != "" && n != fmt.Sprint(w.Body.Len()) {
		t.Errorf("%d bytes, said to be %s", w.Body.Len(), n)
	}
	if w.Header().Get("Content-Encoding") != "gzip" {
		return w.Body.String(), false
	}
	z, err := gzip.NewReader(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), true
}

func TestWrite(t *testing.T) {
	noise := make([]byte, 5000)
	random := rand.NewChaCha8([32]byte{})
	_, _ = random.Read(noise) // cannot fail
	for _, c := range []struct {
		name, accept, body string
		packed             bool
	}{
		{"small", "gzip", strings.Repeat("a", MinSize-1), false},
		{"large enough", "gzip", strings.Repeat("a", MinSize), true},
		{"as browsers ask", "gzip, deflate, br", strings.Repeat("reading ", 100_000), true},
		{"not asked for", "", strings.Repeat("a", 5000), false},
		{"refused", "gzip;q=0, *", strings.Repeat("a", 5000), false},
		{"any", "*", strings.Repeat("a", 5000), true},
		{"any but none", "*;q=0", strings.Repeat("a", 5000), false},
		{"another", "br, gzippy", strings.Repeat("a", 5000), false},
		{"it does not pay", "gzip", string(noise), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := Write(w, asking(c.accept), []byte(c.body)); err != nil {
				t.Fatal(err)
			}
			smaller := w.Body.Len() < len(c.body)
			if body, packed := plain(t, w); body != c.body || packed != c.packed || smaller != c.packed {
				t.Errorf("compressed: %v, smaller: %v, %d bytes of %d", packed, smaller, len(body), len(c.body))
			}
		})
	}
}

func TestParts(t *testing.T) {
	for _, c := range []struct {
		accept string
		first  int
		packed bool
	}{{"gzip", MinSize, true}, {"gzip", MinSize - 1, false}, {"", MinSize, false}} {
		w := httptest.NewRecorder()
		to := Begin(w, asking(c.accept), c.first)
		if (to != nil) != c.packed {
			t.Fatalf("%q, %d: %v", c.accept, c.first, to)
		}
		if to == nil {
			continue
		}
		for range 10 {
			if _, err := to.Write(bytes.Repeat([]byte("x"), c.first)); err != nil {
				t.Fatal(err)
			}
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		if body, packed := plain(t, w); !packed || body != strings.Repeat("x", 10*c.first) {
			t.Errorf("compressed: %v, %d bytes", packed, len(body))
		}
	}
}

// An answer does not wait for a compressor; one that is given back is used again.
func TestAllBusy(t *testing.T) {
	body := strings.Repeat("a", 5000)
	busy := make([]*Writer, maxWorking)
	for i := range busy {
		if busy[i] = Begin(httptest.NewRecorder(), asking("gzip"), len(body)); busy[i] == nil {
			t.Fatalf("only %d at a time", i)
		}
	}
	answer := func() bool {
		w := httptest.NewRecorder()
		if err := Write(w, asking("gzip"), []byte(body)); err != nil {
			t.Fatal(err)
		}
		got, packed := plain(t, w)
		if got != body {
			t.Errorf("%d bytes", len(got))
		}
		return packed
	}
	if answer() {
		t.Error("compressed by whom?")
	}
	for _, w := range busy[1:] {
		w.Abandon()
	}
	if err := busy[0].Close(); err != nil {
		t.Error(err)
	}
	if !answer() {
		t.Error("no compressor came back")
	}
}

func TestConcurrently(t *testing.T) {
	var all sync.WaitGroup
	for n := range 2 * maxWorking {
		all.Go(func() {
			for i := range 50 {
				body := strings.Repeat(fmt.Sprint(n, " ", i, " "), 500)
				w := httptest.NewRecorder()
				err := Write(w, asking("gzip"), []byte(body))
				if got, _ := plain(t, w); got != body || err != nil {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
			}
		})
	}
	all.Wait()
	if len(working) != 0 {
		t.Errorf("%d are still at work", len(working))
	}
}

// BenchmarkWrite is of an answer with 100 readings.
func BenchmarkWrite(b *testing.B) {
	var body []byte
	for i := range 100 {
		body = fmt.Appendf(body, `{"offset":%d,"device":"greenhouse-%d","metric":"air.temperature","time":%d,"value":%d.5},`, 1841+i, i%7, int64(1764000000123)+int64(i*37), 20+i%5)
	}
	for _, accept := range []string{"", "gzip"} {
		b.Run("accept="+accept, func(b *testing.B) {
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				w := httptest.NewRecorder()
				_ = Write(w, asking(accept), body)
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
