package api

import (
	"net/http"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Usage is what the store takes.
type Usage struct {
	Readings   int64         `json:"readings"`
	Bytes      int64         `json:"bytes"`
	BytesToday int64         `json:"bytes_today"` // written to disk since local midnight or the start
	Files      []File        `json:"files"`
	Series     []SeriesUsage `json:"series"` // sorted by device and metric
}

// SeriesUsage is what a series takes.
type SeriesUsage struct {
	Device   device.ID     `json:"device"`
	Metric   device.Metric `json:"metric"`
	Readings int64         `json:"readings"`
	Bytes    int64         `json:"bytes"`
}

func (a *API) stats(w http.ResponseWriter, r *http.Request) {
	u, err := a.cfg.Usage(r.Context())
	if err != nil {
		if r.Context().Err() == nil {
			a.cfg.Logger.Error("the store's use of the disk cannot be told", "error", err)
			push.Refuse(w, http.StatusInternalServerError, "the store cannot be read")
		}
		return
	}
	reply(w, u)
}
