package ingest

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

var equal = []cmp.Option{cmpopts.EquateEmpty()}

func TestAdmit(t *testing.T) {
	nan := "\xa2\x66device\x61x\x61v\xf9\x7e\x00" // CBOR {"device":"x","v":NaN}
	inf := "\xa3\x66device\x61x\x61w\x01\x61v\xf9\x7c\x00"
	tests := []struct {
		name     string
		payload  string
		readings []string
		refusals []string
	}{
		{"one", "t,device=x v=1.5", []string{"x t.v=1.5"}, nil},
		{"every kind", `{"device":"x","f":1.5,"i":2,"b":true,"s":"on"}`, []string{"x f=1.5", "x i=2", "x b=true", "x s=on"}, nil},
		{"nothing at all", "", nil, nil},
		{"nothing but blanks", " \r\n\n", nil, nil},

		{"syntax", "t,device=x v=", nil, []string{"syntax: line 1, byte 14: a field value is missing"}},
		{
			"bad line between good ones", "t,device=x v=1\nnonsense\nt,device=x v=3",
			[]string{"x t.v=1", "x t.v=3"},
			[]string{"syntax: line 2, byte 9: fields are missing: want measurement[,tag=value] field=value [time]"},
		},

		{"device too long", "t,device=" + long(65) + " v=1", nil, []string{"device: invalid device id: 65 bytes, want 1 to 64"}},
		{"device as long as may be", "t,device=" + long(64) + " v=1", []string{long(64) + " t.v=1"}, nil},
		{
			"device with a slash", `{"device":"a/b","v":1}`, nil,
			[]string{`device: invalid device id "a/b": byte 2 is none of A-Z a-z 0-9 . _ : -`},
		},
		{
			"metric too long", "t,device=x v=1," + long(127) + "=2,w=3",
			[]string{"x t.v=1", "x t.w=3"},
			[]string{"metric: invalid metric: 129 bytes, want 1 to 128"},
		},
		{
			"metric with a control character", `{"device":"x","a\u0001":1,"v":2}`,
			[]string{"x v=2"},
			[]string{`metric: invalid metric "a\x01": byte 2 is a control character`},
		},
		{"metric not UTF-8", "t,device=x v\xff=1,w=2", []string{"x t.w=2"}, []string{`metric: invalid metric "t.v\xff": not UTF-8`}},
		{"not a number", nan, nil, []string{"value: invalid value: NaN is not a finite number"}},
		{"infinite, beside a good one", inf, []string{"x w=1"}, []string{"value: invalid value: +Inf is not a finite number"}},
		{
			"text too long", `t,device=x a=1,v="` + long(1025) + `"`,
			[]string{"x t.a=1"},
			[]string{"value: invalid value: text of 1025 bytes, at most 1024"},
		},
		{"text as long as may be", `t,device=x v="` + long(1024) + `"`, []string{"x t.v=" + long(1024)}, nil},
		{"text not UTF-8", "t,device=x v=\"\xff\"", nil, []string{"syntax: line 1, byte 14: a text is not UTF-8"}},
		{
			"several wrong: the first counts", `{"device":"x","a\u0001":1,"b\u0002":1,"v":2}`,
			[]string{"x v=2"},
			[]string{`metric: invalid metric "a\x01": byte 2 is a control character`},
		},
		{"empty", `{"device":"x"}`, nil, []string{"empty: the message holds no reading"}},
		{"empty, of a device that could not be", `{"device":"a/b","x":null}`, nil, []string{"empty: the message holds no reading"}},
		{
			"each object for itself", `[{"device":"x","v":1},{"device":"/","v":2},{"device":"y","v":3}]`,
			[]string{"x v=1", "y v=3"},
			[]string{`device: invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(Config{}, false)
			b.send(t, local, tt.payload)
			if d := cmp.Diff(tt.readings, b.sink.texts(), equal...); d != "" {
				t.Error("readings (-want +got):\n", d)
			}
			if d := cmp.Diff(tt.refusals, b.refusals(), equal...); d != "" {
				t.Error("refusals (-want +got):\n", d)
			}
			if s := b.Stats(); s.Readings != int64(len(tt.readings)) {
				t.Errorf("%d readings counted, want %d", s.Readings, len(tt.readings))
			}
		})
	}
}

func TestDeviceOfAddress(t *testing.T) {
	tests := []struct{ addr, want string }{
		{"192.168.1.7:1", "ip-192.168.1.7"},
		{"127.0.0.1:65535", "ip-127.0.0.1"},
		{"[::ffff:10.0.0.9]:1", "ip-10.0.0.9"},
		{"[::1]:1", "ip-::1"},
		{"[fd00::12:3]:1", "ip-fd00::12:3"},
		{"[fe80::1%eth0]:1", "ip-fe80::1"},
		{"[fe80::1122:3344:5566:7788%a/b]:1", "ip-fe80::1122:3344:5566:7788"},
	}
	b := newBench(Config{}, false)
	var want []string
	for _, tt := range tests {
		b.send(t, Peer{Addr: netip.MustParseAddrPort(tt.addr), Transport: "udp"}, `t v=1`, `{"v":2}`)
		want = append(want, tt.want+" t.v=1", tt.want+" v=2")
	}
	// The name of one message must not become that of the next.
	b.send(t, local, "t v=1", "t,device=x v=2", "t v=3")
	b.send(t, other, "t v=4")
	want = append(want, "ip-192.168.1.7 t.v=1", "x t.v=2", "ip-192.168.1.7 t.v=3", "ip-192.168.1.8 t.v=4")
	if d := cmp.Diff(want, b.sink.texts()); d != "" {
		t.Error("(-want +got):\n", d)
	}
}

func TestWhoMaySendPlain(t *testing.T) {
	tests := []struct {
		addr string
		may  bool
	}{
		{"127.0.0.1", true},
		{"127.255.0.1", true},
		{"10.1.2.3", true},
		{"172.16.0.1", true},
		{"172.31.255.255", true},
		{"192.168.0.1", true},
		{"169.254.7.7", true},
		{"::1", true},
		{"fe80::1", true},
		{"fd12::1", true},
		{"::ffff:10.0.0.1", true},
		{"8.8.8.8", false},
		{"172.32.0.1", false},
		{"100.64.0.1", false},
		{"2001:db8::1", false},
		{"::ffff:8.8.8.8", false},
		{"0.0.0.0", false},
		{"224.0.0.1", false},
	}
	for _, tt := range tests {
		b := newBench(Config{}, false)
		peer := Peer{Addr: netip.AddrPortFrom(netip.MustParseAddr(tt.addr), 9), Transport: "udp"}
		b.send(t, peer, "t,device=x,seq=1,ack=1 v=1")
		b.send(t, peer, "t,device=x,seq=2,ack=1 v=1")
		want := []string{
			"forbidden: plain readings are taken from private addresses only",
			"forbidden: plain readings are taken from private addresses only",
		}
		if tt.may {
			want = nil
		}
		if d := cmp.Diff(want, b.refusals(), equal...); d != "" {
			t.Errorf("%s: refusals (-want +got):\n%s", tt.addr, d)
		}
		if got := len(b.sink.texts()); (got == 2) != tt.may || (got == 0) == tt.may {
			t.Errorf("%s: %d readings stored", tt.addr, got)
		}
		if got := b.settled(t); (len(got) == 2) != tt.may {
			t.Errorf("%s: answers %q", tt.addr, got)
		}
	}
	b := newBench(Config{}, false)
	b.send(t, Peer{Transport: "udp"}, "t v=1") // an address that is none
	if b.Inspector().Total(Forbidden) != 1 {
		t.Error("a peer without an address was admitted")
	}
}

// TestProvenDevice: a peer that has proved which device it is speaks from any
// address, and for that device only.
func TestProvenDevice(t *testing.T) {
	b := newBench(Config{}, false)
	far := netip.MustParseAddrPort("8.8.8.8:9")
	one := Peer{Addr: far, Transport: "dtls", Device: "one"}
	two := Peer{Addr: netip.MustParseAddrPort("8.8.8.8:10"), Transport: "dtls", Device: "two"}
	b.send(t, one, "t v=1")
	b.send(t, two, "t v=2") // the name is empty again, but another's
	b.send(t, one, "t,device=one v=3\nt,device=two v=4\nt v=5")
	b.send(t, two, "t,device=one v=6")
	b.send(t, Peer{Addr: far, Transport: "udp"}, "t,device=one v=7")
	want := []string{"one t.v=1", "two t.v=2", "one t.v=3", "one t.v=5"}
	if d := cmp.Diff(want, b.sink.texts()); d != "" {
		t.Error("(-want +got):\n", d)
	}
	refused := []string{
		`forbidden: device "one" may not speak for "two"`,
		`forbidden: device "two" may not speak for "one"`,
		"forbidden: plain readings are taken from private addresses only",
	}
	if d := cmp.Diff(refused, b.refusals(), equal...); d != "" {
		t.Error("refusals (-want +got):\n", d)
	}
}

func TestMoment(t *testing.T) {
	const at = device.Time(1_764_000_000_123_456)
	const day = device.Time(86_400_000_000)
	tests := []struct {
		name     string
		time     wire.Time
		now      device.Time
		at       device.Time
		absolute bool
		wrong    bool
	}{
		{"none", wire.Time{}, at, at, false, false},
		{"seconds", wire.Time{Int: 1_763_999_999, Frac: 500_000_000, Set: true}, at, 1_763_999_999_500_000, true, false},
		{"milliseconds", wire.Time{Int: 1_763_999_999_001, Set: true}, at, 1_763_999_999_001_000, true, false},
		{"microseconds", wire.Time{Int: 1_763_999_999_001_002, Set: true}, at, 1_763_999_999_001_002, true, false},
		{"nanoseconds", wire.Time{Int: 1_763_999_999_001_002_999, Set: true}, at, 1_763_999_999_001_002, true, false},
		{"now by name", wire.Time{Set: true}, at, at, false, false},
		{"90 seconds ago", wire.Time{Int: 90, Set: true}, at, at - 90_000_000, false, false},
		{"90 seconds ago, as SenML says it", wire.Time{Int: -90, Set: true}, at, at - 90_000_000, false, false},
		{"half a second ago", wire.Time{Frac: 500_000_000, Set: true}, at, at - 500_000, false, false},
		{"relative, before 2020", wire.Time{Int: 1<<28 - 1, Set: true}, at, at, false, true},
		{"first moment of 2020", wire.Time{Int: 1_577_836_800, Set: true}, at, earliest, true, false},
		{"last moment of 2019", wire.Time{Int: 1_577_836_799_999_999, Set: true}, at, at, false, true},
		{"smallest that is not relative", wire.Time{Int: 1 << 28, Set: true}, at, at, false, true},
		{"very negative", wire.Time{Int: -1 << 62, Set: true}, at, at, false, true},
		{"a day ahead", wire.Time{Int: int64(at + day), Set: true}, at, at + day, true, false},
		{"more than a day ahead", wire.Time{Int: int64(at + day + 1), Set: true}, at, at, false, true},
		{"end of the range", wire.Time{Int: 1<<63 - 1, Set: true}, at, at, false, true},

		{"gateway without a clock believes", wire.Time{Int: 1_764_000_000, Set: true}, 20_000_000, 1_764_000_000_000_000, true, false},
		{"but not everything", wire.Time{Int: 1_500_000_000, Set: true}, 20_000_000, 20_000_000, false, true},
		{"5 seconds ago in 1970", wire.Time{Int: 5, Set: true}, 20_000_000, 15_000_000, false, false},
		{"before 1970, in 1970", wire.Time{Int: 60, Set: true}, 20_000_000, 20_000_000, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, absolute, wrong := moment(tt.time, tt.now)
			want := device.Time(0)
			if tt.absolute {
				want = tt.at
			}
			if at != tt.at || absolute != want || wrong != tt.wrong {
				t.Errorf("moment = %d, %d, %t; want %d, %d, %t", at, absolute, wrong, tt.at, want, tt.wrong)
			}
		})
	}
}

func TestClockWrong(t *testing.T) {
	b := newBench(Config{}, false)
	steps := []struct {
		payload string
		wrong   bool
		count   int64 // readings whose time was replaced, in all
	}{
		{"t,device=x v=1 1500000000000000000", true, 1},
		{"t,device=x v=1", true, 1}, // a message without time says nothing of the clock
		{`{"device":"x","time":1500000000,"a":1,"b":2,"c\u0001":3}`, true, 3},
		{"t,device=x v=1 5", false, 3},
		{"t,device=x v=1 1764086401000000000", true, 4},
		{"t,device=x v=1 1764000000000000000", false, 4},
		{"t,device=x,seq=1 v=1 1500000000000000000", true, 5},
		{"t,device=x,seq=1 v=1 1500000000000000000", true, 5}, // stored once
	}
	for i, s := range steps {
		b.send(t, local, s.payload)
		f, ok := b.Gate().Device("x")
		if !ok || f.ClockWrong != s.wrong || b.Stats().WrongClock != s.count {
			t.Errorf("step %d: clock wrong %t, %d readings; want %t, %d", i+1, f.ClockWrong, b.Stats().WrongClock, s.wrong, s.count)
		}
	}
}

func TestFacts(t *testing.T) {
	b := newBench(Config{}, false)
	if _, ok := b.Gate().Device("x"); ok {
		t.Error("facts of a device that nobody knows")
	}
	b.Gate().Seed(device.Series{Device: "x", Metric: "t.v"})
	if got, ok := b.Gate().Device("x"); !ok || got != (device.Presence{ID: "x"}) {
		t.Errorf("%+v, %t of a device that has not sent since the start", got, ok)
	}
	b.send(t, local, "t,device=x,seq=9 v=1", "t,device=x,seq=9 v=1")
	b.send(t, other, "t,device=x,seq=9 v=1")
	got, ok := b.Gate().Device("x")
	at := device.TimeOf(now)
	want := device.Presence{
		ID: "x", State: device.Online, Since: at, Heard: at, Addr: other.Addr.Addr(), Transport: "udp", Duplicates: 2, Expected: 1,
	}
	if !ok || got != want {
		t.Errorf("facts %+v, %t; want %+v", got, ok, want)
	}
}

func TestLimits(t *testing.T) {
	tests := []struct {
		name     string
		seed     []device.Series
		payloads []string
		readings []string
		refusals []string
	}{
		{
			"devices", nil,
			[]string{"t,device=a v=1", "t,device=b v=1", "t,device=c v=1", "t,device=a v=2"},
			[]string{"a t.v=1", "b t.v=1", "a t.v=2"},
			[]string{`devices_limit: device "c" is new, and there are 2 devices already`},
		},
		{
			"series", nil,
			[]string{`{"device":"a","m1":1,"m2":1,"m3":1,"m4":1}`, `{"device":"b","m1":1}`, `{"device":"a","m3":2}`},
			[]string{"a m1=1", "a m2=1", "a m3=1", "a m3=2"},
			[]string{
				`series_limit: metric "m4" is new, and there are 3 series already`,
				`series_limit: metric "m1" is new, and there are 3 series already`,
			},
		},
		{
			"seeded count, and may send beyond the limits",
			[]device.Series{{Device: "a", Metric: "v"}, {Device: "a", Metric: "v"}, {Device: "b", Metric: "v"}, {Device: "c", Metric: "v"}, {Device: "c", Metric: "w"}},
			[]string{`{"device":"a","v":1}`, `{"device":"c","v":1,"w":1,"x":1}`, `{"device":"d","v":1}`},
			[]string{"a v=1", "c v=1", "c w=1"},
			[]string{
				`series_limit: metric "x" is new, and there are 3 series already`,
				`devices_limit: device "d" is new, and there are 2 devices already`,
			},
		},
		{
			"what is refused takes no room", nil,
			[]string{"t,device=/ v=1", "t,device=x", `{"device":"e"}`, `{"device":"a","m\u0001":1}`, "t,device=a v=1", "t,device=b v=1"},
			[]string{"a t.v=1", "b t.v=1"},
			[]string{
				`device: invalid device id "/": byte 1 is none of A-Z a-z 0-9 . _ : -`,
				"syntax: line 1, byte 11: fields are missing: want measurement[,tag=value] field=value [time]",
				"empty: the message holds no reading",
				`metric: invalid metric "m\x01": byte 2 is a control character`,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(Config{MaxDevices: 2, MaxSeries: 3}, false)
			for _, s := range tt.seed {
				b.Gate().Seed(s)
			}
			b.send(t, local, tt.payloads...)
			if d := cmp.Diff(tt.readings, b.sink.texts(), equal...); d != "" {
				t.Error("readings (-want +got):\n", d)
			}
			if d := cmp.Diff(tt.refusals, b.refusals(), equal...); d != "" {
				t.Error("refusals (-want +got):\n", d)
			}
		})
	}
}

func TestSessionHandsOnLargeBatches(t *testing.T) {
	b := newBench(Config{}, false)
	b.send(t, local, strings.Repeat("t,device=x v=1\n", sessionBatch+10))
	if b.sink.appends != 2 || len(b.sink.readings) != sessionBatch+10 {
		t.Errorf("%d readings in %d batches", len(b.sink.readings), b.sink.appends)
	}
	b = newBench(Config{}, false)
	b.send(t, local, strings.Repeat(`t,device=x v="`+long(1024)+"\"\n", 2*sessionText/1024))
	if b.sink.appends != 2 || len(b.sink.readings) != 2*sessionText/1024 {
		t.Errorf("%d texts in %d batches", len(b.sink.readings), b.sink.appends)
	}
}
