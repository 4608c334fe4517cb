package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/naru-telemetry/naru/device"
)

// peerEntry is a line as InfluxData's decoder reads it.
type peerEntry struct {
	measurement string
	tags        [][2]string
	fields      []Field // by their key
	time        Time
	unsigned    bool // a field exceeds int64
}

func readPeer(d *lineprotocol.Decoder) (*peerEntry, error) {
	measurement, err := d.Measurement()
	if err != nil {
		return nil, err
	}
	e := &peerEntry{measurement: string(measurement)}
	for {
		key, value, err := d.NextTag()
		if err != nil {
			return nil, err
		}
		if key == nil {
			break
		}
		e.tags = append(e.tags, [2]string{string(key), string(value)})
	}
	for {
		key, value, err := d.NextField()
		if err != nil {
			return nil, err
		}
		if key == nil {
			break
		}
		f := Field{Metric: bytes.Clone(key)}
		switch value.Kind() {
		case lineprotocol.Float:
			f.Value = floatValue(value.FloatV())
		case lineprotocol.Int:
			f.Value = intValue(value.IntV())
		case lineprotocol.Uint:
			f.Value = intValue(int64(value.UintV()))
			e.unsigned = e.unsigned || value.UintV() > math.MaxInt64
		case lineprotocol.Bool:
			f.Value = boolValue(value.BoolV())
		case lineprotocol.String:
			f.Value = textValue([]byte(value.StringV()))
		case lineprotocol.Unknown:
			return nil, errors.New("a value of no kind")
		}
		e.fields = append(e.fields, f)
	}
	text, err := d.TimeBytes()
	if err != nil || text == nil {
		return e, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	e.time = Time{Int: n, Set: true}
	return e, err
}

// refuses reports whether the entry is one that Naru refuses on purpose.
func (e *peerEntry) refuses() bool {
	for _, t := range e.tags {
		if n, err := strconv.ParseInt(t[1], 10, 64); t[0] == "seq" && (err != nil || n < 0) {
			return true
		}
		if _, ok := parseBool([]byte(t[1])); t[0] == "ack" && !ok {
			return true
		}
	}
	return e.unsigned || len(e.tags) > maxTags || len(e.fields) > maxFields
}

// message returns what Naru makes of the entry.
func (e *peerEntry) message() *Message {
	m := &Message{Format: FormatLine, Time: e.time}
	names := ""
	for _, name := range []string{"device", "host", "id"} {
		i := slices.IndexFunc(e.tags, func(t [2]string) bool { return t[0] == name })
		if i >= 0 {
			m.Device, names = []byte(e.tags[i][1]), name
			break
		}
	}
	var rest []string
	slices.SortStableFunc(e.tags, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	for _, t := range e.tags {
		switch t[0] {
		case names:
		case "seq":
			m.Seq, _ = strconv.ParseUint(t[1], 10, 64)
			m.HasSeq = true
		case "ack":
			m.Ack, _ = parseBool([]byte(t[1]))
		case "token":
			m.Token = []byte(t[1])
		default:
			rest = append(rest, t[0]+"="+t[1])
		}
	}
	suffix := ""
	if len(rest) > 0 {
		suffix = "{" + strings.Join(rest, ",") + "}"
	}
	for _, f := range e.fields {
		name := e.measurement
		if string(f.Metric) != "value" {
			name += "." + string(f.Metric)
		}
		m.Fields = append(m.Fields, Field{Metric: []byte(name + suffix), Value: f.Value})
	}
	return m
}

// FuzzLineOracle wants the same of a line as InfluxData's decoder reads from it.
func FuzzLineOracle(f *testing.F) {
	for _, line := range strings.SplitAfter(string(lineBody()[:600]), "\n") {
		f.Add([]byte(line))
	}
	f.Add([]byte(`m\ 1\,2,k\=1=v\ 1,k2=\, f\=\,=1`))
	f.Add([]byte("m a=\"q\\\"b\\\\n\\n\nr\\rt\\t\\x\",b=1.,c=.5,d=-0i,e=5u,f=T 5 \r\n"))
	f.Add([]byte("m v=1_000"))
	f.Fuzz(func(t *testing.T, in []byte) {
		// Where both begin to read: what Naru passes over or takes for another
		// format is none of the peer's.
		if len(in) == 0 || strings.IndexByte(" \t\r\n\x00#{[", in[0]) >= 0 || IsCBOR(in) || bytes.HasPrefix(in, []byte(byteOrderMark)) {
			return
		}
		peer := lineprotocol.NewDecoderWithBytes(in)
		if !peer.Next() {
			return
		}
		e, peerErr := readPeer(peer)
		d := Decoder{Accept: Native}
		d.Reset(in, false)
		if !d.Next() {
			t.Fatal("no message")
		}
		m, err := d.Message()
		switch {
		case peerErr == nil && e.refuses():
			if err == nil {
				t.Fatalf("%q is not refused", in)
			}
		case peerErr == nil && err != nil && strings.HasSuffix(err.Error(), "a number is malformed or out of range") && bytes.ContainsAny(in, "_xXpPnN"):
			// A number in a notation of Go.
		case err == nil && peerErr != nil && strings.Contains(peerErr.Error(), "invalid utf-8 sequence in token"):
			// A name or a tag, which admission refuses.
		case (err == nil) != (peerErr == nil):
			t.Fatalf("%q: %v, the peer says %v", in, err, peerErr)
		case err == nil:
			want := e.message()
			for i := range want.Fields {
				if len(want.Fields[i].Metric) > device.MaxMetricLen {
					return // may be cut
				}
			}
			if diff := cmp.Diff(render(want, nil), render(m, nil)); diff != "" {
				t.Fatalf("%q (-peer +wire):\n%s", in, diff)
			}
		}
	})
}

// Where the package differs from InfluxData's decoder on purpose.
func TestLineDifferences(t *testing.T) {
	for _, c := range []struct {
		name, in  string
		lines     bool
		peer, our bool // accept it
	}{
		{"unsigned beyond int64", "m v=9223372036854775808u", false, true, false},
		{"65 tags", "m" + strings.Repeat(",k=v", 65) + " v=1", false, true, false},
		{"4097 fields", "m " + strings.Repeat("v=1,", 4096) + "v=1", false, true, false},
		{"seq that is none", "m,seq=a v=1", false, true, false},
		{"ack that is none", "m,ack=a v=1", false, true, false},
		{"underscore in a number", "m v=1_000", false, true, false},
		{"hexadecimal number", "m v=0x1p-2", false, true, false},
		{"name that is not UTF-8", "m\x86 v=1", false, false, true},
		{"newline in a text, in a stream", "m v=\"a\nb\"", true, true, false},
		{"newline in a text, in a datagram", "m v=\"a\nb\"", false, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			peer := lineprotocol.NewDecoderWithBytes([]byte(c.in))
			peer.Next()
			if _, err := readPeer(peer); (err == nil) != c.peer {
				t.Errorf("the peer says %v", err)
			}
			d := Decoder{Accept: Native}
			d.Reset([]byte(c.in), c.lines)
			d.Next()
			if _, err := d.Message(); (err == nil) != c.our {
				t.Errorf("wire says %v", err)
			}
		})
	}
}

// flattenJSON returns the readings of a value as encoding/json reads it.
func flattenJSON(t *testing.T, d *json.Decoder, path string, out *[]string) {
	t.Helper()
	token := func() json.Token {
		tk, err := d.Token()
		if err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		return tk
	}
	switch v := token().(type) {
	case json.Delim:
		for i := 0; d.More(); i++ {
			name := strconv.Itoa(i)
			if v == '{' {
				name, _ = token().(string)
			}
			if path != "" {
				name = path + "." + name
			}
			flattenJSON(t, d, name, out)
		}
		token()
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err == nil && v != "-0" {
			*out = append(*out, path+"="+renderValue(intValue(n)))
			return
		}
		f, _ := strconv.ParseFloat(v.String(), 64)
		*out = append(*out, path+"="+renderValue(floatValue(f)))
	case bool:
		*out = append(*out, path+"="+renderValue(boolValue(v)))
	case string:
		*out = append(*out, path+"="+renderValue(textValue([]byte(v))))
	}
}

// FuzzJSONOracle puts any JSON text under a member that is not reserved and
// wants that encoding/json accepts the same and reads the same.
func FuzzJSONOracle(f *testing.F) {
	for _, s := range []string{
		`{"a":{"b":[1,2.5,-0,1e3,true,null,"x"]}}`, `"\"\\\/\b\f\n\r\t\u00fc\ud83d\ude00\ud800x"`, `[1e999,9223372036854775808]`,
		`01`, `1.`, `-`, `[1,]`, `{"a":1,}`, `{"a"}`, "\"\n\"", `tru`, ` {} `, `"\u12g4"`, `1}`, `[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if !utf8.Valid(in) {
			return // encoding/json replaces what is not UTF-8; here the text is refused on admission
		}
		text := slices.Concat([]byte(`{"a":`), in, []byte{'}'})
		d := Decoder{Accept: Native}
		d.Reset(text, false)
		if !d.Next() {
			t.Fatal("no message")
		}
		m, err := d.Message()
		var e *SyntaxError
		if errors.As(err, &e) && (strings.HasPrefix(e.Msg, "nested more") || strings.HasPrefix(e.Msg, "more than 4096")) {
			return
		}
		// What the text goes on with behind the object is another message.
		raw := text
		if err == nil {
			raw = m.Raw
		}
		if json.Valid(raw) != (err == nil) {
			t.Fatalf("%q: %v, encoding/json accepts: %v", raw, err, json.Valid(raw))
		}
		if err != nil {
			return
		}
		reference := json.NewDecoder(bytes.NewReader(raw))
		reference.UseNumber()
		var want, got []string
		flattenJSON(t, reference, "", &want)
		for _, field := range m.Fields {
			if len(field.Metric) > device.MaxMetricLen {
				return // may be cut
			}
			got = append(got, string(field.Metric)+"="+renderValue(field.Value))
		}
		if len(raw) < len(text) {
			return // further members may be reserved ones
		}
		if diff := cmp.Diff(want, got); diff != "" && !hasReserved(raw) {
			t.Fatalf("%q (-encoding/json +wire):\n%s", raw, diff)
		}
	})
}

// hasReserved reports whether the object carries members besides a.
func hasReserved(object []byte) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(object, &members) != nil || len(members) > 1
}

// flattenCBOR collects the readings of a value as fxamacker/cbor reads it; false
// when there is something in it that is no reading.
func flattenCBOR(v any, path string, out map[string]string) bool {
	below := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	value := Value{}
	switch v := v.(type) {
	case map[any]any:
		for key, element := range v {
			name, ok := key.(string)
			switch n := key.(type) {
			case uint64:
				name, ok = strconv.FormatUint(n, 10), n <= math.MaxInt64
			case int64:
				name, ok = strconv.FormatInt(n, 10), true
			}
			if !ok || !flattenCBOR(element, below(name), out) {
				return false
			}
		}
		return true
	case []any:
		for i, element := range v {
			if !flattenCBOR(element, below(strconv.Itoa(i)), out) {
				return false
			}
		}
		return true
	case nil:
		return true
	case uint64:
		if value = intValue(int64(v)); v > math.MaxInt64 {
			value = floatValue(float64(v))
		}
	case int64:
		value = intValue(v)
	case float64:
		value = floatValue(v)
	case bool:
		value = boolValue(v)
	case string:
		value = textValue([]byte(v))
	case big.Int, cbor.Tag, cbor.SimpleValue, []byte, time.Time:
		return false
	}
	if value.Kind == 0 || len(path) > device.MaxMetricLen {
		return false
	}
	if _, twice := out[path]; twice {
		return false // two names of one path
	}
	out[path] = renderValue(value)
	return true
}

// FuzzCBOR wants that fxamacker/cbor takes the same items for whole and reads
// the same from them.
func FuzzCBOR(f *testing.F) {
	for _, s := range []string{
		"a16176f93c00", "a161761bffffffffffffffff", "bf617f61619f01ffff", "a16176c48221196ab3", "a161767f657374726561646d696e67ff",
		"a16176f818", "9fc1ff", "a161767fc16161ff", "bb7fffffffffffffff00", "a161761c", "a2010220f5", "a16176f97e00",
	} {
		f.Add(unhex(f, s))
	}
	mode, err := cbor.DecOptions{
		MaxNestedLevels: 65535, MaxMapPairs: math.MaxInt32, MaxArrayElements: math.MaxInt32,
		UTF8: cbor.UTF8DecodeInvalid, DupMapKey: cbor.DupMapKeyEnforcedAPF,
	}.DecMode()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) == 0 || in[0] < 0xa0 || in[0] > 0xbf {
			return
		}
		n, err := itemLen(in)
		if err != nil && strings.Contains(err.Error(), "nested more") {
			return
		}
		var reference any
		rest, refErr := mode.UnmarshalFirst(in, &reference)
		var unmarshalErr *cbor.UnmarshalTypeError
		var keyErr *cbor.InvalidMapKeyTypeError
		var twiceErr *cbor.DupMapKeyError
		wellFormed := refErr == nil || errors.As(refErr, &unmarshalErr) || errors.As(refErr, &keyErr) || errors.As(refErr, &twiceErr)
		switch {
		case n > 0 && refErr == nil && len(in)-len(rest) != n:
			t.Fatalf("%x: %d bytes, fxamacker/cbor %d", in, n, len(in)-len(rest))
		case n == 0 && wellFormed:
			t.Fatalf("%x: %v, fxamacker/cbor reads %v", in, err, reference)
		case err != nil && errors.Is(refErr, io.ErrUnexpectedEOF):
			t.Fatalf("%x: %v, fxamacker/cbor wants more", in, err)
		case n > 0 && refErr != nil:
			var syntaxErr *cbor.SyntaxError
			if errors.As(refErr, &syntaxErr) || errors.Is(refErr, io.ErrUnexpectedEOF) {
				t.Fatalf("%x: %d bytes, fxamacker/cbor says %v", in, n, refErr)
			}
			return
		case n == 0:
			return
		}
		d := Decoder{Accept: Native}
		d.Reset(in[:n], false)
		if !d.Next() {
			t.Fatal("no message")
		}
		m, err := d.Message()
		want := map[string]string{}
		top, ok := reference.(map[any]any)
		for _, name := range []string{"device", "time", "seq", "token", "ack"} {
			delete(top, name)
		}
		if !ok || err != nil || !flattenCBOR(top, "", want) {
			return
		}
		got := map[string]string{}
		for _, field := range m.Fields {
			got[string(field.Metric)] = renderValue(field.Value)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%x (-fxamacker/cbor +wire):\n%s", in, diff)
		}
	})
}
