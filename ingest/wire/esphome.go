package wire

import (
	"encoding/binary"
	"math"
)

// Keys of the parts of a packet of ESPHome's packet_transport.
const (
	espPad         = 0
	espData        = 1
	espSensor      = 2
	espBinary      = 3
	espPing        = 4
	espRollingCode = 5
)

// maxESPName is the longest name that ESPHome gives a node. It keeps the third
// byte a control character, so that no text looks like a packet.
const maxESPName = 31

// isESPHome tells the header of a data packet, SE, or of a ping, HP: the length
// of the name, the name, and zeros up to a multiple of four.
func isESPHome(b []byte) bool {
	if len(b) < 4 || b[2] == 0 || b[2] > maxESPName || len(b) < 3+int(b[2]) {
		return false
	}
	name := b[3 : 3+int(b[2])]
	for _, c := range name {
		if !isIDByte(c) {
			return false
		}
	}
	if b[0] == 'H' && b[1] == 'P' {
		return len(b) >= 3+len(name)+4
	}
	head := espHeader(name)
	if b[0] != 'S' || b[1] != 'E' || len(b) <= head || len(b)%4 != 0 {
		return false
	}
	for _, c := range b[3+len(name) : head] {
		if c != 0 {
			return false
		}
	}
	// What is plain begins with a key; what is sealed has bytes that no text has.
	for _, c := range b[head:] {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c >= 0x7f {
			return true
		}
	}
	return false
}

func espHeader(name []byte) int { return (3 + len(name) + 3) &^ 3 }

// decodeESPHome reads a packet. A ping holds no reading. The rolling code counts
// up over restarts, and so it is a seq.
func (d *Decoder) decodeESPHome() {
	b := d.buf
	d.msg.Raw = b
	name := b[3 : 3+int(b[2])]
	d.msg.Device = name
	if b[0] == 'S' {
		if at, msg, fault := d.scanESPHome(b, espHeader(name)); msg != "" {
			d.msg.Fields = d.msg.Fields[:0]
			d.fail(FormatESPHome, at, msg)
			d.err.Fault = fault
		}
	}
	d.pos = len(b)
}

func (d *Decoder) scanESPHome(b []byte, pos int) (int, string, Fault) {
	switch key := b[pos]; {
	case key == espRollingCode && len(b)-pos > 8:
		code := binary.LittleEndian.Uint64(b[pos+1:])
		if code <= math.MaxInt64 {
			d.msg.Seq, d.msg.HasSeq = code, true
		}
		pos += 9
	case key == espData:
		pos++
	default:
		return pos, "the packet is encrypted, and packets with a key are not read here", Encrypted
	}
	for pos < len(b) {
		var size int
		key := b[pos]
		switch key {
		case espPad:
			pos++
			continue
		case espPing:
			pos += 5
			continue
		case espSensor:
			size = 4
		case espBinary:
			size = 1
		default:
			return pos, "this is neither a sensor nor a binary sensor; is the packet encrypted?", Malformed
		}
		text := pos + 1 + size // the length of the name
		if text >= len(b) || text+1+int(b[text]) > len(b) || b[text] == 0 {
			return pos, "a sensor ends too early", Malformed
		}
		v := boolValue(b[pos+1] != 0)
		if key == espSensor {
			v = floatValue(float64(math.Float32frombits(binary.LittleEndian.Uint32(b[pos+1:]))))
		}
		end := text + 1 + int(b[text])
		if !d.addField(cutName(b[text+1:end:end]), v) {
			return pos, "more than 4096 sensors", Malformed
		}
		pos = end
	}
	return 0, "", Malformed
}
