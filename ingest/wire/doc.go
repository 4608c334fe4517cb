// Package wire is the codec of what devices send: bytes to messages and back.
// It has no clock, socket, goroutine or log, and it trusts nothing: what it
// returns is bounded by the payload but not yet valid, and package ingest
// admits it.
//
// # Payloads
//
// A payload is one datagram, or some whole lines or items of a stream. It
// carries messages; a message carries fields, one for each reading. A message
// that cannot be read is reported as a [SyntaxError] with its place, and
// decoding goes on with the next.
//
// The first byte of each message tells its format: { or [ is JSON, 0x80–0xbf
// (or the self-description tag 0xd9d9f7) is CBOR, anything else is line
// protocol. Blanks, line ends, NULs and a byte order mark may stand in front of
// a message.
//
// # Line protocol
//
//	climate,device=gh1,room=a temp=21.5,hum=40i 1764000000000000000
//
// InfluxDB line protocol. A line is a message. The tag device names the device,
// else host, else id; seq, ack and token are taken out as well. The metric is
// measurement.field, or the measurement alone for a field named value; the
// other tags follow, sorted by key, as in climate.temp{room=a}. Values:
// 21.5 float, 40i and 40u integer, t T true f F false …, "text". Lines that
// begin with # are comments. Escapes and character sets are those of InfluxData's
// decoder, except that a number has decimal digits only, that an integer must fit
// 64 bits with sign, that seq and ack must be what they say, that a line has at
// most 64 tags and 4096 fields, and that in a stream a text ends on its line.
//
// # Plain JSON and CBOR
//
//	{"device":"gh1","time":1764000000123,"seq":7,"ack":true,"temp":21.5,"BME280":{"p":1013}}
//
// An object, or an array of objects; an object is a message. The members
// device, time, seq, ack and token are reserved on the outermost level. Every
// other number, boolean or text is a field; names of nested objects are joined
// by dots, and elements of arrays are numbered from 0: accel.0. Null is no
// reading. A number without fraction and exponent is an integer, or a float
// beyond 64 bits; what exceeds a float is an infinity and not admitted. CBOR maps
// (RFC 8949) mean the same; integer keys count as their decimal text, fractions
// (tags 4 and 5) are numbers, other tags are looked through. Byte strings, and
// with them bignums, are no readings.
//
// A malformed object costs the line it is on, in an array only itself where its
// end can be told. Malformed CBOR costs the rest of the payload.
//
// # SenML (RFC 8428), JSON or CBOR
//
//	[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.76e9,"n":"temp","v":21.5},{"n":"hum","v":40}]
//
// An array whose first object carries bn or n with a text, or bt with a number,
// and no device. A record is a message; base name, time, value and sum are
// resolved here. The resolved name is parted at its last slash, else at its last
// colon: before it stands the device, after it the metric. A sum is a field with
// .sum appended to the metric. Data values are refused; records that inherit a
// base field that was refused are too, since they would be misattributed.
//
// # Time, seq and ack
//
// [Time] keeps what the device wrote: an integer and its decimal fraction. Its
// unit is told by its size, see [Time.Unit]. In plain JSON and CBOR a time may
// also be a text (RFC 3339), 2026-11-23T10:00:00.123Z. seq is the device's running number:
// messages of one device and seq that follow each other are parts of one. ack asks for an answer, see [AppendAck] and [AppendRefusal].
//
// # Streams
//
// Text messages end with a newline; CBOR items follow each other (RFC 8742) and
// begin where a line does. [Frame] parts a stream into payloads.
//
// # Bounds
//
// A message has at most 4096 fields and objects nest 16 deep. Names too long for
// a metric are cut to what is still too long, so that the memory of a Decoder
// stays within twice the payload and some 2 MB, and its time is proportional to
// the payload.
package wire
