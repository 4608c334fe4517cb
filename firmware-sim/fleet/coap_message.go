package fleet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// coapType is how a message of CoAP is carried (RFC 7252, section 3).
type coapType uint8

const (
	confirmable coapType = iota
	nonConfirmable
	acknowledgement
	reset
)

// coapCode is a method or a status: the class in three bits, the detail in five.
type coapCode uint8

const (
	coapEmpty coapCode = 0
	coapGET   coapCode = 1
	coapPOST  coapCode = 2

	coapChanged     coapCode = 2<<5 | 4
	coapContent     coapCode = 2<<5 | 5
	coapTooMany     coapCode = 4<<5 | 29
	coapUnavailable coapCode = 5<<5 | 3
)

// String returns the code as it is written: 4.04.
func (c coapCode) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

// Option numbers.
const (
	optObserve       = 6
	optURIPath       = 11
	optContentFormat = 12
	optMaxAge        = 14
	optURIQuery      = 15
	optNoResponse    = 258
)

// coapOption is an option of a message.
type coapOption struct {
	number uint16
	value  []byte
}

// uintOption returns an option whose value is a number.
func uintOption(number uint16, n uint32) coapOption {
	var b []byte
	for ; n > 0; n >>= 8 {
		b = append([]byte{byte(n)}, b...)
	}
	return coapOption{number, b}
}

// coapMessage is a message of CoAP. What was parsed refers to the datagram.
type coapMessage struct {
	kind    coapType
	code    coapCode
	id      uint16
	token   []byte // at most 8 bytes
	options []coapOption
	payload []byte
}

// Parts of a message.
const (
	coapHead   = 4
	coapMarker = 0xff
	idAt       = 2 // of the message id, two bytes
)

// append appends the message. Its options are in the order of their numbers.
func (m *coapMessage) append(dst []byte) []byte {
	dst = append(dst, 1<<6|byte(m.kind)<<4|byte(len(m.token)), byte(m.code))
	dst = binary.BigEndian.AppendUint16(dst, m.id)
	dst = append(dst, m.token...)
	last := uint16(0)
	for _, o := range m.options {
		at := len(dst)
		dst = append(dst, 0)
		var delta, length byte
		dst, delta = appendNibble(dst, int(o.number-last))
		dst, length = appendNibble(dst, len(o.value))
		dst[at] = delta<<4 | length
		dst = append(dst, o.value...)
		last = o.number
	}
	if len(m.payload) > 0 {
		dst = append(append(dst, coapMarker), m.payload...)
	}
	return dst
}

// appendNibble appends what of n does not fit into a nibble, and returns the nibble.
func appendNibble(dst []byte, n int) ([]byte, byte) {
	switch {
	case n < 13:
		return dst, byte(n)
	case n < 269:
		return append(dst, byte(n-13)), 13
	}
	return binary.BigEndian.AppendUint16(dst, uint16(n-269)), 14
}

var errCoAP = errors.New("malformed message of CoAP")

// parseCoAP reads a message.
func parseCoAP(b []byte) (m coapMessage, err error) {
	if len(b) < coapHead || b[0]>>6 != 1 {
		return m, errCoAP
	}
	m.kind, m.code, m.id = coapType(b[0]>>4&3), coapCode(b[1]), binary.BigEndian.Uint16(b[idAt:])
	tokenLen := int(b[0] & 15)
	if b = b[coapHead:]; tokenLen > 8 || tokenLen > len(b) {
		return m, errCoAP
	}
	m.token, b = b[:tokenLen], b[tokenLen:]
	number := 0
	for len(b) > 0 {
		if b[0] == coapMarker {
			if m.payload = b[1:]; len(m.payload) == 0 {
				return m, errCoAP
			}
			return m, nil
		}
		var delta, length int
		head := b[0]
		if delta, b, err = cutNibble(b[1:], head>>4); err != nil {
			return m, err
		}
		if length, b, err = cutNibble(b, head&15); err != nil {
			return m, err
		}
		if number += delta; number > 0xffff || length > len(b) {
			return m, errCoAP
		}
		m.options = append(m.options, coapOption{uint16(number), b[:length]})
		b = b[length:]
	}
	return m, nil
}

// cutNibble returns the number that a nibble and the bytes of b make.
func cutNibble(b []byte, nibble byte) (n int, rest []byte, err error) {
	switch {
	case nibble < 13:
		return int(nibble), b, nil
	case nibble == 13 && len(b) >= 1:
		return int(b[0]) + 13, b[1:], nil
	case nibble == 14 && len(b) >= 2:
		return int(binary.BigEndian.Uint16(b)) + 269, b[2:], nil
	}
	return 0, nil, errCoAP
}

// uint returns the number that an option has for a value; false without one.
func (m *coapMessage) uint(number uint16) (n uint32, ok bool) {
	for _, o := range m.options {
		if o.number == number && len(o.value) <= 4 {
			for _, c := range o.value {
				n = n<<8 | uint32(c)
			}
			return n, true
		}
	}
	return 0, false
}
