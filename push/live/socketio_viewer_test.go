package live

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"
)

// socketClient speaks Engine.IO and Socket.IO by hand.
type socketClient struct {
	g    *gateway
	ws   *websocket.Conn // nil: it polls
	base url.Values      // of its polls
	came []string        // packets that have not been looked at

	id, pid string
	hello   socketEvent
	offset  string // last argument of the newest event
}

// socketEvent is an event as it came.
type socketEvent struct {
	name string
	arg  json.RawMessage
	last string
}

// viewSocketIO connects with auth, a JSON object or nothing, and takes the reply
// and the first event.
func (g *gateway) viewSocketIO(t Technique, q url.Values, auth string) (*socketClient, error) {
	c := &socketClient{g: g, base: url.Values{"EIO": {"4"}, "transport": {"polling"}}}
	all := url.Values{"EIO": {"4"}, "transport": {"polling"}}
	maps.Copy(all, q)
	if t == SocketIOWebSocket {
		all.Set("transport", "websocket")
		ws, resp, err := websocket.Dial(g.t.Context(), "ws://gateway/socket.io/?"+all.Encode(), &websocket.DialOptions{HTTPClient: g.client}) //nolint:bodyclose // the library closes it
		if err != nil {
			if resp != nil {
				return nil, errors.New(resp.Status)
			}
			return nil, err
		}
		ws.SetReadLimit(-1)
		c.ws = ws
	} else if err := c.request(http.MethodGet, all, ""); err != nil {
		return nil, err
	}
	opened, err := c.packet()
	var open struct{ SID string }
	if err != nil || opened[0] != '0' || json.Unmarshal([]byte(opened[1:]), &open) != nil || open.SID == "" {
		return nil, fmt.Errorf("open: %q, %w", opened, err)
	}
	c.base.Set("sid", open.SID)
	return c, c.connect(auth)
}

// connect joins the main namespace.
func (c *socketClient) connect(auth string) error {
	if err := c.send("40" + auth); err != nil {
		return err
	}
	p, err := c.packet()
	if err != nil {
		return err
	}
	if !strings.HasPrefix(p, "40{") {
		return errors.New(p)
	}
	var reply struct{ SID, PID string }
	if err := json.Unmarshal([]byte(p[2:]), &reply); err != nil {
		return err
	}
	c.id, c.pid = reply.SID, reply.PID
	c.hello, err = c.event()
	if err == nil && c.hello.name != "hello" {
		err = fmt.Errorf("the first event is %q", c.hello.name)
	}
	return err
}

// again returns the auth by which the official client asks for recovery.
func (c *socketClient) again() string {
	return fmt.Sprintf(`{"pid":%q,"offset":%q}`, c.pid, c.offset)
}

func (c *socketClient) send(packet string) error {
	if c.ws != nil {
		return c.ws.Write(c.g.t.Context(), websocket.MessageText, []byte(packet))
	}
	return c.request(http.MethodPost, c.base, packet)
}

// request makes a request of polling and keeps the packets that it brings.
func (c *socketClient) request(method string, q url.Values, body string) error {
	r, err := http.NewRequestWithContext(c.g.t.Context(), method, "http://gateway/socket.io/?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.g.client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("%s: %s", resp.Status, b)
	case method == http.MethodGet:
		c.came = append(c.came, strings.Split(string(b), "\x1e")...)
	}
	return nil
}

// packet returns the next packet but pings, which it answers, and noops. io.EOF
// is the orderly end.
func (c *socketClient) packet() (string, error) {
	for {
		p, err := c.any()
		switch {
		case err != nil:
			return "", err
		case p == "":
			return "", errors.New("an empty packet")
		case p == "2":
			if err := c.send("3"); err != nil {
				return "", err
			}
		case p == "1":
			return "", io.EOF
		case p != "6":
			return p, nil
		}
	}
}

func (c *socketClient) any() (string, error) {
	if c.ws != nil {
		_, b, err := c.ws.Read(c.g.t.Context())
		if websocket.CloseStatus(err) == websocket.StatusGoingAway {
			return "", io.EOF
		}
		if err != nil {
			return "", errors.New(err.Error()) // not io.EOF: there was no closing handshake
		}
		return string(b), nil
	}
	if len(c.came) == 0 {
		if err := c.request(http.MethodGet, c.base, ""); err != nil {
			return "", err
		}
	}
	p := c.came[0]
	c.came = c.came[1:]
	return p, nil
}

func (c *socketClient) event() (socketEvent, error) {
	p, err := c.packet()
	if err != nil {
		return socketEvent{}, err
	}
	var args []json.RawMessage
	if !strings.HasPrefix(p, "42[") || json.Unmarshal([]byte(p[2:]), &args) != nil || len(args) != 3 {
		return socketEvent{}, fmt.Errorf("no event with a cursor: %s", p)
	}
	e := socketEvent{arg: args[1]}
	if err := errors.Join(json.Unmarshal(args[0], &e.name), json.Unmarshal(args[2], &e.last)); err != nil {
		return e, err
	}
	c.offset = e.last
	return e, nil
}

func (c *socketClient) next() (message, error) {
	e, err := c.event()
	if err != nil {
		return message{}, err
	}
	m, err := parseMessage(e.arg)
	switch {
	case err != nil:
		return m, err
	case m.Type != e.name:
		return m, fmt.Errorf("the event %q brings %q", e.name, m.Type)
	case m.Type != "device" && m.Type != "error" && m.Cursor != e.last:
		return m, fmt.Errorf("the last argument is %q, the cursor %q", e.last, m.Cursor)
	}
	return m, nil
}

func (c *socketClient) close() {
	if c.ws != nil {
		_ = c.ws.CloseNow()
		return
	}
	_ = c.send("1")
}
