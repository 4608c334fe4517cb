package listen

import (
	"bytes"

	"github.com/naru-telemetry/naru/ingest"
)

// foreignNeeds is how many bytes tell a foreign protocol from messages.
const foreignNeeds = 3

// httpAnswer is for browsers and other clients that take the port for a web
// server's.
const httpAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n" +
	"Content-Length: 60\r\nConnection: close\r\n\r\n" +
	"This port takes readings. The page is on the HTTP listener.\n"

// foreign returns why a stream that begins with buf is cut off: it speaks
// another protocol. HTTP must not be read as lines with some syntax errors: a
// page from anywhere could make a browser in the house post readings.
func foreign(buf []byte) error {
	if isClientHello(buf) {
		return &cutOff{
			reason: ingest.Syntax, detail: "this looks like TLS: the port takes plain readings only",
			payload: buf, answer: []byte{0x15, 0x03, 0x01, 0, 2, 2, 40}, // alert: fatal, handshake failure
		}
	}
	line, _, whole := bytes.Cut(buf, []byte{'\n'})
	line = bytes.TrimSuffix(line, []byte{'\r'})
	if whole && isRequestLine(line) {
		return &cutOff{
			reason: ingest.Syntax, detail: "this looks like HTTP: the port takes readings, the page is on another",
			payload: line, answer: []byte(httpAnswer),
		}
	}
	return nil
}

// isRequestLine tells the first line of an HTTP request, GET / HTTP/1.1. Line
// protocol cannot look like it: its second part has a =, its third is a number.
func isRequestLine(line []byte) bool {
	i, j := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if i <= 0 || i == j || !bytes.HasPrefix(line[j+1:], []byte("HTTP/")) || len(line)-j-1 != len("HTTP/1.1") {
		return false
	}
	for _, c := range line[:i] {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}
