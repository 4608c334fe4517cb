package api

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/push"
)

// What clients of InfluxDB want to see before they write.
const (
	influxVersion  = "1.8.10"
	influxVersion2 = "2.7.0"
	// maxQuery bounds the text of queries, and maxStatements how many they are.
	maxQuery      = 64 << 10
	maxStatements = 100
)

// InfluxPaths returns the paths of InfluxDB's API that are not below /api/.
func InfluxPaths() []string { return []string{"/write", "/query", "/ping", "/health"} }

func (a *API) handleInflux() {
	a.handle("/write", influx1(a.writeHandler(sayInflux1)))
	a.handle("/query", influx1(a.query))
	a.handle("/ping", influx1(ping))
	a.handle("/health", get(a.health))
	a.handle("/api/v2/write", a.writeHandler(sayInflux2))
	a.handle("/api/v2/", func(w http.ResponseWriter, _ *http.Request) {
		closeUnread(w)
		sayInflux2(w, &verdict{status: http.StatusNotFound, msg: "no such resource; there is /api/v2/write"})
	})
}

// influx1 sets what InfluxDB 1 tells with every answer.
func influx1(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Influxdb-Version", influxVersion)
		w.Header().Set("X-Influxdb-Build", "OSS")
		handle(w, r)
	}
}

// sayInflux1 answers POST /write. Telegraf drops a batch on every 4xx, and looks
// for "partial write".
func sayInflux1(w http.ResponseWriter, v *verdict) {
	msg := v.msg
	if v.written.Readings > 0 {
		msg = "partial write: " + msg
	}
	push.Refuse(w, v.status, msg)
}

// influx2Codes are InfluxDB 2's names of statuses.
var influx2Codes = map[int]string{
	http.StatusBadRequest:            "invalid",
	http.StatusNotFound:              "not found",
	http.StatusMethodNotAllowed:      "method not allowed",
	http.StatusRequestTimeout:        "invalid",
	http.StatusRequestEntityTooLarge: "request too large",
	http.StatusServiceUnavailable:    "unavailable",
}

// sayInflux2 answers POST /api/v2/write.
func sayInflux2(w http.ResponseWriter, v *verdict) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(v.status)
	reply(w, struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Line    int64  `json:"line,omitempty"`
	}{influx2Codes[v.status], v.msg, v.line()})
}

// ping is GET and HEAD /ping.
func ping(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		refuseUnread(w, http.StatusMethodNotAllowed, "want GET or HEAD")
	case r.URL.Query().Get("verbose") == "true":
		reply(w, map[string]string{"version": influxVersion})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// health is GET /health, as InfluxDB 2 answers it.
func (a *API) health(w http.ResponseWriter, _ *http.Request) {
	status, msg := "pass", "ready for queries and writes"
	err := a.cfg.Writer.Ready()
	if err != nil {
		status, msg = "fail", err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	reply(w, struct {
		Name    string   `json:"name"`
		Message string   `json:"message"`
		Status  string   `json:"status"`
		Checks  []string `json:"checks"`
		Version string   `json:"version"`
	}{"influxdb", msg, status, []string{}, influxVersion2})
}

// query is /query of InfluxDB 1, as far as clients ask before they write: there
// is a database of any name, and nothing in it.
func (a *API) query(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		refuseUnread(w, http.StatusMethodNotAllowed, "want GET or POST")
		return
	}
	in := newBody(r.Context(), w, r, quietBody)
	in.until = time.Now().Add(quietBody)
	r.Body = http.MaxBytesReader(w, struct {
		io.Reader
		io.Closer
	}{in, r.Body}, maxQuery)
	err := r.ParseForm()
	if closeErr := in.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		refuseUnread(w, http.StatusBadRequest, "the query is malformed or has more than 64 KiB")
		return
	}
	all := statements(r.Form.Get("q"))
	switch {
	case len(all) == 0:
		push.Refuse(w, http.StatusBadRequest, `missing required parameter "q"`)
	case len(all) > maxStatements:
		push.Refuse(w, http.StatusBadRequest, fmt.Sprintf("more than %d statements", maxStatements))
	default:
		results := make([]influxResult, len(all))
		for i, s := range all {
			results[i] = answerStatement(i, s, r.Form)
		}
		reply(w, map[string]any{"results": results})
	}
}

type influxResult struct {
	ID     int            `json:"statement_id"`
	Series []influxSeries `json:"series,omitempty"`
	Error  string         `json:"error,omitempty"`
}

type influxSeries struct {
	Name    string     `json:"name"`
	Columns []string   `json:"columns"`
	Values  [][]string `json:"values"`
}

// answerStatement answers one statement of InfluxQL. What would change something
// is not pretended.
func answerStatement(id int, statement string, form url.Values) influxResult {
	words := strings.Fields(strings.ToUpper(statement))
	verb, object := words[0], ""
	if len(words) > 1 {
		object = words[1]
	}
	switch {
	case verb == "SHOW" && object == "DATABASES":
		name := form.Get("db")
		if name == "" {
			name = "naru"
		}
		return influxResult{ID: id, Series: []influxSeries{{"databases", []string{"name"}, [][]string{{name}}}}}
	case verb == "SHOW", verb == "EXPLAIN", verb == "SELECT" && !slices.Contains(words, "INTO"),
		verb == "CREATE" && (object == "DATABASE" || object == "RETENTION"), verb == "ALTER" && object == "RETENTION":
		return influxResult{ID: id}
	}
	return influxResult{ID: id, Error: "not supported; readings are asked for at /api/v1/readings and /api/v1/history"}
}

// statements parts InfluxQL at the semicolons that stand in no quotes. What is
// blank is none.
func statements(q string) []string {
	var out []string
	quote, start := byte(0), 0
	take := func(end int) {
		if s := strings.TrimSpace(q[start:end]); s != "" {
			out = append(out, s)
		}
		start = end + 1
	}
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case quote != 0 && c == '\\':
			i++
		case c == quote:
			quote = 0
		case quote != 0:
		case c == '"' || c == '\'':
			quote = c
		case c == ';':
			take(i)
		}
	}
	take(len(q))
	return out
}
