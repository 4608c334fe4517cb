package fleet

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/ingest/wire"
)

// TestCoAPMessages holds the codec to messages of RFC 7252, appendix A, and to the
// edges of its numbers.
func TestCoAPMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	tests := []struct {
		name string
		hex  string
		m    coapMessage
	}{
		{"figure 16, request", "40017d34bb74656d7065726174757265", coapMessage{
			code: coapGET, id: 0x7d34, options: []coapOption{{optURIPath, []byte("temperature")}},
		}},
		{"figure 16, response", "60457d34ff32322e332043", coapMessage{
			kind: acknowledgement, code: coapContent, id: 0x7d34, payload: []byte("22.3 C"),
		}},
		{"figure 17, token", "41017d3520bb74656d7065726174757265", coapMessage{
			code: coapGET, id: 0x7d35, token: []byte{0x20}, options: []coapOption{{optURIPath, []byte("temperature")}},
		}},
		{"empty", "70000001", coapMessage{kind: reset, id: 1}},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.m.append(nil); string(got) != string(b) {
			t.Errorf("%s: %x, want %x", tt.name, got, b)
		}
		if got, err := parseCoAP(b); err != nil || !sameCoAP(&got, &tt.m) {
			t.Errorf("%s: %+v, error %v", tt.name, got, err)
		}
	}
	m := coapMessage{code: coapPOST, options: []coapOption{
		{optObserve, nil}, {optURIPath, []byte(long)}, {optURIPath, []byte("thirteen bytes")}, uintOption(optNoResponse, 0x1a2b), {60_000, []byte("x")},
	}}
	if got, err := parseCoAP(m.append(nil)); err != nil || !sameCoAP(&got, &m) {
		t.Errorf("%+v, error %v", got, err)
	}
	for _, bad := range []string{"", "40", "4001", "c0010000", "49010000010203040506070809", "4401000001", "400100000f", "40010000f0", "40010000d0", "40010000e000", "4001000005aa", "40010000ff", "40010000eeffff0000"} {
		b, _ := hex.DecodeString(bad)
		if m, err := parseCoAP(b); !errors.Is(err, errCoAP) {
			t.Errorf("%s: %+v, error %v", bad, m, err)
		}
	}
}

func sameCoAP(a, b *coapMessage) bool {
	same := a.kind == b.kind && a.code == b.code && a.id == b.id && string(a.token) == string(b.token) &&
		string(a.payload) == string(b.payload) && len(a.options) == len(b.options)
	for i := 0; same && i < len(a.options); i++ {
		same = a.options[i].number == b.options[i].number && string(a.options[i].value) == string(b.options[i].value)
	}
	return same
}

// FuzzCoAP holds that what can be read is written the same, and that no datagram is
// more to a device than an answer or an error.
func FuzzCoAP(f *testing.F) {
	for _, s := range []string{"40017d34bb74656d7065726174757265", "60457d34ff32322e332043", "6244000107c132ff7b7d", "70000001"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseCoAP(b)
		if err != nil {
			return
		}
		again, err := parseCoAP(m.append(nil))
		if err != nil || !sameCoAP(&again, &m) {
			t.Errorf("%x: %+v is read as %+v, error %v", b, m, again, err)
		}
		a, _, err := (&coap{}).answerOf(&m)
		var bad *badAnswer
		if err != nil && !errors.As(err, &bad) {
			t.Errorf("%x: %+v, error %v", b, a, err)
		}
	})
}

func TestCoAPAnswers(t *testing.T) {
	t.Parallel()
	json := []coapOption{uintOption(optContentFormat, 50)}
	relay := &command{ID: 3, Device: "gh1", Name: "relay", Value: []byte("true")}
	tests := []struct {
		name string
		m    coapMessage
		want answer
		says bool
	}{
		{"done", coapMessage{kind: acknowledgement, code: coapChanged, token: []byte{1, 0}}, answer{verdict: acked, seq: 256, hasSeq: true}, true},
		{
			"done, later",
			coapMessage{kind: confirmable, code: coapChanged, id: 9, token: []byte{7}},
			answer{verdict: acked, seq: 7, hasSeq: true, reply: []byte{0x60, 0, 0, 9}},
			true,
		},
		{
			"with a command",
			coapMessage{kind: acknowledgement, code: coapChanged, token: []byte{7}, options: json, payload: []byte(`{"command":{"id":3,"device":"gh1","name":"relay","value":true}}`)},
			answer{verdict: acked, seq: 7, hasSeq: true, command: relay},
			true,
		},
		{
			"the command that was observed",
			coapMessage{kind: nonConfirmable, code: coapContent, token: observeToken, options: json, payload: []byte(`{"command":{"id":3,"device":"gh1","name":"relay","value":true}}`)},
			answer{verdict: acked, seq: observation, hasSeq: true, command: relay},
			true,
		},
		{"no command", coapMessage{kind: nonConfirmable, code: coapContent, token: observeToken, options: json, payload: []byte(`{}`)}, answer{verdict: acked, seq: observation, hasSeq: true}, true},
		{"refused", coapMessage{kind: acknowledgement, code: 4<<5 | 3, token: []byte{7}, payload: []byte("who?")}, answer{verdict: refused, seq: 7, hasSeq: true, reason: "4.03 who?"}, true},
		{"busy", coapMessage{kind: acknowledgement, code: coapTooMany, token: []byte{7}, options: []coapOption{uintOption(optMaxAge, 3)}}, answer{verdict: refused, seq: 7, hasSeq: true, reason: overloaded, again: 3 * sec}, true},
		{"failing", coapMessage{kind: acknowledgement, code: coapUnavailable, token: []byte{7}}, answer{verdict: refused, seq: 7, hasSeq: true, reason: overloaded, again: coapMaxAge}, true},
		{"received", coapMessage{kind: acknowledgement, id: 9}, answer{verdict: received, id: 9, byID: true}, true},
		{"not understood", coapMessage{kind: reset, id: 9}, answer{verdict: refused, id: 9, byID: true, reason: "reset"}, true},
		{"ping", coapMessage{kind: confirmable, id: 9}, answer{reply: []byte{0x70, 0, 0, 9}}, true},
		{"nothing", coapMessage{kind: nonConfirmable, id: 9}, answer{}, false},
	}
	for _, tt := range tests {
		got, says, err := (&coap{}).answerOf(&tt.m)
		if !reflect.DeepEqual(got, tt.want) || says != tt.says || err != nil {
			t.Errorf("%s: %+v, %t, error %v", tt.name, got, says, err)
		}
	}
}

// TestCoAPRequests holds what a request says beside its payload.
func TestCoAPRequests(t *testing.T) {
	t.Parallel()
	numbers := map[wire.Format]uint32{
		wire.FormatLine: 0, wire.FormatStatsD: 0, wire.FormatJSON: 50, wire.FormatCBOR: 60, wire.FormatSenML: 110, wire.FormatSenMLCBOR: 112,
	}
	for _, format := range Formats() {
		for _, con := range []bool{true, false} {
			c := newCoAP(nil, con, "gh1")
			m := message{format: format, device: "gh1", fields: []wire.Field{field("t", float(1.5))}, seq: 258, hasSeq: true, ack: true}
			first, err := parseCoAP(c.frame(nil, &m))
			if err != nil {
				t.Fatal(err)
			}
			second, err := parseCoAP(c.frame(nil, &m))
			if err != nil {
				t.Fatal(err)
			}
			if number, ok := first.uint(optContentFormat); !ok || number != numbers[format] {
				t.Errorf("%v: content format %d, %t", format, number, ok)
			}
			if want := map[bool]coapMessage{
				true:  {kind: confirmable, code: coapPOST, token: []byte{1, 2}},
				false: {kind: nonConfirmable, code: coapPOST},
			}[con]; first.kind != want.kind || first.code != want.code || string(first.token) != string(want.token) || second.id != first.id+1 {
				t.Errorf("%v: %+v", format, first)
			}
			if n, ok := first.uint(optNoResponse); ok == con || ok && n != noSuccess {
				t.Errorf("%v, confirmable %t: No-Response %d", format, con, n)
			}
			said := decode(t, first.payload, false)
			if len(said) != 1 || said[0].Ack || said[0].Device != "gh1" || said[0].Metric != "t" {
				t.Errorf("%v: payload %q", format, first.payload)
			}
		}
	}
	c := newCoAP(nil, true, "gh1")
	m, err := parseCoAP(c.observe())
	want := []coapOption{{optObserve, []byte{}}, {optURIPath, []byte("commands")}, {optURIQuery, []byte("d=gh1")}}
	if err != nil || m.kind != confirmable || m.code != coapGET || string(m.token) != string(observeToken) || cmp.Diff(want, m.options, cmp.AllowUnexported(coapOption{})) != "" {
		t.Errorf("observation %+v, error %v", m, err)
	}
}

// coapScript answers requests of CoAP in a bubble: how is up to the test.
type coapScript struct {
	t     *testing.T
	start time.Time
	log   []string // what came, and when
	on    func(c *coapScript, m *coapMessage)
	conn  net.Conn
}

func (c *coapScript) dial() net.Conn {
	client, end := net.Pipe()
	c.conn = end
	go func() {
		buf := make([]byte, 2000)
		for {
			n, err := end.Read(buf)
			if err != nil {
				return
			}
			m, err := parseCoAP(buf[:n])
			if err != nil {
				c.t.Error(err)
			}
			c.log = append(c.log, fmt.Sprintf("%v %d %v %x", time.Since(c.start), m.kind, m.code, m.token))
			c.on(c, &m)
		}
	}()
	return client
}

func (c *coapScript) say(m coapMessage) { _, _ = c.conn.Write(m.append(nil)) }

// newCoAPSender returns a sender that speaks to a script.
func newCoAPSender(t *testing.T, on func(*coapScript, *coapMessage), at ...time.Duration) (*sender, *coapScript) {
	t.Helper()
	c := &coapScript{t: t, start: time.Now(), on: on}
	srv := newServer(t, nil)
	s := newSender(srv, CoAP, true, at...)
	s.target.Dial = func(context.Context, string, string) (net.Conn, error) { return c.dial(), nil }
	s.outbox = newOutbox(*(&Acks{}).coapPolicy(0.5))
	return s, c
}

// TestCoAPExchanges holds what passes between device and server, and when, to RFC
// 7252: a device waits 2.5 s here for the first answer.
func TestCoAPExchanges(t *testing.T) {
	t.Parallel()
	done := func(c *coapScript, m *coapMessage) {
		c.say(coapMessage{kind: acknowledgement, code: coapChanged, id: m.id, token: m.token})
	}
	tests := []struct {
		name string
		on   func(*coapScript, *coapMessage)
		want []string
		took time.Duration
		r    Report
	}{
		{"piggy-backed", done, []string{"0s 0 0.02 01"}, 0, Report{Acknowledged: 1}},
		{"no answer", func(*coapScript, *coapMessage) {}, []string{
			"0s 0 0.02 01", "2.5s 0 0.02 01", "7.5s 0 0.02 01", "17.5s 0 0.02 01", "37.5s 0 0.02 01",
		}, 77500 * time.Millisecond, Report{Unacknowledged: 1, Retransmitted: 4}},
		{"an answer of its own", func(c *coapScript, m *coapMessage) {
			if m.code == coapEmpty {
				return
			}
			c.say(coapMessage{kind: acknowledgement, id: m.id})
			time.AfterFunc(20*sec, func() { c.say(coapMessage{kind: confirmable, code: coapChanged, id: 77, token: []byte{1}}) })
		}, []string{"0s 0 0.02 01", "20s 2 0.00 "}, 20 * sec, Report{Acknowledged: 1}},
		{"an answer of its own that stays out", func(c *coapScript, m *coapMessage) {
			if len(c.log) > 1 {
				done(c, m)
				return
			}
			c.say(coapMessage{kind: acknowledgement, id: m.id})
		}, []string{"0s 0 0.02 01", "30s 0 0.02 01"}, 30 * sec, Report{Acknowledged: 1, Retransmitted: 1}},
		{"reset", func(c *coapScript, m *coapMessage) { c.say(coapMessage{kind: reset, id: m.id}) }, []string{"0s 0 0.02 01"}, 0, Report{Refused: map[string]int64{"reset": 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s, c := newCoAPSender(t, tt.on, 0)
				if err := s.run(t.Context()); err != nil {
					t.Fatal(err)
				}
				took := time.Since(c.start)
				synctest.Wait()
				if diff := cmp.Diff(tt.want, c.log); diff != "" || took != tt.took {
					t.Errorf("it took %v, want %v (-want +got):\n%s", took, tt.took, diff)
				}
				r := s.stats.report()
				got := Report{Acknowledged: r.Acknowledged, Unacknowledged: r.Unacknowledged, Retransmitted: r.Retransmitted, Refused: r.Refused}
				if diff := cmp.Diff(tt.r, got); diff != "" {
					t.Errorf("report (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestCoAPRenews holds that a request which was refused for the moment is another
// one the next time: the server would answer the same one as before.
func TestCoAPRenews(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var ids []uint16
		s, c := newCoAPSender(t, func(c *coapScript, m *coapMessage) {
			ids = append(ids, m.id)
			a := coapMessage{kind: acknowledgement, code: coapTooMany, id: m.id, token: m.token, options: []coapOption{uintOption(optMaxAge, 7)}}
			if len(ids) > 1 {
				a.code, a.options = coapChanged, nil
			}
			c.say(a)
		}, 0)
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(c.start); len(ids) != 2 || ids[0] == ids[1] || took != 7*sec {
			t.Errorf("ids %d after %v", ids, took)
		}
	})
}

// TestCoAPObserves holds that a device hears of commands as they come, acknowledges
// the notification, and counts none of that as a message of its own.
func TestCoAPObserves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		told := coapMessage{
			kind: acknowledgement, code: coapContent, token: observeToken,
			options: []coapOption{uintOption(optObserve, 1), uintOption(optContentFormat, 50)}, payload: []byte("{}"),
		}
		s, c := newCoAPSender(t, func(c *coapScript, m *coapMessage) {
			switch m.code { //nolint:exhaustive // a device sends no others
			case coapGET:
				a := told
				a.id = m.id
				c.say(a)
				time.AfterFunc(5*sec, func() {
					a := told
					a.kind, a.id, a.payload = confirmable, 500, []byte(`{"command":{"id":3,"name":"identify"}}`)
					c.say(a)
				})
			case coapPOST:
				c.say(coapMessage{kind: acknowledgement, code: coapChanged, id: m.id, token: m.token})
			}
		}, 0, 10*sec)
		fw := newFirmware(t, 1)
		fw.stats = s.stats
		s.firmware, s.observes = fw, true
		if err := s.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"0s 0 0.01 00", "0s 0 0.02 01", "5s 2 0.00 ", "10s 0 0.02 02"}, c.log); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if r := s.stats.report(); r.Commands != 1 || r.AskedForAck != 2 || r.Acknowledged != 2 || r.Unacknowledged != 0 || fw.pending {
			t.Errorf("report %+v, pending %t", r, fw.pending)
		}
	})
}
