package listen

import "encoding/binary"

// DTLS records (RFC 6347, 4.1): type, version, epoch, sequence number and length
// stand in clear before the fragment.
const (
	recordHead = 13
	// maxRecord is the longest fragment that a record may carry, encrypted.
	maxRecord = 1<<14 + 2048
	// maxPlain is the longest payload of one.
	maxPlain = 1 << 14
	// maxSeq is the last sequence number of an epoch.
	maxSeq = 1<<48 - 1
)

// Types of records.
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeData             = 23
	lastType             = 25 // the last one assigned
)

// Types of handshake messages.
const (
	clientHello        = 1
	serverHello        = 2
	helloVerifyRequest = 3
)

// Alerts.
const (
	alertWarning = 1
	alertFatal   = 2

	closeNotify      = 0
	handshakeFailure = 40
	decryptError     = 51
)

// record is one record of a datagram. The slices point into it.
type record struct {
	kind  byte
	epoch uint16
	seq   uint64
	whole []byte // with the header
	body  []byte
}

// isRecord reports whether a datagram is of DTLS records: no payload of readings
// begins so.
func isRecord(b []byte) bool {
	return len(b) >= recordHead && b[0] >= typeChangeCipherSpec && b[0] <= lastType &&
		b[1] == 0xfe && (b[2] == 0xfd || b[2] == 0xff)
}

// cutRecord takes the first record off a datagram. It reports false when there
// is none, or a broken one: then the rest is worth nothing either.
func cutRecord(b []byte) (r record, rest []byte, ok bool) {
	if !isRecord(b) {
		return record{}, nil, false
	}
	n := recordHead + int(binary.BigEndian.Uint16(b[11:]))
	if n > len(b) || n-recordHead > maxRecord {
		return record{}, nil, false
	}
	head := binary.BigEndian.Uint64(b[3:])
	return record{
		kind: b[0], epoch: uint16(head >> 48), seq: head & maxSeq,
		whole: b[:n:n], body: b[recordHead:n:n],
	}, b[n:], true
}

// appendHead appends the header of a record with n bytes behind it.
func appendHead(dst []byte, kind byte, epoch uint16, seq uint64, n int) []byte {
	dst = append(dst, kind, 0xfe, 0xfd)
	dst = binary.BigEndian.AppendUint64(dst, uint64(epoch)<<48|seq)
	return binary.BigEndian.AppendUint16(dst, uint16(n))
}

// hello is what the demultiplexer reads of a ClientHello.
type hello struct {
	random []byte // 32 bytes
	suites []byte // 2 bytes each
	whole  bool   // suites are all that there are
}

// Handshake messages have a header of their own: type, length u24, message_seq
// u16, fragment offset u24 and length u24.
const messageHead = 12

// parseHello reads a ClientHello that may begin a handshake: the first message
// of a client, in one piece or the first of several.
func parseHello(r record) (h hello, ok bool) {
	b := r.body
	if r.kind != typeHandshake || r.epoch != 0 || len(b) < messageHead+2+32+1 || b[0] != clientHello ||
		b[4]|b[5]|b[6]|b[7]|b[8] != 0 { // message_seq and fragment offset
		return hello{}, false
	}
	b = b[messageHead+2:]
	h.random, b = b[:32], b[32:]
	for range 2 { // session id and cookie
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return h, true
		}
		b = b[1+int(b[0]):]
	}
	if len(b) >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(b))
		h.suites, h.whole = b[2:min(len(b), n)], len(b) >= n
	}
	return h, true
}

// offers reports whether the ClientHello names one of the suites.
func (h hello) offers(suites []*suite) bool {
	for b := h.suites; len(b) >= 2; b = b[2:] {
		for _, s := range suites {
			if binary.BigEndian.Uint16(b) == s.id {
				return true
			}
		}
	}
	return false
}
