package wire

import (
	"bytes"
	"strconv"

	"github.com/naru-telemetry/naru/device"
)

// csvScanner walks over cells parted by semicolons, where the line has one, or
// else by commas.
type csvScanner struct {
	rest  []byte
	comma byte
	at    int // of the cell that comes next
	more  bool
}

func newCSVScanner(line []byte) csvScanner {
	s := csvScanner{rest: line, comma: ',', more: true}
	if bytes.IndexByte(line, ';') >= 0 {
		s.comma = ';'
	}
	return s
}

// next returns a cell without the blanks around it, and its place.
func (s *csvScanner) next() (cell []byte, at int, ok bool) {
	if !s.more {
		return nil, s.at, false
	}
	at = s.at
	var whole []byte
	whole, s.rest, s.more = bytes.Cut(s.rest, []byte{s.comma})
	s.at += len(whole) + 1
	return bytes.Trim(whole, " \t"), at, true
}

// isCSV tells a device and numbers, or a device and names and numbers in turn.
// In line protocol the second cell has an equals sign.
func isCSV(line []byte) bool {
	s := newCSVScanner(line)
	id, _, _ := s.next()
	if !hasLetter(id) || device.CheckID(id) != nil {
		return false
	}
	cells, numbers, named := 0, 0, false
	for {
		cell, _, ok := s.next()
		if !ok {
			return numbers > 0 && (!named || cells%2 == 0)
		}
		_, isValue := scalar(cell)
		if cells == 0 {
			named = isCSVName(cell)
		}
		isName := named && cells%2 == 0
		if isName && !isCSVName(cell) || !isName && !isValue && len(cell) > 0 {
			return false
		}
		if isValue && !isName {
			numbers++
		}
		cells++
	}
}

func isCSVName(cell []byte) bool {
	_, isValue := scalar(cell)
	return !isValue && hasLetter(cell) && !bytes.ContainsAny(cell, "=:|\"{}[] ")
}

// scanCSV reads device,number,… or device,name,number,… . Without names the
// metric is value, or value.0, value.1 and so on; an empty cell is no reading.
func (d *Decoder) scanCSV(line []byte) (int, string) {
	if !isCSV(line) {
		return 0, "want device,number,… or device,name,number,… with decimals that have a point"
	}
	s := newCSVScanner(line)
	d.msg.Device, _, _ = s.next()
	cell, at, _ := s.next()
	named, single := isCSVName(cell), !s.more
	for i := 0; ; i++ {
		name := cell
		if named {
			cell, at, _ = s.next()
		} else {
			name = d.csvMetric(i, single)
		}
		if v, ok := scalar(cell); ok && !d.addField(cutName(name), v) {
			return at, "more than 4096 cells"
		}
		var more bool
		if cell, at, more = s.next(); !more {
			return 0, ""
		}
	}
}

// csvMetric names the cell i as the elements of an array are named.
func (d *Decoder) csvMetric(i int, single bool) []byte {
	at := len(d.scratch)
	d.scratch = append(d.scratch, "value"...)
	if !single {
		d.scratch = strconv.AppendInt(append(d.scratch, '.'), int64(i), 10)
	}
	return d.since(at)
}
