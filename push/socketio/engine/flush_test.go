package engine

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/push/wsconn"
)

// counter is an endpoint that counts up to n; each number takes long when it is a
// multiple of slow.
type counter struct {
	echo
	next, n, slow int
}

func (c *counter) Next(wait bool) (*Messages, error) {
	switch {
	case c.next == c.n:
		return nil, nil
	case !wait && c.next%c.slow == 0:
		return nil, ErrWait
	}
	var b Builder
	b.Text([]byte(strconv.Itoa(c.next)), []byte(strings.Repeat(" ", 1000)))
	c.next++
	return b.Messages(), nil
}

// Over a socket everything comes, once and in order, whether the client reads at once or
// what it does not take fills the kernel's buffers, and whether the endpoint takes long
// now and then.
func TestFlushOverTCP(t *testing.T) {
	const n = 20_000 // of 1 KB: more than the kernel takes
	for _, c := range []struct {
		name string
		slow int
		late bool
	}{
		{"a client that reads", n + 1, false},
		{"one that reads late", n + 1, true},
		{"an endpoint that takes long", 1000, false},
		{"both", 1000, true},
		{"one that always does", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e *counter
			server := New(Config{Open: func(s *Session, _ *http.Request) Endpoint {
				e = &counter{echo: echo{s: s, ended: -1}, n: n, slow: c.slow}
				return e
			}})
			web := httptest.NewServer(server)
			defer web.Close()
			url := "ws" + strings.TrimPrefix(web.URL, "http") + "/?EIO=4&transport=websocket"
			ws, _, err := websocket.Dial(t.Context(), url, nil) //nolint:bodyclose // there is none
			if err != nil {
				t.Fatal(err)
			}
			read := func() string {
				_, b, err := ws.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(b))
			}
			read() // the open packet
			e.s.Wake()
			if c.late {
				e.s.stuck(t)
			}
			for i := range n {
				if got, want := read(), "4"+strconv.Itoa(i); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
			_ = ws.Close(websocket.StatusNormalClosure, "")
			if err := server.Wait(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
}

// stuck waits until the client's buffers are full: then a write is held until the client
// reads.
func (s *Session) stuck(t *testing.T) {
	t.Helper()
	for {
		switch _, err := s.conn.conn.TryWrite(nil); {
		case errors.Is(err, wsconn.ErrBusy):
			return
		case err != nil:
			t.Fatal(err)
		}
		runtime.Gosched()
	}
}
