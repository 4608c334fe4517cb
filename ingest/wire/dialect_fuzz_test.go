package wire

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// fuzzDialect decodes arbitrary payloads with a decoder that is pinned to the
// formats, and with one that is not.
func fuzzDialect(f *testing.F, accept Formats, seeds ...string) {
	f.Helper()
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, set := range []Formats{accept, 0} {
			for _, lines := range []bool{false, true} {
				d := Decoder{Accept: set}
				checkDecoder(t, &d, in, lines)
			}
		}
	})
}

func FuzzStatsD(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatStatsD), "a.b:0|g\na.b:-1|g", "a:1:2|d|@0.5|#host:x,y:z,w|T1656581400|c:x", "cpu,host=a:+1|g", "u:x|s")
}

func FuzzGraphite(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatGraphite), "a.b 4.8 1795678084\r\n", "a;host=x;b=c nan -1", "a\t5 \t N")
}

func FuzzTeleplot(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatTeleplot), "a:1627551892444:1;1627551892555:2§rad|np", "a:1:2:3;4:5|xy", "s:5:On|t", "3D|x:S:cube", ">a:1")
}

func FuzzPairs(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatPairs), "device=x temp=21.5 seq=7 ack=1 time=5", `a="b c",d=1;e=nan&f=true`, "a:1,b:2,", "host=a,id=7,t=1")
}

func FuzzCSV(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatCSV), "gh1,21.5,40", "gh1;a;1;b;nan", "aa:bb, 1,,true")
}

func FuzzTopic(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatTopic, FormatTasmota, FormatZigbee2MQTT),
		`tele/x/SENSOR = {"Time":"2024-02-24T22:20:38","a":{"Time":"x"}}`, "stat/x/POWER ON", `zigbee2mqtt/a b/c {"last_seen":1764000000123,"device":{}}`,
		`a/b {"device":"x","time":5,"v":[1,{}]}`, "a/b 5", "zigbee2mqtt/bridge/devices []", "/ 1")
}

func FuzzShelly(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatShelly),
		`{"src":"s","dst":"u","method":"NotifyStatus","params":{"ts":1631186545.04,"switch:0":{"id":0,"a":[1]},"events":[{"component":"i","event":"e"},1]}}`)
}

func FuzzSyslog(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatSyslog, FormatRTL433, FormatTasmota),
		`<165>1 2026-11-26T07:28:14Z vm rtl_433 - - - {"time":"2026-11-26 07:28:14","model":"X","id":1,"channel":"A"}`,
		`<134>h ESP-MQT: tele/x/SENSOR = {"a":1}`, `<1>1 - - - - [a b="\"]"][c] {"a":1}`, `{"time":"2026-11-26 07:28:14","model":"X"}`)
}

func FuzzESPHome(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatESPHome), "SE\x03gh1\x00\x00\x01\x03\x01\x01a\x00\x00\x00", "SE\x01a\x05\x07\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\xacA\x01t\x04abcd\x00\x00\x00", "HP\x01aabcd")
}

func FuzzCollectd(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatCollectd), string(unhex(f, collectdPacket)), string(unhex(f, collectdSealed)), string(unhex(f, collectdSigned)))
}

func FuzzGzip(f *testing.F) {
	fuzzDialect(f, FormatsOf(FormatGzip, FormatLine), string(packed(f, []byte("m v=1\na:1|c"))), string(packed(f, packed(f, nil))))
}

// inputs is how many random inputs a family gets: n, unless the environment says.
func inputs(n int) int {
	if set, err := strconv.Atoi(os.Getenv("NARU_TEST_INPUTS")); err == nil {
		return set
	}
	return n
}

// source makes what sane devices send: names that begin with a letter, finite
// numbers.
type source struct{ *rand.Rand }

func (s source) pick(from ...string) string { return from[s.IntN(len(from))] }

func (s source) word(alphabet string) string {
	b := []byte{byte('a' + s.IntN(26))}
	for range s.IntN(9) {
		b = append(b, alphabet[s.IntN(len(alphabet))])
	}
	return string(b)
}

const wordBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// name is none that means something by itself, such as seq.
func (s source) name() string { return "q" + s.word(wordBytes) }

func (s source) path() string {
	parts := make([]string, 1+s.IntN(4))
	for i := range parts {
		parts[i] = s.name()
	}
	return strings.Join(parts, ".")
}

func (s source) number() string {
	switch s.IntN(4) {
	case 0:
		return strconv.Itoa(s.IntN(200_000) - 100_000)
	case 1:
		return strconv.FormatFloat(s.NormFloat64()*1e3, 'f', s.IntN(5), 64)
	case 2:
		return strconv.FormatFloat(s.NormFloat64(), 'e', s.IntN(9), 64)
	}
	return strconv.FormatUint(s.Uint64N(1<<53), 10)
}

func (s source) clock() string { return strconv.Itoa(1_600_000_000 + s.IntN(400_000_000)) }

// line is line protocol with escapes, and with what other formats are told by in
// its names and texts.
func (s source) line() string {
	name := func() string {
		n := "q" + s.word(wordBytes+":|.;/<>{}[]#@")
		return strings.NewReplacer(" ", `\ `, ",", `\,`, "=", `\=`).Replace(n + s.pick("", "", "", " x", ",x", "=x"))
	}
	measurement := strings.ReplaceAll(name(), `\=`, "")
	var b strings.Builder
	b.WriteString(measurement)
	for range s.IntN(4) {
		fmt.Fprintf(&b, ",%s=%s", name(), name())
	}
	for i := range 1 + s.IntN(4) {
		value := s.pick(s.number(), s.pick("t", "f", "true", "FALSE"), strconv.Itoa(s.IntN(1e6))+"i", `"`+name()+`|g {\"a\":1} x=1"`)
		fmt.Fprintf(&b, "%c%s=%s", " ,"[min(i, 1)], name(), value)
	}
	return b.String() + s.pick("", " "+s.clock(), " "+s.clock()+"000000000", " 5")
}

func (s source) object() string {
	var b strings.Builder
	b.WriteString(s.pick(`{"device":"`+s.name()+`"`, `{"time":`+s.clock(), `{"a":1`) + `,"v":1`)
	for range s.IntN(5) {
		fmt.Fprintf(&b, `,%q:%s`, s.pick(s.name(), "src", "Time", "method", "params", "model", "id", "switch:0"),
			s.pick(s.number(), "true", "null", `"2024-02-24T22:20:38"`, `"Notify"`, `{"x":1}`, `[1,2]`))
	}
	return b.String() + "}"
}

// families are the formats with what makes them; a family may be told as more
// than one format.
var families = []struct {
	name string
	as   Formats
	make func(s source) string
}{
	{"line", FormatsOf(FormatLine), source.line},
	{"json", FormatsOf(FormatJSON), source.object},
	{"senml", FormatsOf(FormatSenML), func(s source) string {
		return `[{"bn":"urn:dev:` + s.name() + `:","n":"` + s.name() + `","v":` + s.pick("1", "2.5") + `},{"n":"` + s.name() + `","vb":true}]`
	}},
	{"senml-cbor", FormatsOf(FormatSenMLCBOR), func(s source) string {
		text := func(t string) string { return string([]byte{0x60 | byte(len(t))}) + t } // of less than 24 bytes
		record := func() string {
			return "\xa2\x00" + text(s.name()) + "\x02" + s.pick("\x05", "\xf9\x3c\x00", "\x38\x63")
		}
		return "\x82\xa3\x21" + text(s.name()+":") + record()[1:] + record()
	}},
	{"cbor", FormatsOf(FormatCBOR), func(s source) string {
		m := Message{Device: []byte(s.name())}
		for range 1 + s.IntN(4) {
			m.Fields = append(m.Fields, Field{[]byte(s.path()), s.pickValue()})
		}
		return string(AppendCBOR(nil, &m))
	}},
	{"statsd", FormatsOf(FormatStatsD), func(s source) string {
		tags := s.pick("", "", "|#"+s.name()+":"+s.name()+","+s.name())
		return s.path() + ":" + s.pick(strings.TrimPrefix(s.number(), "+")+"|"+s.pick("c", "ms", "h", "d", "g")+s.pick("", "|@0.5"), s.name()+"|s") + tags
	}},
	{"graphite", FormatsOf(FormatGraphite), func(s source) string {
		return s.path() + s.pick("", ";"+s.name()+"="+s.name()) + " " + s.number() + " " + s.pick(s.clock(), "-1")
	}},
	{"teleplot", FormatsOf(FormatTeleplot), func(s source) string {
		value := func() string { return s.pick("", s.clock()+"123:") + s.number() }
		return s.name() + ":" + s.pick(value(), value()+";"+value(), s.number()+":"+s.number()+"|xy", s.name()+" "+s.name()+"|t", value()+"§km|np")
	}},
	{"kv", FormatsOf(FormatPairs), func(s source) string {
		sep := s.pick(" ", ",", ";", "&", ", ")
		line := s.name() + "x=" + s.number()
		for range s.IntN(4) {
			line += sep + s.name() + "x=" + s.pick(s.number(), "true", "word-"+s.name())
		}
		return line
	}},
	{"csv", FormatsOf(FormatCSV), func(s source) string {
		sep := s.pick(",", ";", ", ")
		if s.IntN(2) == 0 {
			return s.name() + sep + "x" + s.name() + sep + s.number()
		}
		return s.name() + sep + s.number() + sep + s.number()
	}},
	{"topic", FormatsOf(FormatTopic), func(s source) string {
		return s.pick("home/", "a/x/", "/") + s.name() + "/" + s.name() + s.pick(" ", " = ") + s.pick(s.object(), s.number(), "true")
	}},
	{"tasmota", FormatsOf(FormatTasmota), func(s source) string {
		sensor := `{"Time":"2024-02-24T22:20:38",` + s.object()[1:]
		topic := s.pick("tele/"+s.name()+"/", s.name()+"/tele/", "house/tele/"+s.name()+"/")
		return s.pick(sensor, topic+s.pick("SENSOR ", "STATE = ")+sensor, "stat/"+s.name()+"/POWER "+s.pick("ON", "OFF"),
			"<134>1 2024-02-24T22:20:38.378000+01:00 "+s.name()+" tasmota - - -MQT: "+topic+"SENSOR = "+sensor,
			"<134>"+s.name()+" ESP-RSL: SENSOR = "+sensor)
	}},
	{"zigbee2mqtt", FormatsOf(FormatZigbee2MQTT), func(s source) string {
		return "zigbee2mqtt/" + s.name() + s.pick("", " "+s.name(), "/"+s.name()) + s.pick(" "+s.object(), "/"+s.name()+" "+s.number())
	}},
	{"shelly", FormatsOf(FormatShelly), func(s source) string {
		return `{"src":"` + s.name() + `","dst":"x","method":"NotifyStatus","params":{"ts":` + s.clock() + `.5,"switch:0":{"id":0,"apower":` + s.pick("1", "2.5") + `}}}`
	}},
	{"rtl_433", FormatsOf(FormatRTL433), func(s source) string {
		found := `"model":"` + s.name() + `","id":` + strconv.Itoa(s.IntN(1000)) + `,"temperature_C":` + s.pick("1.5", "-2") + `}`
		timed := `{"time":"2026-11-26 07:28:14` + s.pick("", ".123") + `",` + found
		return s.pick(timed, "<165>1 2026-11-26T07:28:14Z vm rtl_433 - - - "+s.pick(timed, "{"+found))
	}},
	{"syslog", FormatsOf(FormatSyslog), func(s source) string {
		return s.pick("<30>1 2026-11-26T07:28:14Z vm x - - - ", "<7>1 - vm x 5 m [a b=\"c\"] ", "<134>vm ", "<30>Jan  2 10:00:00 vm ") +
			`{"` + s.name() + `":` + s.number() + `}`
	}},
	{"esphome", FormatsOf(FormatESPHome), func(s source) string {
		name := s.name()
		head := "SE" + string(byte(len(name))) + name + "\x00\x00\x00"
		head = head[:(len(head)/4)*4]
		body := "\x01"
		for range 1 + s.IntN(4) {
			name := s.name()
			body += "\x02" + string([]byte{byte(s.Uint32()), byte(s.Uint32()), 0x48, 0x41, byte(len(name))}) + name
		}
		return head + (body + "\x00\x00\x00")[:(len(body)+3)/4*4]
	}},
	{"collectd", FormatsOf(FormatCollectd), func(s source) string {
		text := func(kind byte, t string) string {
			return string([]byte{0, kind, 0, byte(5 + len(t))}) + t + "\x00"
		}
		packet := text(0, s.name()) + text(2, s.name()) + text(4, s.name())
		for range 1 + s.IntN(4) {
			packet += "\x00\x06\x00\x0f\x00\x01\x02" + string([]byte{0, 0, 0, 0, byte(s.Uint32()), byte(s.Uint32()), byte(s.Uint32()), byte(s.Uint32())})
		}
		return packet
	}},
	{"gzip", FormatsOf(FormatStatsD), func(s source) string {
		lines := ""
		for range 1 + s.IntN(3) {
			lines += s.path() + ":1|c\n"
		}
		return stored(lines)
	}},
}

// stored is text in the frame of gzip, as it is: one block that is not packed.
func stored(text string) string {
	b := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\x01"), byte(len(text)), byte(len(text)>>8), ^byte(len(text)), ^byte(len(text)>>8))
	b = binary.LittleEndian.AppendUint32(append(b, text...), crc32.ChecksumIEEE([]byte(text)))
	return string(binary.LittleEndian.AppendUint32(b, uint32(len(text))))
}

func (s source) pickValue() Value {
	return []Value{floatValue(s.NormFloat64()), intValue(int64(s.Uint64())), boolValue(true), textValue([]byte(s.line()))}[s.IntN(4)]
}

// TestNoMisdetection: what a sane device sends is taken for what it is, and line
// protocol, JSON and CBOR give what they give a decoder that knows no dialects.
// NARU_TEST_INPUTS says how many random inputs each family gets.
func TestNoMisdetection(t *testing.T) {
	for i, family := range families {
		t.Run(family.name, func(t *testing.T) {
			s := source{rand.New(rand.NewPCG(1, uint64(i)))} //nolint:gosec // Reproducible is what it must be.
			var d Decoder
			native := Decoder{Accept: Native}
			for range inputs(5_000) {
				in := family.make(s)
				d.Reset([]byte(in), false)
				for n := 0; d.Next() || n == 0; n++ {
					m, err := d.Message()
					if err != nil || len(m.Fields) == 0 || m.Format == 0 || !family.as.Has(m.Format) {
						t.Fatalf("%q: %s, want %s; %v", in, m.Format, family.as, err)
					}
				}
				if family.as&^Native != 0 {
					continue
				}
				d.Reset([]byte(in), false)
				native.Reset([]byte(in), false)
				for native.Next() {
					d.Next()
					if want, got := render(native.Message()), render(d.Message()); want != got {
						t.Fatalf("%q: %s, want %s", in, got, want)
					}
				}
			}
		})
	}
}

// TestNoPanic decodes inputs of each family that have been joined with others, cut
// and damaged at random.
func TestNoPanic(t *testing.T) {
	for i, family := range families {
		t.Run(family.name, func(t *testing.T) {
			s := source{rand.New(rand.NewPCG(2, uint64(i)))} //nolint:gosec // Reproducible is what it must be.
			var d Decoder
			for range inputs(300) {
				in := []byte(family.make(s))
				for range s.IntN(3) {
					in = append(in, s.pick("", "\n", " ", "\x00")...)
					in = append(in, families[s.IntN(len(families))].make(s)...)
				}
				for range s.IntN(4) {
					in[s.IntN(len(in))] = byte(s.Uint32())
				}
				in = in[s.IntN(2)*s.IntN(len(in)):]
				for _, lines := range []bool{false, true} {
					checkDecoder(t, &d, in, lines)
				}
			}
		})
	}
}
