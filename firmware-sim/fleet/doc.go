// Package fleet is a fleet of simulated devices: sensors that behave like real
// ones, and firmware that sends their readings to a server.
//
// A [Fleet] is made of virtual devices, each with a socket of its own. What a
// sensor shows is a function of seed, device and time, nothing else: the same
// seed at the same time gives the same readings, and the past can be asked for as
// well as the present ([Config.Backfill]). How it gets to the server is up to
// chance, also decided by the seed: loss, duplicates, reordering, delay, reboots.
// Devices that want acknowledgements number their messages and send them again,
// with doubling waits, until the server has answered or they give up. They also
// carry out the commands that come in answers, each once, and tell what came of them.
//
// A sender delivers the messages of a device and knows nothing of the [Transport]. A
// carrier frames them and reads the answers, over one connection: datagrams, a
// stream, either of them in a session that proves who the device is, requests of
// CoAP, requests of HTTP. All of them give a message the same fate, and the same
// tests hold them to it. The link that may be bad lies below datagrams and sessions.
//
// A [Replay] sends the readings of a file in the same way. A [Load] does without
// firmware: it sends readings of the same sensors as fast as it is told to over a
// few sockets, and expects no answer.
//
// The package speaks the wire formats and nothing else of the server. It logs
// nothing; a [Report] tells what was sent and what became of it. Constructors
// start nothing, and Run ends all that it has started.
package fleet
