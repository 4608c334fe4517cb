package live

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

const (
	// maxMessage bounds what a viewer may send: 128 patterns of the longest fit.
	maxMessage = 20 << 10
	// pingInterval is how often a viewer's connection is proved; after two
	// intervals without a pong it is dead.
	pingInterval = 25 * time.Second
	// wsReadBuffer and wsWriteBuffer replace net/http's 4 KiB each. Viewers send
	// little, and frames are written past the buffer.
	wsReadBuffer  = 512
	wsWriteBuffer = 256
)

// pingFrame is a ping without payload (RFC 6455, section 5.5.2).
var pingFrame = []byte{0x89, 0}

// webSocket upgrades the request and serves the viewer. The library does the
// handshake, reading, pongs and closing; messages are written to the connection
// as they stand in the shared frames.
func (h *Handler) webSocket(w http.ResponseWriter, r *http.Request, req request) {
	hijacked := &hijacker{ResponseWriter: w}
	c := &wsViewer{h: h, closing: make(chan struct{})}
	opened, err := websocket.Accept(hijacked, r, &websocket.AcceptOptions{
		OriginPatterns:  h.origins,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { return !c.isClosing() },
		OnPongReceived:  func(context.Context, []byte) { c.alive() },
	})
	if err != nil {
		return // Accept has answered
	}
	opened.SetReadLimit(maxMessage)
	c.ws, c.conn = opened, hijacked.conn
	c.serve(req.options)
}

// hijacker hands the connection to the library with small buffers and keeps it
// for writing.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

// Unwrap lets http.ResponseController reach the server's writer.
func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
	size := max(wsReadBuffer, rw.Reader.Buffered())
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	r := bufio.NewReaderSize(&prefixed{early, conn}, size)
	return conn, bufio.NewReadWriter(r, bufio.NewWriterSize(conn, wsWriteBuffer)), nil
}

// prefixed reads what had been read ahead, then the connection.
type prefixed struct {
	early []byte
	conn  net.Conn
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.early) > 0 {
		n := copy(b, p.early)
		p.early = p.early[n:]
		return n, nil
	}
	return p.conn.Read(b)
}

// wsViewer is one WebSocket: a goroutine that writes, a goroutine that reads.
type wsViewer struct {
	h       *Handler
	ws      *websocket.Conn
	conn    net.Conn
	closing chan struct{} // closed before the closing handshake begins

	mu     sync.Mutex // guards following
	next   *push.Subscription
	cancel context.CancelFunc // ends the wait of the subscription in use
}

func (c *wsViewer) isClosing() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}

// alive moves the moment at which the connection counts as dead.
func (c *wsViewer) alive() {
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * pingInterval))
}

func (c *wsViewer) serve(o push.Options) {
	ctx, gone := context.WithCancel(context.Background()) //nolint:contextcheck // the request's context says nothing after Hijack
	defer gone()
	c.alive()
	ping := time.AfterFunc(pingInterval, func() {})
	ping.Stop()
	ping = time.AfterFunc(pingInterval, func() {
		if c.write(pingFrame) == nil {
			ping.Reset(pingInterval)
		}
	})
	defer ping.Stop()
	if err := c.subscribe(ctx, o); err != nil {
		_ = c.ws.Close(websocket.StatusInternalError, "the store cannot be read")
		return
	}
	var reader sync.WaitGroup
	reader.Go(func() {
		defer gone()
		c.read(ctx)
	})
	err := c.push(ctx)
	close(c.closing)
	if errors.Is(err, push.ErrClosed) {
		_ = c.ws.Close(websocket.StatusGoingAway, "the server is stopping")
	}
	_ = c.ws.CloseNow()
	reader.Wait()
	if c.next != nil {
		c.next.Close()
	}
}

// subscribe prepares a subscription and has the writer take it over.
func (c *wsViewer) subscribe(ctx context.Context, o push.Options) error {
	sub, err := c.h.feed.Subscribe(ctx, o)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next != nil {
		c.next.Close()
	}
	c.next = sub
	if c.cancel != nil {
		c.cancel()
	}
	return nil
}

// take returns the subscription that has been prepared, if any.
func (c *wsViewer) take(ctx context.Context) (*push.Subscription, context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := c.next
	c.next = nil
	if sub == nil {
		return nil, nil, nil
	}
	wait, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	return sub, wait, cancel
}

// push writes messages until the viewer is gone or the feed closed.
func (c *wsViewer) push(ctx context.Context) error {
	for {
		sub, wait, cancel := c.take(ctx)
		if sub == nil {
			return ctx.Err()
		}
		err := c.pushFrom(wait, sub)
		cancel()
		sub.Close()
		if !errors.Is(err, context.Canceled) {
			return err
		}
	}
}

func (c *wsViewer) pushFrom(ctx context.Context, sub *push.Subscription) error {
	for {
		frame, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if err := c.write(frame.WebSocket()); err != nil {
			return err
		}
	}
}

// write sends one frame. net.Conn keeps the writes of several goroutines apart.
func (c *wsViewer) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(jittered(writeTimeout))); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// read takes the viewer's messages until the connection ends.
func (c *wsViewer) read(ctx context.Context) {
	for {
		kind, b, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		c.alive()
		o, err := parseSubscribe(kind, b)
		if err == nil {
			err = c.subscribe(ctx, o)
		}
		if err != nil && c.write(push.Failure(strings.ToValidUTF8(err.Error(), "\ufffd")).WebSocket()) != nil {
			return
		}
	}
}

// subscribeMessage is what a viewer may send.
type subscribeMessage struct {
	Type   string   `json:"type"`
	Device []string `json:"device"`
	Metric []string `json:"metric"`
	After  string   `json:"after"`
	Last   int      `json:"last"`
}

func parseSubscribe(kind websocket.MessageType, b []byte) (push.Options, error) {
	var m subscribeMessage
	if kind != websocket.MessageText {
		return push.Options{}, errors.New("want a text message")
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return push.Options{}, errors.New(`want {"type":"subscribe","device":[…],"metric":[…],"after":"…"}: ` + err.Error())
	}
	if m.Type != "subscribe" {
		return push.Options{}, errors.New(`type: want "subscribe"`)
	}
	if m.Last < 0 || m.Last > push.MaxLast {
		return push.Options{}, errors.New("last: want a number from 1 to 1000")
	}
	sel, err := device.NewSelector(m.Device, m.Metric)
	if err != nil {
		return push.Options{}, err
	}
	o := push.Options{Selector: sel, Last: m.Last, Subscribed: true}
	if m.After != "" {
		after, err := push.ParseCursor(m.After)
		if err != nil {
			return push.Options{}, errors.New("after: " + err.Error())
		}
		o.After = &after
	}
	return o, nil
}
