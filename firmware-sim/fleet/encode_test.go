package fleet

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

func field(metric string, v wire.Value) wire.Field {
	return wire.Field{Metric: []byte(metric), Value: v}
}

func text(s string) wire.Value { return wire.Value{Kind: device.KindText, Text: []byte(s)} }

// heard is one reading as the server's decoder understands it.
type heard struct {
	Device, Metric string
	At             device.Time
	Kind           device.Kind
	Bits           uint64
	Text           string
	Seq            uint64
	HasSeq, Ack    bool
}

func decode(t testing.TB, payload []byte, stream bool) []heard {
	t.Helper()
	var d wire.Decoder
	var out []heard
	d.Reset(payload, stream)
	for d.Next() {
		m, err := d.Message()
		if err != nil {
			t.Fatalf("%q: %v", payload, err)
		}
		for _, f := range m.Fields {
			h := heard{
				Device: string(m.Device), Metric: string(f.Metric), Kind: f.Value.Kind, Bits: f.Value.Bits,
				Text: string(f.Value.Text), Seq: m.Seq, HasSeq: m.HasSeq, Ack: m.Ack,
			}
			if m.Time.Set {
				h.At = m.Time.At(noon)
			}
			out = append(out, h)
		}
	}
	return out
}

func said(m *message) []heard {
	var out []heard
	for _, f := range m.fields {
		out = append(out, heard{
			Device: string(m.device), Metric: string(f.Metric), At: m.at, Kind: f.Value.Kind, Bits: f.Value.Bits,
			Text: string(f.Value.Text), Seq: m.seq, HasSeq: m.hasSeq, Ack: m.ack,
		})
	}
	return out
}

func TestPayloadsAreUnderstood(t *testing.T) {
	t.Parallel()
	fields := []wire.Field{
		field("air.temperature", float(21.139999389648438)), field("air.humidity", float(40)),
		field("air.co2", integer(-612)), field("door", truth(true)), field("air.dew", float(-1.5e-9)),
		field("state", text(`a "quoted" \ text, with = and ü`)), field("a b.c,d=e", integer(math.MaxInt64)),
		field("off", truth(false)),
	}
	messages := []message{
		{device: "gh-1", at: noon, fields: fields},
		{device: "gh-1", at: noon + 123, fields: fields, seq: 7, hasSeq: true},
		{device: "gh-1", fields: fields[:1], seq: math.MaxInt64, hasSeq: true, ack: true},
	}
	for _, m := range messages {
		for _, m.format = range formats {
			for _, stream := range []bool{false, true} {
				payload := appendPayload(nil, &m, stream)
				if diff := cmp.Diff(said(&m), decode(t, payload, stream)); diff != "" {
					t.Errorf("%v, stream %t: %q (-said +heard):\n%s", m.format, stream, payload, diff)
				}
			}
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	m := message{
		format: wire.FormatLine, device: "gh1", at: 1_764_000_000_000_000, seq: 7, hasSeq: true, ack: true,
		fields: []wire.Field{field("air.t", float(21.5)), field("air.h", integer(40)), field("door", truth(true)), field("air.x", text("a"))},
	}
	want := "air,device=gh1,seq=7,ack=1 t=21.5,h=40i 1764000000000000000\n" +
		"door,device=gh1,seq=7,ack=1 value=true 1764000000000000000\n" +
		"air,device=gh1,seq=7,ack=1 x=\"a\" 1764000000000000000"
	if got := string(appendPayload(nil, &m, false)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestCarries holds that a format says of itself what it can carry: a field
// that is promised is understood as it was said.
func TestCarries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		metric       string
		value        wire.Value
		line, object bool
	}{
		{"temp", float(1), true, true},
		{"air.temp", float(1), true, true},
		{"air.in.temp", float(1), true, true},
		{"temp.value", float(1), false, true},
		{"value", float(1), true, true},
		{".temp", float(1), false, true},
		{"temp.", float(1), false, true},
		{"#temp", float(1), false, true},
		{" temp", float(1), false, true},
		{"cpu{cpu=cpu0}", float(1), false, true},
		{`back\slash`, float(1), false, true},
		{"time", float(1), true, false},
		{"seq", integer(1), true, false},
		{"ack.count", integer(1), true, true},
		{"note", text("two\nlines"), false, true},
		{"note", text("naïve, \"quoted\" = \\"), true, true},
		{"a=b.c=d", float(1), true, true},
		{"température.été", float(1), true, true},
	}
	for _, tt := range tests {
		f := field(tt.metric, tt.value)
		if got := lineCarries(f); got != tt.line {
			t.Errorf("line carries %q %q: %t", tt.metric, tt.value.Text, got)
		}
		if got := objectCarries(f); got != tt.object {
			t.Errorf("object carries %q: %t", tt.metric, got)
		}
		for _, format := range formats {
			if format == wire.FormatLine && !tt.line || format != wire.FormatLine && !tt.object {
				continue
			}
			m := message{format: format, device: "d", at: noon, fields: []wire.Field{f}}
			if diff := cmp.Diff(said(&m), decode(t, appendPayload(nil, &m, false), false)); diff != "" {
				t.Errorf("%v (-said +heard):\n%s", format, diff)
			}
		}
	}
}

// FuzzCarries looks for a metric or text that a format promises to carry and
// does not.
func FuzzCarries(f *testing.F) {
	f.Add("air.temp", "text")
	f.Add("a.b{c=d}", "\x00")
	f.Add("device", `\"`)
	f.Add("{", "#")
	f.Add("ünder", "line\nend")
	f.Fuzz(func(t *testing.T, metric, value string) {
		if device.CheckMetric(metric) != nil || device.CheckText(value) != nil {
			return
		}
		fl := field(metric, text(value))
		for _, format := range formats {
			if format == wire.FormatLine && !lineCarries(fl) || format != wire.FormatLine && !objectCarries(fl) {
				continue
			}
			for _, stream := range []bool{false, true} {
				m := message{format: format, device: "d", at: noon, fields: []wire.Field{fl}}
				payload := appendPayload(nil, &m, stream)
				if diff := cmp.Diff(said(&m), decode(t, payload, stream)); diff != "" {
					t.Errorf("%v %q (-said +heard):\n%s", format, payload, diff)
				}
			}
		}
	})
}
