package wsconn

import (
	"io"
	"net"
	"sync"
	"testing"
)

// BenchmarkWrite is one message of 150 bytes over loopback: the price of a
// delivery, which is that of the system call.
func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct {
		name  string
		write func(*Conn, []byte) error
	}{
		{"bare", func(v *Conn, p []byte) error { _, err := v.Conn.Write(p); return err }},
		{"patient", func(v *Conn, p []byte) error { _, err := v.Write(p); return err }},
		{"at once", func(v *Conn, p []byte) error {
			rest, err := v.TryWrite(p)
			if rest != nil {
				_, err = v.Finish(rest)
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
			v := newConn(conn)
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
