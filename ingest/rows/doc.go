// Package rows is the codec of readings that were written down before: files
// and bodies of an import, in CSV, NDJSON or line protocol, and the export that
// comes back the same to the bit. It has no clock, socket, goroutine or log.
//
// A [Decoder] reads a stream row by row with bounded memory. A row that cannot
// be taken is reported with its line and reason and costs nothing else. Moments
// are taken as they are written, however old.
//
// # CSV (RFC 4180)
//
// The first line names the columns, in any order. The time is one of
//
//	time, timestamp    RFC 3339, or a number whose unit is told by its size
//	unix_s, unix_ms, unix_us, unix_ns
//
// A long table has the columns device, metric, value and time, a row for each
// reading; other columns are left aside. Where there is a column offset, as in
// our own export, the numbers of the column time are milliseconds. A wide table
// has no column value: each column but device, offset and the time is a metric,
// and an empty cell is no reading.
//
// A cell of digits is an integer, 21.0 and 2e1 are floats, true and false are
// booleans, everything else is a text. A cell in quotes is a text, unless the
// header stands in quotes throughout: then they tell nothing. NaN, the
// infinities and an empty value without quotes are refused.
//
// # NDJSON
//
// A line is a reading of the contract, {"device":…,"metric":…,"time":…,"value":…}
// with the time in milliseconds, or whatever package wire takes for plain JSON
// or SenML. An object with a text named metric is a reading of the contract. A
// number without fraction and exponent is an integer.
//
// # Line protocol
//
// As package wire reads it. A comment "# precision: ns" (or us, ms, s) says how
// the times of the lines behind it count; otherwise their size tells.
package rows
