package listen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest"
)

func TestTCPFraming(t *testing.T) {
	const cbor = "\xa2\x66device\x61x\x61v\x0a" // {"device":"x","v":10}, which ends like a line
	line := func(n int) string { return strings.Repeat("x", n) }
	tests := []struct {
		name     string
		sent     string
		want     string
		refusals []string
	}{
		{"lines", "t v=1\nt v=2\r\n", "t v=1\nt v=2\r\n", nil},
		{"last line without newline", "t v=1\nt v=2", "t v=1\nt v=2", nil},
		{"JSON", "{\"v\":1}\n[{\"v\":2},{\"v\":3}]\n", "{\"v\":1}\n[{\"v\":2},{\"v\":3}]\n", nil},
		{"CBOR", cbor + cbor, cbor + cbor, nil},
		{"text and CBOR", "t v=1\n" + cbor + "{\"v\":1}\n" + cbor, "t v=1\n" + cbor + "{\"v\":1}\n" + cbor, nil},
		{"half a CBOR item", cbor + cbor[:5], cbor + cbor[:5], nil},
		{"nothing", "", "", nil},
		{"blanks only", "\n\n", "\n\n", nil},
		{"longest line", line(MaxLine) + "\nt v=1\n", line(MaxLine) + "\nt v=1\n", nil},
		{
			"one byte more", "t v=0\n" + line(MaxLine+1) + "\nt v=1\n", "t v=0\nt v=1\n",
			[]string{"too_long: a line or item exceeds 65536 bytes (65537)"},
		},
		{
			"much more", line(300_000) + "\nt v=1\n" + line(100_000) + "\nt v=2", "t v=1\nt v=2",
			[]string{"too_long: a line or item exceeds 65536 bytes (65537)", "too_long: a line or item exceeds 65536 bytes (65537)"},
		},
		{"too long and without end", line(70_000), "", []string{"too_long: a line or item exceeds 65536 bytes (65537)"}},
		{
			"too long a line that is not ASCII", "\xc3\x9c" + line(MaxLine) + "\nt v=1\n", "t v=1\n",
			[]string{"too_long: a line or item exceeds 65536 bytes (65537)"},
		},
		{"longest CBOR item", "\x81\x59\xff\xf0" + line(65_520) + cbor, "\x81\x59\xff\xf0" + line(65_520) + cbor, nil},
		{"CBOR item too long", cbor + "\x81\x5a\x00\x02\x00\x00" + line(1<<17), cbor, []string{"too_long: a line or item exceeds 65536 bytes (65537)"}},
		{"CBOR that cannot be followed", cbor + "\xbf\xff\xbf\x00\xff rest", cbor + "\xbf\xff", []string{"syntax"}},
	}
	for _, tt := range tests {
		for _, chunk := range []int{1, 2, 3, 7, 1000, 4096, 1 << 20} {
			if chunk < 4096 && len(tt.sent) > 1000 && (chunk != 1000 || testing.Short()) {
				continue
			}
			t.Run(fmt.Sprint(tt.name, "/", chunk), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newPipeServer(t, nil)
					c := s.dial(localDevice)
					go func() { _, _ = io.Copy(io.Discard, c) }()
					for b := []byte(tt.sent); len(b) > 0; {
						n, err := c.Write(b[:min(chunk, len(b))])
						if err != nil {
							break // cut off
						}
						b = b[n:]
					}
					_ = c.Close()
					synctest.Wait()
					if got := s.text(); got != tt.want {
						t.Errorf("got %d bytes, want %d:\n%.200q\n%.200q", len(got), len(tt.want), got, tt.want)
					}
					got := s.refused.all()
					if len(tt.refusals) == 1 && tt.refusals[0] == "syntax" && len(got) == 1 && strings.HasPrefix(got[0], "syntax: ") {
						return
					}
					if d := cmp.Diff(tt.refusals, got, equal); d != "" {
						t.Error("refusals (-want +got):\n", d)
					}
					if st := s.Stats(); st.Open != 0 || st.Accepted != 1 {
						t.Errorf("%+v", st)
					}
				})
			})
		}
	}
}

// TestTCPEverySplit cuts a stream of all formats in two at every place.
func TestTCPEverySplit(t *testing.T) {
	const stream = "t,device=x v=1\n\xa2\x66device\x61x\x61v\x0a{\"v\":1}\r\n\xd9\xd9\xf7\xa1\x61v\x01\x81\xa1\x61v\xf9\x0a\x0a[{\"v\":2}]\nt v=2\n"
	for cut := range len(stream) + 1 {
		synctest.Test(t, func(t *testing.T) {
			s := newPipeServer(t, nil)
			c := s.dial(localDevice)
			write(t, c, stream[:cut])
			synctest.Wait()
			if got := s.text(); !strings.HasPrefix(stream, got) || len(got) > cut {
				t.Errorf("cut at %d: got %q", cut, got)
			}
			write(t, c, stream[cut:])
			synctest.Wait() // no end of the stream is needed
			if got := s.text(); got != stream {
				t.Errorf("cut at %d: got %q", cut, got)
			}
			_ = c.Close()
		})
	}
}

func TestTCPIdle(t *testing.T) {
	const idle = time.Minute
	const step = 40 * time.Second
	tests := []struct {
		name string
		sent []string // one every 40 s
		ends time.Duration
	}{
		{"says nothing", nil, idle},
		{"messages", []string{"t v=1\n", "t v=2\n", "t v=3\n"}, 3*step + idle},
		{"blank lines", []string{"\n", "\r\n"}, 2*step + idle},
		{"bytes, but no message", []string{"t", " ", "v"}, idle},
		{"a message, then bytes", []string{"t v=1\n", "t", " "}, step + idle},
		{"a line without end", []string{strings.Repeat("x", 70_000), strings.Repeat("x", 70_000)}, idle},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newPipeServer(t, func(tcp *TCP) { tcp.Idle = idle })
				begin := time.Now()
				c := s.dial(localDevice)
				go func() {
					for _, p := range tt.sent {
						<-time.After(step)
						_, _ = c.Write([]byte(p))
					}
				}()
				answers, err := io.ReadAll(c)
				if err != nil || string(answers) != `{"error":"idle"}`+"\n" {
					t.Errorf("answer %q, %v", answers, err)
				}
				if took := time.Since(begin); took != tt.ends {
					t.Errorf("ended after %s, want %s", took, tt.ends)
				}
				<-time.After(time.Hour)
			})
		})
	}
}

func TestTCPDefaultIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, nil)
		begin := time.Now()
		_, _ = io.ReadAll(s.dial(localDevice))
		if took := time.Since(begin); took != DefaultIdle {
			t.Errorf("ended after %s", took)
		}
	})
}

// TestTCPPeerThatDoesNotRead loses its connection when its answers have filled
// the outbox, or when the one being written has waited for 10 s.
func TestTCPPeerThatDoesNotRead(t *testing.T) {
	t.Run("many answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPipeServer(t, nil)
			s.answer = func(string) string { return strings.Repeat("a", 1023) }
			c := s.dial(localDevice)
			n := 0
			for ; n < 1000; n++ {
				if _, err := c.Write([]byte("t v=1\n")); err != nil {
					break
				}
				synctest.Wait()
			}
			// One answer is being written, 128 wait, the next is too many.
			if want := 1 + maxOutbox/1024 + 1; n != want {
				t.Errorf("cut off after %d answers, want %d", n, want)
			}
			synctest.Wait()
			if st := s.Stats(); st.Open != 0 {
				t.Errorf("%+v", st)
			}
		})
	})
	t.Run("one answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newPipeServer(t, nil)
			s.answer = func(string) string { return "a" }
			begin := time.Now()
			c := s.dial(localDevice)
			write(t, c, "t v=1\n")
			for s.Stats().Open > 0 {
				<-time.After(time.Second)
			}
			if took := time.Since(begin); took != writeTimeout && took != writeTimeout+time.Second {
				t.Errorf("cut off after %s", took)
			}
			s.reply(ingest.Peer{}, []byte("nobody")) // and nothing happens
			_ = c.Close()
		})
	})
}

// TestTCPHalfClose over a real socket: a device that has said all gets its
// answers.
func TestTCPHalfClose(t *testing.T) {
	r := newRecorder()
	due := make(chan struct{})
	r.settle = func(ctx context.Context) {
		select {
		case <-due:
		case <-ctx.Done():
		}
	}
	c := dialTCP(t, &TCP{NewHandler: r.handler})
	write(t, c, "t v=1\nt v=2")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	r.wait(t, count(2))
	r.reply(ingest.Peer{}, []byte(`{"ack":1}`))
	r.reply(ingest.Peer{}, []byte(`{"ack":2}`))
	close(due)
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "{\"ack\":1}\n{\"ack\":2}\n" {
		t.Errorf("answers %q, %v", got, err)
	}
}

// TestTCPLastWords: a peer that is cut off in the middle of what it says hears
// why, and gets the answers due before.
func TestTCPLastWords(t *testing.T) {
	tests := []struct {
		name, sent string
		check      func(t *testing.T, got []byte)
	}{
		{"broken CBOR", "t v=1\n\xbf\x00\xff" + strings.Repeat("x", 100_000), func(t *testing.T, got []byte) {
			if string(got) != "due\n{\"error\":\"syntax\"}\n" {
				t.Errorf("answer %q", got)
			}
		}},
		{"HTTP", "POST /t?v=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("t v=1\n", 16_000), func(t *testing.T, got []byte) {
			got, ok := bytes.CutPrefix(got, []byte("due\n"))
			resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
			if err != nil || !ok {
				t.Fatalf("answer %q: %v", got, err)
			}
			defer resp.Body.Close() //nolint:errcheck // in memory
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 400 || err != nil || !strings.Contains(string(body), "takes readings") {
				t.Errorf("%s, %q, %v", resp.Status, body, err)
			}
		}},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 512), func(t *testing.T, got []byte) {
			if string(got) != "due\n\x15\x03\x01\x00\x02\x02\x28" {
				t.Errorf("answer %q", got)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecorder()
			r.settle = func(context.Context) { r.reply(ingest.Peer{}, []byte("due")) }
			var refused refusals
			c := dialTCP(t, &TCP{NewHandler: r.handler, Refuse: refused.refuse})
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			go func() { _, _ = c.Write([]byte(tt.sent)) }()
			got, err := io.ReadAll(c)
			if err != nil { // a reset, which takes the words with it on some systems
				t.Error(err)
			}
			tt.check(t, got)
			if len(refused.all()) != 1 {
				t.Errorf("refused %q", refused.all())
			}
			want := []string{"t v=1\n"}
			if tt.name != "broken CBOR" {
				want = nil // a browser in the house may not speak for a device
			}
			if d := cmp.Diff(want, r.all(), equal); d != "" {
				t.Error("(-want +got):\n", d)
			}
		})
	}
}

func TestForeign(t *testing.T) {
	tests := []struct {
		in   string
		want bool
	}{
		{"GET / HTTP/1.1\r\n", true},
		{"OPTIONS * HTTP/1.0\n", true},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true},
		{"\x16\x03\x01", true},
		{"GET / HTTP/1.1", false}, // not yet
		{"GET v=1\n", false},
		{"GET v=1 5\n", false},
		{"log,device=x msg=\"GET / HTTP/1.1\"\n", false},
		{"LOG msg=\"GET / HTTP/1.1\"\n", false},
		{"get / HTTP/1.1\n", false},
		{"GET  HTTP/1.1x\n", false},
		{" / HTTP/1.1\n", false},
		{"HTTP/1.1\n", false},
		{"t v=1\nGET / HTTP/1.1\r\n", false},
		{"\x16\x04\x01", false},
	}
	for _, tt := range tests {
		if err := foreign([]byte(tt.in)); (err != nil) != tt.want {
			t.Errorf("%q: %v", tt.in, err)
		}
	}
}

// TestTCPReset: what a device has said before its connection breaks is kept, but
// not half a line.
func TestTCPReset(t *testing.T) {
	r := newRecorder()
	server := &TCP{NewHandler: r.handler}
	c := dialTCP(t, server)
	write(t, c, "t v=1\nt v=")
	r.wait(t, count(1))
	if err := errors.Join(c.SetLinger(0), c.Close()); err != nil {
		t.Fatal(err)
	}
	late := time.After(20 * time.Second)
	for server.Stats().Open > 0 {
		select {
		case <-late:
			t.Fatal("the connection stays open")
		case <-time.After(time.Millisecond):
		}
	}
	if d := cmp.Diff([]string{"t v=1\n"}, r.all()); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

// TestTCPBufferGrowsAndShrinks: a long line gets a large buffer, and gives it
// back.
func TestTCPBufferGrowsAndShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, nil)
		c := s.dial(localDevice)
		var want strings.Builder
		for i := range 50 {
			p := strings.Repeat("x", i*7919%MaxLine) + "\n"
			want.WriteString(p)
			write(t, c, p)
		}
		synctest.Wait()
		if s.text() != want.String() {
			t.Error("what arrives is not what was sent")
		}
		_ = c.Close()
	})
}
