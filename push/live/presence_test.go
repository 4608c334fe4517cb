package live

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// Device messages come with every streaming technique that asks for them; an
// answer to a poll has none.
func TestPresence(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		announce := func(id device.ID, s device.State) { g.feed.Announce(device.Presence{ID: id, State: s}) }
		announce("a", device.Online)
		announce("b", device.Unheard)
		announce("c", device.Online)
		if k.polling() {
			_, body := g.get(k.header(), "presence=1")
			if want := `{"type":"readings","cursor":"s-0","readings":[]}` + "\n"; body != want {
				t.Errorf("%s, want %s", body, want)
			}
			return
		}
		v := g.view(k, "presence=1&device=a&device=b")
		expect := func(want ...string) {
			t.Helper()
			var got []string
			for range want {
				m, err := v.next()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, m.String())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		}
		expect("device a online", "device b unknown")
		announce("c", device.Late)
		announce("b", device.Online)
		expect("device b online")
		g.publish("a/x")
		expect("readings s-1: 1")
		announce("a", device.Late)
		expect("device a late")
		if ws, ok := v.(*wsClient); ok {
			ws.send(`{"type":"subscribe","device":["c"]}`)
			expect("subscribed s-1", "device c late")
		}
	})
}

// Without being asked for there are none, but on a WebSocket that asks later.
func TestNoPresence(t *testing.T) {
	everywhere(t, func(t *testing.T, g *gateway, k kind) {
		if k.polling() {
			return
		}
		g.feed.Announce(device.Presence{ID: "a", State: device.Online})
		v := g.view(k, "presence=0")
		g.publish("a/x")
		if m, err := v.next(); err != nil || m.String() != "readings s-1: 1" {
			t.Errorf("%v, %v", m, err)
		}
		if ws, ok := v.(*wsClient); ok {
			ws.send(`{"type":"subscribe","presence":true}`)
			for _, want := range []string{"subscribed s-1", "device a online"} {
				if m, err := v.next(); err != nil || m.String() != want {
					t.Errorf("%v, %v; want %s", m, err, want)
				}
			}
		}
		answer, body := g.get(kind{Polling}.header(), url.Values{"presence": {"often"}}.Encode())
		if answer.StatusCode != 400 || body != `{"error":"presence: want 1 or 0"}`+"\n" {
			t.Errorf("%s %s", answer.Status, body)
		}
	})
}
