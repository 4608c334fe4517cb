package socketio

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePacket(t *testing.T) {
	for in, want := range map[string]packet{
		"0":                       {kind: '0', namespace: "/", id: -1},
		`0{"token":"123"}`:        {kind: '0', namespace: "/", id: -1, data: []byte(`{"token":"123"}`)},
		"0/custom,":               {kind: '0', namespace: "/custom", id: -1},
		"0/custom":                {kind: '0', namespace: "/custom", id: -1},
		`0/custom,{"a":1}`:        {kind: '0', namespace: "/custom", id: -1, data: []byte(`{"a":1}`)},
		"1":                       {kind: '1', namespace: "/", id: -1},
		"1/custom,":               {kind: '1', namespace: "/custom", id: -1},
		`2["a",1]`:                {kind: '2', namespace: "/", id: -1, data: []byte(`["a",1]`)},
		`2[1]`:                    {kind: '2', namespace: "/", id: -1, data: []byte(`[1]`)},
		`2/n,12["a"]`:             {kind: '2', namespace: "/n", id: 12, data: []byte(`["a"]`)},
		`2456["a",{"3":[false]}]`: {kind: '2', namespace: "/", id: 456, data: []byte(`["a",{"3":[false]}]`)},
		`312[]`:                   {kind: '3', namespace: "/", id: 12, data: []byte(`[]`)},
		`50-["a"]`:                {kind: '5', namespace: "/", id: -1, data: []byte(`["a"]`)},
		`51-/n,7["a",{"_placeholder":true,"num":0}]`:      {kind: '5', namespace: "/n", attachments: 1, id: 7, data: []byte(`["a",{"_placeholder":true,"num":0}]`)},
		`510-["a",{"b":[{"_placeholder":true,"num":9}]}]`: {kind: '5', namespace: "/", attachments: 10, id: -1, data: []byte(`["a",{"b":[{"_placeholder":true,"num":9}]}]`)},
		`61-3[{"_placeholder":true,"num":0}]`:             {kind: '6', namespace: "/", attachments: 1, id: 3, data: []byte(`[{"_placeholder":true,"num":0}]`)},
	} {
		got, err := parsePacket([]byte(in))
		got.args = nil
		if d := cmp.Diff(want, got, cmp.AllowUnexported(packet{})); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", in, err, d)
		}
	}
}

var malformed = []string{
	"", "abc", "7", "x", "9[]",
	"0[]", `0"a"`, "0{", "012", "0{}x", "1{}", "1[]", "15",
	"2", "2{}", "2[]", `2["a"`, `2[null]`, `2[true]`, `2[{}]`, `2[[]]`, `2abc["a"]`, `2-1["a"]`,
	`2["connect"]`, `2["connect_error"]`, `2["disconnect"]`, `2["disconnecting"]`, `2["newListener"]`, `2["removeListener"]`,
	`2["\u0063onnect"]`, `2["a"] ["b"]`, `21234567890123456["a"]`,
	"3", "3[]", "31{}", "31",
	`4{"message":"no"}`, "4",
	`5["a"]`, `5-["a"]`, `5x-["a"]`, `5-1-["a"]`, `511-["a"]`, `5100-["a"]`, `51-[]`,
	`51-["a",{"_placeholder":true,"num":1}]`, `51-["a",{"_placeholder":true,"num":-1}]`, `51-["a",{"_placeholder":true,"num":0.5}]`,
	`51-["a",{"_placeholder":true}]`, `51-["a",{"_placeholder":true,"num":"0"}]`,
	`61-[{"_placeholder":true,"num":0}]`,
	"2/" + strings.Repeat("n", maxNamespace) + `,["a"]`,
}

func TestMalformedPackets(t *testing.T) {
	for _, in := range malformed {
		if got, err := parsePacket([]byte(in)); err == nil {
			t.Errorf("%q: %+v, want an error", in, got)
		}
	}
}

// FuzzPacket: what is understood is understood the same when it is written again;
// nothing panics.
func FuzzPacket(f *testing.F) {
	for _, s := range malformed {
		f.Add([]byte(s))
	}
	for _, s := range []string{"0", "0/n", `2/n,12["a",1e400,"\u2028"]`, `52-["a",{"_placeholder":true,"num":1}]`, `31[ ]`, `2 [ "a" ]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePacket(b)
		if err != nil {
			return
		}
		written := p.append(nil)
		again, err := parsePacket(written)
		if err != nil {
			t.Fatalf("%q became %q: %v", b, written, err)
		}
		if second := again.append(nil); string(second) != string(written) {
			t.Fatalf("%q became %q, then %q", b, written, second)
		}
	})
}
