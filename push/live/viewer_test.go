package live

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// kind is a technique as a client sees it.
type kind struct{ Technique }

var kinds = func() (out []kind) {
	for _, t := range Techniques() {
		out = append(out, kind{t})
	}
	return out
}()

// polling reports whether the technique asks again and again.
func (k kind) polling() bool { return k.Technique >= LongPolling && k.Technique <= JSONP }

// header is what asks for the technique.
func (k kind) header() http.Header {
	return map[Technique]http.Header{
		WebSocket: {
			"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
			"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
		},
		ServerSentEvents: {"Accept": {"text/event-stream"}},
		Stream:           {"Accept": {"application/x-ndjson"}},
		Iframe:           {"Accept": {"text/html,application/xhtml+xml;q=0.9"}},
		LongPolling:      {},
		Polling:          {},
		JSONP:            {},
	}[k.Technique]
}

// viewer receives messages, whatever brings them. Messages without content are
// passed over.
type viewer interface {
	// next returns io.EOF when the server has ended the stream in good order.
	next() (message, error)
	close()
}

// view opens a viewer and fails the test when it is refused.
func (g *gateway) view(k kind, query string) viewer {
	g.t.Helper()
	q, err := url.ParseQuery(query)
	if err != nil {
		g.t.Fatal(err)
	}
	var v viewer
	switch k.Technique {
	case WebSocket:
		v = g.viewWebSocket(q)
	case ServerSentEvents, Stream:
		v = g.viewStream(k, q)
	case Iframe:
		q.Set("iframe", "naru.take")
		v = g.viewStream(k, q)
	case LongPolling:
		q.Set("wait", "25s")
		v = &pollViewer{g: g, k: k, q: q}
	case JSONP:
		q.Set("wait", "25s")
		q.Set("callback", "naru.take$1")
		v = &pollViewer{g: g, k: k, q: q}
	case SocketIOPolling, SocketIOWebSocket:
		q.Set("batch", "1")
		c, err := g.viewSocketIO(k.Technique, q, "")
		if err != nil {
			g.t.Fatal(err)
		}
		v = c
	case Polling, techniques:
		v = &pollViewer{g: g, k: k, q: q}
	}
	g.t.Cleanup(v.close)
	return v
}

type wsClient struct {
	g *gateway
	*websocket.Conn
}

func (g *gateway) viewWebSocket(q url.Values) *wsClient {
	g.t.Helper()
	return g.dialWebSocket(q, &websocket.DialOptions{})
}

func (g *gateway) dialWebSocket(q url.Values, o *websocket.DialOptions) *wsClient {
	g.t.Helper()
	o.HTTPClient = g.client
	ws, _, err := websocket.Dial(g.t.Context(), target("ws", q), o) //nolint:bodyclose // the library closes it
	if err != nil {
		g.t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	return &wsClient{g, ws}
}

func (c *wsClient) next() (message, error) {
	k, b, err := c.Read(c.g.t.Context())
	switch {
	case websocket.CloseStatus(err) == websocket.StatusGoingAway:
		return message{}, io.EOF
	case err != nil:
		return message{}, errors.New(err.Error()) // not io.EOF: there was no closing handshake
	case k != websocket.MessageText:
		return message{}, errors.New("a binary message")
	}
	return parseMessage(b)
}

func (c *wsClient) send(text string) {
	c.g.t.Helper()
	if err := c.Write(c.g.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		c.g.t.Fatal(err)
	}
}

func (c *wsClient) close() { _ = c.CloseNow() }

type streamViewer struct {
	k    kind
	body io.ReadCloser
	r    *bufio.Reader
	id   string // last event id
}

func (g *gateway) viewStream(k kind, q url.Values) *streamViewer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, target("http", q), nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header = k.header()
	resp, err := g.client.Do(r) //nolint:bodyclose // closed by the viewer
	if err != nil {
		g.t.Fatal(err)
	}
	got, want := resp.Header.Get("Content-Type"), k.header().Get("Accept")
	if k.Technique == Iframe {
		want = "text/html; charset=utf-8"
	}
	if resp.StatusCode != http.StatusOK || got != want {
		g.t.Fatalf("%s, %s", resp.Status, got)
	}
	return &streamViewer{k: k, body: resp.Body, r: bufio.NewReader(resp.Body)}
}

func (v *streamViewer) close() { _ = v.body.Close() }

func (v *streamViewer) next() (message, error) {
	if v.k.Technique == Stream {
		for {
			line, err := v.r.ReadBytes('\n')
			if err != nil {
				if len(line) > 0 {
					err = fmt.Errorf("half a line: %q", line)
				}
				return message{}, err
			}
			if len(line) > 1 {
				return parseMessage(line)
			}
		}
	}
	if v.k.Technique == Iframe {
		return v.script()
	}
	return v.event()
}

// script reads one call of the function that is not to show only that the stream lives.
func (v *streamViewer) script() (message, error) {
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			if line != "" {
				err = fmt.Errorf("half a line: %q", line)
			}
			return message{}, err
		}
		call, is := strings.CutPrefix(line, "<script>parent.naru.take(")
		if !is {
			continue // of the page's opening
		}
		text, whole := strings.CutSuffix(call, ")</script>\n")
		if !whole || strings.Contains(text, "<") {
			return message{}, fmt.Errorf("not a call: %q", line)
		}
		if m, err := parseMessage([]byte(text)); err != nil || m.Type != "readings" || len(m.Readings) > 0 {
			return m, err
		}
	}
}

// event reads one event with data, as the HTML standard says.
func (v *streamViewer) event() (message, error) {
	var data []byte
	for {
		line, err := v.r.ReadBytes('\n')
		if err != nil {
			if len(line) > 0 || len(data) > 0 {
				err = fmt.Errorf("half an event: %q %q", data, line)
			}
			return message{}, err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		field, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case len(line) == 0 && data != nil:
			m, err := parseMessage(data)
			if err == nil && m.Cursor != v.id && m.Type != "device" {
				err = fmt.Errorf("the id is %q, the cursor %q", v.id, m.Cursor)
			}
			return m, err
		case field == "data":
			data = append(data, value...)
		case field == "id":
			v.id = value
		case field == "", field == "retry", len(line) == 0:
		default:
			return message{}, fmt.Errorf("unknown line %q", line)
		}
	}
}

type pollViewer struct {
	g      *gateway
	k      kind
	q      url.Values
	closed bool
}

func (v *pollViewer) close() { v.closed = true }

// next asks until there is something. Once the gateway is stopping, the first
// answer without readings is the end.
func (v *pollViewer) next() (message, error) {
	for !v.closed {
		resp, body := v.g.get(v.k.header(), v.q.Encode())
		want := "application/json"
		if v.k.Technique == JSONP {
			want = "text/javascript; charset=utf-8"
			body = strings.TrimSuffix(strings.TrimPrefix(body, "/**/naru.take$1("), ");\n")
		}
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != want {
			return message{}, fmt.Errorf("%s: %s", resp.Status, body)
		}
		m, err := parseMessage([]byte(body))
		if err != nil {
			return message{}, err
		}
		if m.Cursor != "" {
			v.q.Set("after", m.Cursor)
		}
		if m.Type != "readings" || len(m.Readings) > 0 {
			return m, nil
		}
		if v.g.stopping() {
			return message{}, io.EOF
		}
		if v.k.Technique == Polling {
			<-time.After(5 * time.Millisecond)
		}
	}
	return message{}, errors.New("the viewer is closed")
}

// eager takes messages from a viewer as soon as they come.
func (g *gateway) eager(v viewer) viewer {
	e := &eagerViewer{viewer: v, came: make(chan arrived, 1000)}
	go func() {
		for {
			m, err := v.next()
			e.came <- arrived{m, err}
			if err != nil {
				return
			}
		}
	}()
	return e
}

type eagerViewer struct {
	viewer
	came chan arrived
}

type arrived struct {
	message
	err error
}

func (e *eagerViewer) next() (message, error) {
	a := <-e.came
	return a.message, a.err
}
