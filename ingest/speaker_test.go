package ingest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// books is a registry in memory that tells the gate.
type books struct {
	t    *testing.T
	gate *Gate
	all  map[device.ID]*device.Registration
	used []string
}

func newBooks(t *testing.T) *books { return &books{t: t, all: map[device.ID]*device.Registration{}} }

// change changes the registration and returns the token that is new.
func (b *books) change(act device.Act, id device.ID) string {
	b.t.Helper()
	c := device.Change{Act: act, ID: id, Token: true}
	r, s, err := c.Apply(b.all[id], 1)
	if err != nil {
		b.t.Fatal(err)
	}
	b.all[id] = r
	b.gate.Register(id, r)
	return s.Token
}

// use notes a use, as the store does.
func (b *books) use(id device.ID, kind device.CredentialKind, secret []byte) {
	b.used = append(b.used, fmt.Sprint(id, " ", kind))
	r := b.all[id]
	for i, c := range r.Credentials {
		if string(c.Secret) == string(secret) {
			b.all[id] = r.Use(i, 2)
		}
	}
}

func TestSpokenFor(t *testing.T) {
	proved := Peer{Addr: local.Addr, Transport: "dtls", Device: "gh1"}
	for _, stream := range []bool{false, true} {
		type step struct {
			do      func(b *books)
			peer    Peer
			payload string // TOKEN and OLD stand for tokens
			want    string // the reading or the refusal
		}
		var token, old string
		for _, c := range []struct {
			name   string
			stream bool // on streams only
			steps  []step
		}{
			{"plain until it has a credential", false, []step{
				{peer: local, payload: "t,device=gh1 v=1", want: "gh1 t.v=1"},
				{do: func(b *books) { token = b.change(device.Register, "gh1") }, peer: local, payload: "t,device=gh1 v=2", want: "credential"},
				{peer: local, payload: "t,device=gh2 v=3", want: "gh2 t.v=3"},
				{peer: local, payload: "t,device=gh1,token=TOKEN v=4", want: "gh1 t.v=4"},
				{peer: local, payload: `{"device":"gh1","token":"TOKEN","v":5}`, want: "gh1 v=5"},
				{peer: local, payload: "\xa3\x66device\x63gh1\x65token\x78\x1aTOKEN\x61v\x06", want: "gh1 v=6"},
				{peer: local, payload: "t,device=gh1,token=WRONG v=7", want: "credential"},
				{peer: local, payload: "t,device=gh1,token=TOKENx v=7", want: "credential"},
				{do: func(b *books) { b.change(device.Remove, "gh1") }, peer: local, payload: "t,device=gh1 v=8", want: "gh1 t.v=8"},
			}},
			{"by the address", false, []step{
				{do: func(b *books) { token = b.change(device.Register, "ip-192.168.1.7") }, peer: local, payload: "t v=1", want: "credential"},
				{peer: other, payload: "t v=1", want: "ip-192.168.1.8 t.v=1"},
				{peer: local, payload: "t,token=TOKEN v=1", want: "ip-192.168.1.7 t.v=1"},
			}},
			{"over a session that has proved it", false, []step{
				{do: func(b *books) { b.change(device.Register, "gh1") }, peer: proved, payload: "t,device=gh1 v=1", want: "gh1 t.v=1"},
				{peer: proved, payload: "t v=2", want: "gh1 t.v=2"},
				{peer: proved, payload: "t,device=gh2 v=3", want: "forbidden"},
				{peer: local, payload: "t,device=gh1 v=4", want: "credential"},
				{do: func(b *books) { b.change(device.Revoke, "gh1") }, peer: proved, payload: "t v=5", want: "credential"},
			}},
			{"another device's token", false, []step{
				{do: func(b *books) { token = b.change(device.Register, "gh1"); b.change(device.Register, "gh2") }, peer: local, payload: "t,device=gh2,token=TOKEN v=1", want: "credential"},
				{peer: local, payload: "t,device=gh1,token=TOKEN v=1", want: "gh1 t.v=1"},
			}},
			{"rotated: both until the new one is used", false, []step{
				{do: func(b *books) { old = b.change(device.Register, "gh1"); token = b.change(device.Rotate, "gh1") }, peer: local, payload: "t,device=gh1,token=OLD v=1", want: "gh1 t.v=1"},
				{peer: local, payload: "t,device=gh1,token=TOKEN v=2", want: "gh1 t.v=2"},
				{do: func(b *books) { b.gate.Register("gh1", b.all["gh1"]) }, peer: local, payload: "t,device=gh1,token=OLD v=3", want: "credential"},
				{peer: local, payload: "t,device=gh1,token=TOKEN v=4", want: "gh1 t.v=4"},
			}},
			{"the token on the first line", true, []step{
				{do: func(b *books) { token = b.change(device.Register, "gh1") }, peer: local, payload: "t,device=gh1,token=TOKEN v=1\n", want: "gh1 t.v=1"},
				{peer: local, payload: "t,device=gh1 v=2\n", want: "gh1 t.v=2"},
				{do: func(b *books) { b.change(device.Approve, "gh1") }, peer: local, payload: "t,device=gh1 v=3\n", want: "gh1 t.v=3"},
				{do: func(b *books) { token = b.change(device.Rotate, "gh1") }, peer: local, payload: "t,device=gh1 v=4\n", want: "gh1 t.v=4"},
				{do: func(b *books) { b.change(device.Revoke, "gh1") }, peer: local, payload: "t,device=gh1 v=5\n", want: "credential"},
				{do: func(b *books) { b.change(device.Rotate, "gh1") }, peer: local, payload: "t,device=gh1 v=6\n", want: "credential"},
			}},
			{"a greeting", true, []step{
				{do: func(b *books) { token = b.change(device.Register, "gh1") }, peer: local, payload: `{"device":"gh1","token":"TOKEN","ack":true}` + "\n", want: ""},
				{peer: local, payload: "t,device=gh1 v=2\n", want: "gh1 t.v=2"},
				{peer: local, payload: `{"device":"gh1","token":"WRONG"}` + "\n", want: "credential"},
			}},
		} {
			if c.stream && !stream {
				continue
			}
			t.Run(fmt.Sprintf("%s/stream=%t", c.name, stream), func(t *testing.T) {
				books := newBooks(t)
				b := newBench(Config{Used: books.use}, stream)
				books.gate = b.Gate()
				for i, s := range c.steps {
					if s.do != nil {
						s.do(books)
					}
					seen, refused := len(b.sink.texts()), len(b.refusals())
					payload := strings.NewReplacer("TOKEN", token, "OLD", old, "WRONG", strings.Repeat("w", 26)).Replace(s.payload)
					b.send(t, s.peer, payload)
					got := strings.Join(b.sink.texts()[seen:], " ")
					for _, r := range b.refusals()[refused:] {
						reason, detail, _ := strings.Cut(r, ":")
						got += reason
						if strings.Contains(detail, token) {
							t.Errorf("step %d: %s tells the token", i+1, r)
						}
					}
					if got != s.want {
						t.Errorf("step %d, %q: %q, want %q", i+1, s.payload, got, s.want)
					}
				}
				for _, r := range b.Inspector().Newest() {
					if token != "" && strings.Contains(string(r.Payload), token) {
						t.Errorf("the inspector keeps the token: %s", r.Payload)
					}
				}
			})
		}
	}
}

// The first use of each token is told once it matters, and no other.
func TestUseIsTold(t *testing.T) {
	books := newBooks(t)
	b := newBench(Config{Used: books.use}, false)
	books.gate = b.Gate()
	token := books.change(device.Register, "gh1")
	line := "t,device=gh1,token=" + token + " v=1"
	b.send(t, local, line)
	b.Gate().Register("gh1", books.all["gh1"])
	b.send(t, local, line, line, "t,device=gh1,token=x v=1")
	if want := []string{"gh1 token"}; !slices.Equal(books.used, want) {
		t.Errorf("told %q, want %q", books.used, want)
	}
}

func TestAdmission(t *testing.T) {
	long := strings.Repeat("é", 60)
	for _, c := range []struct {
		admission Admission
		readings  []string
		refusals  []string
		answers   []string
	}{
		{Open, []string{"old v=1", "listed v=1", "new v=1", "new v=2"}, nil, []string{`{"ack":1}`, `{"ack":2}`, `{"ack":3}`, `{"ack":4}`}},
		{Approve, []string{"old v=1", "listed v=1"}, []string{`approval: device "new" waits for approval`}, []string{`{"ack":1}`, `{"ack":2}`, `{"error":"approval","seq":3}`, `{"error":"approval","seq":4}`}},
		{Known, []string{"old v=1", "listed v=1"}, []string{`unknown: device "new" is not registered`, `unknown: device "new" is not registered`}, []string{`{"ack":1}`, `{"ack":2}`, `{"error":"unknown","seq":3}`, `{"error":"unknown","seq":4}`}},
	} {
		t.Run(c.admission.String(), func(t *testing.T) {
			if a, err := ParseAdmission(c.admission.String()); a != c.admission || err != nil {
				t.Errorf("parsed as %v, %v", a, err)
			}
			books := newBooks(t)
			b := newBench(Config{Admission: c.admission}, false)
			books.gate = b.Gate()
			b.Gate().Seed(device.Series{Device: "old", Metric: "v"})
			books.change(device.Approve, "listed")
			for i, id := range []string{"old", "listed", "new", "new"} {
				b.send(t, local, fmt.Sprintf(`{"device":%q,"seq":%d,"ack":true,"v":%d}`, id, i+1, max(1, i-1)))
			}
			if d := cmp.Diff(c.readings, b.sink.texts(), equal...); d != "" {
				t.Error("readings (-want +got):\n", d)
			}
			if d := cmp.Diff(c.refusals, b.refusals(), equal...); d != "" {
				t.Error("refusals (-want +got):\n", d)
			}
			if d := cmp.Diff(c.answers, b.settled(t), equal...); d != "" {
				t.Error("answers (-want +got):\n", d)
			}
			waiting := b.Gate().Waiting()
			if c.admission != Approve {
				if len(waiting) != 0 {
					t.Errorf("%+v wait", waiting)
				}
				return
			}
			if len(waiting) != 1 || waiting[0].ID != "new" || waiting[0].Messages != 2 || waiting[0].Peer != local || fmt.Sprint(waiting[0].Values) != fmt.Sprint([]WaitingValue{{"v", device.TimeOf(now), device.Int(2)}}) {
				t.Fatalf("%+v wait", waiting)
			}
			if got := b.Inspector().Total(NotApproved); got != 2 {
				t.Errorf("%d refusals counted, want 2", got)
			}
			b.send(t, local, fmt.Sprintf(`{"device":"new","text":%q,"m\u0001":1}`, long))
			if v := b.Gate().Waiting()[0].Values; len(v) != 2 || v[1].Value.Text() != strings.Repeat("é", 32) {
				t.Errorf("values %+v", v)
			}
			books.change(device.Approve, "new")
			b.send(t, local, `{"device":"new","seq":4,"v":7}`)
			if got := b.sink.texts(); got[len(got)-1] != "new v=7" || len(b.Gate().Waiting()) != 0 {
				t.Errorf("after the approval: %q, %+v wait", got, b.Gate().Waiting())
			}
			books.change(device.Revoke, "other")
			b.send(t, local, `{"device":"other","v":7}`)
			if len(b.Gate().Waiting()) != 0 {
				t.Error("a device that was turned away waits")
			}
		})
	}
	if _, err := ParseAdmission("closed"); err == nil {
		t.Error("closed is an admission")
	}
}

// However many names there are, few wait, with few values, and none counts as a
// device.
func TestWaitingIsBounded(t *testing.T) {
	b := newBench(Config{Admission: Approve, MaxDevices: 10}, false)
	for i := range 5000 {
		b.clock = b.clock.Add(1e6)
		b.send(t, local, fmt.Sprintf(`{"device":"d%d","m%d":1}`, i, i), fmt.Sprintf(`{"device":"honest","m%d":1}`, i))
	}
	waiting := b.Gate().Waiting()
	devices, series := b.Gate().Known()
	if len(waiting) != maxWaiting || waiting[0].ID != "honest" || len(waiting[0].Values) != maxWaitingValues || devices != 0 || series != 0 {
		t.Errorf("%d wait, the first is %+v; %d devices, %d series", len(waiting), waiting[0], devices, series)
	}
}
