package api

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// parseQuery reads device, metric, from, to, limit and order. Its errors are for
// the viewer and name the parameter.
func parseQuery(r *http.Request, now time.Time) (device.Query, error) {
	v, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return device.Query{}, errors.New("the query is malformed")
	}
	var q device.Query
	if q.Selector, err = device.NewSelector(v["device"], v["metric"]); err != nil {
		return device.Query{}, err
	}
	q.Selector = q.Selector.Within(push.ViewerOf(r).Limit)
	if q.From, err = ParseTime(v.Get("from"), now); err != nil {
		return device.Query{}, errors.New("from: " + err.Error())
	}
	if q.To, err = ParseTime(v.Get("to"), now); err != nil {
		return device.Query{}, errors.New("to: " + err.Error())
	}
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 {
			return device.Query{}, errors.New("limit: want a number from 1")
		}
	}
	switch v.Get("order") {
	case "", "asc":
	case "desc":
		q.Desc = true
	default:
		return device.Query{}, errors.New("order: want asc or desc")
	}
	return q, nil
}

var errTime = errors.New("want RFC 3339, Unix milliseconds, or a duration back from now such as -24h")

// ParseTime reads a bound of time: RFC 3339, Unix milliseconds, a duration back
// from now, or now. Empty is 0, which means open.
func ParseTime(s string, now time.Time) (device.Time, error) {
	switch {
	case s == "":
		return 0, nil
	case s == "now":
		return device.TimeOf(now), nil
	case strings.ContainsAny(s, "T:"):
		// A plus sign that was not escaped arrives as a space.
		t, err := time.Parse(time.RFC3339Nano, strings.ReplaceAll(s, " ", "+"))
		if err != nil {
			return 0, errTime
		}
		return bound(device.TimeOf(t)), nil
	}
	// ParseFloat knows more notations of a number than anybody means here.
	if ms, err := strconv.ParseFloat(s, 64); err == nil && strings.Trim(s, "0123456789+-.eE") == "" {
		if math.Abs(ms) > math.MaxInt64/2e3 {
			return 0, errTime
		}
		return bound(device.Time(math.Round(ms * 1000))), nil
	}
	back, err := parseBack(s)
	if err != nil {
		return 0, errTime
	}
	return bound(device.TimeOf(now.Add(-back))), nil
}

// bound keeps the epoch itself from meaning "open".
func bound(t device.Time) device.Time {
	if t == 0 {
		return 1
	}
	return t
}

// maxBack bounds a duration back from now, 292 years, by what time.Duration
// holds.
const maxBack = float64(math.MaxInt64)

// parseBack reads what follows the minus sign of a duration back from now: as
// time.ParseDuration does, and 7d and 2w besides.
func parseBack(s string) (time.Duration, error) {
	s, ok := strings.CutPrefix(s, "-")
	if !ok || s == "" || s[0] == '-' || s[0] == '+' {
		return 0, errTime
	}
	var unit time.Duration
	switch s[len(s)-1] {
	case 'd':
		unit = 24 * time.Hour
	case 'w':
		unit = 7 * 24 * time.Hour
	default:
		return time.ParseDuration(s)
	}
	n, err := strconv.ParseFloat(s[:len(s)-1], 64)
	if err != nil || !(n >= 0 && n*float64(unit) < maxBack) {
		return 0, errTime
	}
	return time.Duration(n * float64(unit)), nil
}
