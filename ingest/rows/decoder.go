package rows

import (
	"errors"
	"fmt"
	"io"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Bounds of a Batch. One line may exceed them by what it holds.
const (
	batchReadings = 4096
	batchRefused  = 256
	batchText     = 1 << 20 // bytes
	// maxKnown bounds the names that are kept, so that a stream of ever new ones
	// does not fill the memory. What is forgotten is only met anew.
	maxKnown = 200_000
)

// Reasons of a refusal, for counting.
const (
	Syntax  = "syntax"   // the row is not what its format demands
	Device  = "device"   // the device id is missing or outside the contract
	Metric  = "metric"   // the metric is
	Time    = "time"     // the moment is missing or none
	Value   = "value"    // the value is missing, NaN, infinite, or a text too long or not UTF-8
	TooLong = "too_long" // the line is beyond its bound
	Empty   = "empty"    // the row holds no reading
	Limit   = "limit"    // there are too many devices or series
)

// Refused is a row, or a reading of one, that was not taken.
type Refused struct {
	Line   int64 // from 1
	Reason string
	Err    string // for the person who wrote the row
}

// Batch is what some rows have given.
type Batch struct {
	Readings []device.Reading // Received is left for the caller
	Offsets  []uint64         // that the rows tell, by reading; 0: none
	Refused  []Refused
}

// Config sets up a Decoder.
type Config struct {
	Format Format
	// Device is for rows that name none; empty: they are refused.
	Device device.ID
	// Unit is how numbers of time count; wire.Ago: as the format says, see the
	// package comment.
	Unit wire.Unit
	// Now is for messages of devices, which may leave the time out or count it
	// back.
	Now device.Time
	// Admit says whether a series may be taken, once for each or more often. nil:
	// every one.
	Admit func(device.Series) error
}

// HeaderError says that the first line of a table is no header, so that nothing
// of the table can be read.
type HeaderError struct{ Msg string }

func (e *HeaderError) Error() string { return "line 1: " + e.Msg }

// Decoder reads the rows of a stream.
type Decoder struct {
	cfg   Config
	lines lines
	batch Batch
	text  int // bytes of texts in batch
	names names
	wire  wire.Decoder
	unit  wire.Unit // of line protocol, as a comment says
	table *table
	cells []cell
	err   error // that ends the rows
}

// NewDecoder returns a decoder of the rows in r.
func NewDecoder(r io.Reader, cfg Config) *Decoder {
	return &Decoder{
		cfg: cfg, unit: cfg.Unit, lines: lines{r: r, number: 1}, names: newNames(cfg.Admit),
		wire: wire.Decoder{Accept: wire.Native},
	}
}

// Next reads on for a while and returns what came of it, which is valid until
// the next call. After the last row the error is io.EOF and the batch nil. A
// *HeaderError says that the table cannot be read; any other error comes from
// the reader, and the line that it cut is not taken.
func (d *Decoder) Next() (*Batch, error) {
	b := &d.batch
	clear(b.Readings) // lets go of texts
	b.Readings, b.Offsets, b.Refused, d.text = b.Readings[:0], b.Offsets[:0], b.Refused[:0], 0
	for d.err == nil && len(b.Readings) < batchReadings && len(b.Refused) < batchRefused && d.text < batchText {
		d.err = d.row()
		if errors.Is(d.err, errLongLine) {
			d.err = nil
			d.refuse(TooLong, fmt.Sprintf("the line has more than %d bytes", maxLine))
			d.lines.skip()
		}
	}
	if d.err != nil && len(b.Readings)+len(b.Refused) == 0 {
		return nil, d.err
	}
	return b, nil
}

// row reads the row at hand and moves behind it.
func (d *Decoder) row() error {
	if d.cfg.Format == CSV {
		return d.csvRow()
	}
	end, err := d.lines.end(0)
	if err != nil {
		return err
	}
	line := d.lines.rest()[:end]
	switch {
	case len(line) > 0 && line[0] == '#' && d.cfg.Format == Line:
		d.comment(line)
	case d.cfg.Format == NDJSON && !beginsObject(line):
		d.refuse(Syntax, "want an object that begins with {")
	default:
		d.messages(line)
	}
	d.lines.take(end, 1)
	return nil
}

// refuse notes that the row at hand, or a reading of it, is not taken.
func (d *Decoder) refuse(reason, msg string) {
	d.batch.Refused = append(d.batch.Refused, Refused{Line: d.lines.number, Reason: reason, Err: msg})
}

// add takes a reading of the row at hand, or refuses it.
func (d *Decoder) add(dev, metric []byte, at device.Time, v wire.Value, offset uint64) {
	value, err := v.Admit()
	if err != nil {
		d.refuse(Value, err.Error())
		return
	}
	s, reason, err := d.names.series(dev, metric)
	if err != nil {
		d.refuse(reason, err.Error())
		return
	}
	d.text += len(value.Text())
	b := &d.batch
	b.Readings = append(b.Readings, device.Reading{Device: s.Device, Metric: s.Metric, Time: at, Value: value})
	b.Offsets = append(b.Offsets, offset)
}

// names keeps one copy of the names of each series.
type names struct {
	admit   func(device.Series) error
	devices map[string]*knownDevice
	last    *knownDevice // the device of the row before
	count   int
}

type knownDevice struct {
	id      device.ID
	metrics map[string]device.Metric
}

func newNames(admit func(device.Series) error) names {
	return names{admit: admit, devices: map[string]*knownDevice{}}
}

// series returns the series of these names, or why it is refused.
func (n *names) series(dev, metric []byte) (s device.Series, reason string, err error) {
	d := n.last
	if d == nil || string(d.id) != string(dev) {
		d = n.devices[string(dev)]
	}
	if d != nil {
		if m, ok := d.metrics[string(metric)]; ok {
			n.last = d
			return device.Series{Device: d.id, Metric: m}, "", nil
		}
	}
	if err := device.CheckID(dev); err != nil {
		return s, Device, err
	}
	if err := device.CheckMetric(metric); err != nil {
		return s, Metric, err
	}
	s = device.Series{Device: device.ID(dev), Metric: device.Metric(metric)}
	if d != nil {
		s.Device = d.id
	}
	if n.admit != nil {
		if err := n.admit(s); err != nil {
			return s, Limit, err
		}
	}
	if n.count++; n.count > maxKnown {
		*n = newNames(n.admit)
		d = nil
	}
	if d == nil {
		d = &knownDevice{id: s.Device, metrics: map[string]device.Metric{}}
		n.devices[string(s.Device)] = d
	}
	d.metrics[string(s.Metric)] = s.Metric
	n.last = d
	return s, "", nil
}
