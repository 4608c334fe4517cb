package api

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// What InfluxDB's clients ask before they write.
func TestInfluxStart(t *testing.T) {
	const unsupported = `"error":"not supported; readings are asked for at /api/v1/readings and /api/v1/history"`
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for _, c := range []struct {
		name, method, target, body string
		header                     http.Header
		down                       error
		status                     int
		want                       string
	}{
		{name: "ping", method: "GET", target: "/ping", status: 204},
		{name: "ping by HEAD", method: "HEAD", target: "/ping", status: 204},
		{name: "ping of the ESP client", method: "GET", target: "/ping?verbose=true&u=a&p=b", status: 200, want: `{"version":"1.8.10"}`},
		{name: "ping by POST", method: "POST", target: "/ping", status: 405, want: `{"error":"want GET or HEAD"}`},
		{name: "health", method: "GET", target: "/health", status: 200, want: `{"name":"influxdb","message":"ready for queries and writes","status":"pass","checks":[],"version":"2.7.0"}`},
		{name: "ill", method: "GET", target: "/health", down: errors.New("the disk is full"), status: 503, want: `{"name":"influxdb","message":"the disk is full","status":"fail","checks":[],"version":"2.7.0"}`},
		{name: "Telegraf", method: "POST", target: "/query", body: "q=" + url.QueryEscape(`CREATE DATABASE "telegraf"`), header: form, status: 200, want: `{"results":[{"statement_id":0}]}`},
		{name: "python3-influxdb", method: "POST", target: "/query?q=CREATE+DATABASE+%22home%22", status: 200, want: `{"results":[{"statement_id":0}]}`},
		{name: "databases", method: "GET", target: "/query?q=show+databases", status: 200, want: `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["naru"]]}]}]}`},
		{name: "databases, one known", method: "GET", target: "/query?q=SHOW+DATABASES&db=home", status: 200, want: `{"results":[{"statement_id":0,"series":[{"name":"databases","columns":["name"],"values":[["home"]]}]}]}`},
		{name: "several", method: "GET", target: "/query?q=" + url.QueryEscape(`SHOW RETENTION POLICIES; SELECT * FROM "a;b" ;drop database a;`), status: 200, want: `{"results":[{"statement_id":0},{"statement_id":1},{"statement_id":2,` + unsupported + `}]}`},
		{name: "select into", method: "GET", target: "/query?q=SELECT+*+INTO+a+FROM+b", status: 200, want: `{"results":[{"statement_id":0,` + unsupported + `}]}`},
		{name: "no query", method: "GET", target: "/query?db=a", status: 400, want: `{"error":"missing required parameter \"q\""}`},
		{name: "too many", method: "GET", target: "/query?q=" + strings.Repeat("a%3B", maxStatements+1), status: 400, want: `{"error":"more than 100 statements"}`},
		{name: "too long", method: "POST", target: "/query", body: "q=" + strings.Repeat("a", maxQuery), header: form, status: 400, want: `{"error":"the query is malformed or has more than 64 KiB"}`},
		{name: "malformed", method: "GET", target: "/query?q=%zz", status: 400, want: `{"error":"the query is malformed or has more than 64 KiB"}`},
		{name: "by PUT", method: "PUT", target: "/query?q=a", status: 405, want: `{"error":"want GET or POST"}`},
		{name: "elsewhere", method: "GET", target: "/api/v2/buckets", status: 404, want: `{"code":"not found","message":"no such resource; there is /api/v2/write"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewServer(New(writeConfig(t, &writing{down: c.down})))
			defer s.Close()
			r, err := http.NewRequestWithContext(t.Context(), c.method, s.URL+c.target, strings.NewReader(c.body))
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
			first := strings.HasPrefix(c.target, "/ping") || strings.HasPrefix(c.target, "/query")
			if first != (resp.Header.Get("X-Influxdb-Version") == "1.8.10") {
				t.Errorf("%v", resp.Header)
			}
		})
	}
}

func TestStatements(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"", nil},
		{" ; ;", nil},
		{"a; b ;c", []string{"a", "b", "c"}},
		{`a "x;y" ; b 'x;"y'; c`, []string{`a "x;y"`, `b 'x;"y'`, "c"}},
		{`a "x\";y"; b`, []string{`a "x\";y"`, "b"}},
		{`a "x;y`, []string{`a "x;y`}},
		{`a "x\`, []string{`a "x\`}},
	} {
		if d := cmp.Diff(c.want, statements(c.in)); d != "" {
			t.Errorf("%q (-want +got):\n%s", c.in, d)
		}
	}
}

// FuzzStatements: statements stand in the text in their order, none is blank, and
// each has an answer.
func FuzzStatements(f *testing.F) {
	for _, s := range []string{"", "CREATE DATABASE a", `SELECT "a;b";show databases;;`, `'\';`, "\u00a0;\x85"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		if !utf8.ValidString(q) {
			t.Skip() // a part of a blank may be none
		}
		rest := q
		for i, s := range statements(q) {
			_, after, ok := strings.Cut(rest, s)
			if !ok {
				t.Fatalf("%q is not in %q", s, rest)
			}
			rest = after
			if r := answerStatement(i, s, nil); r.ID != i {
				t.Errorf("%+v answers statement %d", r, i)
			}
		}
		if lost := strings.TrimFunc(rest, func(c rune) bool { return c == ';' || unicode.IsSpace(c) }); lost != "" {
			t.Errorf("%q of %q is in no statement", lost, q)
		}
	})
}
