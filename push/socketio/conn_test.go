package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/push/pushtest"
	"github.com/naru-telemetry/naru/push/socketio/engine"
)

// peer is a client on a WebSocket that writes packets by hand.
type peer struct {
	t *testing.T
	*websocket.Conn
	came chan string // what was read ahead; nil: nothing is
}

// serve returns what connects to a server over pipes.
func serve(t *testing.T, srv *Server) (dial func() *peer) {
	t.Helper()
	ln := pushtest.NewPipes()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ln.Dial(ctx) }}
	web := &http.Server{Handler: srv, ReadHeaderTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(ln) })
	t.Cleanup(func() {
		srv.Engine().Drain()
		transport.CloseIdleConnections()
		_ = web.Close()
		serving.Wait()
		if err := srv.Engine().Wait(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return func() *peer {
		t.Helper()
		ws, _, err := websocket.Dial(t.Context(), "ws://site/socket.io/?EIO=4&transport=websocket&a=b", //nolint:bodyclose // the library closes it
			&websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ws.CloseNow() })
		p := &peer{t: t, Conn: ws}
		p.next()
		return p
	}
}

func (p *peer) send(packets ...string) {
	p.t.Helper()
	for _, text := range packets {
		kind := websocket.MessageText
		if rest, ok := strings.CutPrefix(text, "binary "); ok {
			kind, text = websocket.MessageBinary, rest
		}
		if err := p.Write(p.t.Context(), kind, []byte(text)); err != nil {
			p.t.Fatal(err)
		}
	}
}

// eager reads ahead, as much as there is.
func (p *peer) eager() *peer {
	came := make(chan string, 1000)
	go func() {
		for {
			s := p.next()
			came <- s
			if s == "cut" || strings.HasPrefix(s, "closed") {
				return
			}
		}
	}()
	return &peer{p.t, p.Conn, came}
}

// next returns the next packet, or how the connection has ended.
func (p *peer) next() string {
	if p.came != nil {
		return <-p.came
	}
	kind, b, err := p.Read(p.t.Context())
	if code := websocket.CloseStatus(err); code != -1 {
		return fmt.Sprint("closed ", int(code))
	}
	if err != nil {
		return "cut"
	}
	if kind == websocket.MessageBinary {
		return "binary " + string(b)
	}
	return string(b)
}

// take returns the next n packets, without the ids that are made up.
func (p *peer) take(n int) (out []string) {
	for range n {
		s := p.next()
		if head, rest, ok := strings.Cut(s, `{"sid":"`); ok && len(rest) == 2+20 {
			s = head + "{sid}"
		}
		out = append(out, s)
	}
	return out
}

func TestProtocol(t *testing.T) {
	main := []string{"40{sid}", `42["auth",{}]`}
	for _, c := range []struct {
		name       string
		send, want []string
	}{
		{"main namespace", []string{"40"}, main},
		{"with a payload", []string{`40{"token":"123"}`}, []string{"40{sid}", `42["auth",{"token":"123"}]`}},
		{"custom namespace", []string{"40/custom,"}, []string{"40/custom,{sid}", `42/custom,["auth",{}]`}},
		{"custom namespace with a payload", []string{`40/custom,{"token":"abc"}`}, []string{"40/custom,{sid}", `42/custom,["auth",{"token":"abc"}]`}},
		{"unknown namespace", []string{"40/random"}, []string{`44/random,{"message":"Invalid namespace"}`}},
		{"refused, then another", []string{"40/refused", "40"}, append([]string{`44/refused,{"message":"not \"you\""}`}, main...)},
		{"disconnect", []string{"40", "41"}, append(main[:2:2], "2")},
		{"disconnect and connect", []string{"40", "41", "40"}, append(main[:2:2], main...)},
		{
			"two namespaces",
			[]string{"40", "40/custom", "41/custom", `42["message","to main"]`},
			append(main[:2:2], "40/custom,{sid}", `42/custom,["auth",{}]`, `42["message-back","to main"]`),
		},
		{"event", []string{"40", `42["message",1,"2",{"3":[true]}]`}, append(main[:2:2], `42["message-back",1,"2",{"3":[true]}]`)},
		{"numbers as they came", []string{"40", `42["message",1e3,0.10,12345678901234567890]`}, append(main[:2:2], `42["message-back",1e3,0.10,12345678901234567890]`)},
		{"event in a namespace", []string{"40/custom", `42/custom,["message","a,b"]`}, []string{"40/custom,{sid}", `42/custom,["auth",{}]`, `42/custom,["message-back","a,b"]`}},
		{
			"attachments",
			[]string{"40", `452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "binary \x01\x02\x03", "binary \x04"},
			append(main[:2:2], `452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, "binary \x01\x02\x03", "binary \x04"),
		},
		{"no attachments", []string{"40", `450-["message",1]`}, append(main[:2:2], `42["message-back",1]`)},
		{"acknowledgement", []string{"40", `42456["message-with-ack",1,"2",{"3":[false]}]`}, append(main[:2:2], `43456[1,"2",{"3":[false]}]`)},
		{"acknowledgement of nothing", []string{"40", `420["message-with-ack"]`}, append(main[:2:2], `430[]`)},
		{"no acknowledgement wanted", []string{"40", `42["message-with-ack",1]`}, append(main[:2:2], "2")},
		{
			"acknowledgement with attachments",
			[]string{"40", `451-789["message-with-ack",{"_placeholder":true,"num":0}]`, "binary x"},
			append(main[:2:2], `461-789[{"_placeholder":true,"num":0}]`, "binary x"),
		},
		{"a question", []string{"40", `42["ask","a"]`, `430["b",{"c":1}]`}, append(main[:2:2], `420["question","a"]`, `42["answered","b",{"c":1}]`)},
		{
			"a question that is answered twice",
			[]string{"40", `42["ask"]`, `430["b"]`, `430["b"]`, `42["ask"]`, `431[]`},
			append(main[:2:2], `420["question"]`, `42["answered","b"]`, `421["question"]`, `42["answered"]`),
		},
		{
			"a question answered with attachments",
			[]string{"40/custom", `42/custom,["ask"]`, `461-/custom,0[{"_placeholder":true,"num":0}]`, "binary x"},
			[]string{"40/custom,{sid}", `42/custom,["auth",{}]`, `42/custom,0["question"]`, `451-/custom,["answered",{"_placeholder":true,"num":0}]`, "binary x"},
		},
		{
			"attachments deep in arguments",
			[]string{"40", `451-["message",{"a":[{"_placeholder":true,"num":0}]}]`, "binary x"},
			append(main[:2:2], `451-["message-back",{"a":[{"_placeholder":true,"num":0}]}]`, "binary x"),
		},
		{"an acknowledgement that nobody wants", []string{"40", `437["a"]`}, append(main[:2:2], "2")},
		{"the server disconnects", []string{"40", `42["disconnect-me"]`}, append(main[:2:2], "41", "2")},
		{"an event behind that", []string{"40", `42["disconnect-me"]`, `42["message"]`}, append(main[:2:2], "41", "closed 1008")},
		{"text among attachments", []string{"40", `451-["message",{"_placeholder":true,"num":0}]`, `42["message"]`}, append(main[:2:2], "closed 1008")},
		{"bytes for nothing", []string{"40", "binary a"}, append(main[:2:2], "closed 1008")},
		{"one attachment too many", []string{"40", `451-["nothing",{"_placeholder":true,"num":0}]`, "binary a", "binary b"}, append(main[:2:2], "closed 1008")},
		{"connected already", []string{"40", "40"}, append(main[:2:2], "closed 1008")},
		{"an event before", []string{`42["message"]`}, []string{"closed 1008"}},
		{"attachments before", []string{`451-["message",{"_placeholder":true,"num":0}]`}, []string{"closed 1008"}},
		{"disconnected before", []string{"41"}, []string{"closed 1008"}},
		{"an event elsewhere", []string{"40", `42/custom,["message"]`}, append(main[:2:2], "closed 1008")},
		{"an invalid handshake", []string{"4abc"}, []string{"closed 1008"}},
		{"no handshake", nil, []string{"closed 1000"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := suiteConfig()
				cfg.Engine = engine.Config{}
				cfg.Namespaces["/refused"] = func(*Socket, json.RawMessage) (Handler, error) { return nil, errors.New(`not "you"`) }
				p := serve(t, New(cfg))().eager()
				for _, packet := range c.send {
					p.send(packet)
					synctest.Wait()
				}
				if d := cmp.Diff(c.want, p.take(len(c.want))); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		})
	}
}

func TestMalformedEndsConnection(t *testing.T) {
	for _, in := range malformed {
		synctest.Test(t, func(t *testing.T) {
			p := serve(t, New(suiteConfig()))().eager()
			p.send("40")
			p.take(2)
			p.send("4" + in)
			if got := p.next(); got != "closed 1008" {
				t.Errorf("%q: %s", in, got)
			}
		})
	}
}

// A client that does not answer is not asked for ever.
func TestTooManyQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, New(suiteConfig()))().eager()
		p.send("40")
		p.take(2)
		for n := range maxAsked {
			p.send(`42["ask"]`)
			if got, want := p.next(), fmt.Sprintf(`42%d["question"]`, n); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
		p.send(`421["ask"]`)
		if got, want := p.next(), `431["socketio: too many questions are not answered"]`; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		p.send("430[]")
		p.next()
		p.send(`42["ask"]`)
		if got, want := p.next(), fmt.Sprintf(`42%d["question"]`, maxAsked); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestTooManyNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := suiteConfig()
		for i := range maxSockets + 1 {
			cfg.Namespaces[fmt.Sprint("/", i)] = suiteNamespace
		}
		p := serve(t, New(cfg))()
		for i := range maxSockets {
			p.send(fmt.Sprint("40/", i))
			p.take(2)
		}
		p.send(fmt.Sprint("40/", maxSockets))
		if got := p.next(); got != "closed 1008" {
			t.Error(got)
		}
	})
}

// The handler learns why its socket has gone.
func TestClosed(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(p *peer)
		want string
	}{
		{"the client disconnects", func(p *peer) { p.send("41") }, "client namespace disconnect"},
		{"it closes", func(p *peer) { _ = p.Close(websocket.StatusNormalClosure, "") }, "transport close"},
		{"it is cut off", func(p *peer) { _ = p.CloseNow() }, "transport error"},
		{"it talks nonsense", func(p *peer) { p.send("4?") }, "parse error"},
		{"it is silent", func(p *peer) { p.next() }, "ping timeout"},
		{"the server disconnects", func(p *peer) { p.send(`42["disconnect-me"]`) }, "server namespace disconnect"},
		{"it asks and does not read", func(p *peer) {
			big := `"` + strings.Repeat("x", 100_000) + `"`
			for range 20 {
				if p.Write(p.t.Context(), websocket.MessageText, []byte(`421["message-with-ack",`+big+`]`)) != nil {
					return
				}
			}
		}, "queue overflow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := make(chan string, 2)
				p := serve(t, New(Config{Namespaces: map[string]Namespace{"/": func(s *Socket, _ json.RawMessage) (Handler, error) {
					return &suiteHandler{s, closed}, nil
				}}}))()
				p.send("40")
				p.take(1)
				c.end(p)
				if got := <-closed; got != c.want {
					t.Errorf("%q, want %q", got, c.want)
				}
				synctest.Wait()
				if len(closed) != 0 {
					t.Error("it was told twice")
				}
			})
		})
	}
}

// script is a source that says n texts.
type script struct {
	name   string
	n      int
	closed int
	end    error
}

func (s *script) Next(bool) (*engine.Messages, error) {
	if s.n == 0 {
		return nil, s.end
	}
	s.n--
	var b engine.Builder
	b.Text([]byte(`2["` + s.name + `"]`))
	return b.Messages(), nil
}

func (s *script) Close() { s.closed++ }

// feeder gives its socket a new source with every event.
type feeder struct {
	suiteHandler
	sources []*script
	next    int
}

func (f *feeder) Event(e *Event) {
	f.next++
	_ = f.s.Feed(f.sources[f.next], e, f.next)
}

// What comes from a source stands behind the acknowledgement of what it was made
// for, and each source is closed once.
func TestSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sources := []*script{{name: "a", n: 3}, {name: "b", n: 2}, {name: "c", n: 1}, {name: "d", n: 1, end: engine.ErrDone}}
		p := serve(t, New(Config{Namespaces: map[string]Namespace{"/": func(s *Socket, _ json.RawMessage) (Handler, error) {
			return &feeder{suiteHandler: suiteHandler{s: s}, sources: sources}, s.Feed(sources[0], nil)
		}}}))()
		p.send("40")
		synctest.Wait() // a pipe holds nothing: all but one message is still to be asked for
		p.send(`421["more"]`)
		p.send(`422["more"]`)
		synctest.Wait()
		want := []string{"40{sid}", `42["a"]`, `42["a"]`, `42["a"]`, "431[1]", "432[2]", `42["c"]`}
		if d := cmp.Diff(want, p.take(len(want))); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		p.send(`423["more"]`)
		if d := cmp.Diff([]string{"433[3]", `42["d"]`, "closed 1001"}, p.take(3)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		synctest.Wait()
		for _, s := range sources {
			if s.closed != 1 {
				t.Errorf("source %s was closed %d times", s.name, s.closed)
			}
		}
	})
}

func TestRecoveryIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := serve(t, New(Config{Namespaces: map[string]Namespace{"/": func(s *Socket, auth json.RawMessage) (Handler, error) {
			if s.Query() != "EIO=4&transport=websocket&a=b" || len(s.ID()) != 20 {
				t.Errorf("%q, %q", s.Query(), s.ID())
			}
			s.SetID("public", "private")
			return &suiteHandler{s: s}, s.Emit("auth", auth, []byte("bytes"), 7)
		}}}))()
		p.send(`40{"pid":"p"}`)
		want := []string{`40{"sid":"public","pid":"private"}`, `451-["auth",{"pid":"p"},{"_placeholder":true,"num":0},7]`, "binary bytes"}
		if d := cmp.Diff(want, p.take(3)); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
	})
}
