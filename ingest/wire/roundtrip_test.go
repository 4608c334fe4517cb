package wire

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// encoders are the formats with what they cannot carry.
var encoders = []struct {
	name    string
	encode  func([]byte, *Message) []byte
	carries func(m *Message, metric string) bool
}{
	{"line", AppendLine, func(m *Message, metric string) bool {
		return m.Time.Frac == 0 && LineCarries(metric)
	}},
	{"json", AppendJSON, func(_ *Message, metric string) bool { return !isReserved(metric) }},
	{"cbor", AppendCBOR, func(m *Message, metric string) bool {
		// A float64 carries the microseconds of seconds and milliseconds only.
		return !isReserved(metric) && (m.Time.Frac == 0 || m.Time.Unit() == Second || m.Time.Unit() == Milli)
	}},
}

func isReserved(metric string) bool {
	switch metric {
	case "device", "time", "seq", "ack", "token", "outcome":
		return true
	}
	return false
}

// reading is what must come back: a field with the time of its message.
type reading struct {
	Device, Metric string
	Value          device.Value
	Time           device.Time
	HasTime        bool
}

// admitted decodes an encoded message and returns its readings, and the seq and
// ack of the last of its lines.
func admitted(t *testing.T, in []byte, lines bool) (out []reading, seq uint64, hasSeq, ack bool) {
	t.Helper()
	d := Decoder{Accept: Native}
	d.Reset(in, lines)
	for d.Next() {
		m, err := d.Message()
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		out = append(out, readingsOf(t, m)...)
		seq, hasSeq, ack = m.Seq, m.HasSeq, m.Ack
	}
	return out, seq, hasSeq, ack
}

func readingsOf(t *testing.T, m *Message) []reading {
	t.Helper()
	var out []reading
	for _, f := range m.Fields {
		v, err := f.Value.Admit()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, reading{string(m.Device), string(f.Metric), v, m.Time.At(testNow), m.Time.Set})
	}
	return out
}

func checkRoundTrip(t *testing.T, m *Message) {
	t.Helper()
	want := readingsOf(t, m)
next:
	for _, e := range encoders {
		for _, f := range m.Fields {
			if !e.carries(m, string(f.Metric)) {
				continue next
			}
		}
		b := e.encode([]byte("x"), m)[1:]
		for _, lines := range []bool{false, true} {
			got, seq, hasSeq, ack := admitted(t, b, lines)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(device.Value{})); diff != "" {
				t.Errorf("%s, lines %v: %q (-want +got):\n%s", e.name, lines, b, diff)
			}
			if seq != m.Seq || hasSeq != m.HasSeq || ack != m.Ack {
				t.Errorf("%s, lines %v: %q: seq %d %v, ack %v; want %d %v, %v", e.name, lines, b, seq, hasSeq, ack, m.Seq, m.HasSeq, m.Ack)
			}
		}
		if e.name == "line" && strings.Count(string(b), "seq=") > 1 && !strings.Contains(string(m.Fields[0].Metric), "seq") {
			lines := strings.Split(string(b), "\n")
			for i, line := range lines {
				if m.HasSeq != strings.Contains(line, ",seq=") || strings.Contains(line, ",ack=1") != (m.Ack && i == len(lines)-1) {
					t.Errorf("line %d of %q: want seq on every line and ack on the last", i+1, b)
				}
			}
		}
	}
}

func TestOutcomeRoundTrip(t *testing.T) {
	for _, o := range []device.Outcome{{}, {Command: 3}, {Command: 4, Text: "on, a=b"}, {Command: 5, Failed: true}, {Command: 6, Failed: true, Text: "valve \"2\" stuck"}} {
		in := &Message{Device: []byte("gh1"), Seq: 8, HasSeq: true, Ack: true, Outcome: o, Fields: []Field{
			{Metric: []byte("a.v"), Value: intValue(1)}, {Metric: []byte("b.v"), Value: intValue(2)},
		}}
		for _, e := range encoders {
			b := e.encode(nil, in)
			var d Decoder
			d.Reset(b, false)
			var got device.Outcome
			for d.Next() {
				m, err := d.Message()
				if err != nil {
					t.Fatalf("%s: %q: %v", e.name, b, err)
				}
				got = m.Outcome
			}
			if got != o {
				t.Errorf("%s: %q gives %+v, want %+v", e.name, b, got, o)
			}
		}
	}
}

func TestAppendLine(t *testing.T) {
	one := func(metric string) *Message {
		return &Message{Fields: []Field{{Metric: []byte(metric), Value: intValue(1)}}}
	}
	for _, c := range []struct {
		name string
		in   *Message
		want string
	}{
		{"nothing", &Message{}, ""},
		{"no dot", one("temp"), "temp value=1i"},
		{"first dot", one("a.b.c"), "a b.c=1i"},
		{"field named value", one("a.value"), "a.value value=1i"},
		{"dot at the beginning", one(".a"), ".a value=1i"},
		{"dot at the end", one("a."), "a. value=1i"},
		{"tags", one("a.b{k=v,l=w}"), "a,k=v,l=w b=1i"},
		{"equals sign in a tag", one("a.b{k=v=w}"), `a,k=v\=w b=1i`},
		{"tags that are none", one("a.b{k}"), "a.b{k} value=1i"},
		{"tags that are not sorted", one("a.b{l=1,k=2}"), `a.b{l=1\,k=2} value=1i`},
		{"tag that is reserved", one("a.b{host=x}"), "a.b{host=x} value=1i"},
		{"trailing comma in tags", one("a.b{k=v,}"), `a.b{k=v\,} value=1i`},
		{"backslash before a separator", one(`a\.b`), `a\.b value=1i`},
		{"special characters", one("a b.c=d,e"), `a\ b c\=d\,e=1i`},
		{"grouped, seq on every line, ack on the last", &Message{
			Device: []byte("d"), Seq: 7, HasSeq: true, Ack: true, Token: []byte("t"), Time: Time{Int: 5, Set: true},
			Fields: []Field{
				{Metric: []byte("a.b"), Value: floatValue(1)},
				{Metric: []byte("a.c"), Value: boolValue(true)},
				{Metric: []byte("d{k=v}"), Value: textValue([]byte("x\n\"\\"))},
			},
		}, "a,device=d,token=t,seq=7 b=1,c=true 5\n" + `d,device=d,token=t,seq=7,ack=1,k=v value="x\n\"\\" 5`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(AppendLine(nil, c.in)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			checkRoundTrip(t, c.in)
		})
	}
}

// Every width of an integer in CBOR, the kinds, and times with and without a
// fraction come back from every encoder.
func TestRoundTrip(t *testing.T) {
	for bit := range 63 {
		for _, n := range []int64{1<<bit - 1, 1 << bit, -1 << bit, -1<<bit - 1} {
			checkRoundTrip(t, &Message{Seq: uint64(max(n, 0)), HasSeq: true, Fields: []Field{{Metric: []byte("m"), Value: intValue(n)}}})
		}
	}
	for _, at := range []Time{
		{Set: true},
		{Int: -1, Frac: 500_000_000, Set: true},
		{Int: -3, Frac: 250_000_000, Set: true},
		{Int: 1764000000, Frac: 123_456_000, Set: true},
		{Int: 1764000000123, Frac: 456_000_000, Set: true},
	} {
		checkRoundTrip(t, &Message{Time: at, Ack: true, Token: []byte("x"), Fields: []Field{{Metric: []byte("m"), Value: floatValue(1e21)}}})
	}
	for _, size := range []int{0, 23, 24, 255, 256, device.MaxTextLen} {
		checkRoundTrip(t, &Message{Fields: []Field{{Metric: []byte("m"), Value: textValue([]byte(strings.Repeat("x", size)))}}})
	}
}

// FuzzRoundTrip wants admitted readings back from every encoder, to the bit.
func FuzzRoundTrip(f *testing.F) {
	f.Add("gh1", "air.temperature", "cpu.usage{cpu=cpu0}", uint8(0), uint64(0x4035800000000000), "", int64(1764000000123), uint32(456000), uint64(7), uint8(7))
	f.Add("", `a\`, "a.b{k=v\\}", uint8(1), uint64(1<<63), "", int64(0), uint32(0), uint64(0), uint8(1))
	f.Add("a:b", "a b,c=d", "ü.value", uint8(3), uint64(0), "x\n\"\\\r\t\x00ü", int64(-5), uint32(500000), uint64(1), uint8(2))
	f.Add("a", "#x", "time", uint8(2), uint64(1), "", int64(1764000000), uint32(123456), uint64(1), uint8(6))
	f.Add("a", "a.b{host=x}", "a.b{l=1,k=2}", uint8(0), uint64(1<<63), "", int64(1764000000123456789), uint32(0), uint64(1<<62), uint8(7))
	f.Fuzz(func(t *testing.T, id, metric, other string, kind uint8, bits uint64, text string, whole int64, micros uint32, seq uint64, flags uint8) {
		if id != "" && device.CheckID(id) != nil || device.CheckMetric(metric) != nil || device.CheckMetric(other) != nil {
			return
		}
		v := Value{Kind: device.Kind(kind%4 + 1), Bits: bits}
		switch v.Kind {
		case device.KindBool:
			v.Bits &= 1
		case device.KindText:
			v = textValue([]byte(text))
		case device.KindFloat, device.KindInt:
		}
		if _, err := v.Admit(); err != nil {
			return
		}
		m := &Message{Device: []byte(id), Ack: flags&1 != 0, HasSeq: flags&2 != 0, Fields: []Field{
			{Metric: []byte(metric), Value: v}, {Metric: []byte(other), Value: intValue(int64(bits))}, {Metric: []byte(metric + "x"), Value: v},
		}}
		if m.HasSeq {
			m.Seq = seq >> 1
		}
		if flags&4 != 0 {
			m.Time = Time{Int: whole, Frac: int32(micros%1_000_000) * 1000, Set: true}
			if m.Time.Unit() == Milli {
				m.Time.Frac -= m.Time.Frac % 1_000_000
			}
		}
		checkRoundTrip(t, m)
	})
}
