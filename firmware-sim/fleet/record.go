package fleet

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/wire"
)

// maxRecord bounds one record of a file: a text value has at most 1 KiB, so
// anything longer is not a file of readings.
const maxRecord = 64 << 10

// LineError says which line of a file could not be read, and why. The lines
// after it can.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// record is one reading of a file. Its slices are valid until the next one is
// read.
type record struct {
	line   int
	device []byte
	metric []byte
	at     device.Time
	value  wire.Value
}

// recordReader reads CSV (RFC 4180) whose header names the columns device,
// metric, unix_ms or time, and value, in any order and among others.
type recordReader struct {
	in      *bufio.Reader
	line    int      // number of the line read last
	columns [4]int   // where device, metric, time and value stand
	cells   [][]byte // of the present record
	joined  []byte   // a record that has quotes
}

// newRecordReader reads the header. The input may be compressed with gzip.
func newRecordReader(in io.Reader) (*recordReader, error) {
	buffered := bufio.NewReaderSize(in, maxRecord)
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, err
		}
		buffered = bufio.NewReaderSize(unzipped, maxRecord)
	}
	r := &recordReader{in: buffered}
	if err := r.readCells(); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("empty file")
		}
		return nil, err
	}
	for i, names := range [4][]string{{"device"}, {"metric"}, {"unix_ms", "time"}, {"value"}} {
		r.columns[i] = -1
		for at, cell := range r.cells {
			for _, name := range names {
				if string(bytes.TrimPrefix(cell, []byte("\ufeff"))) == name {
					r.columns[i] = at
				}
			}
		}
		if r.columns[i] < 0 {
			return nil, &LineError{r.line, fmt.Errorf("the header has no column %q; want device,metric,unix_ms,value", names[0])}
		}
	}
	return r, nil
}

// next returns the next record, a *LineError, or another error when the input
// ends; io.EOF is its regular end.
func (r *recordReader) next() (record, error) {
	if err := r.readCells(); err != nil {
		return record{}, err
	}
	rec, err := r.parse()
	if err != nil {
		return record{}, &LineError{r.line, err}
	}
	return rec, nil
}

func (r *recordReader) parse() (record, error) {
	rec := record{line: r.line}
	for _, at := range r.columns {
		if at >= len(r.cells) {
			return rec, fmt.Errorf("%d columns, want %d or more", len(r.cells), at+1)
		}
	}
	rec.device, rec.metric = r.cells[r.columns[0]], r.cells[r.columns[1]]
	if err := device.CheckID(rec.device); err != nil {
		return rec, err
	}
	if err := device.CheckMetric(rec.metric); err != nil {
		return rec, err
	}
	var err error
	if rec.at, err = parseMillis(r.cells[r.columns[2]]); err != nil {
		return rec, err
	}
	rec.value, err = parseValue(r.cells[r.columns[3]])
	return rec, err
}

// readCells reads the next line that is not empty into r.cells.
func (r *recordReader) readCells() error {
	for {
		line, err := r.in.ReadSlice('\n')
		r.line++
		if errors.Is(err, bufio.ErrBufferFull) {
			return r.skipLine()
		}
		if err != nil && (len(line) == 0 || !errors.Is(err, io.EOF)) {
			return err
		}
		if bytes.IndexByte(line, '"') >= 0 {
			return r.readQuoted(line)
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			r.cells = r.cells[:0]
			for more := true; more; {
				var cell []byte
				cell, line, more = bytes.Cut(line, []byte{','})
				r.cells = append(r.cells, cell)
			}
			return nil
		}
	}
}

// skipLine passes over the rest of a line that is too long.
func (r *recordReader) skipLine() error {
	for {
		_, err := r.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		return &LineError{r.line, fmt.Errorf("longer than %d bytes", maxRecord)}
	}
}

// readQuoted reads a record with quoted cells, which may hold commas, quotes and
// line ends. A quote that is never closed costs its own line only.
func (r *recordReader) readQuoted(line []byte) error {
	start := r.line
	r.joined = append(r.joined[:0], line...)
	if bytes.Count(line, []byte{'"'})%2 == 1 {
		ahead, err := r.in.Peek(maxRecord)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		end := closingLine(ahead)
		if end == 0 {
			return &LineError{start, errors.New("a quote is not closed")}
		}
		r.joined = append(r.joined, ahead[:end]...)
		r.line += bytes.Count(ahead[:end], []byte{'\n'})
		if ahead[end-1] != '\n' {
			r.line++
		}
		if _, err := r.in.Discard(end); err != nil {
			return err
		}
	}
	if err := r.splitQuoted(bytes.TrimRight(r.joined, "\r\n")); err != nil {
		return &LineError{start, err}
	}
	return nil
}

// closingLine returns the end of the first line of b up to which the number of
// quotes is odd; 0 when there is none.
func closingLine(b []byte) int {
	for end, quotes := 0, 0; end < len(b); {
		i := bytes.IndexByte(b[end:], '\n') + 1
		if i == 0 {
			i = len(b) - end
		}
		quotes += bytes.Count(b[end:end+i], []byte{'"'})
		end += i
		if quotes%2 == 1 {
			return end
		}
	}
	return 0
}

// splitQuoted parts b into cells in place.
func (r *recordReader) splitQuoted(b []byte) error {
	r.cells = r.cells[:0]
	for {
		if len(b) == 0 || b[0] != '"' {
			cell, rest, more := bytes.Cut(b, []byte{','})
			if bytes.IndexByte(cell, '"') >= 0 {
				return errors.New("a quote within an unquoted cell")
			}
			r.cells = append(r.cells, cell)
			if b = rest; !more {
				return nil
			}
			continue
		}
		cell, at := b[:0], 1
		for ; at < len(b); at++ {
			if b[at] == '"' {
				if at++; at == len(b) || b[at] != '"' {
					break
				}
			}
			cell = append(cell, b[at])
		}
		r.cells = append(r.cells, cell)
		switch {
		case at >= len(b):
			return nil
		case b[at] != ',':
			return errors.New("something follows a closing quote")
		}
		b = b[at+1:]
	}
}

// parseMillis reads Unix milliseconds; a fraction carries microseconds.
func parseMillis(b []byte) (device.Time, error) {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	ms, err := strconv.ParseInt(string(whole), 10, 64)
	if err != nil || ms < 0 || ms > math.MaxInt64/1000-1 || len(frac) > 3 {
		return 0, fmt.Errorf("time %.40q is not in Unix milliseconds", b)
	}
	us := int64(0)
	for i := range 3 {
		us *= 10
		if i < len(frac) {
			if frac[i] < '0' || frac[i] > '9' {
				return 0, fmt.Errorf("time %.40q is not in Unix milliseconds", b)
			}
			us += int64(frac[i] - '0')
		}
	}
	return device.Time(ms*1000 + us), nil
}

// parseValue tells the kind of a value by its look: an integer literal is an
// integer, any other number a float, true and false are booleans, and everything
// else is a text. An integer beyond 64 bits is a float.
func parseValue(b []byte) (wire.Value, error) {
	switch {
	case string(b) == "true":
		return truth(true), nil
	case string(b) == "false":
		return truth(false), nil
	}
	number, whole := looksNumeric(b)
	if whole {
		if i, err := strconv.ParseInt(string(b), 10, 64); err == nil {
			return integer(i), nil
		}
	}
	if number {
		f, err := strconv.ParseFloat(string(b), 64)
		if err != nil {
			return wire.Value{}, fmt.Errorf("value %.40q is beyond a 64-bit float", b)
		}
		return float(f), nil
	}
	if err := device.CheckText(b); err != nil {
		return wire.Value{}, err
	}
	return wire.Value{Kind: device.KindText, Text: b}, nil
}

// looksNumeric reports whether b is a decimal number such as -12, 0.5, .5, 5. or
// 1.5e-3, and whether it is one without fraction and exponent.
func looksNumeric(b []byte) (number, whole bool) {
	digits := func() (n int) {
		for ; len(b) > 0 && b[0] >= '0' && b[0] <= '9'; b = b[1:] {
			n++
		}
		return n
	}
	if len(b) > 0 && b[0] == '-' {
		b = b[1:]
	}
	n := digits()
	if len(b) == 0 {
		return n > 0, n > 0
	}
	if b[0] == '.' {
		b = b[1:]
		n += digits()
	}
	if n == 0 || len(b) == 0 {
		return n > 0, false
	}
	if b[0] != 'e' && b[0] != 'E' {
		return false, false
	}
	if b = b[1:]; len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		b = b[1:]
	}
	return digits() > 0 && len(b) == 0, false
}
