package api

import (
	"net/http"

	"github.com/naru-telemetry/naru/device"
)

// Limits are what the gate takes at most, and how far it is.
type Limits struct {
	Admission string `json:"admission"` // open, approve, known
	Devices   Limit  `json:"devices"`
	Series    Limit  `json:"series"`
	// Readings are a second, NewSeries a minute.
	Readings  RateLimit `json:"readings_per_second"`
	NewSeries RateLimit `json:"new_series_per_minute"`
	// Refused counts what was refused since the start, by reason.
	Refused map[string]int64 `json:"refused"`
}

// Limit is how many there may be in all, and are.
type Limit struct {
	Now  int `json:"now"`
	Most int `json:"most"`
}

// RateLimit is how many are taken of a device, and of all devices of an address;
// less than 0 is no bound.
type RateLimit struct {
	Device  int `json:"device"`
	Address int `json:"address"`
}

// Waiting is a device that waits for approval.
type Waiting struct {
	ID          device.ID
	Address     string
	Transport   string
	First, Last device.Time
	Messages    int64
	Values      []WaitingValue
}

// WaitingValue is the last value of a metric, which is not stored.
type WaitingValue struct {
	Metric device.Metric
	Time   device.Time
	Value  device.Value
}

type waitingJSON struct {
	ID        device.ID          `json:"id"`
	Address   string             `json:"address"`
	Transport string             `json:"transport"`
	First     millis             `json:"first"`
	Last      millis             `json:"last"`
	Messages  int64              `json:"messages"`
	Values    []waitingValueJSON `json:"values"`
}

type waitingValueJSON struct {
	Metric device.Metric `json:"metric"`
	Time   millis        `json:"time"`
	Value  rawValue      `json:"value"`
}

func (w *Waiting) describe() waitingJSON {
	out := waitingJSON{
		ID: w.ID, Address: w.Address, Transport: w.Transport, First: millis(w.First), Last: millis(w.Last),
		Messages: w.Messages, Values: []waitingValueJSON{},
	}
	for _, v := range w.Values {
		out.Values = append(out.Values, waitingValueJSON{v.Metric, millis(v.Time), rawValue(v.Value)})
	}
	return out
}

func (a *API) limits(w http.ResponseWriter, _ *http.Request) { reply(w, a.cfg.Limits()) }
