package push

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/naru-telemetry/naru/device"
)

// stored returns a reading made for a test.
func stored(offset uint64, id, metric string, v device.Value) device.Stored {
	return device.Stored{Offset: offset, Reading: device.Reading{
		Device: device.ID(id), Metric: device.Metric(metric), Time: 1_764_000_000_123_000, Value: v,
	}}
}

func float(t testing.TB, f float64) device.Value {
	t.Helper()
	v, err := device.Float(f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func text(t testing.TB, s string) device.Value {
	t.Helper()
	v, err := device.Text(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// readingsFrame builds a readings message.
func readingsFrame(c Cursor, rs ...device.Stored) *Frame {
	var b frameBuilder
	for i := range rs {
		b.addStored(&rs[i])
	}
	return b.finish(c)
}

func TestFrameJSON(t *testing.T) {
	one := stored(1841, "greenhouse-1", "air.temperature", float(t, 21.5))
	for _, c := range []struct {
		name     string
		frame    *Frame
		want     string
		readings int
	}{
		{
			"one reading", readingsFrame(Cursor{"k3v9", 1842}, one),
			`{"type":"readings","cursor":"k3v9-1842","readings":[{"offset":1841,"device":"greenhouse-1","metric":"air.temperature","time":1764000000123,"value":21.5}]}`, 1,
		},
		{
			"two readings, a text with all that must be escaped", readingsFrame(Cursor{"a", 7},
				stored(6, "d", `cpu{cpu="0"}`, device.Int(math.MinInt64)), stored(7, "d", "state", text(t, "a\n</script>\"é\u2028"))),
			`{"type":"readings","cursor":"a-7","readings":[{"offset":6,"device":"d","metric":"cpu{cpu=\"0\"}","time":1764000000123,"value":-9223372036854775808},` +
				`{"offset":7,"device":"d","metric":"state","time":1764000000123,"value":"a\n\u003c/script\u003e\"é` + "\u2028" + `"}]}`, 2,
		},
		{"the longest cursor", readingsFrame(Cursor{"k3v9", math.MaxUint64}), `{"type":"readings","cursor":"k3v9-18446744073709551615","readings":[]}`, 0},
		{"empty", Empty(Cursor{"k3v9", 0}), `{"type":"readings","cursor":"k3v9-0","readings":[]}`, 0},
		{"subscribed", Subscribed(Cursor{"k3v9", 12}), `{"type":"subscribed","cursor":"k3v9-12"}`, 0},
		{"error", Failure(`say "please"`), `{"type":"error","error":"say \"please\""}`, 0},
		{
			"gap", control(Cursor{"k3v9", 90}, "gap", "from", "k3v9-1", "reason", "retention"),
			`{"type":"gap","cursor":"k3v9-90","from":"k3v9-1","reason":"retention"}`, 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.frame.JSON()); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if !json.Valid(c.frame.JSON()) {
				t.Error("not JSON")
			}
			if c.frame.Readings != c.readings {
				t.Errorf("Readings = %d, want %d", c.frame.Readings, c.readings)
			}
		})
	}
}

// The messages are read by an independent implementation, one after the other
// over one connection, so that a header with a wrong length spoils all behind.
func TestFrameWebSocket(t *testing.T) {
	var frames []*Frame
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		f := newFrame(n)
		f.buf = append(f.buf, strings.Repeat("x", n)...)
		frames = append(frames, f)
	}
	frames = append(frames, Empty(Cursor{"k3v9", 5}),
		readingsFrame(Cursor{"k3v9", 9}, stored(9, "d", "m", text(t, strings.Repeat("é", 512)))))
	ws := clientOf(t, frames)
	for _, f := range frames {
		kind, got, err := ws.Read(t.Context())
		if err != nil || kind != websocket.MessageText || !bytes.Equal(got, f.JSON()) {
			t.Fatalf("%d bytes: got %v, %d bytes, %v", len(f.JSON()), kind, len(got), err)
		}
	}
}

// clientOf returns a client that is sent the frames behind the handshake.
func clientOf(t *testing.T, frames []*Frame) *websocket.Conn {
	t.Helper()
	here, there := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = there.Close() }()
		serveFrames(t, there, frames)
	}()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil },
	}}
	//nolint:bodyclose // the library closes it
	ws, _, err := websocket.Dial(t.Context(), "ws://gateway/", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-done
	})
	return ws
}

func serveFrames(t *testing.T, conn net.Conn, frames []*Frame) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		t.Error(err)
		return
	}
	w := &rawResponse{conn: conn, header: http.Header{}}
	if _, err := websocket.Accept(w, r, nil); err != nil {
		t.Error(err)
		return
	}
	for _, f := range frames {
		if _, err := conn.Write(f.WebSocket()); err != nil {
			t.Error(err)
			return
		}
	}
}

// rawResponse writes the head of a response to a connection.
type rawResponse struct {
	conn   net.Conn
	header http.Header
}

func (w *rawResponse) Header() http.Header         { return w.header }
func (w *rawResponse) Write(b []byte) (int, error) { return w.conn.Write(b) }

func (w *rawResponse) WriteHeader(status int) {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 " + http.StatusText(status) + "\r\n")
	_ = w.header.Write(&b)
	b.WriteString("\r\n")
	_, _ = w.conn.Write(b.Bytes())
}

func (w *rawResponse) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}
