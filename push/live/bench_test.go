package live

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
)

// BenchmarkWrite is one message of 150 bytes over loopback: the price of a
// delivery, which is that of the system call.
func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct {
		name  string
		write func(*viewerConn, []byte) error
	}{
		{"bare", func(v *viewerConn, p []byte) error { _, err := v.Conn.Write(p); return err }},
		{"patient", func(v *viewerConn, p []byte) error { _, err := v.Write(p); return err }},
		{"at once", func(v *viewerConn, p []byte) error {
			rest, err := v.tryWrite(p)
			if rest != nil {
				_, err = v.finish(rest)
			}
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ln, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			var reading sync.WaitGroup
			reading.Go(func() {
				conn, err := ln.Accept()
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, conn, make([]byte, 1<<20))
				_ = conn.Close()
			})
			conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", ln.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			v := newViewerConn(conn)
			p := make([]byte, 150)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.write(v, p); err != nil {
					b.Fatal(err)
				}
			}
			_ = v.Close()
			reading.Wait()
			_ = ln.Close()
		})
	}
}

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
