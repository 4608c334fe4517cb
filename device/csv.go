package device

import (
	"strconv"
	"strings"
)

// CSVHeader is the first line of a table of readings.
const CSVHeader = "offset,device,metric,time,value\n"

// AppendCSV appends the reading as a line of the table (RFC 4180, with the line
// end of Unix), time in Unix milliseconds. Metrics and texts are quoted where
// they must be.
func (s *Stored) AppendCSV(dst []byte) []byte {
	dst = s.appendCSVHead(dst)
	if s.Value.Kind() == KindText {
		dst = appendCSVText(dst, s.Value.Text())
	} else {
		dst = s.Value.AppendJSON(dst)
	}
	return append(dst, '\n')
}

// AppendExactCSV appends the same line with every text in quotes and numbers as
// AppendExact writes them, so that the kind of the value can be told again.
func (s *Stored) AppendExactCSV(dst []byte) []byte {
	dst = s.appendCSVHead(dst)
	if s.Value.Kind() == KindText {
		dst = appendCSVQuoted(dst, s.Value.Text())
	} else {
		dst = s.Value.AppendExact(dst)
	}
	return append(dst, '\n')
}

func (s *Stored) appendCSVHead(dst []byte) []byte {
	dst = strconv.AppendUint(dst, s.Offset, 10)
	dst = append(dst, ',')
	dst = append(dst, s.Device...) // an ID holds nothing that is quoted
	dst = append(dst, ',')
	dst = appendCSVText(dst, string(s.Metric))
	dst = append(dst, ',')
	dst = s.Time.AppendMillis(dst)
	return append(dst, ',')
}

func appendCSVText(dst []byte, s string) []byte {
	if strings.ContainsAny(s, ",\"\r\n") {
		return appendCSVQuoted(dst, s)
	}
	return append(dst, s...)
}

func appendCSVQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(s, `"`, `""`)...)
	return append(dst, '"')
}
