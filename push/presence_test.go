package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

func (b *bench) announce(id device.ID, s device.State) {
	b.feed.Announce(device.Presence{ID: id, State: s})
}

// shown returns a message as "device gh1 online" or "readings 1".
func shown(t *testing.T, f *Frame) string {
	t.Helper()
	var m struct {
		Type     string
		Device   struct{ ID, State string }
		Readings []json.RawMessage
	}
	if err := json.Unmarshal(f.JSON(), &m); err != nil {
		t.Fatalf("%v: %s", err, f.JSON())
	}
	if m.Type == "device" {
		return fmt.Sprint("device ", m.Device.ID, " ", m.Device.State)
	}
	return strings.TrimSuffix(fmt.Sprint(m.Type, " ", len(m.Readings)), " 0")
}

// States come before the readings, of the devices that are wanted; then each
// change, and of what a viewer has missed the newest.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(256)
		b.announce("a", device.Unheard)
		b.announce("b", device.Online)
		b.announce("gone", device.Removed)
		b.announce("a", device.Online)
		b.publish("a/x", "b/x")
		narrow := selector(t, "a gone", "")
		all := b.subscribe(t, Options{Presence: true, Last: 1, Subscribed: true})
		one := b.subscribe(t, Options{Presence: true, Selector: narrow})
		none := b.subscribe(t, Options{Last: 1})
		expect := func(who string, s *Subscription, want ...string) {
			t.Helper()
			var got []string
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				f, err := s.Next(ctx)
				cancel()
				if errors.Is(err, context.DeadlineExceeded) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				got = append(got, shown(t, f))
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", who, d)
			}
		}
		expect("all", all, "subscribed", "device b online", "device a online", "readings 2")
		expect("one", one, "device a online")
		expect("none", none, "readings 2")
		b.announce("a", device.Late)
		b.announce("b", device.Late)
		b.announce("a", device.Offline)
		b.publish("b/x")
		expect("all, later", all, "device b late", "device a offline", "readings 1")
		expect("one, later", one, "device a offline")
		expect("none, later", none, "readings 1")
		b.announce("a", device.Removed)
		expect("all, at the end", all, "device a removed")
		late := b.subscribe(t, Options{Presence: true})
		expect("who comes late", late, "device b late")
		if p := &b.feed.presences; len(p.waiting) != 0 || p.changed.Len() != 3 {
			t.Errorf("%d wait, %d states", len(p.waiting), p.changed.Len())
		}
	})
}

// Who waits is woken by a change as by a reading, and by the end.
func TestPresenceWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(256)
		s := b.subscribe(t, Options{Presence: true})
		got := make(chan string, 10)
		go func() {
			for {
				f, err := s.Next(context.Background())
				if err != nil {
					got <- err.Error()
					return
				}
				got <- shown(t, f)
			}
		}()
		for _, c := range []struct {
			do   func()
			want string
		}{
			{func() { b.announce("a", device.Online) }, "device a online"},
			{func() { b.publish("a/x") }, "readings 1"},
			{func() { b.announce("b", device.Late) }, "device b late"},
			{func() { b.announce("a", device.Late) }, "device a late"},
			{b.feed.Close, ErrClosed.Error()},
		} {
			synctest.Wait()
			if len(got) > 0 {
				t.Errorf("%s before %s", <-got, c.want)
			}
			<-time.NewTimer(time.Second).C
			start := time.Now()
			c.do()
			if w := <-got; w != c.want || time.Since(start) > 0 {
				t.Errorf("%s after %v, want %s at once", w, time.Since(start), c.want)
			}
		}
	})
}
