package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// rawViewer is a WebSocket viewer that costs next to nothing: it knows unmasked
// text frames, pings and closing, and keeps the message as it came.
type rawViewer struct {
	conn net.Conn
	r    *bufio.Reader
	buf  []byte
	// ping and pong are messages, of a protocol whose pings are. A ping may be a line
	// of a message.
	ping, pong string
	// read reads what is taken for a frame into buf.
	read func() (opcode byte, err error)
}

// errGoodbye is what a viewer gets when the gateway says why it closes.
type errGoodbye struct{ code int }

func (e *errGoodbye) Error() string { return fmt.Sprintf("closed with code %d", e.code) }

// dialViewer opens a WebSocket on the live endpoint.
func dialViewer(ctx context.Context, addr, query string) (*rawViewer, error) {
	return dialViewerBy(ctx, new(net.Dialer), addr, query)
}

func dialViewerBy(ctx context.Context, d *net.Dialer, addr, query string) (*rawViewer, error) {
	return openViewer(ctx, d, addr, "/api/v1/live?"+query)
}

// dialSocketIO opens a viewer by Socket.IO on a WebSocket, and takes what comes
// before the readings.
func dialSocketIO(ctx context.Context, addr, query string) (*rawViewer, error) {
	return dialSocketIOBy(ctx, new(net.Dialer), addr, query)
}

func dialSocketIOBy(ctx context.Context, d *net.Dialer, addr, query string) (*rawViewer, error) {
	v, _, err := joinSocketIO(ctx, d, addr, query, "")
	return v, err
}

// joinSocketIO is dialSocketIO for a client that connects with auth, which is JSON or
// empty. joined is what the gateway answers to that.
func joinSocketIO(ctx context.Context, d *net.Dialer, addr, query, auth string) (v *rawViewer, joined string, err error) {
	v, err = openViewer(ctx, d, addr, "/socket.io/?EIO=4&transport=websocket&"+query)
	if err != nil {
		return nil, "", err
	}
	v.ping, v.pong = "2", "3"
	for _, want := range []string{"0{", "40{", `42["hello",`} {
		message, err := v.next()
		if err == nil && !bytes.HasPrefix(message, []byte(want)) {
			err = fmt.Errorf("got %q, want %s", message, want)
		}
		switch {
		case err != nil:
		case want == "0{":
			err = v.send("40" + auth)
		case want == "40{":
			joined = string(message[2:])
		}
		if err != nil {
			return nil, "", errors.Join(err, v.conn.Close())
		}
	}
	return v, joined, nil
}

func openViewer(ctx context.Context, d *net.Dialer, addr, target string) (*rawViewer, error) {
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	v := &rawViewer{conn: conn, r: bufio.NewReaderSize(conn, 4096)}
	v.read = v.frame
	if err := v.upgrade(addr, target); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return v, nil
}

func (v *rawViewer) upgrade(addr, target string) error {
	_, err := fmt.Fprintf(v.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", target, addr)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(v.r, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(resp.Status)
	}
	return nil
}

func (v *rawViewer) close() { _ = v.conn.Close() }

// watch calls f with every message until the connection ends, and then closes
// it, which is also the answer to a goodbye.
func (v *rawViewer) watch(f func(message []byte)) error {
	defer v.close()
	for {
		message, err := v.next()
		if err != nil {
			return err
		}
		f(message)
	}
}

// next returns the next message, valid until the call after it.
func (v *rawViewer) next() ([]byte, error) {
	for {
		opcode, err := v.read()
		switch {
		case err != nil:
			return nil, err
		case opcode == 1 && v.ping != "" && hasLine(v.buf, v.ping):
			if err := v.send(v.pong); err != nil {
				return nil, err
			}
			if len(v.buf) > len(v.ping) {
				return v.buf, nil
			}
		case opcode == 1:
			return v.buf, nil
		case opcode == 8 && len(v.buf) >= 2:
			return nil, &errGoodbye{int(binary.BigEndian.Uint16(v.buf))}
		case opcode == 8:
			return nil, &errGoodbye{}
		case opcode == 9:
			// An empty pong, masked with zeros.
			if _, err := v.conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0}); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("frame with opcode %d", opcode)
		}
	}
}

// hasLine reports whether one of the lines of the message is line.
func hasLine(message []byte, line string) bool {
	for {
		i := bytes.IndexByte(message, '\n')
		if i < 0 {
			return string(message) == line
		}
		if string(message[:i]) == line {
			return true
		}
		message = message[i+1:]
	}
}

// send sends a message of less than 64 KiB, masked with zeros.
func (v *rawViewer) send(message string) error {
	head := []byte{0x81, 0x80 | byte(len(message))}
	if len(message) > 125 {
		head = append(head[:1], 0x80|126, byte(len(message)>>8), byte(len(message)))
	}
	_, err := v.conn.Write(append(append(head, 0, 0, 0, 0), message...))
	return err
}

// frame reads one frame of a WebSocket into buf.
func (v *rawViewer) frame() (opcode byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(v.r, head[:2]); err != nil {
		return 0, err
	}
	if head[0]&0x80 == 0 || head[1]&0x80 != 0 {
		return 0, errors.New("the server sent a fragmented or masked frame")
	}
	opcode = head[0] & 0x0f
	size := uint64(head[1])
	switch size {
	case 126:
		_, err = io.ReadFull(v.r, head[:2])
		size = uint64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(v.r, head[:8])
		size = binary.BigEndian.Uint64(head[:8])
	}
	if err != nil {
		return 0, err
	}
	return opcode, v.fill(size)
}

// fill reads so many bytes into buf.
func (v *rawViewer) fill(size uint64) error {
	if uint64(cap(v.buf)) < size {
		v.buf = make([]byte, size)
	}
	v.buf = v.buf[:size]
	_, err := io.ReadFull(v.r, v.buf)
	return err
}

// eachValue calls f with every whole number that stands as a value in a
// readings message.
func eachValue(message []byte, f func(int)) {
	for {
		_, rest, ok := bytes.Cut(message, []byte(`"value":`))
		if !ok {
			return
		}
		n := 0
		for len(rest) > 0 && rest[0] >= '0' && rest[0] <= '9' {
			n, rest = 10*n+int(rest[0]-'0'), rest[1:]
		}
		f(n)
		message = rest
	}
}

// sseViewer reads a stream of server-sent events.
type sseViewer struct {
	body io.ReadCloser
	r    *bufio.Reader
	id   string // of the newest event: where to resume
}

// openSSE opens the live endpoint as an event stream.
func openSSE(ctx context.Context, a addresses, query, lastID string) (*sseViewer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url("/api/v1/live?"+query), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.Join(errors.New(resp.Status), resp.Body.Close())
	}
	return &sseViewer{body: resp.Body, r: bufio.NewReader(resp.Body), id: lastID}, nil
}

func (v *sseViewer) close() { _ = v.body.Close() }

// next returns the data of the next event. As in a browser, an event that is
// not whole does not count.
func (v *sseViewer) next() ([]byte, error) {
	id, data := "", ""
	for {
		line, err := v.r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch {
		case name == "id":
			id = value
		case name == "data":
			data = value
		case name == "" && data != "":
			v.id = id
			return []byte(data), nil
		}
	}
}
