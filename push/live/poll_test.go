package live

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A poll with many readings is compressed for who takes that, whatever it is wrapped in.
func TestCompressedPolls(t *testing.T) {
	g := loopback(t, Config{})
	g.publish(series(200)...)
	for _, c := range []struct {
		query  string
		packed bool
	}{{"after=s-199", false}, {"after=s-0", true}, {"after=s-0&wait=25s", true}, {"after=s-0&callback=f", true}} {
		_, want := g.get(http.Header{}, c.query)
		resp, got := g.get(http.Header{"Accept-Encoding": {"gzip"}}, c.query)
		if packed := resp.Header.Get("Content-Encoding") == "gzip"; packed != c.packed || !slices.Contains(resp.Header["Vary"], "Accept-Encoding") {
			t.Errorf("%s: compressed: %v, Vary %v", c.query, packed, resp.Header["Vary"])
		}
		if c.packed {
			z, err := gzip.NewReader(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil || len(got) > len(want)/2 {
				t.Errorf("%s: %d bytes in %d, %v", c.query, len(want), len(got), err)
			}
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: %d bytes, want %d", c.query, len(got), len(want))
		}
	}
}
