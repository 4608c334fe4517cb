package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The vectors of RFC 8949, appendix A, as the value of the member "a". What is
// no reading is refused with "other".
func TestCBORAppendixA(t *testing.T) {
	other := `cbor (byte 4: the value of "a" is neither number, boolean nor text)`
	a := func(v string) string { return "cbor: a=" + v }
	for _, c := range []struct{ in, want string }{
		{"00", a("0i")},
		{"01", a("1i")},
		{"0a", a("10i")},
		{"17", a("23i")},
		{"1818", a("24i")},
		{"1819", a("25i")},
		{"1864", a("100i")},
		{"1903e8", a("1000i")},
		{"1a000f4240", a("1000000i")},
		{"1b000000e8d4a51000", a("1000000000000i")},
		{"1bffffffffffffffff", a("1.8446744073709552e+19")},
		{"c249010000000000000000", other},
		{"3bffffffffffffffff", a("-1.8446744073709552e+19")},
		{"c349010000000000000000", other},
		{"20", a("-1i")},
		{"29", a("-10i")},
		{"3863", a("-100i")},
		{"3903e7", a("-1000i")},
		{"3b7fffffffffffffff", a("-9223372036854775808i")},
		{"f90000", a("0")},
		{"f98000", a("-0")},
		{"f93c00", a("1")},
		{"fb3ff199999999999a", a("1.1")},
		{"f93e00", a("1.5")},
		{"f97bff", a("65504")},
		{"fa47c35000", a("100000")},
		{"fa7f7fffff", a("3.4028234663852886e+38")},
		{"fb7e37e43c8800759c", a("1e+300")},
		{"f90001", a("5.960464477539063e-08")},
		{"f90400", a("6.103515625e-05")},
		{"f9c400", a("-4")},
		{"fbc010666666666666", a("-4.1")},
		{"f97c00", a("+Inf")},
		{"f97e00", a("NaN")},
		{"f9fc00", a("-Inf")},
		{"fa7f800000", a("+Inf")},
		{"fa7fc00000", a("NaN")},
		{"faff800000", a("-Inf")},
		{"fb7ff0000000000000", a("+Inf")},
		{"fb7ff8000000000000", a("NaN")},
		{"fbfff0000000000000", a("-Inf")},
		{"f4", a("false")},
		{"f5", a("true")},
		{"f6", "cbor:"},
		{"f7", "cbor:"},
		{"f0", other},
		{"f8ff", other},
		{"c074323031332d30332d32315432303a30343a30305a", a(`"2013-03-21T20:04:00Z"`)},
		{"c11a514b67b0", a("1363896240i")},
		{"c1fb41d452d9ec200000", a("1.3638962405e+09")},
		{"d74401020304", other},
		{"d818456449455446", other},
		{"d82076687474703a2f2f7777772e6578616d706c652e636f6d", a(`"http://www.example.com"`)},
		{"40", other},
		{"4401020304", other},
		{"60", a(`""`)},
		{"6161", a(`"a"`)},
		{"6449455446", a(`"IETF"`)},
		{"62225c", a(`"\"\\"`)},
		{"62c3bc", a(`"ü"`)},
		{"63e6b0b4", a(`"水"`)},
		{"64f0908591", a(`"𐅑"`)},
		{"80", "cbor:"},
		{"83010203", "cbor: a.0=1i a.1=2i a.2=3i"},
		{"8301820203820405", "cbor: a.0=1i a.1.0=2i a.1.1=3i a.2.0=4i a.2.1=5i"},
		{"98190102030405060708090a0b0c0d0e0f101112131415161718181819", "cbor:" + numbered("a.%d", 25)},
		{"a0", "cbor:"},
		{"a201020304", "cbor: a.1=2i a.3=4i"},
		{"a26161016162820203", "cbor: a.a=1i a.b.0=2i a.b.1=3i"},
		{"826161a161626163", `cbor: a.0="a" a.1.b="c"`},
		{"a56161614161626142616361436164614461656145", `cbor: a.a="A" a.b="B" a.c="C" a.d="D" a.e="E"`},
		{"5f42010243030405ff", other},
		{"7f657374726561646d696e67ff", a(`"streaming"`)},
		{"7fff", a(`""`)},
		{"9fff", "cbor:"},
		{"9f018202039f0405ffff", "cbor: a.0=1i a.1.0=2i a.1.1=3i a.2.0=4i a.2.1=5i"},
		{"9f01820203820405ff", "cbor: a.0=1i a.1.0=2i a.1.1=3i a.2.0=4i a.2.1=5i"},
		{"83018202039f0405ff", "cbor: a.0=1i a.1.0=2i a.1.1=3i a.2.0=4i a.2.1=5i"},
		{"83019f0203ff820405", "cbor: a.0=1i a.1.0=2i a.1.1=3i a.2.0=4i a.2.1=5i"},
		{"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", "cbor:" + numbered("a.%d", 25)},
		{"bf61610161629f0203ffff", "cbor: a.a=1i a.b.0=2i a.b.1=3i"},
		{"826161bf61626163ff", `cbor: a.0="a" a.1.b="c"`},
		{"bf6346756ef563416d7421ff", "cbor: a.Fun=true a.Amt=-2i"},
		// Section 3.4.4.
		{"c48221196ab3", a("273.15")},
		{"c5822003", a("1.5")},
		{"c4823903e700", a("0")},
		{"c4821903e701", a("+Inf")},
		{"c5821a7fffffff01", a("+Inf")},
		{"c5823b7fffffffffffffff01", a("0")},
		{"c401", other},
		{"c48101", other},
		{"c482f90000f90000", other},
		{"c4820182a10102c48101", other},
		{"c4c18221196ab3", "cbor: a.0=-2i a.1=27315i"},
		{"c1c48221196ab3", a("273.15")},
	} {
		t.Run(c.in, func(t *testing.T) {
			got := decodeAll(unhex(t, "a1 6161"+c.in), false)
			if diff := cmp.Diff([]string{c.want}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " "+format+"=%di", i, i+1)
	}
	return b.String()
}

func TestDecodeCBOR(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"reserved members", "a6 66646576696365 6161 6474696d65 1b0000019ab5c6b07b 63736571 07 6361636b f5 65746f6b656e 6178 6176 01", []string{"cbor a @1763986288763ms seq=7 ack token=x: v=1i"}},
		{"time as a tagged number", "a2 6474696d65 c1 1a69245080 6176 01", []string{"cbor @1763987584s: v=1i"}},
		{"time as a tagged text", "a2 6474696d65 c0 74 323032362d31312d32335431303a30303a30305a 6176 01", []string{"cbor @1795428000s: v=1i"}},
		{"time as a float", "a2 6474696d65 fb 41da49204020c49c 6176 01", []string{"cbor @1764000000.512s: v=1i"}},
		{"self-described", "d9d9f7 a1 6176 01", []string{"cbor: v=1i"}},
		{"sequence", "a1617601 a1617602", []string{"cbor: v=1i", "cbor: v=2i"}},
		{"array of maps", "82 a1617601 a1617602", []string{"cbor: v=1i", "cbor: v=2i"}},
		{"integer keys", "a2 01 02 20 f5", []string{"cbor: 1=2i -1=true"}},
		{"text keys in chunks", "a1 7f 6161 6162 ff 01", []string{"cbor: ab=1i"}},
		{"empty key in no chunks", "a1 7fff 01", []string{"cbor: =1i"}},
		{"text behind an item", "a1617601 6d20763d320a a1617603", []string{"cbor: v=1i", "line: m.v=2", "cbor: v=3i"}},
		{"SenML, RFC 8428 section 6", "87" +
			"a7 21 78 1b 75726e3a6465763a6f773a313065323037336130313038303036 3a 22 fb 41d303a15b00106223 6141 20 05 00 67 766f6c74616765 01 6156 02 fb 405e066666666666" +
			"a3 00 67 63757272656e74 06 24 02 fb 3ff3333333333333" +
			"a3 00 67 63757272656e74 06 23 02 fb 3ff4cccccccccccd" +
			"a3 00 67 63757272656e74 06 22 02 fb 3ff6666666666666" +
			"a3 00 67 63757272656e74 06 21 02 f9 3e00" +
			"a3 00 67 63757272656e74 06 20 02 fb 3ff999999999999a" +
			"a3 00 67 63757272656e74 06 00 02 fb 3ffb333333333333", []string{
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020076.001s: voltage=120.1",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020071.001s: current=1.2",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020072.001s: current=1.3",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020073.001s: current=1.4",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020074.001s: current=1.5",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020075.001s: current=1.6",
			"senml-cbor urn:dev:ow:10e2073a0108006 @1276020076.001s: current=1.7",
		}},
		{"SenML kinds, sum, base value and base sum", "83 a5 21 62642f 24 0a 25 01 00 6161 02 01  a3 00 6162 04 f5 05 02  a2 00 6163 03 6178", []string{
			"senml-cbor d: a=11i a.sum=1i", "senml-cbor d: b=true b.sum=3i", `senml-cbor d: c="x" c.sum=1i`,
		}},
		{"SenML with a map for a label", "81 a3 00 63642f61 02 01 a10102 03", []string{"senml-cbor (byte 10: a SenML label must be a text or an integer)"}},
		{"SenML data value", "81 a2 00 63642f61 08 4101", []string{"senml-cbor (byte 9: data values (vd) are not kept)"}},
		{"SenML with text labels", "81 a2 616e 63642f61 6176 01", []string{"senml-cbor d: a=1i"}},

		{"no map behind the self-description", "d9d9f7 01 a1617601", []string{"cbor (byte 1: want a map or an array of maps)", "cbor: v=1i"}},
		{"elements that are no maps", "83 01 80 a1617601", []string{"cbor (byte 2: want an object in the array)", "cbor (byte 3: want an object in the array)", "cbor: v=1i"}},
		{"wrong member between good ones", "83 a1617601 a163736571 20 a1617603", []string{"cbor: v=1i", "cbor (byte 11: seq must be an integer, not negative)", "cbor: v=3i"}},
		{"float for a key", "a1 f93c00 01", []string{"cbor (byte 2: a member name must be a text or an integer)"}},
		{"map for a key", "a2 a10102 01 6176 02", []string{"cbor (byte 2: a member name must be a text or an integer)"}},
		{"too short", "a2617601", []string{"cbor (byte 1: the CBOR item ends too early)"}},
		{"too short in a number", "a161761903", []string{"cbor (byte 4: the CBOR item ends too early)"}},
		{"too short in a text", "a16276", []string{"cbor (byte 2: the CBOR item ends too early)"}},
		{"more members than bytes", "bb7fffffffffffffff 00", []string{"cbor (byte 1: the CBOR item ends too early)"}},
		{"more elements than bytes", "a161 76 9affffffff 00", []string{"cbor (byte 4: the CBOR item ends too early)"}},
		{"text longer than any", "a16176 7bffffffffffffffff", []string{"cbor (byte 4: the CBOR item ends too early)"}},
		{"reserved length", "a161761c", []string{"cbor (byte 4: reserved additional information)"}},
		{"integer of indefinite length", "a161761f", []string{"cbor (byte 4: reserved additional information)"}},
		{"tag of indefinite length", "a16176df01", []string{"cbor (byte 4: reserved additional information)"}},
		{"short simple value", "a16176f818", []string{"cbor (byte 4: a simple value is malformed)"}},
		{"break in a map of known length", "a16176ff", []string{"cbor (byte 4: a break stands outside a container of indefinite length)"}},
		{"break behind a tag", "9fc1ff", []string{"cbor (byte 2: a break stands outside a container of indefinite length)"}},
		{"break behind a key", "bf6176ff", []string{"cbor (byte 4: a map ends after a key)"}},
		{"chunk of another kind", "a161767f4161ff", []string{"cbor (byte 4: a chunk of a string is no string)"}},
		{"chunk of chunks", "a161767f7f6161ffff", []string{"cbor (byte 4: a chunk of a string is no string)"}},
		{"tagged chunk", "a161767fc16161ff", []string{"cbor (byte 4: a chunk of a string is no string)"}},
		{"17 deep", "a1617681818181818181818181818181818181" + "01", []string{"cbor (byte 19: nested more than 16 deep)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, lines := range []bool{false, true} {
				if lines && c.name == "text behind an item" {
					continue // in a stream it is a payload of its own
				}
				if diff := cmp.Diff(c.want, decodeAll(unhex(t, c.in), lines)); diff != "" {
					t.Errorf("lines %v (-want +got):\n%s", lines, diff)
				}
			}
		})
	}
}
