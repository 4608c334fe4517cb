package api

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// Bounds of points, the buckets that each series of an answer may have: the
// default suits a chart, the most a wall of screens.
const (
	defaultPoints = 500
	maxPoints     = 10_000
)

// parseHistory reads device, metric, from, to and points.
func (a *API) parseHistory(r *http.Request) (device.HistoryQuery, error) {
	q, err := parseQuery(r, a.cfg.Now())
	if err != nil {
		return device.HistoryQuery{}, err
	}
	if q.From != 0 && q.To != 0 && q.From >= q.To {
		return device.HistoryQuery{}, errors.New("from: want a moment before to")
	}
	points := defaultPoints
	if s := r.URL.Query().Get("points"); s != "" {
		if points, err = strconv.Atoi(s); err != nil || points < 1 || points > maxPoints {
			return device.HistoryQuery{}, fmt.Errorf("points: want a number from 1 to %d", maxPoints)
		}
	}
	return device.HistoryQuery{Selector: q.Selector, From: q.From, To: q.To, Points: points}, nil
}

func (a *API) history(w http.ResponseWriter, r *http.Request) {
	q, err := a.parseHistory(r)
	if err != nil {
		push.Refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	out := newStream(w, r)
	out.buf = append(out.buf, `{"series":[`...)
	first := true
	err = a.cfg.History.History(r.Context(), q, func(h *device.History) error {
		if !first {
			out.buf = append(out.buf, ',')
		}
		first = false
		return out.series(h)
	})
	if err == nil {
		out.buf = append(out.buf, "]}\n"...)
	}
	a.finish(out, r, err)
}

// series appends one series column by column.
func (s *stream) series(h *device.History) error {
	s.buf = append(s.buf, `{"device":"`...)
	s.buf = append(s.buf, h.Device...)
	s.buf = append(s.buf, `","metric":`...)
	s.buf = device.AppendJSONString(s.buf, string(h.Metric))
	s.buf = append(s.buf, `,"step":`...)
	s.buf = device.Time(h.Step.Microseconds()).AppendMillis(s.buf)
	for _, c := range [...]struct {
		name string
		cell func(dst []byte, i int) []byte
	}{
		{`,"time":[`, func(dst []byte, i int) []byte { return h.Start[i].AppendMillis(dst) }},
		{`,"min":[`, func(dst []byte, i int) []byte { return device.AppendFloat(dst, h.Min[i]) }},
		{`,"max":[`, func(dst []byte, i int) []byte { return device.AppendFloat(dst, h.Max[i]) }},
		{`,"avg":[`, func(dst []byte, i int) []byte { return device.AppendFloat(dst, average(h, i)) }},
		{`,"count":[`, func(dst []byte, i int) []byte { return strconv.AppendInt(dst, h.Count[i], 10) }},
	} {
		s.buf = append(s.buf, c.name...)
		for i := range h.Start {
			if i > 0 {
				s.buf = append(s.buf, ',')
			}
			s.buf = c.cell(s.buf, i)
			if err := s.flush(); err != nil {
				return err
			}
		}
		s.buf = append(s.buf, ']')
	}
	s.buf = append(s.buf, '}')
	return s.flush()
}

// average is the i-th average, kept between its minimum and maximum: rounding
// takes it a little beyond, and a sum of huge numbers overflows.
func average(h *device.History, i int) float64 {
	if avg := h.Avg[i]; !math.IsNaN(avg) {
		return max(h.Min[i], min(h.Max[i], avg))
	}
	return h.Min[i]/2 + h.Max[i]/2
}
