package live

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/wsconn"
)

const (
	// maxMessage bounds what a viewer may send: 128 patterns of the longest fit.
	maxMessage = 20 << 10
	// pingInterval is how often a viewer's connection is proved; after two
	// intervals in which nothing came it is dead.
	pingInterval = 25 * time.Second
	// closeGrace is how long a viewer may take to answer the closing handshake.
	closeGrace = 3 * time.Second
)

// pingFrame is a ping without payload (RFC 6455, section 5.5.2).
var pingFrame = []byte{0x89, 0}

// webSocket upgrades the request and serves the viewer. The library does the
// handshake, reading, pongs and closing; messages are written to the connection
// as they stand in the shared frames.
func (h *Handler) webSocket(w http.ResponseWriter, r *http.Request, req request) {
	if o := &req.options; o.After == nil && o.Last == 0 {
		// What comes after the handshake must be seen, though the subscription is
		// made a moment later.
		head := h.feed.Head()
		o.After = &head
	}
	c := &wsViewer{h: h, presence: req.options.Presence, handover: make(chan struct{}, 1)}
	ws, conn, err := wsconn.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns:  h.origins,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { c.alive(); return !c.isClosing() },
		OnPongReceived:  func(context.Context, []byte) { c.alive() },
	})
	if err != nil {
		if refused, ok := errors.AsType[*wsconn.Refusal](err); ok {
			push.Refuse(w, refused.Status, refused.Reason)
		}
		return
	}
	ws.SetReadLimit(maxMessage)
	c.ws, c.conn = ws, conn
	c.serve(req.options)
}

// wsViewer is one WebSocket: a goroutine that writes, a goroutine that reads, a
// timer for pings.
type wsViewer struct {
	h        *Handler
	ws       *websocket.Conn
	conn     *wsconn.Conn
	presence bool          // device messages are asked for in the address
	handover chan struct{} // holds an element while next is not taken

	mu      sync.Mutex // guards following
	closing bool       // set before the closing handshake begins
	ping    *time.Timer
	next    *push.Subscription // prepared for the writer
	cancel  context.CancelFunc // ends the wait of the subscription in use
}

func (c *wsViewer) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// alive moves the moment at which the connection counts as dead.
func (c *wsViewer) alive() {
	_ = c.conn.SetReadDeadline(time.Now().Add(2 * pingInterval)) // fails only when it is closed
}

func (c *wsViewer) serve(o push.Options) {
	ctx, gone := context.WithCancel(context.Background())
	defer gone()
	c.alive()
	c.startPings()
	err := c.subscribe(ctx, o)
	var reader sync.WaitGroup
	if err == nil {
		reader.Go(func() {
			defer gone()
			c.read(ctx)
		})
		err = c.push(ctx)
	}
	c.stopPings()
	switch {
	case errors.Is(err, push.ErrClosed):
		c.goodbye(websocket.StatusGoingAway, "the server is stopping")
	case !errors.Is(err, errGone) && ctx.Err() == nil:
		c.h.log.Error("a stream was broken off", "technique", WebSocket.String(), "error", err)
		c.goodbye(websocket.StatusInternalError, storeFailed)
	}
	_ = c.ws.CloseNow() // closed already, or the viewer is gone
	reader.Wait()
	if c.next != nil {
		c.next.Close()
	}
}

func (c *wsViewer) startPings() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ping = time.AfterFunc(pingInterval, func() {
		if c.isClosing() {
			return
		}
		if _, err := c.conn.Write(pingFrame); err != nil {
			return // the connection is closed, which the reader notices
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.closing {
			c.ping.Reset(pingInterval)
		}
	})
}

func (c *wsViewer) stopPings() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = true
	c.ping.Stop()
}

// goodbye does the closing handshake, but does not wait long for the viewer's
// part.
func (c *wsViewer) goodbye(code websocket.StatusCode, reason string) {
	enough := time.AfterFunc(closeGrace, func() { _ = c.conn.Close() })
	defer enough.Stop()
	_ = c.ws.Close(code, reason)
}

// subscribe prepares a subscription and has the writer take it over, once it has
// taken the one before.
func (c *wsViewer) subscribe(ctx context.Context, o push.Options) error {
	sub, err := c.h.feed.Subscribe(ctx, o)
	if err != nil {
		return err
	}
	select {
	case c.handover <- struct{}{}:
	case <-ctx.Done():
		sub.Close()
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = sub
	if c.cancel != nil {
		c.cancel()
	}
	return nil
}

// take returns the subscription that has been prepared, or nil.
func (c *wsViewer) take(ctx context.Context) (*push.Subscription, context.Context, context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sub := c.next
	if sub == nil {
		return nil, nil, nil
	}
	c.next = nil
	<-c.handover
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
		if _, err := c.conn.Write(frame.WebSocket()); err != nil {
			return errGone
		}
	}
}

// read takes the viewer's messages until the connection ends.
func (c *wsViewer) read(ctx context.Context) {
	for {
		kind, b, err := c.ws.Read(ctx)
		if err != nil {
			return
		}
		c.alive()
		if err := c.handle(ctx, kind, b); err != nil {
			if _, err := c.conn.Write(push.Failure(err.Error()).WebSocket()); err != nil {
				return
			}
		}
	}
}

// handle acts on one message. Its errors are for the viewer.
func (c *wsViewer) handle(ctx context.Context, kind websocket.MessageType, b []byte) error {
	o, err := parseSubscribe(kind, b)
	if err != nil {
		return errors.New(strings.ToValidUTF8(err.Error(), "\ufffd"))
	}
	o.Presence = o.Presence || c.presence
	if err := c.subscribe(ctx, o); err != nil {
		if ctx.Err() == nil {
			c.h.log.Error("subscription failed", "technique", WebSocket.String(), "error", err)
		}
		return errors.New(storeFailed)
	}
	return nil
}

// subscribeMessage is what a viewer may send.
type subscribeMessage struct {
	Type   string   `json:"type"`
	Device []string `json:"device"`
	Metric []string `json:"metric"`
	After  string   `json:"after"`
	Last   int      `json:"last"`

	Presence bool `json:"presence"`
}

func parseSubscribe(kind websocket.MessageType, b []byte) (push.Options, error) {
	if kind != websocket.MessageText {
		return push.Options{}, errors.New("want a text message")
	}
	m, err := decodeSubscribe(b)
	if err != nil {
		return push.Options{}, err
	}
	if m.Type != "subscribe" {
		return push.Options{}, errors.New(`type: want "subscribe"`)
	}
	o, err := m.options()
	o.Subscribed = err == nil
	return o, err
}

func decodeSubscribe(b []byte) (m subscribeMessage, err error) {
	var mismatch *json.UnmarshalTypeError
	switch err := json.Unmarshal(b, &m); {
	case errors.As(err, &mismatch) && mismatch.Field != "":
		return m, errors.New(mismatch.Field + ": unexpected " + mismatch.Value)
	case err != nil:
		return m, errors.New(`want {"type":"subscribe","device":[…],"metric":[…],"after":"…"}`)
	}
	return m, nil
}

// options returns what the viewer wants. Its errors are for the viewer.
func (m *subscribeMessage) options() (push.Options, error) {
	if m.Last < 0 || m.Last > push.MaxLast {
		return push.Options{}, errors.New("last: want a number from 1 to " + strconv.Itoa(push.MaxLast))
	}
	sel, err := device.NewSelector(m.Device, m.Metric)
	if err != nil {
		return push.Options{}, err
	}
	o := push.Options{Selector: sel, Last: m.Last, Presence: m.Presence}
	if m.After != "" {
		after, err := push.ParseCursor(m.After)
		if err != nil {
			return push.Options{}, errors.New("after: " + err.Error())
		}
		o.After = &after
	}
	return o, nil
}
