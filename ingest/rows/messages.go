package rows

import (
	"bytes"
	"errors"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// messages reads a line of NDJSON or line protocol.
func (d *Decoder) messages(line []byte) {
	d.wire.Reset(line, true)
	for d.wire.Next() {
		m, err := d.wire.Message()
		switch {
		case d.cfg.Format == Line && m.Format != wire.FormatLine:
			d.refuse(Syntax, "want line protocol, not "+m.Format.String())
		case d.cfg.Format == NDJSON && m.Format != wire.FormatJSON && m.Format != wire.FormatSenML:
			d.refuse(Syntax, "want an object that begins with {")
		case err != nil:
			d.refuse(Syntax, syntaxText(err))
		case len(m.Fields) == 0:
			d.refuse(Empty, "there is no reading in it")
		default:
			d.message(m)
		}
	}
}

// syntaxText leaves out the line, which is not counted as the decoder does.
func syntaxText(err error) string {
	if e, ok := errors.AsType[*wire.SyntaxError](err); ok {
		text := e.Error()
		if _, rest, ok := strings.Cut(text, ", "); ok {
			return rest
		}
		return text
	}
	return err.Error()
}

func (d *Decoder) message(m *wire.Message) {
	dev := m.Device
	if len(dev) == 0 {
		dev = []byte(d.cfg.Device)
	}
	if len(dev) == 0 {
		d.refuse(Device, "it names no device; --device names one for all such rows")
		return
	}
	if m.Format == wire.FormatJSON {
		if metric, ok := textNamed(m, "metric"); ok {
			d.contractReading(m, dev, metric)
			return
		}
	}
	at, ok := d.moment(m.Time)
	if !ok {
		d.refuse(Time, timeText)
		return
	}
	for _, f := range m.Fields {
		d.add(dev, f.Metric, at, f.Value, 0)
	}
}

const timeText = "the time is none that can be told: outside of the years 1677 to 2262, or before 1970 without a unit"

// moment resolves the time of a message from a device.
func (d *Decoder) moment(t wire.Time) (device.Time, bool) {
	switch {
	case !t.Set:
		return d.cfg.Now, true
	case t.Text:
		return t.In(wire.Second)
	case d.unit != wire.Ago:
		return t.In(d.unit)
	case t.Unit() == wire.Ago:
		at := t.At(d.cfg.Now)
		return at, at != 0
	}
	return t.In(t.Unit())
}

// contractReading reads {"offset","device","metric","time","value"}.
func (d *Decoder) contractReading(m *wire.Message, dev, metric []byte) {
	var value wire.Value
	var offset uint64
	for _, f := range m.Fields {
		switch {
		case string(f.Metric) == "value":
			value = f.Value
		case string(f.Metric) == "offset" && f.Value.Kind == device.KindInt && int64(f.Value.Bits) > 0:
			offset = f.Value.Bits
		}
	}
	if value.Kind == 0 {
		d.refuse(Value, "it names a metric and has no value")
		return
	}
	if !m.Time.Set {
		d.refuse(Time, "the time is missing")
		return
	}
	unit := d.cfg.Unit
	switch {
	case m.Time.Text:
		unit = wire.Second
	case unit == wire.Ago:
		unit = wire.Milli
	}
	at, ok := m.Time.In(unit)
	if !ok {
		d.refuse(Time, timeText)
		return
	}
	d.add(dev, metric, at, value, offset)
}

// textNamed returns the text of a field, if there is one.
func textNamed(m *wire.Message, name string) ([]byte, bool) {
	for i := range m.Fields {
		if f := &m.Fields[i]; f.Value.Kind == device.KindText && string(f.Metric) == name {
			return f.Value.Text, true
		}
	}
	return nil, false
}

// comment reads "# precision: ns".
func (d *Decoder) comment(line []byte) {
	name, unit, ok := strings.Cut(strings.TrimSpace(string(line[1:min(len(line), 40)])), ":")
	if !ok || !strings.EqualFold(name, "precision") {
		return
	}
	if u, err := ParseUnit(strings.TrimSpace(unit)); err == nil {
		d.unit = u
	}
}

// beginsObject reports whether the line holds JSON, or nothing.
func beginsObject(line []byte) bool {
	line = bytes.TrimLeft(line, " \t\r\x00")
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	return len(line) == 0 || line[0] == '{' || line[0] == '['
}
