package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// command is what the server asks of a device.
type command struct {
	ID     uint64          `json:"id"`
	Device device.ID       `json:"device"`
	Name   string          `json:"name"`
	Value  json.RawMessage `json:"value"`
}

// effect is what a command changes beyond the device's readings.
type effect uint8

const (
	noEffect effect = iota
	replan          // the message that waits for its moment is void
	reboot          // the device restarts when nothing waits for an answer
)

// Bounds of what commands may do.
const (
	// remembered is how many commands a device knows again. Answers may overtake
	// each other, so that one that was carried out may be told after a later one.
	remembered       = 8
	maxKept          = 16
	shortestInterval = 10 * time.Millisecond
	longestInterval  = 24 * time.Hour
)

// firmware carries out the commands of a device, each once, and tells what came of
// them until the server has heard it. What it knows lies in flash: it survives
// restarts. It belongs to the goroutine of its sender.
type firmware struct {
	unit   *unit
	stats  *stats
	booted time.Time

	done    []device.Outcome // of the newest commands, newest last
	pending bool             // the server has not heard the outcome told
	told    device.Outcome
	from    uint64 // seq of the first message that told it
	sent    bool   // there is such a message
}

// obey carries out a command, unless it has done so before. Then only the outcome is
// told again.
func (f *firmware) obey(c *command, now time.Time) effect {
	if c.Device != "" && c.Device != f.unit.model.id {
		return noEffect
	}
	if i := slices.IndexFunc(f.done, func(o device.Outcome) bool { return o.Command == c.ID }); i >= 0 {
		if !f.pending || f.told.Command != c.ID {
			f.tell(f.done[i])
		}
		return noEffect
	}
	result, effect, err := f.run(c, now)
	if err != nil {
		result = err.Error()
		f.stats.failedCommands.Add(1)
	}
	f.stats.commands.Add(1)
	o := device.Outcome{Command: c.ID, Failed: err != nil, Text: result}
	f.done = append(f.done, o)
	if len(f.done) > remembered {
		f.done = slices.Delete(f.done, 0, 1)
	}
	f.tell(o)
	return effect
}

func (f *firmware) tell(o device.Outcome) { f.pending, f.told, f.sent = true, o, false }

// report puts the outcome that the server has not heard into a message that is about
// to be sent. A format without a place for it gives way to JSON.
func (f *firmware) report(m *message) {
	if !f.pending {
		return
	}
	m.outcome = f.told
	if !carriesMore(m.format) {
		m.format = wire.FormatJSON
	}
	if !f.sent {
		f.from, f.sent = m.seq, true
	}
}

// heard notes that the server has the message with this seq.
func (f *firmware) heard(seq uint64) {
	if f.pending && f.sent && seq >= f.from {
		f.pending = false
	}
}

// restarted begins anew: messages that told an outcome may be lost.
func (f *firmware) restarted(now time.Time) { f.booted, f.sent = now, false }

// run carries out a command and returns what there is to say about it.
func (f *firmware) run(c *command, now time.Time) (result string, e effect, err error) {
	switch c.Name {
	case "interval":
		return f.setInterval(c.Value, now)
	case "relay":
		return f.switchRelay(c.Value)
	case "set":
		return f.set(c.Value)
	case "reboot":
		return "", reboot, nil
	case "identify":
		up := now.Sub(f.booted).Truncate(time.Second)
		return fmt.Sprintf("%d sensors, up %v", len(f.unit.model.sensors), up), noEffect, nil
	}
	return "", noEffect, errors.New("unknown command")
}

// setInterval takes the seconds from one report to the next.
func (f *firmware) setInterval(value json.RawMessage, now time.Time) (string, effect, error) {
	var seconds float64
	if json.Unmarshal(value, &seconds) != nil ||
		seconds < shortestInterval.Seconds() || seconds > longestInterval.Seconds() {
		return "", noEffect, fmt.Errorf("want %v to %v seconds", shortestInterval.Seconds(), longestInterval.Seconds())
	}
	d := time.Duration(seconds * float64(time.Second))
	f.unit.setInterval(d, now)
	return "every " + d.String(), replan, nil
}

// switchRelay takes true, false, or what people say for it.
func (f *firmware) switchRelay(value json.RawMessage) (string, effect, error) {
	var on bool
	switch string(value) {
	case "true", "1", `"on"`:
		on = true
	case "false", "0", `"off"`:
	case `"toggle"`:
		now := f.unit.keptValue("relay")
		on = now == nil || now.Bits == 0
	default:
		return "", noEffect, errors.New("want true, false or toggle")
	}
	f.unit.keep("relay", truth(on))
	if on {
		return "on", noEffect, nil
	}
	return "off", noEffect, nil
}

// set takes one value, or an object of values by name.
func (f *firmware) set(value json.RawMessage) (string, effect, error) {
	values := map[string]json.RawMessage{}
	if json.Unmarshal(value, &values) != nil || len(values) == 0 {
		values = map[string]json.RawMessage{"": value}
	}
	kept := map[string]wire.Value{}
	for name, raw := range values {
		metric := "set"
		if name != "" {
			metric += "." + name
		}
		v, ok := scalar(raw)
		if !ok || device.CheckMetric(metric) != nil || !lineCarries(wire.Field{Metric: []byte(metric), Value: v}) {
			return "", noEffect, errors.New("want a number, a boolean or a text, or an object of such")
		}
		kept[metric] = v
	}
	if len(kept)+len(f.unit.kept) > maxKept {
		return "", noEffect, fmt.Errorf("no room for more than %d values", maxKept)
	}
	for metric, v := range kept {
		f.unit.keep(metric, v)
	}
	return "", noEffect, nil
}

// scalar reads a number, a boolean or a text that a device can have for a value.
func scalar(raw json.RawMessage) (v wire.Value, ok bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || bytes.IndexByte([]byte("n[{"), raw[0]) >= 0 {
		return v, false
	}
	if raw[0] == '"' {
		var s string
		ok = json.Unmarshal(raw, &s) == nil && device.CheckText(s) == nil
		return wire.Value{Kind: device.KindText, Text: []byte(s)}, ok
	}
	v, err := parseValue(raw)
	return v, err == nil && v.Kind != device.KindText
}
