package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/listen"
	"github.com/naru-telemetry/naru/push/live"
	"github.com/naru-telemetry/naru/storage"
)

// settings are what an operator may choose. Each is a flag, an environment
// variable (--retain-age is NARU_RETAIN_AGE) and a key of the TOML file
// (retain-age), with that precedence.
type settings struct {
	Config string // path of the TOML file; empty: none

	Data string
	UDP  string // host:port; empty or "off": no listener
	TCP  string
	HTTP string
	// HTTPTLS has HTTP over TLS only, with the certificate that devices see.
	HTTPTLS bool
	// TrustedProxies are addresses and networks of reverse proxies.
	TrustedProxies []string
	// Listen are more sockets for devices, each with the dialects that it takes.
	Listen []string

	CommitInterval time.Duration
	RetainAge      span
	RetainMinutes  span
	RetainHours    span
	RetainSize     byteSize

	PSK []string // keys of devices, id=hex

	TLSCert  string // paths of PEM files; empty: the local certificate authority
	TLSKey   string
	ClientCA string
	// DTLSCertificates has certificates of devices be taken over DTLS too.
	DTLSCertificates bool

	ReceiveBuffer   byteSize
	Idle            time.Duration
	MaxConns        int
	MaxConnsPerAddr int
	MaxDevices      int
	MaxSeries       int

	Admission           admission
	MaxRate             int // readings a second
	MaxRatePerAddr      int
	MaxNewSeries        int // a minute
	MaxNewSeriesPerAddr int

	MaxViewers          int
	MaxViewersPerAddr   int
	MaxHTTPConns        int
	MaxHTTPConnsPerAddr int
	Origins             []string
	JSONP, Iframe       bool

	Demo      bool
	DemoRate  float64
	PortsFile string
	LogLevel  string
	LogFormat string
}

// flags declares every setting once, with its default.
func (s *settings) flags(f *pflag.FlagSet) {
	f.StringVar(&s.Config, "config", "", "TOML `file` with settings; the keys are the names of these flags")
	f.StringVar(&s.Data, "data", "naru-data", "`folder` that holds everything that is kept")
	f.StringVar(&s.UDP, "udp", ":7700", "`address` for datagrams from devices; off for none")
	f.StringVar(&s.TCP, "tcp", ":7700", "`address` for streams from devices; off for none")
	f.StringSliceVar(&s.Listen, "listen", nil, "one more `socket` for devices, such as udp://:8125?dialect=statsd; repeatable")
	f.StringVar(&s.HTTP, "http", ":7780", "`address` for the page, live push and history")
	f.BoolVar(&s.HTTPTLS, "http-tls", false, "HTTP over TLS only, with the certificate that devices see")
	f.StringSliceVar(&s.TrustedProxies, "trusted-proxies", nil, "`addresses` of reverse proxies whose X-Forwarded-For is believed, such as 127.0.0.1 or 10.0.0.0/8")
	f.DurationVar(&s.CommitInterval, "commit-interval", time.Second,
		"how often readings go to the disk; a device that waits for an answer is served sooner")
	s.RetainAge, s.RetainMinutes, s.RetainHours = span(storage.DefaultRetainAge), span(storage.DefaultRetainMinutes), span(storage.DefaultRetainHours)
	f.Var(&s.RetainAge, "retain-age", "how long readings are kept, such as 90d; negative: for ever")
	f.Var(&s.RetainMinutes, "retain-1m", "how long minimum, maximum and average of each minute are kept")
	f.Var(&s.RetainHours, "retain-1h", "how long those of each hour are kept")
	s.RetainSize = byteSize(defaultRetainSize())
	f.Var(&s.RetainSize, "retain-size", "how large all files may grow before the oldest readings go; at most 80% of the disk unless said")
	f.StringSliceVar(&s.PSK, "psk", nil,
		"`id=key` in hex of a device that comes in over DTLS; several of one device are all valid. Better in the environment or the file")
	f.StringVar(&s.TLSCert, "tls-cert", "", "PEM `file` with the certificate, and its chain, for devices over TLS; without, one of the gateway's own authority")
	f.StringVar(&s.TLSKey, "tls-key", "", "PEM `file` with its key")
	f.StringVar(&s.ClientCA, "client-ca", "", "PEM `file` with the roots that vouch for certificates of devices")
	f.BoolVar(&s.DTLSCertificates, "dtls-certificates", false, "take certificates of devices over DTLS too, from those that offer no key")
	s.ReceiveBuffer = listen.DefaultReceiveBuffer
	f.Var(&s.ReceiveBuffer, "receive-buffer", "receive buffer asked of the kernel for datagrams")
	f.DurationVar(&s.Idle, "idle-timeout", listen.DefaultIdle, "how long a device's stream may say nothing")
	f.IntVar(&s.MaxConns, "max-connections", listen.DefaultMaxConns, "open streams from devices, in all")
	f.IntVar(&s.MaxConnsPerAddr, "max-connections-per-address", listen.DefaultMaxPerAddr, "open streams from one address")
	f.IntVar(&s.MaxDevices, "max-devices", ingest.DefaultMaxDevices, "devices that are taken")
	f.IntVar(&s.MaxSeries, "max-series", ingest.DefaultMaxSeries, "series (metrics of devices) that are taken")
	f.Var(&s.Admission, "admission", "new devices: open takes them, approve has them wait, known refuses them")
	f.IntVar(&s.MaxRate, "max-rate", ingest.DefaultReadings, "readings a second of a device; -1: no bound")
	f.IntVar(&s.MaxRatePerAddr, "max-rate-per-address", ingest.DefaultAddressReadings, "readings a second from an address, loopback aside")
	f.IntVar(&s.MaxNewSeries, "max-new-series", ingest.DefaultSeries, "new metrics a minute of a device")
	f.IntVar(&s.MaxNewSeriesPerAddr, "max-new-series-per-address", ingest.DefaultAddressSeries, "new metrics a minute from an address, loopback aside")
	f.IntVar(&s.MaxViewers, "max-viewers", live.DefaultMaxViewers, "viewers served at a time")
	f.IntVar(&s.MaxViewersPerAddr, "max-viewers-per-address", live.DefaultMaxViewersPerAddr, "those from one address, loopback and trusted proxies aside")
	f.IntVar(&s.MaxHTTPConns, "max-http-connections", 0, "open connections to the page and the API, in all; 0: 2000 more than max-viewers")
	f.IntVar(&s.MaxHTTPConnsPerAddr, "max-http-connections-per-address", defaultHTTPConnsPerAddr,
		"those from one address, loopback and trusted proxies aside")
	f.StringSliceVar(&s.Origins, "origins", nil, "`origins` of other sites whose pages may use the API, such as https://*.example.org")
	f.BoolVar(&s.JSONP, "jsonp", false, "answer polls as scripts too, for browsers that have nothing else; pages of any site can read that, given a token")
	f.BoolVar(&s.Iframe, "iframe", false, "push into endless pages too, for browsers that have nothing else")
	f.BoolVar(&s.Demo, "demo", false, "run a simulated fleet of devices, so that there is something to see")
	f.Float64Var(&s.DemoRate, "demo-rate", 1, "how many times faster than life the simulated fleet measures")
	f.StringVar(&s.PortsFile, "ports-file", "", "write the addresses that were opened to this `file`, as JSON")
	f.StringVar(&s.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&s.LogFormat, "log-format", "text", "text or json")
}

// load fills in what the command line has left open: from the environment, then
// from the TOML file. Errors name the variable, or file, line and key.
func (s *settings) load(f *pflag.FlagSet, environ []string) error {
	env := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "NARU_") {
			env[k] = v
		}
	}
	var errs []error
	set := map[string]bool{}
	f.VisitAll(func(fl *pflag.Flag) {
		set[fl.Name] = fl.Changed
		name := "NARU_" + strings.ToUpper(strings.ReplaceAll(fl.Name, "-", "_"))
		v, ok := env[name]
		if !ok || fl.Changed {
			return
		}
		set[fl.Name] = true
		if err := f.Set(fl.Name, v); err != nil {
			errs = append(errs, fmt.Errorf("environment: %s=%q: %w", name, v, errors.Unwrap(err)))
		}
	})
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if s.Config != "" {
		if err := loadFile(s.Config, f, set); err != nil {
			return err
		}
	}
	return s.check()
}

// loadFile sets from the TOML file at path what is not in set.
func loadFile(path string, f *pflag.FlagSet, set map[string]bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	values := map[string]any{}
	if _, err := toml.Decode(string(text), &values); err != nil {
		if syntax, ok := errors.AsType[toml.ParseError](err); ok {
			return fmt.Errorf("config: %s: line %d: %s", path, syntax.Position.Line, syntax.Message)
		}
		return fmt.Errorf("config: %s: %w", path, err)
	}
	var errs []error
	for _, key := range sortedKeys(values) {
		at := fmt.Sprintf("config: %s: line %d", path, lineOf(string(text), key))
		if f.Lookup(key) == nil || key == "config" || key == "help" {
			errs = append(errs, fmt.Errorf("%s: unknown setting %q%s", at, key, didYouMean(f, key)))
			continue
		}
		if set[key] {
			continue
		}
		v, err := settingText(values[key])
		if err == nil {
			if err = f.Set(key, v); err != nil {
				err = errors.Unwrap(err)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", at, key, err))
		}
	}
	return errors.Join(errs...)
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// settingText returns a TOML value in the notation of the flag.
func settingText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case bool, int64, float64:
		return fmt.Sprint(v), nil
	case []any:
		var parts []string
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", errors.New("want a list of texts")
			}
			parts = append(parts, s)
		}
		return strings.Join(parts, ","), nil
	}
	return "", errors.New("want a text, a number, true or false; there are no sections")
}

// lineOf returns the line that a key of the outermost table stands on.
func lineOf(text, key string) int {
	re := regexp.MustCompile(`(?m)^\s*\[?\s*["']?` + regexp.QuoteMeta(key) + `["']?\s*[=.\]]`)
	if at := re.FindStringIndex(text); at != nil {
		return strings.Count(text[:at[0]], "\n") + 1 + strings.Count(text[at[0]:at[1]], "\n")
	}
	return 1
}

func didYouMean(f *pflag.FlagSet, key string) string {
	best, distance := "", 4
	f.VisitAll(func(fl *pflag.Flag) {
		if d := editDistance(fl.Name, strings.ReplaceAll(key, "_", "-")); d < distance {
			best, distance = fl.Name, d
		}
	})
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// maxReceiveBuffer is the largest round size that the system call's 32 bits hold.
const maxReceiveBuffer = 1 << 30

// maxRetainSize keeps slips of the pen apart from wishes.
const maxRetainSize = 16 << 40

// check refuses what no package downstream can make sense of.
func (s *settings) check() error {
	positive := map[string]int{
		"max-connections": s.MaxConns, "max-connections-per-address": s.MaxConnsPerAddr,
		"max-devices": s.MaxDevices, "max-series": s.MaxSeries, "max-viewers": s.MaxViewers,
		"max-viewers-per-address": s.MaxViewersPerAddr, "max-http-connections-per-address": s.MaxHTTPConnsPerAddr,
	}
	for name, n := range positive {
		if n < 1 {
			return fmt.Errorf("%s: want at least 1, not %d", name, n)
		}
	}
	var level slog.Level
	switch {
	case s.CommitInterval < time.Millisecond:
		return fmt.Errorf("commit-interval: want at least 1ms, not %v", s.CommitInterval)
	case s.RetainAge == 0, s.RetainMinutes == 0, s.RetainHours == 0:
		return errors.New("retain-age, retain-1m, retain-1h: want a duration such as 90d, or a negative one for ever")
	case s.RetainSize < 8<<20:
		return fmt.Errorf("retain-size: want at least 8MiB, not %v", &s.RetainSize)
	case s.RetainSize > maxRetainSize:
		return fmt.Errorf("retain-size: want at most 16TiB, not %v", &s.RetainSize)
	case s.ReceiveBuffer > maxReceiveBuffer:
		return fmt.Errorf("receive-buffer: want at most 1GiB, not %v", &s.ReceiveBuffer)
	case s.MaxHTTPConns < 0:
		return fmt.Errorf("max-http-connections: want at least 1, or 0, not %d", s.MaxHTTPConns)
	case s.Idle < time.Second:
		return fmt.Errorf("idle-timeout: want at least 1s, not %v", s.Idle)
	case !(s.DemoRate > 0) || math.IsInf(s.DemoRate, 0): // so that NaN is refused too
		return fmt.Errorf("demo-rate: want more than 0, not %v", s.DemoRate)
	case s.LogFormat != "text" && s.LogFormat != "json":
		return fmt.Errorf("log-format: want text or json, not %q", s.LogFormat)
	case level.UnmarshalText([]byte(s.LogLevel)) != nil:
		return fmt.Errorf("log-level: want debug, info, warn or error, not %q", s.LogLevel)
	case (s.TLSCert == "") != (s.TLSKey == ""):
		return errors.New("tls-cert, tls-key: want both or none")
	case s.DTLSCertificates && s.TLSCert != "" && s.ClientCA == "":
		return errors.New("dtls-certificates: want client-ca, for with tls-cert the gateway has no authority of its own that vouches for devices")
	case s.HTTP == "" || s.HTTP == "off":
		return errors.New("http: want an address such as :7780")
	}
	if _, err := keysOf(s.PSK); err != nil {
		return err
	}
	if _, err := prefixesOf(s.TrustedProxies); err != nil {
		return err
	}
	for _, text := range s.Listen {
		if _, err := parseEndpoint(text); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
	}
	for _, o := range s.Origins {
		if _, err := path.Match(o, ""); err != nil || !strings.Contains(o, "://") {
			return fmt.Errorf("origins: want scheme://host patterns, not %q", o)
		}
	}
	return nil
}

func defaultRetainSize() int64 {
	if strconv.IntSize == 32 {
		return storage.DefaultRetainSize32
	}
	return storage.DefaultRetainSize
}

// span is a length of time: what time.Duration knows, and days, weeks and years,
// as 90d, 6w, 2y. A year has 365 days.
type span time.Duration

func (s *span) Type() string { return "duration" }

func (s *span) String() string {
	d := time.Duration(*s)
	const day = 24 * time.Hour
	switch {
	case d > 0 && d%(365*day) == 0:
		return strconv.FormatInt(int64(d/(365*day)), 10) + "y"
	case d > 0 && d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	return d.String()
}

func (s *span) Set(text string) error {
	days := map[byte]float64{'d': 1, 'w': 7, 'y': 365}
	if text != "" && days[text[len(text)-1]] > 0 {
		n, err := strconv.ParseFloat(text[:len(text)-1], 64)
		hours := n * days[text[len(text)-1]] * 24
		if err != nil || !(math.Abs(hours) < math.MaxInt64/float64(time.Hour)) {
			return errors.New("want a duration like 90d, 6w or 36h")
		}
		*s = span(hours * float64(time.Hour))
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return errors.New("want a duration like 90d, 6w or 36h")
	}
	*s = span(d)
	return nil
}

// byteSize is a number of bytes, written as 64MiB, 64MB, 64M or 67108864.
type byteSize int64

func (b *byteSize) Type() string { return "size" }

func (b *byteSize) String() string {
	n := int64(*b)
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

func (b *byteSize) Set(s string) error {
	digits := strings.TrimRight(s, "KMGTiBkmgtb ")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return errors.New("want a size such as 64MiB")
	}
	unit, ok := map[string]int64{
		"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "kb": 1000, "m": 1 << 20, "mib": 1 << 20, "mb": 1000_000,
		"g": 1 << 30, "gib": 1 << 30, "gb": 1000_000_000,
		"t": 1 << 40, "tib": 1 << 40, "tb": 1000_000_000_000,
	}[strings.ToLower(strings.TrimSpace(s[len(digits):]))]
	if !ok || n < 0 || n > (1<<62)/unit {
		return errors.New("want a size such as 64MiB")
	}
	*b = byteSize(n * unit)
	return nil
}
