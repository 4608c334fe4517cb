package wire

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// decodeAll decodes a payload and renders each message as one line of text.
func decodeAll(payload []byte, lines bool) []string {
	var d Decoder
	d.Reset(payload, lines)
	var out []string
	for d.Next() {
		m, err := d.Message()
		out = append(out, render(m, err))
	}
	return out
}

// render shows a message as
//
//	json gh1 @1764000000.5s seq=7 ack token=x: temp=21.5 hum=40i ok=true state="idle"
//
// where a part that is absent is left out, or the error in parentheses.
func render(m *Message, err error) string {
	if err != nil {
		return fmt.Sprintf("%s (%v)", m.Format, err)
	}
	var b strings.Builder
	b.WriteString(m.Format.String())
	if len(m.Device) > 0 {
		fmt.Fprintf(&b, " %s", m.Device)
	}
	if m.Time.Set {
		fmt.Fprintf(&b, " @%s%s", m.Time.append(nil), [...]string{"ago", "s", "ms", "us", "ns"}[m.Time.Unit()])
	}
	if m.HasSeq {
		fmt.Fprintf(&b, " seq=%d", m.Seq)
	}
	if m.Ack {
		b.WriteString(" ack")
	}
	if len(m.Token) > 0 {
		fmt.Fprintf(&b, " token=%s", m.Token)
	}
	if m.Outcome.Command != 0 {
		fmt.Fprintf(&b, " outcome=%q", m.Outcome)
	}
	b.WriteByte(':')
	for _, f := range m.Fields {
		fmt.Fprintf(&b, " %s=%s", f.Metric, renderValue(f.Value))
	}
	return b.String()
}

func renderValue(v Value) string {
	switch v.Kind {
	case device.KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.Bits), 'g', -1, 64)
	case device.KindInt:
		return strconv.FormatInt(int64(v.Bits), 10) + "i"
	case device.KindBool:
		return strconv.FormatBool(v.Bits != 0)
	case device.KindText:
		return strconv.Quote(string(v.Text))
	}
	return "none"
}

// decodeCase is a payload and the messages that come of it.
type decodeCase struct {
	name string
	in   string
	want []string
}

func runDecode(t *testing.T, lines bool, cases []decodeCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, decodeAll([]byte(c.in), lines)); diff != "" {
				t.Errorf("%q (-want +got):\n%s", c.in, diff)
			}
		})
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDecodeLine(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"contract", "climate,device=gh1 temp=21.5,hum=40i 1764000000000000000", []string{"line gh1 @1764000000000000000ns: climate.temp=21.5 climate.hum=40i"}},
		{"field value", "temp,device=a value=1", []string{"line a: temp=1"}},
		{"field value with tags", "temp,device=a,room=x value=1", []string{"line a: temp{room=x}=1"}},
		{"no device", "temp value=1", []string{"line: temp=1"}},
		{"host", "cpu,host=pi,cpu=cpu0 usage=1", []string{"line pi: cpu.usage{cpu=cpu0}=1"}},
		{"id", "m,id=7 v=1", []string{"line 7: m.v=1"}},
		{"device before host before id", "m,id=3,host=2,device=1 v=1", []string{"line 1: m.v{host=2,id=3}=1"}},
		{"host before id", "m,id=3,host=2 v=1", []string{"line 2: m.v{id=3}=1"}},
		{"tags sorted", "m,z=1,a=2,m=3 v=1", []string{"line: m.v{a=2,m=3,z=1}=1"}},
		{"equal tags keep their order", "m,b=2,a=9,b=1 v=1", []string{"line: m.v{a=9,b=2,b=1}=1"}},
		{"seq and ack", "m,device=a,seq=7,ack=1 v=1", []string{"line a seq=7 ack: m.v=1"}},
		{"ack true", "m,ack=true v=1", []string{"line ack: m.v=1"}},
		{"ack 0", "m,ack=0,seq=1 v=1", []string{"line seq=1: m.v=1"}},
		{"outcome", "m,outcome=3,seq=1 v=1", []string{`line seq=1 outcome="3": m.v=1`}},
		{"outcome with a text", `m,outcome=3\ error:\ valve\ stuck v=1`, []string{`line outcome="3 error: valve stuck": m.v=1`}},
		{"outcome of a game", "m,outcome=win v=1", []string{"line: m.v{outcome=win}=1"}},
		{"token", "m,token=s3cret v=1", []string{"line token=s3cret: m.v=1"}},
		{"largest seq", "m,seq=9223372036854775807 v=1", []string{"line seq=9223372036854775807: m.v=1"}},
		{"floats", "m a=1,b=-1.5,c=.5,d=1.,e=1e3,f=1E-3,g=-0,h=1e+2", []string{"line: m.a=1 m.b=-1.5 m.c=0.5 m.d=1 m.e=1000 m.f=0.001 m.g=-0 m.h=100"}},
		{"digits that need rounding", "m a=0.1,b=123456789012345678,c=5e-324,d=1.7976931348623157e308", []string{"line: m.a=0.1 m.b=1.2345678901234568e+17 m.c=5e-324 m.d=1.7976931348623157e+308"}},
		{"integers", "m a=0i,b=-9223372036854775808i,c=9223372036854775807u,d=007i", []string{"line: m.a=0i m.b=-9223372036854775808i m.c=9223372036854775807i m.d=7i"}},
		{"booleans", "m a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE", []string{"line: m.a=true m.b=true m.c=true m.d=true m.e=true m.f=false m.g=false m.h=false m.i=false m.j=false"}},
		{"text", `m a="",b="x y,z=1",c="ü"`, []string{`line: m.a="" m.b="x y,z=1" m.c="ü"`}},
		{"text escapes", `m a="q\"b\\n\nr\rt\t\x"`, []string{`line: m.a="q\"b\\n\nr\rt\t\\x"`}},
		{"text over lines", "m a=\"x\ny\" 5\nn b=1", []string{`line @5ago: m.a="x\ny"`, "line: n.b=1"}},
		{"escaped names", `m\ 1\,2,k\=1=v\ 1,k2=\, f\=\,=1`, []string{`line: m 1,2.f=,{k2=,,k=1=v 1}=1`}},
		{"measurement keeps its equals sign", `m=1\= v=1`, []string{`line: m=1\=.v=1`}},
		{"backslash before anything else", `m\a,k\b=v\c f\d=1`, []string{`line: m\a.f\d{k\b=v\c}=1`}},
		{"several spaces", "m   v=1   5   ", []string{"line @5ago: m.v=1"}},
		{"line ends", "a v=1\r\nb v=2\n\r\n\nc v=3", []string{"line: a.v=1", "line: b.v=2", "line: c.v=3"}},
		{"trailing NUL", "a v=1\n\x00", []string{"line: a.v=1"}},
		{"comments", "#x\na v=1\n # y\nb v=2\n#", []string{"line: a.v=1", "line: b.v=2"}},
		{"byte order mark", "\xef\xbb\xbfa v=1", []string{"line: a.v=1"}},
		{"nothing", " \r\n\t\x00", nil},
		{"negative time", "m v=1 -5", []string{"line @-5ago: m.v=1"}},
	})
}

func TestDecodeLineErrors(t *testing.T) {
	good := "a v=1\n"
	for _, c := range []struct {
		name, in string
		at       int // byte in the line
		msg      string
	}{
		{"no measurement", ",k=v f=1", 1, "a measurement name is missing"},
		{"measurement alone", "m", 2, "fields are missing: want measurement[,tag=value] field=value [time]"},
		{"measurement and space", "m ", 3, "a field must be key=value"},
		{"tag without value", "m,k f=1", 3, "a tag must be key=value"},
		{"tag without key", "m,=v f=1", 3, "a tag must be key=value"},
		{"empty tag value", "m,k= f=1", 5, "a tag value is missing"},
		{"equals sign in a tag value", "m,k=v=w f=1", 6, "want a comma or a space before the fields"},
		{"control character", "m\x01 f=1", 2, "want a comma or a space before the fields"},
		{"65 tags", "m" + strings.Repeat(",k=v", 65) + " f=1", 261, "more than 64 tags"},
		{"seq is no integer", "m,seq=1.5 f=1", 7, "the tag seq must be an integer, not negative"},
		{"seq is negative", "m,seq=-1 f=1", 7, "the tag seq must be an integer, not negative"},
		{"ack is something else", "m,device=a,ack=maybe f=1", 16, "the tag ack must be 1, 0, true or false"},
		{"field without value", "m f", 3, "a field must be key=value"},
		{"decimal comma", "m f=21,5", 8, "a field must be key=value; decimals want a point, not a comma"},
		{"decimal comma without a space", "f=21,5", 6, "a tag must be key=value; decimals want a point, not a comma"},
		{"field without key", "m =1", 3, "a field must be key=value"},
		{"empty field value", "m f=", 5, "a field value is missing"},
		{"comma for a value", "m f=,g=1", 5, "a field value is missing"},
		{"trailing comma", "m f=1,", 7, "a field must be key=value"},
		{"text without quotes", "m f=abc", 5, "a field value is neither number nor boolean; texts want double quotes"},
		{"boolean misspelt", "m f=truE", 5, "a field value is neither number nor boolean; texts want double quotes"},
		{"text not closed", `m f="abc`, 5, "a text lacks its closing quote"},
		{"text closed and going on", `m f="abc"d`, 10, "want a comma, a space or the end of the line after a field"},
		{"text not UTF-8", "m f=\"\xff\"", 5, "a text is not UTF-8"},
		{"not a number", "m f=-nan", 5, "a number is malformed or out of range"},
		{"infinity", "m f=-Inf", 5, "a number is malformed or out of range"},
		{"hexadecimal", "m f=0x1p-2", 5, "a number is malformed or out of range"},
		{"underscore", "m f=1_000", 5, "a number is malformed or out of range"},
		{"out of range", "m f=1e999", 5, "a number is malformed or out of range"},
		{"integer out of range", "m f=9223372036854775808i", 5, "an integer is malformed or exceeds 64 bits with sign"},
		{"unsigned with sign", "m f=-1u", 5, "an integer is malformed or exceeds 64 bits with sign"},
		{"fraction with i", "m f=1.5i", 5, "an integer is malformed or exceeds 64 bits with sign"},
		{"i alone", "m f=-i", 5, "an integer is malformed or exceeds 64 bits with sign"},
		{"time is a fraction", "m f=1 5.5", 8, "unexpected text after the time"},
		{"time is a word", "m f=1 now", 7, "unexpected text after the fields; a time is an integer"},
		{"time out of range", "m f=1 9223372036854775808", 7, "a time must be an integer of at most 64 bits"},
		{"two times", "m f=1 5 6", 9, "unexpected text after the time"},
		{"carriage return inside", "m f=1\rx", 6, "unexpected text after the fields; a time is an integer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := fmt.Sprintf("line (line 2, byte %d: %s)", c.at, c.msg)
			want := []string{"line: a.v=1", bad, "line: a.v=1"}
			for _, end := range []string{"\n", "\r\n"} {
				if diff := cmp.Diff(want, decodeAll([]byte(good+c.in+end+good), true)); diff != "" {
					t.Errorf("between good lines, in a stream (-want +got):\n%s", diff)
				}
			}
			if diff := cmp.Diff(want, decodeAll([]byte(good+c.in+"\n"+good), false)); diff != "" {
				t.Errorf("between good lines, in a datagram (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeJSON(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"contract", `{"device":"gh1","temp":21.5,"BME280":{"p":1013}}`, []string{"json gh1: temp=21.5 BME280.p=1013i"}},
		{"all reserved members", `{"device":"a","time":1764000000123,"seq":7,"token":"x","ack":true,"v":1}`, []string{"json a @1764000000123ms seq=7 ack token=x: v=1i"}},
		{"reserved only on the outermost level", `{"o":{"device":"a","time":1,"seq":2,"token":"x","ack":true}}`, []string{`json: o.device="a" o.time=1i o.seq=2i o.token="x" o.ack=true`}},
		{"reserved members behind the others", `{"v":1,"device":"a"}`, []string{"json a: v=1i"}},
		{"reserved members null", `{"device":null,"time":null,"seq":null,"token":null,"ack":null,"v":1}`, []string{"json: v=1i"}},
		{"device is an integer", `{"device":12,"v":1}`, []string{"json 12: v=1i"}},
		{"outcome is a number", `{"outcome":3}`, []string{`json outcome="3":`}},
		{"outcome is a text", `{"outcome":"3 on","v":1}`, []string{`json outcome="3 on": v=1i`}},
		{"outcome of a game", `{"outcome":"win"}`, []string{`json: outcome="win"`}},
		{"outcome is no command's", `{"outcome":0}`, []string{"json: outcome=0i"}},
		{"outcome is a share", `{"outcome":0.5}`, []string{"json: outcome=0.5"}},
		{"outcome is an object", `{"outcome":{"id":3}}`, []string{"json: outcome.id=3i"}},
		{"ack is a number", `{"ack":1,"v":1}`, []string{"json ack: v=1i"}},
		{"every kind", `{"f":1.0,"i":1,"b":false,"s":"x","n":null}`, []string{`json: f=1 i=1i b=false s="x"`}},
		{"numbers", `{"a":-0,"b":1e2,"c":9223372036854775807,"d":9223372036854775808,"e":-9223372036854775808,"f":0.1E+1,"g":1e999}`, []string{"json: a=-0 b=100 c=9223372036854775807i d=9.223372036854776e+18 e=-9223372036854775808i f=1 g=+Inf"}},
		{"nested", `{"a":{"b":{"c":1}},"d":[1,[2.5,{"e":true}],"x"]}`, []string{`json: a.b.c=1i d.0=1i d.1.0=2.5 d.1.1.e=true d.2="x"`}},
		{"empty ones", `{} {"a":{},"b":[],"":1}`, []string{"json:", "json: =1i"}},
		{"escapes", `{"a\u0062\n":"\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00\ud800x"}`, []string{"json: ab\n=" + strconv.Quote("\"\\/\b\f\n\r\tü😀�x")}},
		{"space", "\t{ \"a\" :\r\n [ 1 , 2 ] , \"b\" : 3 } \n", []string{"json: a.0=1i a.1=2i b=3i"}},
		{"array of objects", `[{"device":"a","v":1},{"device":"b","v":2}]`, []string{"json a: v=1i", "json b: v=2i"}},
		{"empty array", `[] {"v":1}`, []string{"json: v=1i"}},
		{"several texts", "{\"v\":1}{\"v\":2}\n[{\"v\":3}]\nm v=4\n{\"v\":5}", []string{"json: v=1i", "json: v=2i", "json: v=3i", "line: m.v=4", "json: v=5i"}},
		{"byte order mark", "\xef\xbb\xbf{\"v\":1}", []string{"json: v=1i"}},
		{"trailing NUL", "{\"v\":1}\x00", []string{"json: v=1i"}},
		{"time with a fraction", `{"time":1764000000.000001,"v":1}`, []string{"json @1764000000.000001s: v=1i"}},
		{"time with an exponent", `{"time":1.764e9,"v":1}`, []string{"json @1764000000s: v=1i"}},
		{"time ago", `{"time":0.25,"v":1}`, []string{"json @0.25ago: v=1i"}},
		{"time in words", `{"time":"2026-11-23T10:00:00.123Z","v":1}`, []string{"json @1795428000.123s: v=1i"}},
		{"the last of equal members", `{"device":"a","device":"b","seq":1,"seq":2,"v":1,"v":2}`, []string{"json b seq=2: v=1i v=2i"}},
	})
}

func TestDecodeJSONErrors(t *testing.T) {
	runDecode(t, false, []decodeCase{
		{"between good ones", "{\"v\":1}\n{\"v\":}\n{\"v\":3}", []string{"json: v=1i", "json (line 2, byte 6: want a value)", "json: v=3i"}},
		{"bad object in an array", `[{"v":1},{"seq":-1},{"v":3}]`, []string{"json: v=1i", "json (line 1, byte 17: seq must be an integer, not negative)", "json: v=3i"}},
		{"malformed object in an array", "[{\"v\":1},\n{\"v\":[1,}]},{\"v\":{]},\n{\"v\":\"}\",\"w\":tru},{\"v\":3}]", []string{
			"json: v=1i",
			"json (line 2, byte 9: want a value)",
			"json (line 3, byte 14: want true, false, null, a number, a text in double quotes, an object or an array)",
		}},
		{"malformed object with even brackets", "[{\"v\":1},\n{\"v\":[1,]},{\"v\":\"}\\\"\",\"w\":tru},{\"v\":3}]\n{\"v\":4}", []string{
			"json: v=1i",
			"json (line 2, byte 9: want a value)",
			"json (line 2, byte 27: want true, false, null, a number, a text in double quotes, an object or an array)",
			"json: v=3i", "json: v=4i",
		}},
		{"truncated line", "{\"v\":1\n{\"v\":2}\n{\"v\":3}", []string{"json (line 2, byte 1: want a comma or the closing bracket)", "json: v=2i", "json: v=3i"}},
		{"truncated array", "[{\"v\":1}\n[{\"v\":2}]\n{\"v\":3}", []string{"json: v=1i", "json (line 2, byte 1: want a comma or the closing bracket)", "json: v=2i", "json: v=3i"}},
		{"truncated at the end", `{"v":1`, []string{"json (line 1, byte 7: the JSON text ends too early)"}},
		{"text not closed", "{\"v\":\"x}\n{\"v\":2}", []string{"json (line 1, byte 9: a control character stands in a text)", "json: v=2i"}},
		{"text not closed at the end", `{"v":"x}`, []string{"json (line 1, byte 6: a text lacks its closing quote)"}},
		{"escape", `{"v":"\x"}`, []string{"json (line 1, byte 7: an escape in a text is malformed)"}},
		{"escape of four digits", `{"v":"\u12g4"}`, []string{"json (line 1, byte 7: an escape in a text is malformed)"}},
		{"leading zero", `{"v":01}`, []string{"json (line 1, byte 6: a number is malformed)"}},
		{"point without digits", `{"v":1.}`, []string{"json (line 1, byte 6: a number is malformed)"}},
		{"exponent without digits", `{"v":1e}`, []string{"json (line 1, byte 6: a number is malformed)"}},
		{"plus", `{"v":+1}`, []string{"json (line 1, byte 6: want a value)"}},
		{"trailing comma", `{"v":1,}`, []string{"json (line 1, byte 8: want a member name in double quotes)"}},
		{"no colon", `{"v" 1}`, []string{"json (line 1, byte 6: want a colon after the member name)"}},
		{"name without quotes", `{v:1}`, []string{"json (line 1, byte 2: want a member name in double quotes)"}},
		{"wrong bracket", `{"v":[1}}`, []string{"json (line 1, byte 8: want a comma or the closing bracket)"}},
		{"17 deep", `{"v":` + strings.Repeat("[", 16) + strings.Repeat("]", 16) + "}", []string{"json (line 1, byte 21: nested more than 16 deep)"}},
		{"elements that are no objects", `[1,[{"v":1}],{"v":2}]`, []string{"json (line 1, byte 2: want an object in the array)", "json (line 1, byte 4: want an object in the array)", "json: v=2i"}},
		{"device", `{"device":true,"v":1}`, []string{"json (line 1, byte 11: device must be a text)"}},
		{"device is a fraction", `{"device":1.5,"v":1}`, []string{"json (line 1, byte 11: device must be a text)"}},
		{"time", `{"time":{"x":1},"v":1}`, []string{"json (line 1, byte 9: " + reservedWants([]byte("time")) + ")"}},
		{"time in other words", `{"time":"yesterday","v":1}`, []string{"json (line 1, byte 9: " + reservedWants([]byte("time")) + ")"}},
		{"seq", `{"seq":1.5,"v":1}`, []string{"json (line 1, byte 8: seq must be an integer, not negative)"}},
		{"seq beyond 64 bits", `{"seq":18446744073709551615,"v":1}`, []string{"json (line 1, byte 8: seq must be an integer, not negative)"}},
		{"token", `{"token":1,"v":1}`, []string{"json (line 1, byte 10: token must be a text)"}},
		{"ack", `{"ack":"yes","v":1}`, []string{"json (line 1, byte 8: ack must be true or false)"}},
		{"4097 readings", `{"v":[` + strings.Repeat("1,", 4096) + "1]}", []string{"json (line 1, byte 8199: more than 4096 readings in one object)"}},
	})
	runDecode(t, true, []decodeCase{
		{"over lines in a stream", "{\"v\":\n1}\n{\"v\":2}\n", []string{"json (line 1, byte 6: the JSON text ends too early)", "line (line 2, byte 3: fields are missing: want measurement[,tag=value] field=value [time])", "json: v=2i"}},
		{"two on a line in a stream", "{\"v\":1} [{\"v\":2}] m v=3\n", []string{"json: v=1i", "json: v=2i", "line: m.v=3"}},
		{"CBOR in a line of a stream", "{\"v\":1}\x82\n{\"v\":2}\n", []string{"json: v=1i", "line (line 1, byte 9: fields are missing: want measurement[,tag=value] field=value [time])", "json: v=2i"}},
	})
}

// Device, seq and ack of a refused message let the server answer it.
func TestRefusedKeepsWhatIsKnown(t *testing.T) {
	for _, c := range []struct {
		name, in, raw string
	}{
		{"line", "m,device=a,seq=7,ack=1 v=x\nn v=1", "m,device=a,seq=7,ack=1 v=x"},
		{"line with carriage return", "m,device=a,seq=7,ack=1 v=x\r\nn v=1", "m,device=a,seq=7,ack=1 v=x"},
		{"json", `{"device":"a","seq":7,"ack":true,"time":"x"} {"v":1}`, `{"device":"a","seq":7,"ack":true,"time":"x"}`},
		{"malformed json", "{\"device\":\"a\",\"seq\":7,\"ack\":true,]\n{\"v\":1}", "{\"device\":\"a\",\"seq\":7,\"ack\":true,]"},
		{"malformed json in an array", `[{"device":"a","seq":7,"ack":true,"v":[}],}`, `{"device":"a","seq":7,"ack":true,"v":[}],}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Reset([]byte(c.in), false)
			if !d.Next() {
				t.Fatal("no message")
			}
			m, err := d.Message()
			if err == nil {
				t.Fatal("no error")
			}
			if string(m.Device) != "a" || !m.HasSeq || m.Seq != 7 || !m.Ack {
				t.Errorf("device %q, seq %d %v, ack %v; want a, 7 true, true", m.Device, m.Seq, m.HasSeq, m.Ack)
			}
			if string(m.Raw) != c.raw {
				t.Errorf("raw %q, want %q", m.Raw, c.raw)
			}
		})
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range []struct {
		name string
		in   Value
		want string // the value, or the error
	}{
		{"float", floatValue(21.5), "21.5"},
		{"int", intValue(-1), "-1"},
		{"bool", boolValue(true), "true"},
		{"text", textValue([]byte("x")), "x"},
		{"longest text", textValue(make([]byte, device.MaxTextLen)), strings.Repeat("\x00", device.MaxTextLen)},
		{"text too long", textValue(make([]byte, device.MaxTextLen+1)), "invalid value: text of 1025 bytes, at most 1024"},
		{"text not UTF-8", textValue([]byte{0xff}), "invalid value: text is not UTF-8"},
		{"not a number", floatValue(math.NaN()), "invalid value: NaN is not a finite number"},
		{"infinity", floatValue(math.Inf(-1)), "invalid value: -Inf is not a finite number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := c.in.Admit()
			got := v.String()
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if err == nil && !cmp.Equal(ValueOf(v), c.in) {
				t.Errorf("ValueOf gives %v, want %v", ValueOf(v), c.in)
			}
		})
	}
}

// A payload that repeats one long name must not make the decoder hold a copy of
// it for every reading.
func TestScratchIsBounded(t *testing.T) {
	long := strings.Repeat("x", 30_000)
	for _, c := range []struct{ name, in string }{
		{"line measurement", long + " " + strings.Repeat("a=1,", 4000) + "a=1"},
		{"line tags", "m,k=" + long + " " + strings.Repeat("a=1,", 4000) + "a=1"},
		{"json name", `{"` + long + `":[` + strings.Repeat("1,", 4000) + "1]}"},
		{"json name, too many readings", `{"` + long + `":[` + strings.Repeat("1,", 50_000) + "1]}"},
		{"senml base name", `[{"bn":"` + long + `","v":1}` + strings.Repeat(`,{"v":1}`, 4000) + "]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Reset([]byte(c.in), false)
			for d.Next() {
				m, err := d.Message()
				if err != nil && !strings.HasSuffix(err.Error(), "more than 4096 readings in one object") {
					t.Fatal(err)
				}
				for _, f := range m.Fields {
					if device.CheckMetric(f.Metric) == nil {
						t.Fatalf("metric %q is valid after a cut", f.Metric)
					}
				}
			}
			if most := len(c.in) + 4096*3*device.MaxMetricLen; cap(d.scratch) > most {
				t.Errorf("scratch space of %d bytes for %d of payload", cap(d.scratch), len(c.in))
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	command := &device.Command{ID: 3, Device: "gh1", Name: "relay", Value: []byte("true")}
	for _, c := range []struct{ got, want string }{
		{string(AppendCommand(AppendAck(nil, 7, true), command)), `{"ack":7,"command":{"id":3,"device":"gh1","name":"relay","value":true}}`},
		{
			string(AppendCommand(AppendRefusal(nil, "value", 7, true), &device.Command{ID: 4, Device: "gh1", Name: "reboot"})),
			`{"error":"value","seq":7,"command":{"id":4,"device":"gh1","name":"reboot"}}`,
		},
		{string(AppendAck(nil, 7, true)), `{"ack":7}`},
		{string(AppendAck([]byte("x"), math.MaxUint64, true)), `x{"ack":18446744073709551615}`},
		{string(AppendAck(nil, 0, false)), `{"ack":null}`},
		{string(AppendRefusal(nil, "syntax", 7, true)), `{"error":"syntax","seq":7}`},
		{string(AppendRefusal(nil, `"`, 0, false)), `{"error":"\""}`},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

// A message tells the line that it begins on.
func TestMessageLine(t *testing.T) {
	for _, c := range []struct {
		name, in string
		lines    bool
		want     []int
	}{
		{"lines", "t v=1\n\n# no\nt v=\nt v=3", false, []int{1, 4, 5}},
		{"a text with a newline", "t v=\"a\nb\"\nt v=2\n", false, []int{1, 3}},
		{"objects", "\n{\"a\":1}\n{\"a\":2}", true, []int{2, 3}},
		{"an object over lines", "{\n\"a\":1\n}\n{\"b\":2}", false, []int{1, 4}},
		{"an array over lines", "[\n{\"a\":1},\n5,\n{\"b\":\n2}, {\"c\":nope}\n]", false, []int{2, 3, 4, 5}},
		{"SenML", "[{\"n\":\"d/a\",\"v\":1},\n{\"n\":\"d/b\",\"v\":2}]", false, []int{1, 2}},
		{"CBOR", "\x82\xa1\x61a\x01\xa1\x61b\x02", false, []int{0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Decoder
			d.Reset([]byte(c.in), c.lines)
			var got []int
			for d.Next() {
				m, _ := d.Message()
				got = append(got, m.Line)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error("(-want +got):\n", diff)
			}
		})
	}
}
