package live

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
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

// webSocket upgrades the request and begins to serve the viewer; release is called
// when he is gone. It reports whether there is one. The library does the handshake,
// reading, pongs and closing; messages are written to the connection as they stand
// in the shared frames.
func (h *Handler) webSocket(w http.ResponseWriter, r *http.Request, req request, release func()) bool {
	if o := &req.options; o.After == nil && o.Last == 0 {
		// What comes after the handshake must be seen, though the subscription is
		// made a moment later.
		head := h.feed.Head()
		o.After = &head
	}
	who := push.ViewerOf(r)
	v := &wsViewer{h: h, presence: req.options.Presence, limit: who.Limit, release: release}
	v.alive()
	ws, conn, err := wsconn.Accept(w, r, &websocket.AcceptOptions{
		OriginPatterns:  h.origins,
		CompressionMode: websocket.CompressionDisabled,
		OnPingReceived:  func(context.Context, []byte) bool { v.alive(); return !v.isClosing() },
		OnPongReceived:  func(context.Context, []byte) { v.alive() },
	})
	if err != nil {
		if refused, ok := errors.AsType[*wsconn.Refusal](err); ok {
			push.Refuse(w, refused.Status, refused.Reason)
		}
		return false
	}
	ws.SetReadLimit(maxMessage)
	v.ws, v.conn = ws, conn
	h.pulse.add(v)
	err = v.subscribe(req.options)
	if err != nil {
		h.log.Error("subscription failed", "technique", WebSocket.String(), "error", err)
	}
	if who.OnEnd != nil {
		v.forget = who.OnEnd(v.expel)
	}
	go v.read(err)
	return true
}

// wsViewer is one WebSocket. A goroutine reads; who writes is told by state.
type wsViewer struct {
	h        *Handler
	ws       *websocket.Conn
	conn     *wsconn.Conn
	presence bool            // device messages are asked for in the address
	limit    device.Selector // of the devices that there are for the viewer
	release  func()
	forget   func()       // ends the wait for the end of access; nil: it does not end
	heard    atomic.Int64 // when something was heard last, nanoseconds after Handler.begun
	slot     int          // guarded by pulse.mu

	sub *push.Subscription // owned by who is busy

	mu      sync.Mutex // guards following
	state   viewerState
	again   bool               // there may be more for who is busy
	upTo    uint64             // where those who were woken together are to stop
	closing bool               // set before the closing handshake begins
	unread  bool               // read has ended: the viewer is gone
	barred  bool               // access has ended: the viewer has to go
	next    *push.Subscription // prepared for who is busy
	taken   chan struct{}      // closed when next is taken; nil: nobody waits for that
	cancel  context.CancelFunc // of what is done for the viewer and may take long; nil: nothing is
}

// viewerState is who has the viewer's subscription and writes.
type viewerState uint8

const (
	idle   viewerState = iota // nobody: the subscription is armed
	queued                    // the flusher has the viewer
	busy                      // a goroutine takes messages to him
	over                      // nobody will any more
)

func (v *wsViewer) isClosing() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.closing
}

func (v *wsViewer) isBarred() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.barred
}

// alive notes that the viewer was heard.
func (v *wsViewer) alive() { v.heard.Store(int64(time.Since(v.h.begun))) }

// beat pings the viewer, or hangs up when he has been silent for too long.
func (v *wsViewer) beat() {
	if time.Since(v.h.begun)-time.Duration(v.heard.Load()) >= 2*pingInterval {
		_ = v.conn.Close()
		return
	}
	if v.isClosing() {
		return
	}
	if rest, _ := v.conn.TryWrite(pingFrame); rest != nil {
		go func() { _, _ = v.conn.Finish(rest) }()
	}
}

// Wake implements push.Waker.
func (v *wsViewer) Wake(head uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.upTo = max(v.upTo, head)
	v.stirLocked()
}

// expel has the viewer, whose access has ended, told so and hung up on.
func (v *wsViewer) expel() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.barred = true
	if v.cancel != nil {
		v.cancel()
	}
	v.stirLocked()
}

// stirLocked has somebody look for messages. The caller holds mu.
func (v *wsViewer) stirLocked() {
	if v.state == idle {
		v.state = queued
		v.h.flush.Add(v)
	} else {
		v.again = true
	}
}

// flush takes to the viewer what there is, without waiting.
func (v *wsViewer) flush() { v.advance(false) }

// advance takes messages to the viewer until there are none, or he is gone. Unless
// it is patient it never waits, for the viewer or the disk: a goroutine of his own
// goes on then.
func (v *wsViewer) advance(patient bool) {
	for {
		frame, err := v.poll(patient)
		switch {
		case errors.Is(err, push.ErrBehind):
			go v.advance(true)
			return
		case err != nil:
			go v.end(err) // a goodbye waits
			return
		case frame == nil:
			if v.rest() {
				return
			}
			continue
		}
		if !v.write(frame.WebSocket(), patient) {
			return
		}
	}
}

// write writes a frame. It reports false when somebody else goes on, or nobody.
func (v *wsViewer) write(b []byte, patient bool) bool {
	if patient {
		if _, err := v.conn.Write(b); err != nil {
			v.end(errGone)
			return false
		}
		return true
	}
	rest, err := v.conn.TryWrite(b)
	switch {
	case errors.Is(err, wsconn.ErrBusy):
		go func() {
			if v.write(b, true) {
				v.advance(true)
			}
		}()
	case err != nil:
		go v.end(errGone)
	case rest != nil:
		go func() {
			if _, err := v.conn.Finish(rest); err != nil {
				v.end(errGone)
				return
			}
			v.advance(true)
		}()
	default:
		return true
	}
	return false
}

// poll returns the next message of the present subscription, or nil.
func (v *wsViewer) poll(patient bool) (*push.Frame, error) {
	v.mu.Lock()
	v.state, v.again = busy, false
	old, upTo := v.sub, v.upTo
	v.upTo = 0
	if v.next != nil {
		v.sub, v.next = v.next, nil
		if v.taken != nil {
			close(v.taken)
			v.taken = nil
		}
	}
	sub, gone, barred := v.sub, v.unread, v.barred
	v.mu.Unlock()
	if old != nil && old != sub {
		old.Close()
	}
	switch {
	case gone:
		return nil, errGone
	case barred:
		return nil, errBarred
	}
	frame, err := sub.PollLive(upTo)
	if patient && errors.Is(err, push.ErrBehind) {
		ctx, done := v.while()
		defer done()
		return sub.Poll(ctx)
	}
	return frame, err
}

// while returns a context that ends when the viewer is gone, for who is busy.
func (v *wsViewer) while() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.unread || v.barred {
		cancel()
	}
	v.cancel = cancel
	return ctx, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.cancel = nil
		cancel()
	}
}

// rest arms the subscription and reports whether that is all for now.
func (v *wsViewer) rest() bool {
	v.sub.Arm(v)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.again || v.unread || v.barred {
		return false
	}
	v.state = idle
	return true
}

// errBarred is returned when the viewer's access has ended.
var errBarred = errors.New(accessEnded)

// end ends the viewer, for whom nobody is busy afterwards.
func (v *wsViewer) end(err error) {
	if errors.Is(err, context.Canceled) && v.isBarred() {
		err = errBarred
	}
	switch {
	case errors.Is(err, errBarred):
		v.goodbye(websocket.StatusPolicyViolation, accessEnded)
	case errors.Is(err, push.ErrClosed):
		v.goodbye(websocket.StatusGoingAway, "the server is stopping")
	case !errors.Is(err, errGone) && !errors.Is(err, context.Canceled):
		v.h.log.Error("a stream was broken off", "technique", WebSocket.String(), "error", err)
		v.goodbye(websocket.StatusInternalError, storeFailed)
	}
	_ = v.ws.CloseNow() // closed already, or the viewer is gone
	v.mu.Lock()
	v.state = over
	last := v.unread
	if v.taken != nil {
		close(v.taken)
		v.taken = nil
	}
	v.mu.Unlock()
	if last {
		v.finish()
	}
}

// goodbye does the closing handshake, but does not wait long for the viewer's
// part.
func (v *wsViewer) goodbye(code websocket.StatusCode, reason string) {
	v.mu.Lock()
	v.closing = true
	v.mu.Unlock()
	enough := time.AfterFunc(closeGrace, func() { _ = v.conn.Close() })
	defer enough.Stop()
	_ = v.ws.Close(code, reason)
}

// finish lets go of everything. It is called once, by the last of who reads and
// who is busy.
func (v *wsViewer) finish() {
	for _, sub := range []*push.Subscription{v.sub, v.next} {
		if sub != nil {
			sub.Close()
		}
	}
	if v.forget != nil {
		v.forget()
	}
	v.release()
}

// subscribe prepares a subscription and has it taken over, once the one before has
// been. It is called by who reads.
func (v *wsViewer) subscribe(o push.Options) error {
	sub, err := v.h.feed.Subscribe(context.Background(), o)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for v.next != nil && v.state != over {
		taken := make(chan struct{})
		v.taken = taken
		v.mu.Unlock()
		<-taken
		v.mu.Lock()
	}
	if v.state == over {
		sub.Close()
		return errGone
	}
	v.next = sub
	v.stirLocked()
	return nil
}

// read takes the viewer's messages until the connection ends; failed tells why there
// is no subscription. It waits on a small stack: there are many who wait.
func (v *wsViewer) read(failed error) {
	if failed != nil {
		v.goodbye(websocket.StatusInternalError, storeFailed)
	}
	w := wsconn.NewWaiter(v.conn.Conn, v.alive)
	for failed == nil {
		if v.empty() {
			w.Wait()
		}
		failed = v.take()
	}
	_ = v.ws.CloseNow()
	v.h.pulse.remove(v)
	v.mu.Lock()
	v.unread = true
	if v.cancel != nil {
		v.cancel()
	}
	last := v.state == idle || v.state == over
	if last {
		v.state = over
	}
	v.mu.Unlock()
	if last {
		v.finish()
	}
}

// empty reports whether nothing has been read that take would find. While the library
// reads the viewer's part of the closing handshake that is its own matter.
func (v *wsViewer) empty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.closing && !v.conn.Unread()
}

// take reads a message and acts on it.
//
//go:noinline
func (v *wsViewer) take() error {
	kind, b, err := v.ws.Read(context.Background())
	if err != nil {
		return err
	}
	v.alive()
	if failure := v.handle(kind, b); failure != nil {
		_, err = v.conn.Write(push.Failure(failure.Error()).WebSocket())
	}
	return err
}

// handle acts on one message. Its errors are for the viewer.
func (v *wsViewer) handle(kind websocket.MessageType, b []byte) error {
	o, err := parseSubscribe(kind, b)
	if err != nil {
		return errors.New(strings.ToValidUTF8(err.Error(), "\ufffd"))
	}
	o.Presence = o.Presence || v.presence
	o.Selector = o.Selector.Within(v.limit)
	if err := v.subscribe(o); err != nil {
		if !errors.Is(err, errGone) {
			v.h.log.Error("subscription failed", "technique", WebSocket.String(), "error", err)
		}
		return errors.New(storeFailed)
	}
	return nil
}
