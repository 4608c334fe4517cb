package rows

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// FuzzDecoder wants that any input is read to its end, in the same way however
// it arrives, and that what is taken obeys the contract.
func FuzzDecoder(f *testing.F) {
	for _, in := range []string{
		"offset,device,metric,time,value\n1,gh1,t,1764000000123.5,21.0\n2,gh1,s,1,\"a\"\"\nb\"\n",
		"\"time\",\"temp\"\r\n\"1764000000\",\"\"\r\n",
		"device,metric,unix_ns,value\nd,m,1,\"open\nd,m,2,-0\n",
		`{"device":"d","metric":"m","time":-0.001,"value":-0.0}` + "\n[{\"a\":1},{\"b\":true}] x\n",
		`[{"bn":"y/","bt":1309478401,"n":"a","v":1}]`,
		"# precision: us\nclimate,device=gh1,room=a temp=21.5,hum=40i,s=\"x\\ny\" 1764000000000000\n",
	} {
		for format := range uint8(3) {
			f.Add(format, in)
		}
	}
	f.Fuzz(func(t *testing.T, format uint8, in string) {
		cfg := Config{Format: CSV + Format(format%3), Device: "x", Now: testNow}
		whole := outcome(bytes.NewReader([]byte(in)), cfg)
		if diff := cmp.Diff(whole, outcome(iotest.HalfReader(bytes.NewReader([]byte(in))), cfg)); diff != "" {
			t.Errorf("whole and in parts (-whole +parts):\n%s", diff)
		}
		lines := int64(bytes.Count([]byte(in), []byte("\n")) + 1)
		d := NewDecoder(bytes.NewReader([]byte(in)), cfg)
		for {
			b, err := d.Next()
			if err != nil {
				return
			}
			for _, r := range b.Readings {
				if device.CheckID(r.Device) != nil || device.CheckMetric(r.Metric) != nil || r.Value.Kind() == 0 {
					t.Fatalf("%+v is taken", r)
				}
			}
			for _, r := range b.Refused {
				if r.Line < 1 || r.Line > lines || r.Err == "" || r.Reason == "" {
					t.Fatalf("%+v of %d lines", r, lines)
				}
			}
		}
	})
}

// FuzzRoundTrip wants every reading back from every format that carries it, to
// the bit.
func FuzzRoundTrip(f *testing.F) {
	for _, s := range stored(f) {
		bits := uint64(s.Value.Int())
		f.Add(string(s.Device), string(s.Metric), int64(s.Time), uint8(s.Value.Kind()), bits, s.Value.Text())
	}
	f.Fuzz(func(t *testing.T, id, metric string, at int64, kind uint8, bits uint64, text string) {
		if device.CheckID(id) != nil || device.CheckMetric(metric) != nil {
			return
		}
		want := device.Stored{Offset: 7, Reading: device.Reading{
			Device: device.ID(id), Metric: device.Metric(metric), Time: device.Time(at % 9_223_372_036_854_775),
		}}
		var err error
		switch device.Kind(kind%4 + 1) {
		case device.KindFloat:
			want.Value, err = device.Float(math.Float64frombits(bits))
		case device.KindInt:
			want.Value = device.Int(int64(bits))
		case device.KindBool:
			want.Value = device.Bool(bits&1 == 1)
		case device.KindText:
			want.Value, err = device.Text(text)
		}
		if err != nil {
			return
		}
		for _, format := range []Format{CSV, NDJSON, Line} {
			e := NewEncoder(format)
			out, ok := e.Append(e.Begin(nil), &want)
			if !ok {
				continue
			}
			got := want
			if format == Line {
				got.Offset = 0
			}
			d := NewDecoder(bytes.NewReader(out), Config{Format: format, Now: testNow})
			b, err := d.Next()
			if err != nil || len(b.Refused) > 0 || len(b.Readings) != 1 {
				t.Fatalf("%v: %q gives %+v, %v", format, out, b, err)
			}
			if back := (device.Stored{Offset: b.Offsets[0], Reading: b.Readings[0]}); back != got {
				t.Errorf("%v: %q gives %+v, want %+v", format, out, back, got)
			}
			if _, err := d.Next(); !errors.Is(err, io.EOF) {
				t.Errorf("%v: behind the end: %v", format, err)
			}
		}
	})
}
