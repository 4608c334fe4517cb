package socketio

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
)

// packetType is the first byte of a packet.
type packetType byte

const (
	typeConnect      packetType = '0'
	typeDisconnect   packetType = '1'
	typeEvent        packetType = '2'
	typeAck          packetType = '3'
	typeConnectError packetType = '4'
	typeBinaryEvent  packetType = '5'
	typeBinaryAck    packetType = '6'
)

const (
	// maxAttachments bounds the binary attachments of a packet, as the reference
	// implementation does.
	maxAttachments = 10
	// maxNamespace bounds the name of a namespace, in bytes.
	maxNamespace = 256
	// maxAckDigits keeps the ids of acknowledgements in what JavaScript counts
	// exactly.
	maxAckDigits = 15
	// mainNamespace is what is not written.
	mainNamespace = "/"
)

// reserved are names that events must not have: clients give them a meaning of
// their own.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// packet is one decoded packet, without its attachments.
type packet struct {
	kind        packetType
	namespace   string
	attachments int
	id          int64 // of the acknowledgement; -1: none
	data        json.RawMessage
	args        []json.RawMessage // of events and acknowledgements: data, taken apart
}

var errPacket = errors.New("socketio: malformed packet")

// parsePacket reads a packet from a client. The result does not point into b.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 || b[0] < byte(typeConnect) || b[0] > byte(typeBinaryAck) {
		return packet{}, errPacket
	}
	p := packet{kind: packetType(b[0]), namespace: mainNamespace, id: -1}
	b = b[1:]
	var ok bool
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		if p.attachments, b, ok = cutAttachments(b); !ok {
			return packet{}, errPacket
		}
	}
	if len(b) > 0 && b[0] == '/' {
		name, rest, _ := bytes.Cut(b, []byte{','})
		if len(name) > maxNamespace {
			return packet{}, errPacket
		}
		p.namespace, b = string(name), rest
	}
	if p.id, b, ok = cutID(b); !ok {
		return packet{}, errPacket
	}
	if len(b) > 0 {
		if !json.Valid(b) {
			return packet{}, errPacket
		}
		p.data = bytes.TrimSpace(bytes.Clone(b))
	}
	return p, p.check()
}

// cutAttachments reads the number of attachments and the hyphen behind it.
func cutAttachments(b []byte) (n int, rest []byte, ok bool) {
	digits, rest, ok := bytes.Cut(b, []byte{'-'})
	if !ok || len(digits) == 0 || len(digits) > 2 {
		return 0, nil, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, nil, false
		}
		n = 10*n + int(c-'0')
	}
	return n, rest, n <= maxAttachments
}

// cutID reads the id of an acknowledgement, if there is one.
func cutID(b []byte) (id int64, rest []byte, ok bool) {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	if n == 0 {
		return -1, b, true
	}
	if n > maxAckDigits {
		return 0, nil, false
	}
	id, err := strconv.ParseInt(string(b[:n]), 10, 64)
	return id, b[n:], err == nil
}

// check looks at what a packet of its kind may hold.
func (p *packet) check() error {
	ok := false
	switch p.kind {
	case typeConnect:
		ok = p.id < 0 && (len(p.data) == 0 || p.data[0] == '{')
	case typeDisconnect:
		ok = p.id < 0 && len(p.data) == 0
	case typeEvent, typeBinaryEvent:
		ok = p.cutArgs() && len(p.args) > 0 && validName(p.args[0])
	case typeAck, typeBinaryAck:
		ok = p.cutArgs() && p.id >= 0
	case typeConnectError: // a client has nothing to refuse
	}
	if ok && p.attachments > 0 {
		ok = validPlaceholders(p.data, p.attachments)
	}
	if !ok {
		return errPacket
	}
	return nil
}

func (p *packet) cutArgs() bool {
	return len(p.data) > 0 && p.data[0] == '[' && json.Unmarshal(p.data, &p.args) == nil
}

// validName reports whether an event may be called so: by a text or a number.
func validName(name json.RawMessage) bool {
	if c := name[0]; c == '-' || c >= '0' && c <= '9' {
		return true
	}
	var text string
	return name[0] == '"' && json.Unmarshal(name, &text) == nil && !slices.Contains(reserved, text)
}

// validPlaceholders reports whether the placeholders in data name attachments
// that there are.
func validPlaceholders(data json.RawMessage, attachments int) bool {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return false
	}
	return eachPlaceholder(v, func(n float64) bool {
		return n >= 0 && n < float64(attachments) && n == float64(int(n))
	})
}

// eachPlaceholder calls f with the number of every placeholder in v until it
// returns false.
func eachPlaceholder(v any, f func(n float64) bool) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !eachPlaceholder(e, f) {
				return false
			}
		}
	case map[string]any:
		if v["_placeholder"] == true {
			n, ok := v["num"].(float64)
			return ok && f(n)
		}
		for _, e := range v {
			if !eachPlaceholder(e, f) {
				return false
			}
		}
	}
	return true
}

// appendHead appends a packet up to its data.
func (p *packet) appendHead(dst []byte) []byte {
	dst = append(dst, byte(p.kind))
	if p.kind == typeBinaryEvent || p.kind == typeBinaryAck {
		dst = strconv.AppendInt(dst, int64(p.attachments), 10)
		dst = append(dst, '-')
	}
	if p.namespace != mainNamespace {
		dst = append(dst, p.namespace...)
		dst = append(dst, ',')
	}
	if p.id >= 0 {
		dst = strconv.AppendInt(dst, p.id, 10)
	}
	return dst
}

// append appends the packet as it is sent.
func (p *packet) append(dst []byte) []byte {
	dst = p.appendHead(dst)
	if p.args == nil {
		return append(dst, p.data...)
	}
	dst = append(dst, '[')
	for i, arg := range p.args {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, arg...)
	}
	return append(dst, ']')
}

// appendPlaceholder appends what stands for attachment n.
func appendPlaceholder(dst []byte, n int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(n), 10)
	return append(dst, '}')
}
