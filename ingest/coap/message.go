package coap

import (
	"encoding/binary"
	"fmt"
)

// Type is how a message is carried.
type Type uint8

// The types.
const (
	Confirmable Type = iota
	NonConfirmable
	Acknowledgement
	Reset
)

// Code is a method or a status: the class in three bits, the detail in five.
type Code uint8

// The codes that a server of readings has a use for.
const (
	Empty  Code = 0
	GET    Code = 1
	POST   Code = 2
	PUT    Code = 3
	latest Code = 7 // of the methods; DELETE, FETCH, PATCH and iPATCH are the others

	Changed                  Code = 2<<5 | 4
	Content                  Code = 2<<5 | 5
	Continue                 Code = 2<<5 | 31
	BadRequest               Code = 4 << 5
	Unauthorized             Code = 4<<5 | 1
	BadOption                Code = 4<<5 | 2
	Forbidden                Code = 4<<5 | 3
	NotFound                 Code = 4<<5 | 4
	MethodNotAllowed         Code = 4<<5 | 5
	NotAcceptable            Code = 4<<5 | 6
	RequestEntityIncomplete  Code = 4<<5 | 8
	RequestEntityTooLarge    Code = 4<<5 | 13
	UnsupportedContentFormat Code = 4<<5 | 15
	TooManyRequests          Code = 4<<5 | 29
	ServiceUnavailable       Code = 5<<5 | 3
	ProxyingNotSupported     Code = 5<<5 | 5
)

// String returns the code as it is written: 4.04.
func (c Code) String() string { return fmt.Sprintf("%d.%02d", c>>5, c&31) }

// Option numbers.
const (
	URIHost       = 3
	Observe       = 6 // RFC 7641
	URIPort       = 7
	URIPath       = 11
	ContentFormat = 12
	MaxAge        = 14
	URIQuery      = 15
	Accept        = 17
	Block2        = 23
	Block1        = 27
	ProxyURI      = 35
	ProxyScheme   = 39
	Size1         = 60
	NoResponse    = 258
)

// Content formats.
const (
	Text      = 0
	Links     = 40
	JSON      = 50
	CBOR      = 60
	SenMLJSON = 110
	SenMLCBOR = 112
)

// Bounds of a message.
const (
	headLen     = 4
	maxToken    = 8
	maxOptions  = 32 // ours need ten
	payloadMark = 0xff
)

// Message is a message. What it refers to is the datagram's.
type Message struct {
	Type    Type
	Code    Code
	ID      uint16
	Token   []byte
	Options []Option // by number; those of one number in the order of the message
	Payload []byte
}

// Option is an option with its value.
type Option struct {
	Number uint16
	Value  []byte
}

// Critical reports whether who does not know the option must refuse the message.
func (o Option) Critical() bool { return o.Number&1 == 1 }

// Uint returns a value that is a number of at most four bytes.
func (o Option) Uint() (uint32, bool) {
	if len(o.Value) > 4 {
		return 0, false
	}
	n := uint32(0)
	for _, b := range o.Value {
		n = n<<8 | uint32(b)
	}
	return n, true
}

// FormatError says where a message is not what RFC 7252 demands.
type FormatError struct {
	Byte int // from 1
	Msg  string
}

func (e *FormatError) Error() string { return fmt.Sprintf("CoAP: byte %d: %s", e.Byte, e.Msg) }

// Is reports whether a datagram is a request or an empty message; see the package
// comment. It may still be malformed.
func Is(b []byte) bool {
	if len(b) < headLen || b[0]>>6 != 1 {
		return false
	}
	token := int(b[0] & 15)
	if Code(b[1]) == Empty {
		return token == 0 && len(b) == headLen
	}
	return Code(b[1]) <= latest && token <= maxToken && len(b) >= headLen+token
}

// Parse reads a message into m and reuses its options. When it fails, type, code,
// id and token are set if the head was good.
func Parse(b []byte, m *Message) error {
	*m = Message{Options: m.Options[:0]}
	if len(b) < headLen {
		return &FormatError{len(b) + 1, "the head has four bytes"}
	}
	if b[0]>>6 != 1 {
		return &FormatError{1, "the version is not 1"}
	}
	m.Type, m.Code, m.ID = Type(b[0]>>4&3), Code(b[1]), binary.BigEndian.Uint16(b[2:])
	token := int(b[0] & 15)
	switch {
	case token > maxToken:
		return &FormatError{1, "a token has at most 8 bytes"}
	case m.Code == Empty && (token > 0 || len(b) > headLen):
		return &FormatError{headLen + 1, "an empty message has four bytes"}
	case len(b) < headLen+token:
		return &FormatError{len(b) + 1, "the token is cut off"}
	}
	m.Token = b[headLen : headLen+token]
	return m.parseOptions(b, headLen+token)
}

func (m *Message) parseOptions(b []byte, pos int) error {
	number := 0
	for pos < len(b) {
		at := pos
		if b[pos] == payloadMark {
			if m.Payload = b[pos+1:]; len(m.Payload) == 0 {
				return &FormatError{pos + 1, "nothing follows the payload marker"}
			}
			return nil
		}
		head := b[pos]
		pos++
		delta, ok := extended(b, &pos, head>>4)
		length, ok2 := extended(b, &pos, head&15)
		number += delta
		switch {
		case !ok || !ok2:
			return &FormatError{at + 1, "an option's delta or length is reserved or cut off"}
		case number > 0xffff:
			return &FormatError{at + 1, "an option's number exceeds 65535"}
		case length > len(b)-pos:
			return &FormatError{at + 1, fmt.Sprintf("option %d has %d bytes, and %d follow", number, length, len(b)-pos)}
		case len(m.Options) == maxOptions:
			return &FormatError{at + 1, fmt.Sprintf("more than %d options", maxOptions)}
		}
		m.Options = append(m.Options, Option{uint16(number), b[pos : pos+length]})
		pos += length
	}
	return nil
}

// extended reads what a nibble of an option's head stands for.
func extended(b []byte, pos *int, nibble byte) (int, bool) {
	switch {
	case nibble < 13:
		return int(nibble), true
	case nibble == 13 && *pos < len(b):
		*pos++
		return int(b[*pos-1]) + 13, true
	case nibble == 14 && *pos+1 < len(b):
		*pos += 2
		return int(binary.BigEndian.Uint16(b[*pos-2:])) + 269, true
	}
	return 0, false
}

// Append appends the message to dst. Its options must be in the order of their
// numbers, and its token have at most 8 bytes.
func (m *Message) Append(dst []byte) []byte {
	dst = append(dst, 1<<6|byte(m.Type)<<4|byte(len(m.Token)), byte(m.Code))
	dst = binary.BigEndian.AppendUint16(dst, m.ID)
	dst = append(dst, m.Token...)
	number := 0
	for _, o := range m.Options {
		at := len(dst)
		dst = append(dst, 0)
		var delta, length byte
		dst, delta = appendExtended(dst, int(o.Number)-number)
		dst, length = appendExtended(dst, len(o.Value))
		dst[at] = delta<<4 | length
		dst = append(dst, o.Value...)
		number = int(o.Number)
	}
	if len(m.Payload) > 0 {
		dst = append(dst, payloadMark)
		dst = append(dst, m.Payload...)
	}
	return dst
}

func appendExtended(dst []byte, n int) ([]byte, byte) {
	switch {
	case n < 13:
		return dst, byte(n)
	case n < 269:
		return append(dst, byte(n-13)), 13
	}
	return binary.BigEndian.AppendUint16(dst, uint16(n-269)), 14
}

// UintOption returns an option with a number as its value, without leading zeros.
func UintOption(number uint16, n uint32) Option {
	b := binary.BigEndian.AppendUint32(nil, n)
	for len(b) > 0 && b[0] == 0 {
		b = b[1:]
	}
	return Option{number, b}
}

// Block is the value of Block1 and Block2 (RFC 7959).
type Block struct {
	Number uint32
	More   bool
	Exp    uint8 // the size is 16 << Exp bytes; 0 to 6
}

// BlockOf reads the value of a block option.
func BlockOf(o Option) (Block, bool) {
	n, ok := o.Uint()
	b := Block{n >> 4, n&8 != 0, uint8(n & 7)}
	return b, ok && len(o.Value) <= 3 && b.Exp < 7
}

// Size returns how many bytes a block has.
func (b Block) Size() int { return 16 << b.Exp }

// Option returns the block as an option with this number.
func (b Block) Option(number uint16) Option {
	n := b.Number<<4 | uint32(b.Exp)
	if b.More {
		n |= 8
	}
	return UintOption(number, n)
}
