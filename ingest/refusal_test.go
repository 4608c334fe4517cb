package ingest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

func TestReasons(t *testing.T) {
	want := []string{
		"syntax", "device", "metric", "value", "empty", "too_long", "overload", "forbidden",
		"devices_limit", "series_limit", "connections_limit", "encrypted", "handshake",
		"credential", "approval", "unknown", "rate", "rate_address", "rate_series",
	}
	var got []string
	for _, r := range Reasons() {
		got = append(got, r.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

func TestInspector(t *testing.T) {
	var i Inspector
	if got := i.Newest(); len(got) != 0 {
		t.Errorf("a new inspector holds %d", len(got))
	}
	for n := range 450 {
		i.Note(Refused{Time: device.Time(n), Reason: Reason(n % 3), Payload: fmt.Append(nil, n)})
		got := i.Newest()
		if want := min(n+1, inspectorRefusals); len(got) != want {
			t.Fatalf("after %d: %d kept, want %d", n+1, len(got), want)
		}
		for k, r := range got {
			if want := n - k; r.Time != device.Time(want) || string(r.Payload) != fmt.Sprint(want) || r.Size != len(r.Payload) {
				t.Fatalf("after %d: number %d is %+v, want %d", n+1, k, r, want)
			}
		}
	}
	i.Count(Overload, 1000)
	for r, want := range map[Reason]int64{0: 150, 1: 150, 2: 150, Overload: 1000, Empty: 0} {
		if got := i.Total(r); got != want {
			t.Errorf("%s: %d, want %d", r, got, want)
		}
	}
}

func TestInspectorCutsAndCopies(t *testing.T) {
	var i Inspector
	payload := bytes.Repeat([]byte("x"), 600)
	i.Note(Refused{Payload: payload})
	payload[0] = 'y'
	got := i.Newest()[0]
	if got.Size != 600 || string(got.Payload) != strings.Repeat("x", inspectorPayload) {
		t.Errorf("size %d, payload %q", got.Size, got.Payload)
	}
}

func TestRefusedAsKept(t *testing.T) {
	b := newBench(Config{}, false)
	b.send(t, local, "t,device=x v=1\nt,device=/,token=geheim v=\""+strings.Repeat("1", 600)+"\"")
	b.Refuse(other, TooLong, "too long", []byte("t,token=geheim v=1"))
	want := []Refused{
		{
			Time: device.TimeOf(now), Peer: other, Reason: TooLong, Detail: "too long",
			Payload: []byte("t,token=*** v=1"), Size: 18,
		},
		{
			Time: device.TimeOf(now), Peer: local, Format: wire.FormatLine, Reason: BadDevice,
			Detail:  `invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`,
			Payload: []byte("t,device=/,token=*** v=\"" + strings.Repeat("1", 488)), Size: 628,
		},
	}
	cmpPeer := cmp.Comparer(func(a, b Peer) bool { return a == b })
	if d := cmp.Diff(want, b.Inspector().Newest(), cmpPeer); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

func TestRefusedPlace(t *testing.T) {
	long := strings.Repeat("1", inspectorPayload)
	for _, c := range []struct {
		in   string
		kept string // of the newest refusal
		at   int
	}{
		{"t,device=x v=1", "", 0},
		{"t,device=/ v=1", "t,device=/ v=1", 0},
		{"t,device=x v=1\nt,device=x v=2x1", "t,device=x v=2x1", 14},
		{"t,token=geheim,device=x v=2x1", "t,token=***,device=x v=2x1", 24},
		{`[{"a":1},{"device":"x","token":"geheim","seq":-1}]`, `{"device":"x","token":"***","seq":-1}`, 35},
		{`{"tok\u0065n":"geheim","seq":-1}`, `{"tok\u0065n":"***","seq":-1}`, 27},
		{"{\n\"device\":\"x\",\n\"ack\":[]}", "{\n\"device\":\"x\",\n\"ack\":[]}", 23},
		{"x", "x", 2},
		{"t v=\"" + long + "\",w=x", "t v=\"" + long[:inspectorPayload-5], 0},
	} {
		b := newBench(Config{}, false)
		b.send(t, local, c.in)
		var got Refused
		if all := b.Inspector().Newest(); len(all) > 0 {
			got = all[0]
		}
		if string(got.Payload) != c.kept || got.At != c.at {
			t.Errorf("%q: kept %q, byte %d; want %q, byte %d", c.in, got.Payload, got.At, c.kept, c.at)
		}
	}
}

func TestTokensAreBlanked(t *testing.T) {
	const s = "geheim"
	tests := []struct{ in, want string }{
		{"t,device=x v=1", "t,device=x v=1"},
		{"t,token=geheim,device=/ v=1", "t,token=***,device=/ v=1"},
		{"t,device=/,token=geheim v=1", "t,device=/,token=*** v=1"},
		{`t,device=/,token=geheim\ x\,geheim v=1`, `t,device=/,token=*** v=1`},
		{"t,token=geheim", "t,token=***"},
		{`{"token":"geheim","device":"/","v":1}`, `{"token":"***","device":"/","v":1}`},
		{`{"token" : "geheim", "v":}`, `{"token" : "***", "v":}`},
		{`{"v":,"token":"geh\"geheim"}`, `{"v":,"token":"***"}`},
		{`{"v":,"token":"geheim`, `{"v":,"token":"***`},
		{`{"token":"geheim\`, `{"token":"***`},
		{`{"tok\u0065n":"geheim","device":"/","v":1}`, `{"tok\u0065n":"***","device":"/","v":1}`},
		{`{"token":geheim}`, `{"token":***}`},
		{`{"token":`, `{"token":`},
		{`token`, `token`},
		{`{"token":"geheim","a":1}{"token":"geheim"}}`, `{"token":"***","a":1}{"token":"***"}}`},
		{"tokens=5 tokenizer etoken`x", "tokens=5 tokenizer etoken`x"},
		{"\xa2\x65token\x66geheim\x61v", "\xa2\x65token\x66***\x61v"},
		{"\xa2\x65token\x78\x06geheim\x61v", "\xa2\x65token\x78\x06***\x61v"},
		{"\xa2\x65token\x79\x00\x06geheim\x61v", "\xa2\x65token\x79***"},
		{"\xa2\x65token\x7f\x66geheim\xff\x61v", "\xa2\x65token\x7f***"},
		{"\xa2\x65token\x66geh", "\xa2\x65token\x66***"},
		{"\xa2\x65token\x78", "\xa2\x65token\x78"},
		{"\xa2\x65token\x07", "\xa2\x65token\x07"},
		{strings.Repeat("x", 500) + " token=geheim", strings.Repeat("x", 500) + " token=***"},
	}
	for _, tt := range tests {
		b := newBench(Config{}, false)
		b.send(t, local, tt.in)
		for _, r := range b.Inspector().Newest() {
			if bytes.Contains(r.Payload, []byte(s)) {
				t.Errorf("%q: kept %q", tt.in, r.Payload)
			}
		}
		if strings.Contains(tt.in, `\u0065`) {
			if got := string(b.Inspector().Newest()[0].Payload); got != tt.want {
				t.Errorf("%q: kept %q, want %q", tt.in, got, tt.want)
			}
			continue
		}
		if got := string(blanked([]byte(tt.in))); got != tt.want {
			t.Errorf("%q:\n got %q\nwant %q", tt.in, got, tt.want)
		}
	}
}
