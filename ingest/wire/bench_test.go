package wire

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// lineBody is a body of 1,000 lines in the four shapes that devices send most.
func lineBody() []byte {
	var b bytes.Buffer
	for i := range 250 {
		fmt.Fprintf(&b, "climate,device=gh%d temp=21.%d %d\n", i%7, i, 1764000000000000000+int64(i))
		fmt.Fprintf(&b, "climate,device=gh%d temp=-3.25,hum=4%di,door=t %d\n", i%7, i%10, 1764000000000000000+int64(i))
		fmt.Fprintf(&b, "cpu,host=pi-%d,cpu=cpu%d usage=%d.5,state=\"idle\" %d\n", i%5, i%4, i%100, 1764000000000+int64(i))
		fmt.Fprintf(&b, "soil,device=bed-%d,seq=%d,ack=1 value=%d.0625\n", i%9, i, i)
	}
	return b.Bytes()
}

func jsonBody() []byte {
	var b bytes.Buffer
	for i := range 250 {
		fmt.Fprintf(&b, `{"device":"gh%d","time":%d,"seq":%d,"temp":21.%d,"hum":4%d,"BME280":{"p":1013.25,"ok":true},"state":"idle"}`+"\n",
			i%7, 1764000000123+int64(i), i, i, i%10)
	}
	return b.Bytes()
}

func senmlBody() []byte {
	var b bytes.Buffer
	b.WriteString(`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.764e9,"n":"temp","u":"Cel","v":21.5}`)
	for i := range 250 {
		fmt.Fprintf(&b, `,{"n":"m%d","u":"%%RH","t":%d,"v":4%d.25}`, i%8, i, i%10)
	}
	b.WriteByte(']')
	return b.Bytes()
}

func cborBody() []byte {
	var b []byte
	for i := range uint64(250) {
		b = AppendCBOR(b, &Message{
			Device: []byte("gh1"), Time: Time{Int: 1764000000123 + int64(i), Set: true}, Seq: i, HasSeq: true,
			Fields: []Field{
				{Metric: []byte("temp"), Value: floatValue(21.5 + float64(i)/64)},
				{Metric: []byte("hum"), Value: intValue(40)},
				{Metric: []byte("BME280.p"), Value: floatValue(1013.25)},
				{Metric: []byte("state"), Value: textValue([]byte("idle"))},
			},
		})
	}
	return b
}

// benchDecode decodes the payloads in turn and reports the time of a reading.
func benchDecode(b *testing.B, payloads [][]byte) {
	b.Helper()
	var d Decoder
	readings := 0
	size := 0
	for _, p := range payloads {
		size += len(p)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		for _, p := range payloads {
			d.Reset(p, false)
			for d.Next() {
				m, err := d.Message()
				if err != nil {
					b.Fatal(err)
				}
				readings += len(m.Fields)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(readings), "ns/reading")
}

// datagrams parts a body into one payload for each line.
func datagrams(body []byte) [][]byte {
	return bytes.SplitAfter(bytes.TrimSuffix(body, []byte("\n")), []byte("\n"))
}

func BenchmarkDecodeLine(b *testing.B) {
	b.Run("body", func(b *testing.B) { benchDecode(b, [][]byte{lineBody()}) })
	b.Run("datagrams", func(b *testing.B) { benchDecode(b, datagrams(lineBody())) })
}

func BenchmarkDecodeJSON(b *testing.B) {
	array := append([]byte{'['}, bytes.ReplaceAll(bytes.TrimSpace(jsonBody()), []byte("\n"), []byte(","))...)
	b.Run("body", func(b *testing.B) { benchDecode(b, [][]byte{jsonBody()}) })
	b.Run("datagrams", func(b *testing.B) { benchDecode(b, datagrams(jsonBody())) })
	b.Run("array", func(b *testing.B) { benchDecode(b, [][]byte{append(array, ']')}) })
}

func BenchmarkDecodeSenML(b *testing.B) { benchDecode(b, [][]byte{senmlBody()}) }

// BenchmarkDecodeDialect decodes a datagram of one line of each.
func BenchmarkDecodeDialect(b *testing.B) {
	for _, s := range []struct{ name, in string }{
		{"statsd", "greenhouse.temp:21.5|g"},
		{"graphite", "pi-gw.load.load.shortterm 4.810546875 1795678084"},
		{"teleplot", "myValue:1627551892437:1234"},
		{"kv", "temp=21.5,hum=40"},
		{"csv", "gh1,21.5,40"},
		{"tasmota", `tele/plug/SENSOR {"Time":"2024-02-24T22:20:38","ENERGY":{"Power":5}}`},
		{"shelly", `{"src":"shellyplus1-a8032abe54dc","dst":"u","method":"NotifyStatus","params":{"ts":1631186545.04,"switch:0":{"id":0,"output":true}}}`},
		{"rtl_433", `<165>1 2019-08-29T06:38:19Z host rtl_433 - - - {"time":"2019-08-29 08:38:19","model":"Nexus-TH","id":42,"temperature_C":20.5}`},
		{"collectd", string(unhex(b, collectdPacket))},
		{"gzip", string(packed(b, []byte("climate,device=gh1 temp=21.5\n")))},
	} {
		b.Run(s.name, func(b *testing.B) { benchDecode(b, [][]byte{[]byte(s.in)}) })
	}
}

func BenchmarkDecodeCBOR(b *testing.B) { benchDecode(b, [][]byte{cborBody()}) }

// BenchmarkPeerLine is BenchmarkDecodeLine with InfluxData's decoder, for
// comparison.
func BenchmarkPeerLine(b *testing.B) {
	b.Run("body", func(b *testing.B) { benchPeer(b, [][]byte{lineBody()}) })
	b.Run("datagrams", func(b *testing.B) { benchPeer(b, datagrams(lineBody())) })
}

func benchPeer(b *testing.B, payloads [][]byte) {
	b.Helper()
	b.ReportAllocs()
	size := 0
	for _, p := range payloads {
		size += len(p)
	}
	b.SetBytes(int64(size))
	readings := 0
	for b.Loop() {
		for _, p := range payloads {
			d := lineprotocol.NewDecoderWithBytes(p)
			for d.Next() {
				n, err := peerLine(d)
				if err != nil {
					b.Fatal(err)
				}
				readings += n
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(readings), "ns/reading")
}

// peerLine reads one line to its end and returns the number of its fields.
func peerLine(d *lineprotocol.Decoder) (int, error) {
	if _, err := d.Measurement(); err != nil {
		return 0, err
	}
	for {
		key, _, err := d.NextTag()
		if err != nil {
			return 0, err
		}
		if key == nil {
			break
		}
	}
	fields := 0
	for {
		key, _, err := d.NextField()
		if err != nil {
			return 0, err
		}
		if key == nil {
			break
		}
		fields++
	}
	_, err := d.TimeBytes()
	return fields, err
}

// BenchmarkDecodeHostile decodes payloads of nothing but mistakes. The time of a
// byte must not grow with the payload: ns/byte is the same for both sizes.
func BenchmarkDecodeHostile(b *testing.B) {
	for _, h := range []struct {
		name, head, unit string
		lines            bool
	}{
		{"elements that are no objects", "[", "1,", false},
		{"elements on lines", "[", "1,\n", false},
		{"malformed elements", "[", `{"a":},`, false},
		{"malformed elements without end", "", "[{\"a\":\n", false},
		{"deep", "", "{\"a\":[\n", false},
		{"objects on one line", "", "{}", true},
		{"arrays on one line", "", "[{}]", true},
		{"quotes", "", "m v=\"\n", false},
		{"measurements", "", "m\n", false},
		{"base names", `[{"bn":"` + strings.Repeat("x", 10_000) + `"}`, `,{"v":1}`, false},
		{"long name", `{"` + strings.Repeat("x", 10_000) + `":[`, "1,", false},
		{"integers in an array", "\x9f", "\x01", false},
		{"self-descriptions", "", "\xd9\xd9\xf7\x01", false},
		{"values of Teleplot", "a:", "1;", false},
		{"lines of no dialect", "", "a b c d\n", false},
		{"pairs on one line", "", "a=1 ", false},
		{"cells on one line", "a", ",1", false},
		{"topics", "", "a/b {\n", false},
		{"sources", "[", `{"src":"a","b":1},`, false},
		{"gauges that are reset", "", "a:0|g\n", false},
		{"values of collectd", "\x00\x00\x00\x06a\x00", "\x00\x06\x00\x0f\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x01", false},
	} {
		for _, size := range []int{1 << 16, 1 << 20} {
			b.Run(fmt.Sprintf("%s/%d", h.name, size), func(b *testing.B) {
				payload := []byte(h.head + strings.Repeat(h.unit, size/len(h.unit)))
				var d Decoder
				for b.Loop() {
					for d.Reset(payload, h.lines); d.Next(); {
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(payload)), "ns/byte")
			})
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m := &Message{
		Device: []byte("gh1"), Time: Time{Int: 1764000000123, Set: true}, Seq: 7, HasSeq: true,
		Fields: []Field{
			{Metric: []byte("climate.temp"), Value: floatValue(21.5)},
			{Metric: []byte("climate.hum"), Value: intValue(math.MaxInt32)},
		},
	}
	for _, e := range []struct {
		name   string
		encode func([]byte, *Message) []byte
	}{{"line", AppendLine}, {"json", AppendJSON}, {"cbor", AppendCBOR}} {
		b.Run(e.name, func(b *testing.B) {
			b.ReportAllocs()
			var buf []byte
			for b.Loop() {
				buf = e.encode(buf[:0], m)
			}
		})
	}
}
