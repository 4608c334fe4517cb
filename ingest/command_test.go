package ingest

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// fakeMailbox has at most one command for each device, and tells it until an
// outcome comes.
type fakeMailbox struct {
	waiting  map[device.ID]device.Command
	outcomes []string
	disk     chan struct{} // closed when outcomes are on it; nil: at once
}

func (m *fakeMailbox) Next(id device.ID) (device.Command, bool) {
	c, ok := m.waiting[id]
	return c, ok
}

func (m *fakeMailbox) Settle(id device.ID, o device.Outcome) <-chan struct{} {
	m.outcomes = append(m.outcomes, string(id)+": "+o.String())
	delete(m.waiting, id)
	return m.disk
}

func mailboxFor(ids ...device.ID) *fakeMailbox {
	m := &fakeMailbox{waiting: map[device.ID]device.Command{}}
	for i, id := range ids {
		m.waiting[id] = device.Command{ID: uint64(i + 1), Device: id, Name: "go"}
	}
	return m
}

func TestCommands(t *testing.T) {
	const forX, forY = `"command":{"id":1,"device":"x","name":"go"}`, `"command":{"id":2,"device":"y","name":"go"}`
	proved := local
	proved.Device = "x"
	spoken := &device.Registration{ID: "x", Credentials: []device.Credential{{Kind: device.Token, Secret: make([]byte, 32)}}}
	for _, c := range []struct {
		name     string
		stream   bool
		peer     Peer
		guard    bool // x is spoken for
		payloads []string
		answers  []string
		outcomes []string
		stored   int
	}{
		{"nobody asks", false, local, false, []string{"t,device=x v=1"}, nil, nil, 1},
		{"in an acknowledgement", false, local, false, []string{"t,device=x,seq=7,ack=1 v=1"}, []string{`{"ack":7,` + forX + `}`}, nil, 1},
		{"without seq", false, local, false, []string{`{"device":"x","ack":true,"v":1}`}, []string{`{"ack":null,` + forX + `}`}, nil, 1},
		{"for each its own", true, local, false, []string{"t,device=x,seq=7,ack=1 v=1\nt,device=y,seq=8,ack=1 v=1\nt,device=z,seq=9,ack=1 v=1\n"}, []string{`{"ack":7,` + forX + `}`, `{"ack":8,` + forY + `}`, `{"ack":9}`}, nil, 3},
		{"in a refusal of values", false, local, false, []string{`{"device":"x","seq":7,"ack":true,"a\u0001":1,"v":1}`}, []string{`{"error":"metric","seq":7,` + forX + `}`}, nil, 1},
		{"to a retransmission", false, local, false, []string{"t,device=x,seq=7 v=1", "t,device=x,seq=7,ack=1 v=1"}, []string{`{"ack":7,` + forX + `}`}, nil, 1},
		{"not to who cannot be read", false, local, false, []string{"t,device=x,seq=7,ack=1 v="}, []string{`{"error":"syntax","seq":7}`}, nil, 0},
		{"not to who cannot prove it", false, local, true, []string{"t,device=x,seq=7,ack=1 v=1", `{"device":"x","seq":8,"ack":true,"token":"x","outcome":1}`}, []string{`{"error":"credential","seq":7}`, `{"error":"credential","seq":8}`}, nil, 0},
		{"to who has proved it", false, proved, true, []string{"t,seq=7,ack=1 v=1"}, []string{`{"ack":7,` + forX + `}`}, nil, 1},
		{"not to who is another", false, proved, true, []string{"t,device=y,seq=7,ack=1 v=1"}, []string{`{"error":"forbidden","seq":7}`}, nil, 0},

		{"outcome beside readings", false, local, false, []string{"t,device=x,seq=7,ack=1,outcome=1 v=1"}, []string{`{"ack":7}`}, []string{"x: 1"}, 1},
		{"outcome alone", false, local, false, []string{`{"device":"x","seq":7,"ack":true,"outcome":"1 error: stuck"}`}, []string{`{"ack":7}`}, []string{"x: 1 error: stuck"}, 0},
		{"outcome alone on a stream", true, local, false, []string{"{\"device\":\"x\",\"ack\":true,\"outcome\":1}\n{\"device\":\"y\",\"ack\":true,\"outcome\":2}\n"}, []string{`{"ack":null}`, `{"ack":null}`}, []string{"x: 1", "y: 2"}, 0},
		{"outcome of lines of one message", false, local, false, []string{"t,device=x,seq=7,ack=1,outcome=1 v=1\nt,device=x,seq=7,ack=1 w=1"}, []string{`{"ack":7}`}, []string{"x: 1"}, 2},
		{"outcome in a retransmission", false, local, false, []string{"t,device=x,seq=7,outcome=1 v=1", "t,device=x,seq=7,outcome=1 v=1"}, nil, []string{"x: 1", "x: 1"}, 1},
		{"neither reading nor outcome", false, local, false, []string{`{"device":"x","seq":7,"ack":true}`}, []string{`{"error":"empty","seq":7}`}, nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			mail := mailboxFor("x", "y")
			b := newBench(Config{Mailbox: mail}, c.stream)
			if c.guard {
				b.Gate().Register("x", spoken)
			}
			b.send(t, c.peer, c.payloads...)
			if d := cmp.Diff(c.answers, b.settled(t), equal...); d != "" {
				t.Error("answers (-want +got):\n", d)
			}
			if d := cmp.Diff(c.outcomes, mail.outcomes); d != "" {
				t.Error("outcomes (-want +got):\n", d)
			}
			if got := b.sink.texts(); len(got) != c.stored {
				t.Errorf("stored %q, want %d readings", got, c.stored)
			}
		})
	}
}

// An outcome is acknowledged when it is on the disk, over HTTP and CoAP too.
func TestOutcomeIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mail := mailboxFor("x", "y")
		mail.disk = make(chan struct{})
		b := newBench(Config{Mailbox: mail}, false)
		b.send(t, local, `{"device":"x","seq":7,"ack":true,"outcome":1}`)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = b.Run(ctx) }()
		written := make(chan Written, 1)
		go func() {
			w, err := b.Write(ctx, local, []byte(`{"device":"y","outcome":2}`), wire.Ago)
			if err != nil {
				t.Error(err)
			}
			written <- w
		}()
		synctest.Wait()
		if len(b.answers) != 0 || len(written) != 0 {
			t.Errorf("answered %q before the disk has it", b.answers)
		}
		close(mail.disk)
		synctest.Wait()
		if d := cmp.Diff([]string{`{"ack":7}`}, b.answers); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if w := <-written; w.Device != "y" || w.Messages != 1 || w.Refused != 0 {
			t.Errorf("written %+v", w)
		}
		cancel()
		synctest.Wait()
	})
}

func TestListener(t *testing.T) {
	b := newBench(Config{}, false)
	b.Gate().Register("locked", &device.Registration{ID: "locked", Credentials: []device.Credential{{Kind: device.PSK, Secret: make([]byte, 16)}}})
	b.Gate().Register("gone", &device.Registration{ID: "gone", Revoked: true})
	b.Gate().Register("named", &device.Registration{ID: "named"})
	for _, c := range []struct {
		proved, name device.ID
		want         string
	}{
		{"", "", "ip-192.168.1.7"},
		{"", "new", "new"},
		{"", "named", "named"},
		{"", "locked", "credential"},
		{"", "gone", "credential"},
		{"", "/", "device"},
		{"locked", "", "locked"},
		{"locked", "named", "locked"},
		{"gone", "", "credential"},
	} {
		peer := local
		peer.Device, peer.Name = c.proved, c.name
		id, err := b.Gate().Listener(peer)
		got := string(id)
		if e, ok := err.(*RefusalError); ok { //nolint:errorlint // it is documented to be one
			got = e.Reason.String()
		}
		if got != c.want {
			t.Errorf("proved %q, named %q: %s, want %s", c.proved, c.name, got, c.want)
		}
	}
}
