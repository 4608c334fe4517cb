package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/wire"
)

const (
	// MaxLine bounds a line or CBOR item of a stream.
	MaxLine = 64 << 10

	firstBuffer = 4 << 10
	maxBuffer   = MaxLine + len("\n")
	// maxOutbox bounds the answers that wait for a peer which does not read. One
	// that does never has as many: a stream is read no further while more than
	// 1,024 of its answers are due, and one read asks for a few thousand more.
	maxOutbox    = 128 << 10
	writeTimeout = 10 * time.Second
	// answerGrace is how long a connection stays for answers after the device has
	// closed its side, or has been cut off.
	answerGrace = 5 * time.Second
	// lingerTime and lingerBytes bound what is read and thrown away before a
	// connection is cut off: closed with data unread, it would take the last
	// words to the peer with it.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

// stream is one connection: a reader, and an outbox for answers that a writer
// goroutine empties while there is something in it.
type stream struct {
	socket net.Conn // the connection itself
	conn   net.Conn // the same, or TLS over it; changed by the reader, under mu
	peer   ingest.Peer
	// Owned by the reader: whether the first message has been looked at, whether
	// the rest of a line that is too long goes by, and whether there is TLS.
	known, skipping, secured bool

	mu      sync.Mutex // guards following
	outbox  []byte
	writing bool
	closed  bool
	done    sync.WaitGroup // the writer
}

// cutOff ends a stream that cannot be parted into messages any further.
type cutOff struct {
	reason  ingest.Reason
	detail  string
	payload []byte
	answer  []byte // nil for the usual
}

func (e *cutOff) Error() string { return e.detail }

// serveConn reads one connection to its end. When ctx is done it only stops
// reading.
func (t *TCP) serveConn(ctx context.Context, s *stream) {
	stop := context.AfterFunc(ctx, func() { _ = s.socket.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	h := t.NewHandler(s.reply)
	err := t.read(ctx, s, h)
	cut, isCut := errors.AsType[*cutOff](err)
	if isCut {
		t.Refuse(s.peer, cut.reason, cut.detail, cut.payload)
	}
	if isCut || errors.Is(err, io.EOF) {
		// The device may still wait for answers to what it has said before.
		wait, cancel := context.WithTimeout(ctx, answerGrace)
		h.Settle(wait)
		cancel()
	}
	switch {
	case isCut && cut.answer != nil:
		s.send(cut.answer)
	case isCut:
		s.reply(s.peer, wire.AppendRefusal(nil, cut.reason.String(), 0, false))
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		s.reply(s.peer, []byte(`{"error":"idle"}`))
	}
	if ctx.Err() != nil {
		return
	}
	if isCut {
		s.linger()
	}
	t.release(s)
}

// read hands whole messages to h as they arrive, all that one read brought
// together, until the stream ends. The buffer grows with the longest line, up to
// its bound, and shrinks when it has gone by.
func (t *TCP) read(ctx context.Context, s *stream, h Handler) error {
	idle := orDefault(t.Idle, DefaultIdle)
	buf := make([]byte, firstBuffer)
	used, heard := 0, true
	for {
		if heard {
			_ = s.conn.SetReadDeadline(time.Now().Add(idle)) // Read tells what is wrong
		}
		if ctx.Err() != nil { // the deadline that ends the reading may just have been moved
			return ctx.Err()
		}
		n, err := s.conn.Read(buf[used:])
		full := used+n == len(buf)
		used += n
		rest, refused := t.messages(ctx, s, h, buf[:used], errors.Is(err, io.EOF))
		// What was good before the bad is not lost with it.
		if ferr := h.Flush(ctx); refused == nil {
			refused = ferr
		}
		if hello, ok := errors.AsType[*tlsBegins](refused); ok {
			if err := t.secure(ctx, s, hello.read); err != nil {
				return err
			}
			used, heard = 0, true
			continue
		}
		if refused != nil {
			return refused
		}
		if err != nil {
			return err
		}
		heard = len(rest) < used && !s.skipping
		switch {
		case full && len(buf) < maxBuffer:
			grown := make([]byte, min(2*len(buf), maxBuffer))
			used = copy(grown, rest)
			buf = grown
		case len(rest) == 0 && used < firstBuffer && len(buf) > firstBuffer:
			used, buf = 0, make([]byte, firstBuffer)
		default:
			used = copy(buf, rest)
		}
	}
}

// messages hands on the whole messages in buf and returns what is left, always
// less than a full buffer. At the end of the stream a last line needs no newline.
func (t *TCP) messages(ctx context.Context, s *stream, h Handler, buf []byte, atEnd bool) ([]byte, error) {
	if s.skipping {
		i := bytes.IndexByte(buf, '\n')
		if i < 0 {
			return nil, nil
		}
		buf, s.skipping = buf[i+1:], false
	}
	for len(buf) > 0 {
		n, err := wire.Frame(buf)
		if err != nil {
			return nil, &cutOff{reason: ingest.Syntax, detail: err.Error(), payload: buf}
		}
		if n == 0 && atEnd {
			n = len(buf)
		}
		if !s.known && len(buf) >= foreignNeeds {
			s.known = n > 0
			if t.TLS != nil && !s.secured && isClientHello(buf) {
				return nil, &tlsBegins{buf}
			}
			if err := foreign(buf); err != nil {
				return nil, err
			}
		}
		if n == 0 {
			break
		}
		if err := h.Handle(ctx, s.peer, buf[:n]); err != nil {
			return nil, err
		}
		buf = buf[n:]
	}
	if len(buf) < maxBuffer {
		return buf, nil
	}
	long := &cutOff{reason: ingest.TooLong, detail: fmt.Sprintf("a line or item exceeds %d bytes", MaxLine), payload: buf}
	if wire.IsCBOR(buf) {
		return nil, long // nothing tells where the next item begins
	}
	t.Refuse(s.peer, long.reason, long.detail, long.payload)
	s.skipping = true
	return nil, nil
}

// reply queues an answer and a newline. A peer that does not read its answers
// loses the connection.
func (s *stream) reply(_ ingest.Peer, b []byte) {
	s.send(b, '\n')
}

func (s *stream) send(b []byte, end ...byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return
	case len(s.outbox)+len(b)+len(end) > maxOutbox:
		s.closed = true
		_ = s.socket.Close() // TLS would say goodbye, and wait
		return
	}
	s.outbox = append(append(s.outbox, b...), end...)
	if !s.writing {
		s.writing = true
		s.done.Go(s.write)
	}
}

// write empties the outbox.
func (s *stream) write() {
	var b []byte
	for {
		s.mu.Lock()
		b, s.outbox = s.outbox, b[:0]
		if len(b) == 0 {
			s.writing, s.outbox = false, nil
			s.mu.Unlock()
			return
		}
		conn := s.conn
		s.mu.Unlock()
		_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := conn.Write(b); err != nil {
			s.mu.Lock()
			s.closed, s.outbox = true, nil
			s.mu.Unlock()
			_ = s.socket.Close()
			return
		}
	}
}

// linger says goodbye and waits a moment for the peer to hear it.
func (s *stream) linger() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.done.Wait()
	if half, ok := s.conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if s.conn.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, s.conn, lingerBytes)
	}
}

// close waits for the writer and closes the connection.
func (s *stream) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.done.Wait()
	_ = s.conn.Close()
}
