package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Readings is where readings are read from.
type Readings interface {
	// Read calls yield for every reading of q, in offset order, until it returns
	// an error, and returns that.
	Read(ctx context.Context, q device.Query, yield func(*device.Stored) error) error
	// Count returns how many readings q has, its Limit left aside.
	Count(ctx context.Context, q device.Query) (int64, error)
}

// History is where series are summed up.
type History interface {
	// History calls yield for every series of q that has numeric readings in the
	// range, until it returns an error, and returns that. The series is yield's
	// only while it runs.
	History(ctx context.Context, q device.HistoryQuery, yield func(*device.History) error) error
}

// Catalog knows what is stored. Its answers are sorted by name.
type Catalog interface {
	Devices() []device.Info
	Device(id device.ID) (device.Info, bool)
	Series(sel device.Selector) []device.SeriesInfo
}

// Refused is a payload that was refused.
type Refused struct {
	Time      device.Time
	Remote    string
	Transport string
	Format    string
	Reason    string
	Error     string
	Payload   []byte // as much as was kept
	Size      int    // of the whole payload, in bytes
	At        int    // byte of Payload that is to blame, from 1; 0: not known
}

// About describes the gateway to its own page.
type About struct {
	Version   string   `json:"version"`
	Store     string   `json:"store"`
	Addresses []string `json:"addresses"` // of this machine, the likeliest first
	UDP       int      `json:"udp"`       // ports; 0 when there is no such listener
	TCP       int      `json:"tcp"`
	HTTP      int      `json:"http"`
	HTTPS     bool     `json:"https,omitempty"` // HTTP is over TLS
	// Storage is absent where nobody asks the store.
	Storage *Storage `json:"storage,omitempty"`
}

// States of a store, as the page knows them.
const (
	StorageOK      = "ok"
	StorageFull    = "full"    // the disk is; readings are pushed but not kept
	StorageFailing = "failing" // readings cannot be written for another reason
)

// Storage tells whether readings are kept. Detail says more, for people; it may
// be empty.
type Storage struct {
	State  string `json:"state"`
	Detail string `json:"detail"`
}

// Config sets up the API.
type Config struct {
	Readings Readings
	History  History
	Catalog  Catalog
	// Presence, Waiting, Limits and Refused ask the socket side.
	Presence func(device.ID) device.Presence
	Waiting  func() []Waiting
	Limits   func() Limits
	Refused  func() []Refused // newest first
	About    func() About
	// Importer takes imports.
	Importer Importer
	// Writer takes what devices write.
	Writer Writer
	// Snapshot takes a snapshot for a backup.
	Snapshot func(context.Context) (Snapshot, error)
	Usage    func(context.Context) (Usage, error)
	Registry Registry
	Mailbox  Mailbox
	// Now is the wall clock; nil means time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// API serves the paths below /api/v1/, and those of InfluxDB's API.
type API struct {
	cfg       Config
	mux       *http.ServeMux
	patterns  []string // of mux, but for the last resort
	work      work
	imports   chan struct{} // one for each that runs
	snapshots snapshots
	crowd     crowd // of writes
	writes    writeCounts
}

// New returns the API.
func New(cfg Config) *API {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &API{cfg: cfg, mux: http.NewServeMux(), imports: make(chan struct{}, maxImports)}
	for path, handle := range map[string]http.HandlerFunc{
		"/api/v1/about":          a.about,
		"/api/v1/devices":        a.devices,
		"/api/v1/devices/{id}":   a.device,
		"/api/v1/series":         a.series,
		"/api/v1/readings":       a.readings,
		"/api/v1/readings/count": a.count,
		"/api/v1/history":        a.history,
		"/api/v1/refused":        a.refused,
		"/api/v1/limits":         a.limits,
		"/api/v1/stats":          a.stats,
		"/api/v1/backup":         a.backup,
	} {
		a.handle(path, get(handle))
	}
	a.handle("/api/v1/import", a.importRows)
	a.handle("/api/v1/write", a.writeHandler(sayNaru))
	a.handleInflux()
	a.handle("GET /api/v1/backup/{id}/{name}", a.backupFile)
	a.handle("DELETE /api/v1/backup/{id}", a.endBackup)
	a.handle("POST /api/v1/qr", a.qrCode)
	a.routeRegistry()
	a.routeCommands()
	a.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		push.Refuse(w, http.StatusNotFound, "no such resource")
	})
	return a
}

func (a *API) handle(pattern string, h http.HandlerFunc) {
	a.mux.HandleFunc(pattern, h)
	a.patterns = append(a.patterns, pattern)
}

// Patterns returns the patterns of all that the API serves, as of http.ServeMux.
func (a *API) Patterns() []string { return a.patterns }

// Close ends imports, which are answered with what was taken, backups, and writes
// whose body is not whole; what is being written is waited for. It comes before the store stops committing.
func (a *API) Close() {
	a.work.close()
	for _, id := range a.snapshots.ids() {
		a.letGo(id)
	}
}

// get refuses other methods, HEAD too: its answer would be read from the store
// for nothing.
func get(handle http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			push.Refuse(w, http.StatusMethodNotAllowed, "want GET")
			return
		}
		handle(w, r)
	}
}

func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// millis is a moment in the contract's form.
type millis device.Time

func (m millis) MarshalJSON() ([]byte, error) { return device.Time(m).AppendMillis(nil), nil }

func (m *millis) UnmarshalJSON(b []byte) error {
	var ms float64
	if err := json.Unmarshal(b, &ms); err != nil {
		return err
	}
	*m = millis(math.Round(ms * 1000))
	return nil
}

// rawValue is a value in the contract's form.
type rawValue device.Value

func (v rawValue) MarshalJSON() ([]byte, error) { return device.Value(v).AppendJSON(nil), nil }

type deviceJSON struct {
	ID       device.ID    `json:"id"`
	Series   int          `json:"series"`
	Readings int64        `json:"readings"`
	Time     millis       `json:"time"`
	Received millis       `json:"received"`
	Metrics  []seriesJSON `json:"metrics,omitempty"`

	presence device.Presence
}

// MarshalJSON puts what the socket side knows beside what the store does.
func (d deviceJSON) MarshalJSON() ([]byte, error) {
	type stored deviceJSON
	text, err := json.Marshal(stored(d))
	if err != nil {
		return nil, err
	}
	return append(d.presence.AppendMembers(append(text[:len(text)-1], ',')), '}'), nil
}

type seriesJSON struct {
	Device   device.ID     `json:"device,omitempty"`
	Metric   device.Metric `json:"metric"`
	Readings int64         `json:"readings"`
	Last     lastJSON      `json:"last"`
}

type lastJSON struct {
	Offset uint64   `json:"offset"`
	Time   millis   `json:"time"`
	Value  rawValue `json:"value"`
}

func (a *API) describe(i device.Info) deviceJSON {
	return deviceJSON{
		ID: i.ID, Series: i.Series, Readings: i.Count, Time: millis(i.LastTime), Received: millis(i.LastReceived),
		presence: a.cfg.Presence(i.ID),
	}
}

func (a *API) devices(w http.ResponseWriter, r *http.Request) {
	out, limit := []deviceJSON{}, push.ViewerOf(r).Limit
	for _, i := range a.cfg.Catalog.Devices() {
		if limit.MatchDevice(i.ID) {
			out = append(out, a.describe(i))
		}
	}
	reply(w, map[string]any{"devices": out})
}

func (a *API) device(w http.ResponseWriter, r *http.Request) {
	id, err := device.ParseID(r.PathValue("id"))
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	info, ok := a.cfg.Catalog.Device(id)
	if !ok || !push.ViewerOf(r).Limit.MatchDevice(id) {
		push.Refuse(w, http.StatusNotFound, "no such device: "+string(id))
		return
	}
	out := a.describe(info)
	sel, err := device.NewSelector([]string{string(id)}, nil)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	for _, s := range a.cfg.Catalog.Series(sel) {
		s.Device = ""
		out.Metrics = append(out.Metrics, describeSeries(s))
	}
	reply(w, out)
}

func (a *API) series(w http.ResponseWriter, r *http.Request) {
	q, err := parseQuery(r, a.cfg.Now())
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	out := []seriesJSON{}
	for _, s := range a.cfg.Catalog.Series(q.Selector) {
		out = append(out, describeSeries(s))
	}
	reply(w, map[string]any{"series": out})
}

func describeSeries(s device.SeriesInfo) seriesJSON {
	return seriesJSON{
		Device: s.Device, Metric: s.Metric, Readings: s.Count,
		Last: lastJSON{s.Last.Offset, millis(s.Last.Time), rawValue(s.Last.Value)},
	}
}

func (a *API) about(w http.ResponseWriter, _ *http.Request) { reply(w, a.cfg.About()) }

type refusedJSON struct {
	Time          millis `json:"time"`
	Remote        string `json:"remote"`
	Transport     string `json:"transport"`
	Format        string `json:"format,omitempty"`
	Reason        string `json:"reason"`
	Error         string `json:"error"`
	Payload       string `json:"payload,omitempty"`
	PayloadBase64 string `json:"payload_base64,omitempty"`
	Size          int    `json:"size"`
	At            int    `json:"at,omitempty"`
}

func (a *API) refused(w http.ResponseWriter, _ *http.Request) {
	out := []refusedJSON{}
	for _, r := range a.cfg.Refused() {
		j := refusedJSON{
			Time: millis(r.Time), Remote: r.Remote, Transport: r.Transport, Format: r.Format,
			Reason: r.Reason, Error: strings.ToValidUTF8(r.Error, "\ufffd"), Size: r.Size, At: r.At,
		}
		if isText(r.Payload) {
			j.Payload = string(r.Payload)
		} else {
			j.PayloadBase64 = base64.StdEncoding.EncodeToString(r.Payload)
		}
		out = append(out, j)
	}
	reply(w, map[string]any{"refused": out})
}

// isText reports whether b is worth showing as text. A cut may have split the
// last character.
func isText(b []byte) bool {
	for len(b) > 0 {
		c, size := utf8.DecodeRune(b)
		if c == utf8.RuneError && size == 1 && (utf8.FullRune(b) || len(b) >= utf8.UTFMax) {
			return false
		}
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' {
			return false
		}
		b = b[size:]
	}
	return true
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only when the viewer is gone
}
