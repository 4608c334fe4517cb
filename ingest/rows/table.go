package rows

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// table is what the header tells of the columns. A column that is not there has
// the index -1.
type table struct {
	columns                             int
	device, metric, value, time, offset int
	unit                                wire.Unit // of the numbers of time; wire.Ago: by their size
	metrics                             []metricColumn
	plainQuotes                         bool // quotes tell nothing about the kind of a value
}

type metricColumn struct {
	column int
	name   []byte
}

// timeColumns are the names of a column of time, and how its numbers count.
var timeColumns = map[string]wire.Unit{
	"time": wire.Ago, "timestamp": wire.Ago,
	"unix_s": wire.Second, "unix_ms": wire.Milli, "unix_us": wire.Micro, "unix_ns": wire.Nano,
}

func columnName(s string) string { return strings.ToLower(strings.TrimSpace(s)) }

// header reads the first row as the names of the columns.
func (d *Decoder) header() (*table, error) {
	t := &table{columns: len(d.cells), device: -1, metric: -1, value: -1, time: -1, offset: -1, plainQuotes: true}
	named := map[string]int{}
	var others []metricColumn
	for i := range d.cells {
		c := &d.cells[i]
		t.plainQuotes = t.plainQuotes && c.quoted
		b := d.content(c)
		if i == 0 {
			b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
		}
		if !c.quoted {
			b = trim(b)
		}
		if len(b) == 0 {
			continue // an index without a name
		}
		name := columnName(string(b))
		unit, isTime := timeColumns[name]
		place := t.place(name)
		if isTime {
			place = &t.time
		}
		switch {
		case place == nil:
			if before, ok := named[string(b)]; ok {
				return nil, &HeaderError{fmt.Sprintf("columns %d and %d are both named %.140q", before+1, i+1, b)}
			}
			named[string(b)] = i
			others = append(others, metricColumn{i, bytes.Clone(b)})
			continue
		case *place >= 0:
			return nil, &HeaderError{fmt.Sprintf("columns %d and %d both tell the same; leave out %s", *place+1, i+1, name)}
		}
		*place = i
		if isTime {
			t.unit = unit
		}
	}
	if t.unit == wire.Ago && t.offset >= 0 {
		t.unit = wire.Milli
	}
	if d.cfg.Unit != wire.Ago {
		t.unit = d.cfg.Unit
	}
	return t, d.checkHeader(t, others)
}

// place returns where the index of a column of this name belongs; nil for any
// other name.
func (t *table) place(name string) *int {
	switch name {
	case "device":
		return &t.device
	case "metric":
		return &t.metric
	case "value":
		return &t.value
	case "offset":
		return &t.offset
	}
	return nil
}

func (d *Decoder) checkHeader(t *table, others []metricColumn) error {
	switch {
	case t.time < 0:
		return &HeaderError{"there is no column time (or unix_s, unix_ms, unix_us, unix_ns); " +
			"want the names of the columns, parted by commas: device, metric, time, value, or time and one for each metric"}
	case t.device < 0 && d.cfg.Device == "":
		return &HeaderError{"there is no column device; --device names one for all rows"}
	case t.value >= 0 && t.metric < 0:
		return &HeaderError{"there is a column value, and no column metric"}
	case t.metric >= 0 && t.value < 0:
		return &HeaderError{"there is a column metric, and no column value"}
	case t.value >= 0:
		return nil
	case len(others) == 0:
		return &HeaderError{"there is no column of a metric"}
	}
	for _, m := range others {
		if err := device.CheckMetric(m.name); err != nil {
			return &HeaderError{fmt.Sprintf("column %d: %v", m.column+1, err)}
		}
	}
	t.metrics = others
	return nil
}
