package device

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestOrder(t *testing.T) {
	const now = Time(1_764_000_000_000_000)
	good := Order{Device: "gh1", Name: "relay", Life: time.Hour}
	with := func(change func(*Order)) Order {
		o := good
		change(&o)
		return o
	}
	for _, c := range []struct {
		name  string
		order Order
		want  string // as the device is told; empty: refused
	}{
		{"no value", good, `{"id":0,"device":"gh1","name":"relay"}`},
		{"boolean", with(func(o *Order) { o.Value = []byte(" true ") }), `{"id":0,"device":"gh1","name":"relay","value":true}`},
		{"null is a value", with(func(o *Order) { o.Value = []byte("null") }), `{"id":0,"device":"gh1","name":"relay","value":null}`},
		{"object", with(func(o *Order) { o.Value = []byte("{ \"a\" : [1, 2] }") }), `{"id":0,"device":"gh1","name":"relay","value":{"a":[1,2]}}`},
		{"long name", with(func(o *Order) { o.Name = strings.Repeat("x", 64) }), `{"id":0,"device":"gh1","name":"` + strings.Repeat("x", 64) + `"}`},
		{"long value", with(func(o *Order) { o.Value = []byte(`"` + strings.Repeat("x", 510) + `"`) }), `{"id":0,"device":"gh1","name":"relay","value":"` + strings.Repeat("x", 510) + `"}`},
		{"no device", with(func(o *Order) { o.Device = "" }), ""},
		{"no name", with(func(o *Order) { o.Name = "" }), ""},
		{"name too long", with(func(o *Order) { o.Name = strings.Repeat("x", 65) }), ""},
		{"name with a quote", with(func(o *Order) { o.Name = `a"b` }), ""},
		{"name beyond ASCII", with(func(o *Order) { o.Name = "größe" }), ""},
		{"no JSON", with(func(o *Order) { o.Value = []byte("on") }), ""},
		{"empty value", with(func(o *Order) { o.Value = []byte{} }), ""},
		{"two values", with(func(o *Order) { o.Value = []byte("1 2") }), ""},
		{"not UTF-8", with(func(o *Order) { o.Value = []byte("\"\xff\"") }), ""},
		{"value too long", with(func(o *Order) { o.Value = []byte(`"` + strings.Repeat("x", 511) + `"`) }), ""},
		{"too short", with(func(o *Order) { o.Life = time.Second - 1 }), ""},
		{"too long", with(func(o *Order) { o.Life = 721 * time.Hour }), ""},
	} {
		got, err := c.order.Command(now)
		if c.want == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %+v, %v; want ErrInvalid", c.name, got, err)
			}
			continue
		}
		if err != nil || string(got.AppendJSON(nil)) != c.want || got.State != CommandWaiting || got.Expires.Sub(now) != c.order.Life {
			t.Errorf("%s: %s %v, want %s", c.name, got.AppendJSON(nil), err, c.want)
		}
	}
}

func TestCommandExpires(t *testing.T) {
	for _, c := range []struct {
		state CommandState
		at    Time
		want  CommandState
	}{
		{CommandWaiting, 99, CommandWaiting},
		{CommandWaiting, 100, CommandExpired},
		{CommandSent, 99, CommandSent},
		{CommandSent, 1000, CommandExpired},
		{CommandDone, 1000, CommandDone},
		{CommandFailed, 1000, CommandFailed},
		{CommandCancelled, 1000, CommandCancelled},
	} {
		command := Command{State: c.state, Expires: 100}
		got := command.At(c.at)
		if got.State != c.want || got.State == CommandExpired && got.Ended != 100 {
			t.Errorf("%s at %d: %s, ended %d; want %s", c.state, c.at, got.State, got.Ended, c.want)
		}
		if got.Open() != (c.want == CommandWaiting || c.want == CommandSent) {
			t.Errorf("%s is open: %v", got.State, got.Open())
		}
	}
}

func TestParseOutcome(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for _, c := range []struct {
		in   string
		want Outcome
		ok   bool
	}{
		{"3", Outcome{Command: 3}, true},
		{"9223372036854775807", Outcome{Command: 9223372036854775807}, true},
		{"3 on since noon", Outcome{Command: 3, Text: "on since noon"}, true},
		{"3 error", Outcome{Command: 3, Failed: true}, true},
		{"3 error: valve stuck", Outcome{Command: 3, Failed: true, Text: "valve stuck"}, true},
		{"3 error:", Outcome{Command: 3, Failed: true}, true},
		{"3 errors were there", Outcome{Command: 3, Text: "errors were there"}, true},
		{"3  a\nb\x00 ", Outcome{Command: 3, Text: "a b"}, true},
		{"3 \xffx", Outcome{Command: 3, Text: "x"}, true},
		{"3 " + long, Outcome{Command: 3, Text: long[:256]}, true},
		{"3 x" + long, Outcome{Command: 3, Text: "x" + long[:254]}, true},
		{"", Outcome{}, false},
		{"0", Outcome{}, false},
		{"-3", Outcome{}, false},
		{"+3", Outcome{}, false},
		{"3.5", Outcome{}, false},
		{"win", Outcome{}, false},
		{" 3", Outcome{}, false},
		{"3:ok", Outcome{}, false},
		{"9223372036854775808", Outcome{}, false},
	} {
		got, ok := ParseOutcome(c.in)
		if got != c.want || ok != c.ok {
			t.Errorf("%q: %+v %v, want %+v %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseOutcome(f *testing.F) {
	for _, s := range []string{"3", "3 on", "3 error: stuck", "x", "3 \xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, ok := ParseOutcome(s)
		if !ok {
			return
		}
		if len(o.Text) > maxOutcome {
			t.Errorf("%d bytes", len(o.Text))
		}
		if again, ok := ParseOutcome(o.String()); !ok || again != o {
			t.Errorf("%q: %+v, and written again %q: %+v", s, o, o.String(), again)
		}
	})
}
