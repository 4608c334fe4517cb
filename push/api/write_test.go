package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writing is a writer that takes each line as a reading and refuses those that
// say so.
type writing struct {
	down error // what Ready returns
	fail error // what Write returns

	started chan struct{} // told when a write has begun, which then waits
	release chan struct{} // for this to close; nil: not at all

	mu      sync.Mutex // guards following
	got     []Payload
	refused []string
}

func (f *writing) Ready() error { return f.down }

func (f *writing) Write(_ context.Context, p Payload) (Written, error) {
	if p.Precision == "bad" {
		return Written{}, &InputError{"precision: want another"}
	}
	if f.started != nil {
		f.started <- struct{}{}
		<-f.release
	}
	p.Body = bytes.Clone(p.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, p)
	done := Written{}
	for i, line := range strings.Split(strings.TrimSuffix(string(p.Body), "\n"), "\n") {
		switch {
		case line == "":
		case line == "cbor":
			done.Messages++
			done.Refused++
			done.Told = append(done.Told, RefusedRow{Error: "byte 7: no"})
		case strings.HasPrefix(line, "refuse"):
			done.Messages++
			done.Refused++
			done.Told = append(done.Told, RefusedRow{int64(i + 1), "no \"" + line})
		default:
			done.Messages++
			done.Readings++
		}
	}
	return done, f.fail
}

func (f *writing) Refuse(_ netip.AddrPort, reason, detail string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, reason+": "+detail)
}

func (f *writing) payloads() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.got {
		out = append(out, p.Precision+"|"+string(p.Body))
	}
	return out
}

func writeConfig(t *testing.T, f *writing) Config {
	cfg := config(sample(t), io.Discard)
	cfg.Writer = f
	return cfg
}

const tooLarge = "the body has more than 32 MiB, or 8 MiB as gzip; write less at a time"

func TestWrite(t *testing.T) {
	large := strings.Repeat("0123456789abcde\n", maxBody/16)
	telegraf := http.Header{"Content-Encoding": {"gzip"}, "Content-Type": {"text/plain; charset=utf-8"}, "User-Agent": {"Telegraf/1.40.0 Go/1.26"}}
	gz := http.Header{"Content-Encoding": {"gzip"}}
	cbor := http.Header{"Content-Type": {"Application/SenML+CBOR"}}
	for _, c := range []struct {
		name, target string
		body         string
		chunked      bool
		header       http.Header
		down, fail   error // of the writer
		status       int
		want         string // the answer
		got          string // what the writer saw
		refused      string // what it was told
	}{
		{name: "lines", target: "/api/v1/write", body: "a\nb\n", status: 204, got: "|a\nb\n"},
		{name: "nothing", target: "/api/v1/write", status: 204, got: "|"},
		{name: "chunks", target: "/api/v1/write?precision=ms", body: "a\nb\n", chunked: true, status: 204, got: "ms|a\nb\n"},
		{name: "Telegraf", target: "/write?consistency=any&db=telegraf&precision=ns&rp=", body: packed("a\n"), chunked: true, header: telegraf, status: 204, got: "ns|a\n"},
		{name: "Telegraf, InfluxDB 2", target: "/api/v2/write?bucket=b&org=o&precision=ns", body: packed("a\n"), chunked: true, header: telegraf, status: 204, got: "ns|a\n"},
		{name: "Home Assistant's first try", target: "/write?db=home", body: "\n", status: 204, got: "|\n"},
		{name: "Home Assistant's first try, InfluxDB 2", target: "/api/v2/write?org=a", status: 204, got: "|"},
		{
			name: "a refused line", target: "/api/v1/write", body: "a\nrefuse 1\n", status: 400, got: "|a\nrefuse 1\n",
			want: `{"error":"line 2: no \"refuse 1","line":2,"written":1,"refused":[{"line":2,"error":"no \"refuse 1"}],"refused_total":1}`,
		},
		{name: "a refused item", target: "/api/v1/write", body: "cbor\n", status: 400, got: "|cbor\n", want: `{"error":"byte 7: no","written":0,"refused":[{"line":0,"error":"byte 7: no"}],"refused_total":1}`},
		{name: "InfluxDB 1, some lines", target: "/write", body: "a\nrefuse 1\nrefuse 2", status: 400, got: "|a\nrefuse 1\nrefuse 2", want: `{"error":"partial write: line 2: no \"refuse 1; 2 of 3 messages were refused"}`},
		{name: "InfluxDB 1, all lines", target: "/write", body: "refuse 1", status: 400, got: "|refuse 1", want: `{"error":"line 1: no \"refuse 1"}`},
		{name: "InfluxDB 2", target: "/api/v2/write", body: "a\nrefuse 1", status: 400, got: "|a\nrefuse 1", want: `{"code":"invalid","message":"line 2: no \"refuse 1","line":2}`},
		{name: "a precision", target: "/api/v2/write?precision=bad", body: "a", status: 400, want: `{"code":"invalid","message":"precision: want another"}`, refused: "syntax: precision: want another"},
		{name: "no gzip", target: "/write", body: "a", header: gz, status: 400, want: `{"error":"the body is not gzip: unexpected EOF"}`, refused: "syntax: the body is not gzip: unexpected EOF"},
		{name: "half of gzip", target: "/write", body: packed("a\nb\nc\n")[:20], header: gz, status: 400, want: `{"error":"the gzip of the body is damaged: unexpected EOF"}`, refused: "syntax: the gzip of the body is damaged: unexpected EOF"},
		{name: "damaged gzip", target: "/write", body: packed("a\nb\nc\n")[:10] + "\xff\xff\xff\xff\xff\xff\xff\xff", header: gz, status: 400, want: `{"error":"the gzip of the body is damaged: flate: corrupt input before offset 1"}`, refused: "syntax: the gzip of the body is damaged: flate: corrupt input before offset 1"},
		{name: "another encoding", target: "/write", header: http.Header{"Content-Encoding": {"br"}}, status: 400, want: `{"error":"want a body without encoding, or gzip"}`, refused: "syntax: want a body without encoding, or gzip"},
		{name: "CBOR that is none", target: "/api/v1/write", body: "t v=1", header: cbor, status: 400, want: `{"error":"the Content-Type says CBOR, and the body does not begin with a map or an array"}`, refused: "syntax: the Content-Type says CBOR, and the body does not begin with a map or an array"},
		{name: "CBOR", target: "/api/v1/write", body: "\xa1\x61v\x01", header: cbor, status: 204, got: "|\xa1\x61v\x01"},
		{name: "the largest", target: "/write", body: large, chunked: true, status: 204, got: "|" + large},
		{name: "too large", target: "/write", body: large + "x", status: 413, want: `{"error":"` + tooLarge + `"}`, refused: "too_long: " + tooLarge},
		{name: "too large in chunks", target: "/api/v2/write", body: large + "x", chunked: true, status: 413, want: `{"code":"request too large","message":"` + tooLarge + `"}`, refused: "too_long: " + tooLarge},
		{name: "too large when unpacked", target: "/api/v1/write", body: packed(large + "x"), header: gz, status: 413, want: `{"error":"` + tooLarge + `"}`, refused: "too_long: " + tooLarge},
		{name: "too large while packed", target: "/write", body: strings.Repeat(packed(""), maxPacked/len(packed(""))+1), chunked: true, header: gz, status: 413, want: `{"error":"` + tooLarge + `"}`, refused: "too_long: " + tooLarge},
		{name: "a disk that fails", target: "/write", body: "a", down: errors.New("the disk is full"), status: 503, want: `{"error":"the disk is full"}`, refused: "overload: the disk is full"},
		{name: "overload", target: "/write", body: "a", fail: errors.New("sector 7"), status: 503, got: "|a", want: `{"error":"not everything could be stored in time; send it again"}`},
		{name: "overload, InfluxDB 2", target: "/api/v2/write", body: "a", fail: errors.New("sector 7"), status: 503, got: "|a", want: `{"code":"unavailable","message":"not everything could be stored in time; send it again"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &writing{down: c.down, fail: c.fail}
			a := New(writeConfig(t, f))
			s := httptest.NewServer(a)
			defer s.Close()
			var body io.Reader = strings.NewReader(c.body)
			if c.chunked {
				body = struct{ io.Reader }{body}
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+c.target, body)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(r.Header, c.header)
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || strings.TrimSuffix(string(got), "\n") != c.want {
				t.Errorf("%s %s, %v; want %d %s", resp.Status, got, err, c.status, c.want)
			}
			if (c.status == 503) != (resp.Header.Get("Retry-After") == retryAfter) || (resp.Header.Get("X-Influxdb-Version") == "1.8.10") != strings.HasPrefix(c.target, "/write") {
				t.Errorf("%v", resp.Header)
			}
			if saw := strings.Join(f.payloads(), "\n"); saw != c.got {
				t.Errorf("the writer saw %.100q, want %.100q", saw, c.got)
			}
			if told := strings.Join(f.refused, "\n"); told != c.refused {
				t.Errorf("the writer was told %q, want %q", told, c.refused)
			}
			a.Writes(func(status int, n int64) {
				if (status == c.status) != (n == 1) {
					t.Errorf("%d counted %d times", status, n)
				}
			})
			if a.crowd.all != (share{}) || len(a.crowd.perAddr) > 0 {
				t.Errorf("%+v are left", &a.crowd.all)
			}
		})
	}
	for _, path := range []string{"/api/v1/write", "/write", "/api/v2/write"} {
		resp, got := ask(t, writeConfig(t, &writing{}), http.MethodGet, path, nil)
		if resp.StatusCode != 405 || !strings.Contains(got, `"want POST"`) || resp.Header.Get("Allow") != "POST" {
			t.Errorf("GET %s: %s %s, Allow %q", path, resp.Status, got, resp.Header.Get("Allow"))
		}
	}
}

// beginWrite sends the head of a write and its first bytes.
func beginWrite(t *testing.T, conn net.Conn, body string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "POST /write HTTP/1.1\r\nHost: g\r\nContent-Length: 8\r\n\r\n%s", body); err != nil {
		t.Fatal(err)
	}
}

func readAnswer(t *testing.T, conn net.Conn) string {
	t.Helper()
	text := make([]byte, 4096)
	n, err := conn.Read(text)
	if err != nil {
		t.Error(err)
	}
	return string(text[:n])
}

// A body that does not come is not waited for; nothing of it is taken.
func TestWriteEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		send  func(a *API, conn net.Conn)
		after time.Duration
		want  string
	}{
		{"silence", func(*API, net.Conn) {}, quietBody, "408"},
		{"too slow", func(_ *API, conn net.Conn) {
			for range 3 {
				<-time.After(quietBody - time.Second)
				_, _ = conn.Write([]byte("b"))
			}
		}, slowBody, "408"},
		{"slow", func(_ *API, conn net.Conn) {
			for range 3 {
				<-time.After(quietBody - time.Second)
				_, _ = conn.Write([]byte("bc"))
			}
		}, 3 * (quietBody - time.Second), "204"},
		{"close", func(a *API, _ net.Conn) { a.Close() }, 0, "503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &writing{}
				a := New(writeConfig(t, f))
				dial, stop := pipedServer(t, a)
				defer stop()
				conn := dial()
				start := time.Now()
				beginWrite(t, conn, "a\n")
				synctest.Wait()
				go c.send(a, conn)
				if answer := readAnswer(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 "+c.want) || time.Since(start) != c.after {
					t.Errorf("after %v: %s\nwant %s after %v", time.Since(start), answer, c.want, c.after)
				}
				if n := len(f.payloads()); (n == 1) != (c.want == "204") {
					t.Errorf("%d payloads were written", n)
				}
				_ = conn.Close()
			})
		})
	}
}

// A write whose body has come is waited for when the gateway stops; one that
// comes later is refused.
func TestWriteAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &writing{started: make(chan struct{}), release: make(chan struct{})}
		a := New(writeConfig(t, f))
		dial, stop := pipedServer(t, a)
		defer stop()
		first, second := dial(), dial()
		beginWrite(t, first, "abcdefg\n")
		<-f.started
		closed := make(chan struct{})
		go func() {
			a.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed while a write is under way")
		default:
		}
		beginWrite(t, second, "")
		if answer := readAnswer(t, second); !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "Retry-After: 5\r\n") {
			t.Error(answer)
		}
		close(f.release)
		if answer := readAnswer(t, first); !strings.HasPrefix(answer, "HTTP/1.1 204 ") {
			t.Error(answer)
		}
		<-closed
		_, _ = first.Close(), second.Close()
	})
}

func TestCrowd(t *testing.T) {
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }
	for _, c := range []struct {
		name  string
		who   func(i int) netip.Addr
		hold  int
		taken int
	}{
		{"one address", func(int) netip.Addr { return addr(0) }, 1, maxWritesPerAddr},
		{"many addresses", addr, 1, maxWrites},
		{"one address with large bodies", func(int) netip.Addr { return addr(0) }, 10 << 20, maxHeldPerAddr / (10 << 20)},
		{"many addresses with large bodies", addr, 10 << 20, maxHeld / (10 << 20)},
		{"one address with the largest body", func(int) netip.Addr { return addr(0) }, maxBody + 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var crowd crowd
			for range 2 {
				var in []*guest
				taken := 0
				for i := range 2 * maxWrites {
					g, ok := crowd.enter(c.who(i))
					if !ok {
						continue
					}
					in = append(in, g)
					if g.hold(1) && g.hold(c.hold) {
						taken++
					}
				}
				if taken != c.taken {
					t.Errorf("%d were taken, want %d", taken, c.taken)
				}
				for _, g := range in {
					g.leave()
				}
				if crowd.all != (share{}) || len(crowd.perAddr) > 0 {
					t.Errorf("%+v are left of %d addresses", crowd.all, len(crowd.perAddr))
				}
			}
		})
	}
}

func TestWriteCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &writing{}
		a := New(writeConfig(t, f))
		dial, stop := pipedServer(t, a)
		defer stop()
		for range maxWritesPerAddr {
			conn := dial()
			defer func() { _ = conn.Close() }()
			beginWrite(t, conn, "a")
		}
		synctest.Wait()
		conn := dial()
		beginWrite(t, conn, "")
		if answer := readAnswer(t, conn); !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "Retry-After: 5\r\n") {
			t.Error(answer)
		}
		if d := cmp.Diff([]string{"connections_limit: as many writes as may be at a time are under way"}, f.refused); d != "" {
			t.Error("(-want +got):\n", d)
		}
		_ = conn.Close()
	})
}

// FuzzWriteBody: whatever a body is, it is answered, and what the writer sees is
// what was sent.
func FuzzWriteBody(f *testing.F) {
	for _, s := range []string{"", "a\nb\n", packed("a\nrefuse\n"), packed("a")[:15], packed("a") + packed("b"), packed("a") + "x"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, gz bool) {
		w := &writing{}
		a := New(Config{Writer: w})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v2/write", bytes.NewReader(body))
		if gz {
			r.Header.Set("Content-Encoding", "gzip")
		}
		rec := &deadlineRecorder{httptest.NewRecorder()}
		a.ServeHTTP(rec, r)
		switch status := rec.Code; {
		case status != 204 && status != 400 && status != 413:
			t.Errorf("%d %s", status, rec.Body)
		case !gz && (len(w.got) != 1 || !bytes.Equal(w.got[0].Body, body)):
			t.Errorf("the writer saw %q of %q", w.got, body)
		case len(w.got)+len(w.refused) != 1:
			t.Errorf("%d written, told %q", len(w.got), w.refused)
		}
		if a.crowd.all != (share{}) {
			t.Errorf("%+v are left", a.crowd.all)
		}
	})
}

// deadlineRecorder records an answer and has all the time that there is.
type deadlineRecorder struct{ *httptest.ResponseRecorder }

func (*deadlineRecorder) SetReadDeadline(time.Time) error  { return nil }
func (*deadlineRecorder) SetWriteDeadline(time.Time) error { return nil }
