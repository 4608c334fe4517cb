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

// TestPlainFormats holds what SenML and StatsD carry: readings, of which a StatsD
// server hears the negative ones as gauges that are set, not moved.
func TestPlainFormats(t *testing.T) {
	t.Parallel()
	m := message{
		device: "gh-1", at: 1_764_000_000_123_000, seq: 7, hasSeq: true, ack: true,
		fields: []wire.Field{
			field("air.t", float(21)), field("air.dew", float(-1.5)), field("n", integer(-612)), field("door", truth(true)),
			field("state", text(`a "b": c|d`)),
		},
	}
	pack := func(state string, kind func(wire.Value) wire.Value) []heard {
		said := []heard{
			{Device: "gh-1", Metric: "air.t", At: m.at},
			{Device: "gh-1", Metric: "air.dew", At: m.at},
			{Device: "gh-1", Metric: "n", At: m.at},
			{Device: "gh-1", Metric: "door", At: m.at},
			{Device: "gh-1", Metric: "state", At: m.at},
		}
		for i := range said {
			v := kind(m.fields[i].Value)
			said[i].Kind, said[i].Bits, said[i].Text = v.Kind, v.Bits, string(v.Text)
		}
		said[4].Text = state
		return said
	}
	same := func(v wire.Value) wire.Value { return v }
	gauges := pack("a \"b\"_ c_d", func(v wire.Value) wire.Value {
		switch {
		case v.Kind == device.KindBool:
			return integer(int64(v.Bits))
		case v.Kind == device.KindFloat && math.Float64frombits(v.Bits) == 21:
			return integer(21)
		}
		return v
	})
	for i := range gauges {
		gauges[i].At = 0
	}
	tests := []struct {
		format wire.Format
		want   []heard
		text   string // of the datagram; empty: not compared
	}{
		{
			wire.FormatSenML, pack(`a "b": c|d`, same),
			`[{"bn":"gh-1/","bt":1764000000.123000,"n":"air.t","v":21.0},{"n":"air.dew","v":-1.5},{"n":"n","v":-612},{"n":"door","vb":true},{"n":"state","vs":"a \"b\": c|d"}]`,
		},
		{wire.FormatSenMLCBOR, pack(`a "b": c|d`, same), ""},
		{
			wire.FormatStatsD, gauges,
			"gh-1.air.t:21|g\ngh-1.air.dew:0|g\ngh-1.air.dew:-1.5|g\ngh-1.n:0|g\ngh-1.n:-612|g\ngh-1.door:1|g\ngh-1.state:a \"b\"_ c_d|s",
		},
	}
	for _, tt := range tests {
		m.format = tt.format
		for _, stream := range []bool{false, true} {
			payload := appendPayload(nil, &m, stream)
			if diff := cmp.Diff(tt.want, decode(t, payload, stream)); diff != "" {
				t.Errorf("%v, stream %t: %q (-said +heard):\n%s", tt.format, stream, payload, diff)
			}
			if !stream && tt.text != "" && string(payload) != tt.text {
				t.Errorf("%v: %s\nwant %s", tt.format, payload, tt.text)
			}
		}
	}
}

// TestBesideReadings holds that token and outcome are understood in the formats that
// have a place for them.
func TestBesideReadings(t *testing.T) {
	t.Parallel()
	for _, outcome := range []device.Outcome{{Command: 3}, {Command: 3, Text: "on, since noon = now"}, {Command: 4, Failed: true, Text: "valve stuck"}} {
		m := message{device: "gh1", fields: []wire.Field{field("t", float(1))}, seq: 1, hasSeq: true, ack: true, token: "a-token", outcome: outcome}
		for _, m.format = range formats {
			var d wire.Decoder
			d.Reset(appendPayload(nil, &m, false), false)
			if !d.Next() {
				t.Fatalf("%v: no message", m.format)
			}
			got, err := d.Message()
			if err != nil || string(got.Token) != "a-token" || got.Outcome != outcome || len(got.Fields) != 1 {
				t.Errorf("%v: token %q, outcome %+v, error %v", m.format, got.Token, got.Outcome, err)
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
