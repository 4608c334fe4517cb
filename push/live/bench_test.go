package live

import (
	"net/http"
	"testing"
)

// BenchmarkPoll is a poll over a connection that is open, with its client.
func BenchmarkPoll(b *testing.B) {
	g := loopback(b, Config{})
	g.publish("a/x")
	b.ReportAllocs()
	for b.Loop() {
		if resp, body := g.get(http.Header{}, "device=b&after=s-0"); resp.StatusCode != http.StatusOK {
			b.Fatal(resp.Status, body)
		}
	}
}
