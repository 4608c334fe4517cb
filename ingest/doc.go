// Package ingest admits what devices send: decode → admit → append.
//
// A [Pipeline] owns the rules and the counts; each socket goroutine works
// through a [Session] of its own, which decodes payloads with package wire, has
// the [Gate] admit every message, and hands the readings of several payloads to
// the [Sink] at once. Answers that devices asked for leave when the sink says
// the readings are durable, from [Pipeline.Run]. A payload that is answered as a
// whole goes through [Pipeline.Write].
//
// What cannot be admitted is refused per message or per reading: counted by
// [Reason], kept for the [Inspector], answered when the device asked for an
// answer. A refusal never stops a socket nor the other readings of the payload.
//
// The package owns no socket and no file. It does not know who stores readings
// (see Sink) nor who sees them.
package ingest
