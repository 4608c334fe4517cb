package rows

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// Format is the notation of rows.
type Format uint8

// The formats. The zero Format is none.
const (
	CSV Format = iota + 1
	NDJSON
	Line
)

// String returns the format's name as it stands in flags and addresses.
func (f Format) String() string {
	switch f {
	case CSV:
		return "csv"
	case NDJSON:
		return "ndjson"
	case Line:
		return "line"
	}
	return "none"
}

// ParseFormat reads csv, ndjson or line.
func ParseFormat(s string) (Format, error) {
	for f := CSV; f <= Line; f++ {
		if s == f.String() {
			return f, nil
		}
	}
	return 0, fmt.Errorf("want csv, ndjson or line, not %q", s)
}

// ParseUnit reads s, ms, us or ns.
func ParseUnit(s string) (wire.Unit, error) {
	switch s {
	case "s":
		return wire.Second, nil
	case "ms":
		return wire.Milli, nil
	case "us":
		return wire.Micro, nil
	case "ns":
		return wire.Nano, nil
	}
	return 0, fmt.Errorf("want s, ms, us or ns, not %q", s)
}

// FormatOfName returns the format that a file's name tells, .gz left aside; 0
// for a name that tells none.
func FormatOfName(name string) Format {
	switch path.Ext(strings.TrimSuffix(strings.ToLower(name), ".gz")) {
	case ".csv":
		return CSV
	case ".ndjson", ".jsonl", ".json":
		return NDJSON
	case ".line", ".lp", ".influx":
		return Line
	}
	return 0
}

// DetectLen is how many bytes from the beginning FormatOf wants to see.
const DetectLen = 4096

// FormatOf tells the format by the first bytes: a brace or bracket begins
// NDJSON, a line with a column of time in it CSV, anything else line protocol.
func FormatOf(head []byte) Format {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")), " \t\r\n\x00")
	if len(head) > 0 && (head[0] == '{' || head[0] == '[') {
		return NDJSON
	}
	first, _, _ := bytes.Cut(head, []byte{'\n'})
	for name := range strings.SplitSeq(string(first), ",") {
		if _, ok := timeColumns[columnName(strings.Trim(name, "\"\r "))]; ok {
			return CSV
		}
	}
	return Line
}

// Encoder writes readings down so that a Decoder reads the same.
type Encoder struct {
	format Format
	msg    wire.Message
	field  [1]wire.Field
}

// NewEncoder returns an encoder.
func NewEncoder(f Format) *Encoder { return &Encoder{format: f} }

// Begin appends what stands before the first reading.
func (e *Encoder) Begin(dst []byte) []byte {
	switch e.format {
	case CSV:
		return append(dst, device.CSVHeader...)
	case Line:
		return append(dst, "# precision: ns\n"...)
	case NDJSON:
	}
	return dst
}

// Append appends a reading; false when the format cannot carry it: line protocol
// has no place for some metrics, and for no moment outside of the years 1677 to
// 2262.
func (e *Encoder) Append(dst []byte, s *device.Stored) ([]byte, bool) {
	switch e.format {
	case CSV:
		return s.AppendExactCSV(dst), true
	case NDJSON:
		return append(s.AppendExactJSON(dst), '\n'), true
	case Line:
	}
	ns := int64(s.Time) * 1000
	if ns/1000 != int64(s.Time) || !wire.LineCarries(s.Metric) {
		return dst, false
	}
	e.field[0] = wire.Field{Metric: append(e.field[0].Metric[:0], s.Metric...), Value: wire.ValueOf(s.Value)}
	e.msg.Device = append(e.msg.Device[:0], s.Device...)
	e.msg.Time = wire.Time{Int: ns, Set: true}
	e.msg.Fields = e.field[:]
	return append(wire.AppendLine(dst, &e.msg), '\n'), true
}
