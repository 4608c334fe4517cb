package wsconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// connected returns both ends of a TCP connection over loopback.
func connected(t *testing.T) (*Conn, net.Conn) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	peer, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ours, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = ours.Close(), peer.Close(), ln.Close() })
	return newConn(ours), peer
}

// What the kernel does not take is a rest, before which nothing else is written.
func TestTryWrite(t *testing.T) {
	c, peer := connected(t)
	if c.raw == nil {
		t.Skip("every write may wait here")
	}
	message := bytes.Repeat([]byte("0123456789abcdef"), 4096)
	var want []byte
	var rest []byte
	for rest == nil {
		var err error
		if rest, err = c.TryWrite(message); err != nil {
			t.Fatal(err)
		}
		want = append(want, message...)
	}
	if _, err := c.TryWrite([]byte("x")); !errors.Is(err, ErrBusy) {
		t.Errorf("a write before the rest: %v, want ErrBusy", err)
	}
	done := make(chan error, 2)
	go func() {
		_, err := c.Finish(rest)
		done <- err
	}()
	go func() { // waits for the rest
		n, err := c.Write([]byte("end"))
		if err == nil && n != 3 {
			err = io.ErrShortWrite
		}
		done <- err
	}()
	got, err := io.ReadAll(io.LimitReader(peer, int64(len(want)+3)))
	if err != nil || !bytes.Equal(got, append(want, "end"...)) {
		t.Errorf("%d bytes, %v; want %d", len(got), err, len(want)+3)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A write to who is gone fails, and closes the connection.
func TestWriteFails(t *testing.T) {
	for name, write := range map[string]func(c *Conn) error{
		"Write":    func(c *Conn) error { _, err := c.Write([]byte("x")); return err },
		"TryWrite": func(c *Conn) error { _, err := c.TryWrite([]byte("x")); return err },
	} {
		c, _ := connected(t)
		if c.raw == nil {
			t.Skip("every write may wait here")
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := write(c); err == nil {
			t.Errorf("%s to a closed connection", name)
		}
		if err := write(c); err == nil || errors.Is(err, ErrBusy) {
			t.Errorf("%s once more: %v", name, err)
		}
	}
}

// Pongs without payload are taken where one waits; anything else ends the wait, and so
// does the end.
func TestWaiter(t *testing.T) {
	pong := []byte{0x8a, 0x80, 1, 2, 3, 4}
	for _, c := range []struct {
		name  string
		sent  []byte
		pongs int32
		left  []byte
	}{
		{"a message", []byte{0x81, 0x80, 1, 2, 3, 4}, 0, []byte{0x81, 0x80, 1, 2, 3, 4}},
		{"pongs, then a message", append(append(pong, pong...), 0x81, 0x80, 1, 2, 3, 4), 2, []byte{0x81, 0x80, 1, 2, 3, 4}},
		{"a pong with payload", []byte{0x8a, 0x81, 1, 2, 3, 4, 5}, 0, []byte{0x8a, 0x81, 1, 2, 3, 4, 5}},
		{"a ping", []byte{0x89, 0x80, 1, 2, 3, 4}, 0, []byte{0x89, 0x80, 1, 2, 3, 4}},
		{"the end", nil, 0, nil},
		{"the end behind a pong", pong[:6:6], 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn, peer := connected(t)
			var pongs atomic.Int32
			w := NewWaiter(conn.Conn, func() { pongs.Add(1) })
			if w == nil {
				t.Skip("there is nothing to wait by here")
			}
			if _, err := peer.Write(c.sent); err != nil {
				t.Fatal(err)
			}
			if len(c.left) == 0 {
				if err := peer.Close(); err != nil {
					t.Fatal(err)
				}
			}
			w.Wait()
			got := make([]byte, 64)
			n, _ := conn.Read(got)
			if pongs.Load() != c.pongs || !bytes.Equal(got[:n], c.left) {
				t.Errorf("%d pongs, left %x; want %d, %x", pongs.Load(), got[:n], c.pongs, c.left)
			}
		})
	}
}

func TestAppendHeader(t *testing.T) {
	for size, want := range map[int][]byte{
		0: {0x81, 0}, 125: {0x81, 125}, 126: {0x81, 126, 0, 126}, 65535: {0x81, 126, 255, 255}, 65536: {0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0},
	} {
		if got := AppendHeader(nil, Text, size); !bytes.Equal(got, want) {
			t.Errorf("%d: %x, want %x", size, got, want)
		}
	}
	if got := AppendHeader([]byte{7}, Binary, 1); !bytes.Equal(got, []byte{7, 0x82, 1}) {
		t.Errorf("%x", got)
	}
}
