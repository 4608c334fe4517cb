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
// protocol or, where it is no line protocol, of a dialect. Blanks, line ends,
// NULs and a byte order mark may stand in front of a message.
//
// # Line protocol
//
//	climate,device=gh1,room=a temp=21.5,hum=40i 1764000000000000000
//
// InfluxDB line protocol. A line is a message. The tag device names the device,
// else host, else id; seq, ack, token and outcome are taken out as well. The metric is
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
// device, time, seq, ack, token and outcome are reserved on the outermost level. Every
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
// messages of one device and seq that follow each other are parts of one. ack asks for an answer, see [AppendAck] and [AppendRefusal]. outcome, the number of a command with or
// without a text, tells what has become of it, see [device.ParseOutcome] and [AppendCommand]; what does not begin with
// a number is a tag or a reading of that name.
//
// # Dialects
//
// What sensors send that were not made for Naru. None takes anything from the
// formats above: a line is read as line protocol first, and only what is none is
// looked at further, so that a line which a sane device means as line protocol
// cannot be taken for another, and costs what it did. There is one exception,
// that of pairs below. A line has the shape of a dialect or is refused as line
// protocol. The order is that of the list; [Decoder.Accept] pins a decoder to
// some formats, and then an ambiguity between others does not matter.
//
// Binary, a datagram as a whole, never in a stream:
//
//   - gzip (RFC 1952): 1f 8b 08, control characters that begin no name. What is
//     in it is decoded like a datagram, up to 256 KiB.
//   - ESPHome packet_transport (esphome, components/packet_transport): SE or HP,
//     a length below 32, which is a control character and ends a measurement, a
//     name of that length, zeros up to a multiple of four. The device is the
//     name, metrics are the ids of the sensors; a rolling code is the seq. An
//     encrypted packet is refused as such. A ping holds no reading.
//   - collectd network (collectd wiki, Binary protocol): two zeros, a length, and
//     a host that ends with a zero where the length says; blanks in front of a
//     message are not followed by that. 02 00 and 02 10 begin what is signed or
//     encrypted, which is refused. The device is the host, the metric
//     plugin.type{plugin_instance=…,type_instance=…}, with the name from types.db
//     behind the type where it has several values.
//
// Text, a line each. Line protocol wants a space and then a key with an equals
// sign; each of these has something else there, or no space.
//
//   - syslog (RFC 5424, RFC 3164), <165>1 time host app - - - {…}: <, digits, >,
//     then a time or a name. The text is an object: of rtl_433 (its -F syslog),
//     where model, channel and id make the device; of Tasmota, behind a topic; or
//     any other, whose device is else the host. The header's time counts.
//   - topic, a topic with a slash, a space and a payload, as an MQTT client prints
//     it and nc sends it on; = may stand between, as in Tasmota's log. The payload
//     is an object, and no line protocol ends with a brace, or a number or
//     boolean. With tele or stat among the levels it is tasmota (any payload; the
//     device is the level before the last), below zigbee2mqtt/ it is zigbee2mqtt
//     (the device is the friendly name, last_seen the time), else the device is
//     what the object says, or the last level; that before it for a number, whose
//     metric is the last. Commands, discovery and the bridge's own topics hold no
//     reading.
//   - statsd (statsd/statsd, docs/metric_types.md; DogStatsD 1.2; Telegraf's tags
//     in the name), name:value|type|@rate|#tag:value. Each line is a reading, not
//     added up: counters say by how much, divided by the rate; timers are
//     milliseconds; the member of a set is the value. A gauge of -n is the value
//     -n, as DogStatsD, Teleplot and most firmware mean it; a zero set just
//     before it in the same datagram, as ESPHome does for StatsD's sake, is left
//     out. A gauge of +n is refused: the former value is not kept.
//   - teleplot (nesnes/teleplot, README), name:value§unit|flags, name:time:value,
//     many of them parted by semicolons; name.x and name.y with the flag xy. A
//     number with |g is StatsD's, which means the same. A time that is not
//     milliseconds since 1970 counts from the device's start and is left out.
//   - graphite (carbon's plaintext protocol), path;tag=value value time: three
//     parts of which two are numbers.
//   - kv, key=value or key:number parted by blanks, commas, semicolons or
//     ampersands, at least one of them a number or a boolean; the reserved names
//     of line protocol and time mean the same. Parted by blanks, temp=21.5
//     hum=40, it could be line protocol with a measurement that has an equals
//     sign in it. Nobody names one so, and the metric would be another with each
//     value: without a comma, a time, a backslash or an integer with its i, such
//     a line is kv.
//   - csv, device,number,… or device,name,number,…, also with semicolons. Without
//     names the metrics are value, or value.0, value.1.
//
// JSON that is told by its first member, where plain JSON would make readings of
// it that nobody wants:
//
//   - tasmota: Time with a time of no zone, which is left out.
//   - rtl_433: time with a time of no zone, which plain JSON refuses, and a model.
//   - shelly (Shelly Gen2 API, Notifications): src, with a method that begins with
//     Notify and params. The device is src, the time ts, and the metrics are what
//     stands below params; an event is the text of input:0.event.
//
// A path of StatsD or Graphite names the device by the tags device, host or id,
// else by its first part when it has several. A name that was given for people,
// such as a friendly name, gets a hyphen for each character that an id cannot
// have.
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
