package api

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push/pushtest"
)

func TestMain(m *testing.M) { pushtest.Main(m) }

var update = flag.Bool("update", false, "write the golden files")

// now is the wall clock of the tests.
var now = time.UnixMilli(1_764_000_000_000).UTC()

// store is a few readings, and what can go wrong.
type store struct {
	readings []device.Stored
	after    int // readings before failure
	failure  error
}

func (s *store) Read(ctx context.Context, q device.Query, yield func(*device.Stored) error) error {
	rs := slices.Clone(s.readings)
	if q.Desc {
		slices.Reverse(rs)
	}
	n := 0
	for i := range rs {
		if s.failure != nil && i == s.after {
			return s.failure
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !q.Selector.Match(rs[i].Device, rs[i].Metric) || !q.Covers(rs[i].Time) {
			continue
		}
		if err := yield(&rs[i]); err != nil {
			return err
		}
		if n++; n == q.Limit {
			return nil
		}
	}
	return nil
}

func (s *store) Count(ctx context.Context, q device.Query) (n int64, err error) {
	q.Limit = 0
	err = s.Read(ctx, q, func(*device.Stored) error { n++; return nil })
	return n, err
}

func (s *store) Devices() (out []device.Info) {
	for _, series := range s.Series(device.Selector{}) {
		if len(out) == 0 || out[len(out)-1].ID != series.Device {
			out = append(out, device.Info{ID: series.Device})
		}
		i := &out[len(out)-1]
		i.Series++
		i.Count += series.Count
		i.LastTime = max(i.LastTime, series.Last.Time)
		i.LastReceived = max(i.LastReceived, series.Last.Received)
	}
	return out
}

func (s *store) Device(id device.ID) (device.Info, bool) {
	for _, i := range s.Devices() {
		if i.ID == id {
			return i, true
		}
	}
	return device.Info{}, false
}

func (s *store) Series(sel device.Selector) (out []device.SeriesInfo) {
	for i := range s.readings {
		r := s.readings[i]
		if !sel.Match(r.Device, r.Metric) {
			continue
		}
		at := slices.IndexFunc(out, func(i device.SeriesInfo) bool { return i.Device == r.Device && i.Metric == r.Metric })
		if at < 0 {
			at = len(out)
			out = append(out, device.SeriesInfo{Series: device.Series{Device: r.Device, Metric: r.Metric}})
		}
		out[at].Last, out[at].Count = r, out[at].Count+1
	}
	slices.SortFunc(out, func(a, b device.SeriesInfo) int {
		return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Metric, b.Metric))
	})
	return out
}

func value[T any](t testing.TB, of func(T) (device.Value, error), v T) device.Value {
	t.Helper()
	out, err := of(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// sample is readings of every kind, and all that needs quoting.
func sample(t testing.TB) *store {
	s := &store{}
	at := device.TimeOf(now)
	for i, r := range []device.Reading{
		{Device: "gh1", Metric: "air.temperature", Time: at - 3_600_000_000, Value: value(t, device.Float, 21.5)},
		{Device: "gh1", Metric: "air.temperature", Time: at - 1_800_000_000, Value: value(t, device.Float, 1e-7)},
		{Device: "gh1", Metric: `cpu{cpu="0",host=a}`, Time: at - 1_500, Value: device.Int(-9_007_199_254_740_993)},
		{Device: "shed:2", Metric: "door", Time: at - 1_000, Value: device.Bool(true)},
		{Device: "shed:2", Metric: "note", Time: at, Value: value(t, device.Text, "plain")},
		{Device: "shed:2", Metric: "note", Time: at + 1, Value: value(t, device.Text, "a \"b\", c\r\n<d> é")},
		{Device: "shed:2", Metric: "note", Time: at + 2, Value: value(t, device.Text, "")},
	} {
		r.Received = r.Time + 2_000
		s.readings = append(s.readings, device.Stored{Offset: uint64(i + 1), Reading: r})
	}
	return s
}

// config is the API of a store.
func config(s *store, log io.Writer) Config {
	return Config{
		Readings: s, History: sampleSums(), Catalog: s,
		Presence: func(id device.ID) device.Presence {
			if id == "gh1" {
				return device.Presence{
					ID: id, Name: "Glass \"house\"", State: device.Late, Since: device.TimeOf(now), Heard: device.TimeOf(now), Interval: 10 * time.Second,
					Addr: netip.MustParseAddr("192.168.1.20"), Transport: "udp", Guarded: true, ClockWrong: true, Skew: -1500 * time.Millisecond, Skewed: true,
					Expected: 300, Lost: 1, Duplicates: 3, Limited: 2, Battery: device.Gauge{Metric: "battery", Value: 87.5}, RSSI: device.Gauge{Metric: "wifi.rssi", Value: -67},
				}
			}
			return device.Presence{}
		},
		Registry: &registry{all: map[device.ID]*device.Registration{}},
		Waiting: func() []Waiting {
			return []Waiting{{
				ID: "new", Address: "192.168.1.21", Transport: "udp", First: device.TimeOf(now), Last: device.TimeOf(now) + 1500, Messages: 2,
				Values: []WaitingValue{{"temp", device.TimeOf(now), device.Int(21)}, {"door", device.TimeOf(now), device.Bool(true)}},
			}}
		},
		Limits: func() Limits {
			return Limits{
				Admission: "approve", Devices: Limit{3, 10_000}, Series: Limit{7, 100_000}, Readings: RateLimit{10_000, 50_000}, NewSeries: RateLimit{1000, -1},
				Refused: map[string]int64{"rate": 5, "credential": 0},
			}
		},
		Refused: func() []Refused {
			return []Refused{
				{
					Time: device.TimeOf(now), Remote: "192.168.1.20:5000", Transport: "udp", Format: "line protocol",
					Reason: "syntax", Error: "a \xff b", Payload: []byte("temp=\t\"x\"\n"), Size: 10, At: 6,
				},
				{Time: 1, Remote: "r", Transport: "tcp", Reason: "binary", Payload: []byte{0xa1, 0, 'x'}, Size: 3},
				{Remote: "r", Transport: "udp", Reason: "cut", Payload: []byte("é\xc3"), Size: 100},
				{Remote: "r", Transport: "udp", Reason: "not UTF-8", Payload: []byte("\xc3x"), Size: 2},
				{Remote: "r", Transport: "udp", Reason: "empty"},
			}
		},
		About: func() About {
			return About{Version: "1.2.3", Store: "k3v9", Addresses: []string{"192.168.1.2"}, UDP: 7700, HTTP: 7780}
		},
		Now:    func() time.Time { return now },
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	}
}

// answer is the head of a response whose body has been read.
type answer struct {
	Status     string
	StatusCode int
	Header     http.Header
}

// ask sends a request through a real server.
func ask(t *testing.T, cfg Config, method, target string, header http.Header) (*answer, string) {
	t.Helper()
	s := httptest.NewServer(New(cfg))
	defer s.Close()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &answer{resp.Status, resp.StatusCode, resp.Header}, string(b)
}

// Every answer is compared with a file in testdata; -update writes them.
func TestAnswers(t *testing.T) {
	const asJSON, asCSV, asLines = "application/json", "text/csv; charset=utf-8; header=present", "application/x-ndjson"
	for _, c := range []struct {
		file   string
		target string
		accept string
		want   string // Content-Type
	}{
		{"about.json", "/api/v1/about", "", asJSON},
		{"devices.json", "/api/v1/devices", "", asJSON},
		{"device.json", "/api/v1/devices/gh1", "", asJSON},
		{"registry.json", "/api/v1/registry", "", asJSON},
		{"limits.json", "/api/v1/limits", "", asJSON},
		{"series.json", "/api/v1/series", "", asJSON},
		{"series_narrow.json", "/api/v1/series?device=shed*&metric=d*", "", asJSON},
		{"series_none.json", "/api/v1/series?device=nobody", "", asJSON},
		{"refused.json", "/api/v1/refused", "", asJSON},
		{"readings.json", "/api/v1/readings", "", asJSON},
		{"readings.json", "/api/v1/readings?format=json", "text/csv", asJSON},
		{"readings.json", "/api/v1/readings", "text/html,*/*", asJSON},
		{"readings_none.json", "/api/v1/readings?device=nobody", "", asJSON},
		{"readings.csv", "/api/v1/readings?format=csv", "", asCSV},
		{"readings.csv", "/api/v1/readings", "text/csv", asCSV},
		{"readings_none.csv", "/api/v1/readings?device=nobody&format=csv", "", asCSV},
		{"readings.ndjson", "/api/v1/readings?format=ndjson", "", asLines},
		{"readings.ndjson", "/api/v1/readings", "application/x-ndjson", asLines},
		{"readings_exact.csv", "/api/v1/readings?exact=1&format=csv", "", asCSV},
		{"readings_exact.ndjson", "/api/v1/readings?exact=1", "application/x-ndjson", asLines},
		{"readings_exact.json", "/api/v1/readings?exact=1", "", asJSON},
		{"readings.csv", "/api/v1/readings?exact=0&format=csv", "", asCSV},
		{"readings_narrow.ndjson", "/api/v1/readings?format=ndjson&device=gh1&metric=air*&from=-45m&to=now", "", asLines},
		{"readings_desc.ndjson", "/api/v1/readings?format=ndjson&order=desc&limit=2", "", asLines},
		{"readings_asc.ndjson", "/api/v1/readings?format=ndjson&order=asc&limit=1", "", asLines},
		{"history.json", "/api/v1/history", "", asJSON},
		{"history_narrow.json", "/api/v1/history?device=gh1&metric=air*&from=-24h&to=now&points=1", "", asJSON},
		{"history_none.json", "/api/v1/history?device=nobody", "", asJSON},
		{"count.json", "/api/v1/readings/count", "", asJSON},
		{"count_narrow.json", "/api/v1/readings/count?metric=note&from=1764000000000&limit=1", "", asJSON},
	} {
		t.Run(c.target, func(t *testing.T) {
			header := http.Header{}
			if c.accept != "" {
				header.Set("Accept", c.accept)
			}
			resp, got := ask(t, config(sample(t), io.Discard), http.MethodGet, c.target, header)
			if ct := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || ct != c.want {
				t.Errorf("%s, %s", resp.Status, ct)
			}
			if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v", resp.Header)
			}
			path := filepath.Join("testdata", c.file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%s\nwant, as in %s,\n%s", got, path, want)
			}
		})
	}
}

func TestAboutStorage(t *testing.T) {
	cfg := config(sample(t), io.Discard)
	cfg.About = func() About { return About{Storage: &Storage{State: StorageFull, Detail: "no space left"}} }
	_, got := ask(t, cfg, http.MethodGet, "/api/v1/about", nil)
	if want := `"storage":{"state":"full","detail":"no space left"}`; !strings.Contains(got, want) {
		t.Errorf("%s; want %s in it", got, want)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		method, target string
		status         int
		want           string
	}{
		{"GET", "/api/v1/devices/nobody", 404, `{"error":"no such device: nobody"}`},
		{"GET", "/api/v1/devices/a%20b", 400, `{"error":"invalid device id \"a b\": byte 2 is none of A-Z a-z 0-9 . _ : -"}`},
		{"GET", "/api/v1/devices/", 404, `{"error":"no such resource"}`},
		{"GET", "/api/v1/nothing", 404, `{"error":"no such resource"}`},
		{"GET", "/api/v1/readings?limit=0", 400, `{"error":"limit: want a number from 1"}`},
		{"GET", "/api/v1/readings?limit=x", 400, `{"error":"limit: want a number from 1"}`},
		{"GET", "/api/v1/readings?order=up", 400, `{"error":"order: want asc or desc"}`},
		{"GET", "/api/v1/readings?format=xml", 400, `{"error":"format: want json, csv or ndjson"}`},
		{"GET", "/api/v1/readings?exact=yes", 400, `{"error":"exact: want 1 or 0"}`},
		{"GET", "/api/v1/readings?device=%01", 400, `{"error":"invalid device pattern \"\\x01\": it holds a control character"}`},
		{"GET", "/api/v1/series?metric=%7f", 400, `{"error":"invalid metric pattern \"\\x7f\": it holds a control character"}`},
		{"GET", "/api/v1/readings?from=%zz", 400, `{"error":"the query is malformed"}`},
		{"GET", "/api/v1/readings/count?from=soon", 400, `{"error":"from: want RFC 3339, Unix milliseconds, or a duration back from now such as -24h"}`},
		{"GET", "/api/v1/readings?to=tomorrow", 400, `{"error":"to: want RFC 3339, Unix milliseconds, or a duration back from now such as -24h"}`},
		{"GET", "/api/v1/history?from=soon", 400, `{"error":"from: want RFC 3339, Unix milliseconds, or a duration back from now such as -24h"}`},
		{"GET", "/api/v1/history?to=tomorrow", 400, `{"error":"to: want RFC 3339, Unix milliseconds, or a duration back from now such as -24h"}`},
		{"GET", "/api/v1/history?from=now&to=now", 400, `{"error":"from: want a moment before to"}`},
		{"GET", "/api/v1/history?from=-1h&to=-2h", 400, `{"error":"from: want a moment before to"}`},
		{"GET", "/api/v1/history?points=0", 400, `{"error":"points: want a number from 1 to 10000"}`},
		{"GET", "/api/v1/history?points=10001", 400, `{"error":"points: want a number from 1 to 10000"}`},
		{"GET", "/api/v1/history?points=many", 400, `{"error":"points: want a number from 1 to 10000"}`},
		{"GET", "/api/v1/history?device=%01", 400, `{"error":"invalid device pattern \"\\x01\": it holds a control character"}`},
		{"POST", "/api/v1/history", 405, `{"error":"want GET"}`},
		{"POST", "/api/v1/readings", 405, `{"error":"want GET"}`},
		{"DELETE", "/api/v1/devices/gh1", 405, `{"error":"want GET"}`},
		{"PUT", "/api/v1/about", 405, `{"error":"want GET"}`},
		{"HEAD", "/api/v1/readings", 405, ""},
		{"POST", "/api/v1/nothing", 404, `{"error":"no such resource"}`},
	} {
		resp, got := ask(t, config(sample(t), io.Discard), c.method, c.target, nil)
		if resp.StatusCode != c.status || strings.TrimSuffix(got, "\n") != c.want || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %s %s; want %d %s", c.method, c.target, resp.Status, got, c.status, c.want)
		}
		if c.status == 405 && resp.Header.Get("Allow") != "GET" {
			t.Errorf("%s %s: Allow %q", c.method, c.target, resp.Header.Get("Allow"))
		}
	}
}

func TestStoreFails(t *testing.T) {
	for _, target := range []string{"/api/v1/readings", "/api/v1/readings?format=csv", "/api/v1/readings/count"} {
		var log bytes.Buffer
		s := sample(t)
		s.after, s.failure = 2, errors.New("sector 7 is gone")
		resp, got := ask(t, config(s, &log), http.MethodGet, target, nil)
		if resp.StatusCode != http.StatusInternalServerError || got != `{"error":"the store cannot be read"}`+"\n" ||
			resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s", target, resp.Status, got)
		}
		if !strings.Contains(log.String(), "sector 7 is gone") {
			t.Errorf("%s: logged %q", target, &log)
		}
	}
}

// many is more readings than a chunk holds.
func many(n int) *store {
	s := &store{}
	for i := range n {
		s.readings = append(s.readings, device.Stored{Offset: uint64(i + 1), Reading: device.Reading{
			Device: "a", Metric: "x", Time: device.Time(i), Value: device.Int(int64(i)),
		}})
	}
	return s
}

// A stream that fails in the middle is broken off, never ended in good order.
func TestBrokenStream(t *testing.T) {
	for _, format := range []string{"json", "csv", "ndjson"} {
		var log bytes.Buffer
		s := many(5000)
		s.after, s.failure = 4000, errors.New("sector 7 is gone")
		server := httptest.NewServer(New(config(s, &log)))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/readings?format="+format, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", format, len(b), err)
		}
		_ = resp.Body.Close()
		server.Close()
		if !strings.Contains(log.String(), "sector 7 is gone") {
			t.Errorf("%s: logged %q", format, &log)
		}
	}
}

func TestLongAnswer(t *testing.T) {
	_, got := ask(t, config(many(5000), io.Discard), http.MethodGet, "/api/v1/readings?format=csv", nil)
	if n := strings.Count(got, "\n"); n != 5001 || !strings.HasSuffix(got, "\n5000,a,x,4.999,4999\n") {
		t.Errorf("%d lines, ending %q", n, got[len(got)-30:])
	}
}

// oneConn is a listener of one connection.
type oneConn struct {
	conns chan net.Conn
	once  sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.conns) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// A reader that takes nothing is ended by the deadline of a write, one that is
// slow is not.
func TestSlowReader(t *testing.T) {
	for _, c := range []struct {
		name  string
		pause time.Duration // between a kilobyte and the next
		whole bool
	}{{"slow", 500 * time.Millisecond, true}, {"stalled", writeTimeout + time.Second, false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				ln := &oneConn{conns: make(chan net.Conn, 1)}
				ln.conns <- there
				server := &http.Server{Handler: New(config(many(5000), io.Discard)), WriteTimeout: time.Minute}
				var serving sync.WaitGroup
				serving.Go(func() { _ = server.Serve(ln) })
				go func() {
					_, _ = io.WriteString(here, "GET /api/v1/readings?format=csv HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n")
				}()
				var got bytes.Buffer
				var err error
				for err == nil {
					_, err = io.CopyN(&got, here, 1024)
					<-time.After(c.pause)
				}
				if whole := strings.HasSuffix(got.String(), "\r\n0\r\n\r\n"); whole != c.whole {
					t.Errorf("%d bytes, %v", got.Len(), err)
				}
				_ = here.Close()
				_ = server.Close()
				serving.Wait()
			})
		})
	}
}
