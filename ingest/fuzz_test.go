package ingest

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// FuzzSession gives arbitrary payloads to a datagram session and to a stream
// session, twice each. Whatever they are, only valid readings reach the sink,
// and the counts add up.
func FuzzSession(f *testing.F) {
	for _, seed := range []string{
		"climate,device=gh1,seq=7,ack=1 temp=21.5,hum=40i 1764000000000000000",
		"t,device=x,seq=1,ack=1 v=1\nt,device=x,seq=1 w=2\nnonsense\nt,device=/ v=1\nt v=T 5",
		`{"device":"gh1","time":1764000000123,"seq":7,"ack":true,"temp":21.5,"BME280":{"p":1013},"a":[1,2]}`,
		`[{"device":"x","seq":0,"ack":true,"v":1},{"device":"x","seq":0,"v":2},{"device":"x"}]`,
		`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.76e9,"n":"temp","v":21.5},{"n":"hum","v":40,"t":-5}]`,
		"\xa2\x66device\x61x\x61v\xf9\x7e\x00\xa3\x66device\x61x\x61w\x01\x61v\xf9\x7c\x00",
		`{"device":"x","seq":9223372036854775807,"ack":1,"time":9223372036854775807,"v":"text","token":"geheim"}`,
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	f.Fuzz(func(t *testing.T, payload []byte, stream bool) {
		b := newBench(Config{MaxDevices: 8, MaxSeries: 16}, stream)
		for range 2 {
			b.send(t, local, string(payload))
		}
		checkReadings(t, b.sink.readings)
		checkCounts(t, b, payload, stream)
	})
}

func checkReadings(t *testing.T, readings []device.Reading) {
	series := map[device.Series]bool{}
	for _, r := range readings {
		if err := device.CheckID(r.Device); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		if err := device.CheckMetric(r.Metric); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
		switch r.Value.Kind() {
		case device.KindFloat:
			if math.IsNaN(r.Value.Float()) || math.IsInf(r.Value.Float(), 0) {
				t.Errorf("%+v: not a finite number", r)
			}
		case device.KindText:
			if err := device.CheckText(r.Value.Text()); err != nil {
				t.Errorf("%+v: %v", r, err)
			}
		case device.KindInt, device.KindBool:
		default:
			t.Errorf("%+v: no kind", r)
		}
		if r.Received != device.TimeOf(now) || r.Time < earliest || r.Time > r.Received.Add(24*time.Hour) {
			t.Errorf("%+v: time out of bounds", r)
		}
		series[device.Series{Device: r.Device, Metric: r.Metric}] = true
	}
	if len(series) > 16 {
		t.Errorf("%d series", len(series))
	}
}

// checkCounts holds the counts against what a decoder of its own finds in the
// payload, which has been sent twice.
func checkCounts(t *testing.T, b *bench, payload []byte, stream bool) {
	var dec wire.Decoder
	var messages, fields, asked int64
	dec.Reset(payload, stream)
	for dec.Next() {
		m, _ := dec.Message()
		messages++
		fields += int64(len(m.Fields))
		if m.Ack {
			asked++
		}
	}
	s := b.Stats()
	var refused int64
	for _, r := range Reasons() {
		refused += b.Inspector().Total(r)
	}
	switch {
	case s.Messages != 2*messages:
		t.Errorf("%d messages counted, want %d", s.Messages, 2*messages)
	case s.Readings != int64(len(b.sink.readings)):
		t.Errorf("%d readings counted, %d stored", s.Readings, len(b.sink.readings))
	case refused+s.Duplicates > s.Messages:
		t.Errorf("%d refused, %d duplicates of %d", refused, s.Duplicates, s.Messages)
	case refused == 0 && s.Duplicates == 0 && s.Readings != 2*fields:
		t.Errorf("nothing refused, and %d of %d readings stored", s.Readings, 2*fields)
	case s.Readings == 0 && refused+s.Duplicates != s.Messages:
		t.Errorf("nothing stored, and %d refused, %d duplicates of %d", refused, s.Duplicates, s.Messages)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Error(err)
	}
	s = b.Stats()
	if got := int64(len(b.answers)); got > 2*asked || (asked > 0) != (got > 0) || s.LostAcks != 0 || s.Acknowledged > got {
		t.Errorf("%d answers to %d that asked; %+v", got, 2*asked, s)
	}
	if n := b.session.unanswered.Load(); n != 0 {
		t.Errorf("%d answers are on their way for ever", n)
	}
}
