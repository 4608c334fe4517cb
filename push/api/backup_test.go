package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// content is a snapshot of two files.
type content struct {
	closed  chan struct{}
	copying chan struct{} // told when a copy of slow.db has begun, which waits for its context
	fail    error
}

func newContent() *content {
	return &content{closed: make(chan struct{}), copying: make(chan struct{})}
}

func (c *content) Files() []File {
	return []File{{Name: "hot.db", Bytes: 200_000}, {Name: "slow.db", Bytes: 10, Sealed: true, Sum: "ab"}}
}

func (c *content) Copy(ctx context.Context, name string, w io.Writer) error {
	if name == "slow.db" {
		c.copying <- struct{}{}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	if _, err := w.Write(bytes.Repeat([]byte{'h'}, 150_000)); err != nil || c.fail != nil {
		return errors.Join(err, c.fail)
	}
	_, err := w.Write(bytes.Repeat([]byte{'o'}, 50_000))
	return err
}

func (c *content) Close() error {
	close(c.closed)
	return nil
}

func (c *content) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

// backupOf returns an API whose snapshots are these, in turn.
func backupOf(t *testing.T, log io.Writer, all ...*content) *API {
	t.Helper()
	cfg := config(sample(t), log)
	cfg.Snapshot = func(context.Context) (Snapshot, error) {
		if len(all) == 0 {
			return nil, errors.New("sector 7 is gone")
		}
		next := all[0]
		all = all[1:]
		return next, nil
	}
	return New(cfg)
}

// call makes a request without a network.
func call(t *testing.T, a *API, method, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := &deadlines{httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), method, target, nil)
	func() {
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // a panic is compared as it is
				panic(p)
			} else if p != nil {
				w.Code = 0 // broken off
			}
		}()
		a.ServeHTTP(w, r)
	}()
	return w.ResponseRecorder
}

// deadlines is a recorder that takes deadlines.
type deadlines struct{ *httptest.ResponseRecorder }

func (deadlines) SetWriteDeadline(time.Time) error { return nil }

func take(t *testing.T, a *API) string {
	t.Helper()
	w := call(t, a, http.MethodGet, "/api/v1/backup")
	var answer struct {
		ID, Store string
		Files     []File
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 || answer.ID == "" || answer.Store != "k3v9" || len(answer.Files) != 2 {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	return answer.ID
}

func TestBackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := newContent(), newContent(), newContent()
		a := backupOf(t, io.Discard, first, second, third)
		one, two := take(t, a), take(t, a)
		want := func(method, target string, status int, body string) *httptest.ResponseRecorder {
			t.Helper()
			w := call(t, a, method, target)
			if w.Code != status || strings.TrimSuffix(w.Body.String(), "\n") != body {
				t.Errorf("%s %s: %d %.100s; want %d %.100s", method, target, w.Code, w.Body, status, body)
			}
			return w
		}
		want("GET", "/api/v1/backup", 429, `{"error":"two backups are being taken already"}`)
		whole := strings.Repeat("h", 150_000) + strings.Repeat("o", 50_000)
		if w := want("GET", "/api/v1/backup/"+one+"/hot.db", 200, whole); w.Header().Get("Content-Length") != "200000" {
			t.Errorf("%v", w.Header())
		}
		want("GET", "/api/v1/backup/"+one+"/cold.db", 404, `{"error":"no such file in the backup"}`)
		want("GET", "/api/v1/backup/x/hot.db", 404, `{"error":"no such backup, or it was idle for too long"}`)
		want("DELETE", "/api/v1/backup/x", 404, `{"error":"no such backup, or it was idle for too long"}`)
		want("DELETE", "/api/v1/backup/"+one, 204, "")
		if !first.isClosed() || second.isClosed() {
			t.Errorf("closed: %v %v, want the first", first.isClosed(), second.isClosed())
		}
		want("GET", "/api/v1/backup/"+one+"/hot.db", 404, `{"error":"no such backup, or it was idle for too long"}`)

		// The second is kept as long as it is used.
		three := take(t, a)
		for range 3 {
			<-time.After(snapshotIdle - time.Second)
			want("GET", "/api/v1/backup/"+two+"/hot.db", 200, whole)
		}
		if second.isClosed() || !third.isClosed() {
			t.Errorf("closed: %v %v, want the one that was idle", second.isClosed(), third.isClosed())
		}
		want("DELETE", "/api/v1/backup/"+three, 404, `{"error":"no such backup, or it was idle for too long"}`)

		// It is closed after the copy, not under it; and a copy is not idle.
		broken := make(chan int)
		go func() { broken <- call(t, a, "GET", "/api/v1/backup/"+two+"/slow.db").Code }()
		<-second.copying
		<-time.After(2 * snapshotIdle)
		want("DELETE", "/api/v1/backup/"+two, 204, "")
		if second.isClosed() {
			t.Error("closed under a copy")
		}
		a.Close()
		if code := <-broken; code != 0 || !second.isClosed() {
			t.Errorf("status %d, closed %v; want the copy broken off", code, second.isClosed())
		}
		want("GET", "/api/v1/backup", 503, `{"error":"the gateway is stopping"}`)
	})
}

// Close lets go what nobody has.
func TestBackupClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContent()
		a := backupOf(t, io.Discard, c)
		take(t, a)
		a.Close()
		if !c.isClosed() {
			t.Error("a snapshot is left")
		}
	})
}

func TestBackupFails(t *testing.T) {
	var log bytes.Buffer
	c := newContent()
	c.fail = errors.New("sector 8 is gone")
	a := backupOf(t, &log, c)
	defer a.Close()
	id := take(t, a)
	if w := call(t, a, "GET", "/api/v1/backup/"+id+"/hot.db"); w.Code != 0 || !strings.Contains(log.String(), "sector 8 is gone") {
		t.Errorf("status %d, logged %q", w.Code, &log)
	}
	for range maxSnapshots + 1 { // those that fail do not count
		if w := call(t, a, "GET", "/api/v1/backup"); w.Code != 500 || w.Body.String() != `{"error":"the store cannot be read"}`+"\n" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if !strings.Contains(log.String(), "sector 7 is gone") {
		t.Errorf("logged %q", &log)
	}
	for site, want := range map[string]int{"cross-site": 403, "same-site": 403, "same-origin": 500, "none": 500} {
		resp, got := ask(t, a.cfg, http.MethodGet, "/api/v1/backup", http.Header{"Sec-Fetch-Site": {site}})
		if resp.StatusCode != want {
			t.Errorf("%s: %s %s, want %d", site, resp.Status, got, want)
		}
	}
}

func TestStats(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		want   string
	}{
		{nil, 200, `{"readings":3,"bytes":5,"bytes_today":7,"files":[{"name":"hot.db","bytes":5,"sealed":false}],"series":[{"device":"d","metric":"m","readings":3,"bytes":4}]}`},
		{errors.New("sector 7 is gone"), 500, `{"error":"the store cannot be read"}`},
	} {
		var log bytes.Buffer
		cfg := config(sample(t), &log)
		cfg.Usage = func(context.Context) (Usage, error) {
			return Usage{
				Readings: 3, Bytes: 5, BytesToday: 7, Files: []File{{Name: "hot.db", Bytes: 5}},
				Series: []SeriesUsage{{Device: "d", Metric: "m", Readings: 3, Bytes: 4}},
			}, c.err
		}
		resp, got := ask(t, cfg, http.MethodGet, "/api/v1/stats", nil)
		if resp.StatusCode != c.status || got != c.want+"\n" || c.err != nil && !strings.Contains(log.String(), fmt.Sprint(c.err)) {
			t.Errorf("%s %s, logged %q; want %d %s", resp.Status, got, &log, c.status, c.want)
		}
	}
}
