package rows

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// maxContinued bounds what a row may have behind its first line: some texts with
// line ends in them. A quote that is never closed is found out by it.
const maxContinued = 8 << 10

// cell is one cell of a row, as offsets into the rest of the lines.
type cell struct {
	from, to int
	quoted   bool
	doubled  bool // it holds doubled quotes
}

// rowError is a row that is no CSV.
type rowError struct{ msg string }

func (e *rowError) Error() string { return e.msg }

// csvRow reads the row at hand and moves behind it. Of a broken row only its
// first line is lost.
func (d *Decoder) csvRow() error {
	end, count, err := d.split()
	if broken, ok := errors.AsType[*rowError](err); ok {
		first, err := d.lines.end(0)
		if err != nil {
			return err
		}
		if d.table == nil {
			return &HeaderError{broken.msg}
		}
		d.refuse(Syntax, broken.msg)
		d.lines.take(first, 1)
		return nil
	}
	if errors.Is(err, errLongLine) && d.table == nil {
		return &HeaderError{"want the names of columns, parted by commas"}
	}
	if err != nil {
		return err
	}
	switch {
	case len(d.cells) == 1 && !d.cells[0].quoted && len(trim(d.raw(&d.cells[0]))) == 0:
		// an empty line
	case d.table == nil:
		if d.table, err = d.header(); err != nil {
			return err
		}
	default:
		d.tableRow()
	}
	d.lines.take(end, count)
	return nil
}

// split finds the cells of the row at hand and returns where it ends and how
// many lines it has.
func (d *Decoder) split() (end int, count int64, err error) {
	d.cells = d.cells[:0]
	if end, err = d.lines.end(0); err != nil {
		return 0, 0, err
	}
	first, count := end, int64(1)
	for at := 0; ; at++ {
		rest := d.lines.rest()
		c := cell{from: at, to: at}
		if at < end && rest[at] == '"' {
			c.quoted = true
			c.from++
			if c, end, count, err = d.quoted(c, end, first, count); err != nil {
				return 0, 0, err
			}
			rest = d.lines.rest()
			at = c.to + 1
		} else {
			at = end
			if i := bytes.IndexByte(rest[c.from:end], ','); i >= 0 {
				at = c.from + i
			}
			c.to = at
			if at == end && at > c.from && rest[at-1] == '\r' {
				c.to--
			}
		}
		d.cells = append(d.cells, c)
		switch {
		case at >= end, at == end-1 && rest[at] == '\r' && c.quoted:
			return end, count, nil
		case rest[at] != ',':
			return 0, 0, &rowError{fmt.Sprintf("column %d: text behind the closing quote", len(d.cells))}
		}
	}
}

// quoted reads to the closing quote of the cell, over line ends if need be.
func (d *Decoder) quoted(c cell, end, first int, count int64) (cell, int, int64, error) {
	open := &rowError{fmt.Sprintf("column %d: the closing quote is missing", len(d.cells)+1)}
	for at := c.from; ; {
		rest := d.lines.rest()
		i := bytes.IndexByte(rest[at:end], '"')
		switch {
		case i >= 0 && at+i+1 < end && rest[at+i+1] == '"':
			c.doubled = true
			at += i + 2
		case i >= 0:
			c.to = at + i
			return c, end, count, nil
		default:
			at = end + 1
			next, err := d.lines.end(at)
			switch {
			case errors.Is(err, io.EOF), errors.Is(err, errLongLine), err == nil && next-first > maxContinued:
				return c, 0, 0, open
			case err != nil:
				return c, 0, 0, err
			}
			end, count = next, count+1
		}
	}
}

// raw returns the cell as it stands there.
func (d *Decoder) raw(c *cell) []byte { return d.lines.rest()[c.from:c.to] }

// content returns the cell with its quotes resolved.
func (d *Decoder) content(c *cell) []byte {
	if !c.doubled {
		return d.raw(c)
	}
	return bytes.ReplaceAll(d.raw(c), []byte(`""`), []byte(`"`))
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// tableRow takes the readings of a row.
func (d *Decoder) tableRow() {
	t := d.table
	if len(d.cells) != t.columns {
		d.refuse(Syntax, fmt.Sprintf("%d columns, the header has %d", len(d.cells), t.columns))
		return
	}
	dev := []byte(d.cfg.Device)
	if t.device >= 0 {
		if own := trim(d.content(&d.cells[t.device])); len(own) > 0 || len(dev) == 0 {
			dev = own
		}
	}
	at, ok := d.cellTime(&d.cells[t.time])
	if !ok {
		return
	}
	if t.value < 0 {
		d.wideRow(dev, at)
		return
	}
	v, msg := d.cellValue(&d.cells[t.value])
	if msg != "" {
		d.refuse(Value, msg)
		return
	}
	offset := uint64(0)
	if t.offset >= 0 {
		offset, _ = strconv.ParseUint(string(trim(d.raw(&d.cells[t.offset]))), 10, 64) // it only tells where the row came from
	}
	d.add(dev, d.content(&d.cells[t.metric]), at, v, offset)
}

func (d *Decoder) wideRow(dev []byte, at device.Time) {
	for _, m := range d.table.metrics {
		c := &d.cells[m.column]
		if (!c.quoted || d.table.plainQuotes) && len(trim(d.raw(c))) == 0 {
			continue
		}
		v, msg := d.cellValue(c)
		if msg != "" {
			d.refuse(Value, fmt.Sprintf("%s: %s", m.name, msg))
			continue
		}
		d.add(dev, m.name, at, v, 0)
	}
}

// cellTime reads the moment of a row, or refuses the row.
func (d *Decoder) cellTime(c *cell) (device.Time, bool) {
	b := trim(d.content(c))
	if len(b) == 0 {
		d.refuse(Time, "the time is missing")
		return 0, false
	}
	t, ok := wire.ParseTime(b)
	if !ok {
		d.refuse(Time, fmt.Sprintf("time %.40q is neither a number nor like 2026-11-23T10:00:00Z", b))
		return 0, false
	}
	unit := d.table.unit
	switch {
	case t.Text:
		unit = wire.Second
	case unit == wire.Ago:
		if unit = t.Unit(); unit == wire.Ago {
			d.refuse(Time, fmt.Sprintf("time %.40s: its unit cannot be told by its size; name the column unix_s, unix_ms, unix_us or unix_ns", b))
			return 0, false
		}
	}
	at, ok := t.In(unit)
	if !ok {
		d.refuse(Time, fmt.Sprintf("time %.40s lies outside of the years 1677 to 2262", b))
	}
	return at, ok
}

// cellValue reads a value, or says what is wrong with it.
func (d *Decoder) cellValue(c *cell) (wire.Value, string) {
	b := d.content(c)
	if c.quoted && !d.table.plainQuotes {
		return wire.Value{Kind: device.KindText, Text: b}, ""
	}
	word := trim(b)
	if v, ok := wire.ParseNumber(word); ok {
		return v, ""
	}
	switch string(word) {
	case "":
		if c.quoted {
			break
		}
		return wire.Value{}, "the value is missing"
	case "true", "True", "TRUE":
		return wire.ValueOf(device.Bool(true)), ""
	case "false", "False", "FALSE":
		return wire.ValueOf(device.Bool(false)), ""
	}
	if isNoNumber(word) {
		return wire.Value{}, fmt.Sprintf("%s is not a finite number", word)
	}
	return wire.Value{Kind: device.KindText, Text: b}, ""
}

// isNoNumber reports whether b is what programs write for NaN and the infinities.
func isNoNumber(b []byte) bool {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	return bytes.EqualFold(b, []byte("nan")) || bytes.EqualFold(b, []byte("inf")) || bytes.EqualFold(b, []byte("infinity"))
}
