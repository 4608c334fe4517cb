package engine

import (
	"bytes"
	"encoding/base64"
	"errors"
	"unicode/utf8"
)

// separator stands between the packets of a payload. JSON never holds it
// unescaped.
const separator = 0x1e

// packetType is the first byte of a packet as text.
type packetType byte

const (
	typeOpen    packetType = '0'
	typeClose   packetType = '1'
	typePing    packetType = '2'
	typePong    packetType = '3'
	typeMessage packetType = '4'
	typeUpgrade packetType = '5'
	typeNoop    packetType = '6'
	// binaryMark begins a binary message in a payload; base64 follows.
	binaryMark = 'b'
)

// packet is one decoded packet. data points into what it was decoded from, but
// for a binary message of a payload.
type packet struct {
	kind   packetType
	binary bool // a message that is bytes
	data   []byte
}

var errPacket = errors.New("engine: malformed packet")

// parseText reads a packet that came as text.
func parseText(b []byte) (packet, error) {
	if len(b) == 0 || b[0] < byte(typeOpen) || b[0] > byte(typeNoop) || !utf8.Valid(b) {
		return packet{}, errPacket
	}
	return packet{kind: packetType(b[0]), data: b[1:]}, nil
}

// parsePayload calls f with the packets of a payload, in order, until one is
// malformed or f fails.
func parsePayload(payload []byte, f func(packet) error) error {
	for more := true; more; {
		var one []byte
		one, payload, more = bytes.Cut(payload, []byte{separator})
		var p packet
		var err error
		if len(one) > 0 && one[0] == binaryMark {
			p = packet{kind: typeMessage, binary: true}
			p.data, err = base64.StdEncoding.AppendDecode(nil, one[1:])
		} else {
			p, err = parseText(one)
		}
		if err == nil {
			err = f(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// appendSeparated appends a separator unless dst is the beginning of a payload.
func appendSeparated(dst []byte) []byte {
	if len(dst) > 0 {
		dst = append(dst, separator)
	}
	return dst
}

// appendBinary appends a binary message to a payload.
func appendBinary(dst, data []byte) []byte {
	dst = append(appendSeparated(dst), binaryMark)
	return base64.StdEncoding.AppendEncode(dst, data)
}
