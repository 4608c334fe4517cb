package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// importing is an importer that takes each line as a reading.
type importing struct {
	started chan struct{} // told when an import has begun; nil: nobody
	fail    error         // after the last line
}

func (i *importing) Import(ctx context.Context, body io.Reader, o ImportOptions) (Imported, error) {
	done := Imported{}
	if o.Format == "bad" {
		return done, &InputError{"format: want csv, ndjson or line, not \"bad\""}
	}
	if i.started != nil {
		i.started <- struct{}{}
	}
	b, err := io.ReadAll(body)
	done.Readings = int64(bytes.Count(b, []byte("\n")))
	if err == nil {
		err = i.fail
	}
	if strings.Contains(string(b), "refuse") {
		done.Refused = []RefusedRow{{Line: 2, Error: "no " + o.Format + o.Device + o.Precision}}
		done.Total = 1
		done.Reasons = map[string]int64{"value": 1}
	}
	return done, errors.Join(err, ctx.Err())
}

func packed(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

func TestImport(t *testing.T) {
	for _, c := range []struct {
		name, query, body string
		header            map[string]string
		fail              error
		status            int
		want, logged      string
	}{
		{name: "rows", body: "a\nb\n", status: 200, want: `{"imported":2,"refused":[],"refused_total":0}`},
		{
			name: "refused rows", query: "?format=csv&device=d&precision=ms", body: "a\nrefuse\n", status: 200,
			want: `{"imported":2,"refused":[{"line":2,"error":"no csvdms"}],"refused_total":1,"refused_reasons":{"value":1}}`,
		},
		{
			name: "a media type", body: "refuse\n", header: map[string]string{"Content-Type": "text/CSV; charset=utf-8"}, status: 200,
			want: `{"imported":1,"refused":[{"line":2,"error":"no csv"}],"refused_total":1,"refused_reasons":{"value":1}}`,
		},
		{name: "gzip", body: packed("a\nb\nc\n"), header: map[string]string{"Content-Encoding": "gzip"}, status: 200, want: `{"imported":3,"refused":[],"refused_total":0}`},
		{name: "no gzip", body: "a\n", header: map[string]string{"Content-Encoding": "gzip"}, status: 400, want: `{"imported":0,"refused":[],"refused_total":0,"error":"the body is not gzip: unexpected EOF"}`},
		{name: "half of gzip", body: packed("a\nb\nc\n")[:20], header: map[string]string{"Content-Encoding": "gzip"}, status: 400, want: `{"imported":3,"refused":[],"refused_total":0,"error":"the body broke off"}`},
		{name: "damaged gzip", body: packed("a\n")[:10] + "\xff\xff\xff\xff", header: map[string]string{"Content-Encoding": "gzip"}, status: 400, want: `{"imported":0,"refused":[],"refused_total":0,"error":"the body broke off"}`},
		{name: "an encoding that nobody knows", header: map[string]string{"Content-Encoding": "br"}, status: 400, want: `{"imported":0,"refused":[],"refused_total":0,"error":"want a body without encoding, or gzip"}`},
		{name: "an option that nobody knows", query: "?format=bad", status: 400, want: `{"imported":0,"refused":[],"refused_total":0,"error":"format: want csv, ndjson or line, not \"bad\""}`},
		{
			name: "a store that fails", body: "a\n", fail: errors.New("sector 7 is gone"), status: 500,
			want: `{"imported":1,"refused":[],"refused_total":0,"error":"the store cannot be written"}`, logged: "sector 7 is gone",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			cfg := config(sample(t), &log)
			cfg.Importer = &importing{fail: c.fail}
			s := httptest.NewServer(New(cfg))
			defer s.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1/import"+c.query, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			resp, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			got, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || strings.TrimSuffix(string(got), "\n") != c.want || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%s %s, %v; want %d %s", resp.Status, got, err, c.status, c.want)
			}
			if c.logged == "" && strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), c.logged) {
				t.Errorf("logged %q, want %q", &log, c.logged)
			}
		})
	}
	resp, got := ask(t, config(sample(t), io.Discard), http.MethodGet, "/api/v1/import", nil)
	if resp.StatusCode != 405 || got != `{"error":"want POST"}`+"\n" || resp.Header.Get("Allow") != "POST" {
		t.Errorf("GET: %s %s, Allow %q", resp.Status, got, resp.Header.Get("Allow"))
	}
}

// pipedServer serves a over pipes, in a bubble of fake time.
func pipedServer(t *testing.T, a *API) (dial func() net.Conn, stop func()) {
	t.Helper()
	ln := &oneConn{conns: make(chan net.Conn)}
	server := &http.Server{Handler: a, WriteTimeout: time.Minute}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	return func() net.Conn {
			here, there := net.Pipe()
			ln.conns <- there
			return here
		}, func() {
			_ = server.Close()
			serving.Wait()
		}
}

// begin sends the head of an import and its first bytes.
func begin(t *testing.T, conn net.Conn, body string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "POST /api/v1/import HTTP/1.1\r\nHost: g\r\nContent-Length: 1000\r\n\r\n%s", body); err != nil {
		t.Fatal(err)
	}
}

// An import ends with the API, after a minute of silence, and not because it is
// long; more than may be at a time are refused.
func TestImportEnds(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(a *API, conn net.Conn)
		status int
		want   string
	}{
		{"close", func(a *API, _ net.Conn) { a.Close() }, 503, `{"imported":1,"refused":[],"refused_total":0,"error":"the gateway is stopping"}`},
		{"silence", func(*API, net.Conn) {}, 400, `{"imported":1,"refused":[],"refused_total":0,"error":"the body broke off"}`},
		{"slow", func(_ *API, conn net.Conn) {
			for range 249 {
				<-time.After(50 * time.Second)
				_, _ = conn.Write([]byte("y\nz\n"))
			}
		}, 200, `{"imported":499,"refused":[],"refused_total":0}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := &importing{started: make(chan struct{})}
				cfg := config(sample(t), io.Discard)
				cfg.Importer = i
				a := New(cfg)
				dial, stop := pipedServer(t, a)
				defer stop()
				conn := dial()
				begin(t, conn, "x\nyy")
				<-i.started
				synctest.Wait()
				go c.end(a, conn)
				text := make([]byte, 4096)
				n, err := conn.Read(text)
				answer := string(text[:n])
				if err != nil || !strings.HasPrefix(answer, fmt.Sprintf("HTTP/1.1 %d ", c.status)) || !strings.Contains(answer, c.want+"\n") {
					t.Errorf("%v: %s\nwant %d %s", err, answer, c.status, c.want)
				}
				_ = conn.Close()
			})
		})
	}
}

func TestImportsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &importing{started: make(chan struct{})}
		cfg := config(sample(t), io.Discard)
		cfg.Importer = i
		a := New(cfg)
		dial, stop := pipedServer(t, a)
		defer stop()
		for range maxImports {
			conn := dial()
			defer func() { _ = conn.Close() }()
			begin(t, conn, "x\n")
			<-i.started
		}
		conn := dial()
		begin(t, conn, "")
		text := make([]byte, 4096)
		n, err := conn.Read(text)
		if err != nil || !strings.HasPrefix(string(text[:n]), "HTTP/1.1 429 ") || !strings.Contains(string(text[:n]), "Retry-After") {
			t.Errorf("%v: %s", err, text[:n])
		}
		_ = conn.Close()
	})
}
