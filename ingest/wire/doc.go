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
// protocol.
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
// begin with # are comments.
//
// # Plain JSON and CBOR
//
//	{"device":"gh1","time":1764000000123,"seq":7,"ack":true,"temp":21.5,"BME280":{"p":1013}}
//
// An object, or an array of objects; an object is a message. The members
// device, time, seq, ack and token are reserved on the outermost level. Every
// other number, boolean or text is a field; names of nested objects are joined
// by dots, and elements of arrays are numbered from 0: accel.0. Null is no
// reading. CBOR maps (RFC 8949) mean the same; integer keys count as their
// decimal text, tags are looked through, a decimal fraction (tag 4) is a number.
//
// # SenML (RFC 8428), JSON or CBOR
//
//	[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.76e9,"n":"temp","v":21.5},{"n":"hum","v":40}]
//
// An array whose first object carries bn, or n with a text, and no device. A
// record is a message of one field; base name, time, value and sum are resolved
// here. The resolved name is parted at its last slash, else at its last colon:
// before it stands the device, after it the metric. A record with a sum and no
// value gives the metric with .sum appended.
//
// # Time, seq and ack
//
// [Time] keeps what the device wrote: an integer and its decimal fraction. Its
// unit is told by its size, see [Time.Unit]. seq is the device's running number;
// ack asks for an answer, see [AppendAck] and [AppendRefusal].
//
// # Streams
//
// Text messages end with a newline; CBOR items follow each other (RFC 8742).
// [Frame] parts a stream into payloads.
package wire
