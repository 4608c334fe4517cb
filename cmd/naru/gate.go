package main

import (
	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/push/api"
)

// admission is ingest.Admission as a setting.
type admission ingest.Admission

func (a *admission) Type() string   { return "admission" }
func (a *admission) String() string { return ingest.Admission(*a).String() }

func (a *admission) Set(s string) error {
	parsed, err := ingest.ParseAdmission(s)
	if err == nil {
		*a = admission(parsed)
	}
	return err
}

func (s *settings) rates() ingest.Rates {
	return ingest.Rates{
		Readings: s.MaxRate, AddressReadings: s.MaxRatePerAddr, Series: s.MaxNewSeries, AddressSeries: s.MaxNewSeriesPerAddr,
	}
}

// presence returns what the gate knows of a device.
func (g *gateway) presence(id device.ID) device.Presence {
	p, _ := g.pipeline.Gate().Device(id)
	return p
}

func (g *gateway) waiting() []api.Waiting {
	var out []api.Waiting
	for _, w := range g.pipeline.Gate().Waiting() {
		d := api.Waiting{
			ID: w.ID, Address: w.Peer.Addr.Addr().Unmap().String(), Transport: w.Peer.Transport, First: w.First, Last: w.Last, Messages: w.Messages,
		}
		for _, v := range w.Values {
			d.Values = append(d.Values, api.WaitingValue{Metric: v.Metric, Time: v.Time, Value: v.Value})
		}
		out = append(out, d)
	}
	return out
}

func (g *gateway) limits() api.Limits {
	gate := g.pipeline.Gate()
	rates, devices, series := gate.Limits()
	l := api.Limits{
		Admission: gate.Admission().String(),
		Devices:   api.Limit{Most: devices}, Series: api.Limit{Most: series},
		Readings:  api.RateLimit{Device: rates.Readings, Address: rates.AddressReadings},
		NewSeries: api.RateLimit{Device: rates.Series, Address: rates.AddressSeries},
		Refused:   map[string]int64{},
	}
	l.Devices.Now, l.Series.Now = gate.Known()
	for _, r := range ingest.Reasons() {
		l.Refused[r.String()] = g.pipeline.Inspector().Total(r)
	}
	return l
}
