package wire

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"github.com/naru-telemetry/naru/device"
)

// Types of the parts of a packet of collectd's network plugin.
const (
	collectdHost           = 0x0000
	collectdTime           = 0x0001
	collectdPlugin         = 0x0002
	collectdPluginInstance = 0x0003
	collectdType           = 0x0004
	collectdTypeInstance   = 0x0005
	collectdValues         = 0x0006
	collectdTimeHR         = 0x0008
	collectdSignature      = 0x0200
	collectdEncryption     = 0x0210
)

// Types of values.
const (
	collectdCounter  = 0
	collectdGauge    = 1
	collectdDerive   = 2
	collectdAbsolute = 3
)

// collectdState is what the values inherit from the parts before them.
type collectdState struct {
	host, plugin, pluginInstance, kind, typeInstance []byte

	time Time
}

// beginsCollectd tells a datagram whose first part is a host: two zeros, a
// length, and a text that ends with a zero where the part does.
func (d *Decoder) beginsCollectd() bool {
	if d.lines || d.pos != 0 || !d.Accept.Has(FormatCollectd) {
		return false
	}
	text, ok := collectdText(d.buf)
	if !ok || len(text) == 0 || d.buf[0] != 0 || d.buf[1] != 0 {
		return false
	}
	for _, c := range text {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// isSealedCollectd tells a signature or an encrypted part at the beginning.
func isSealedCollectd(b []byte) bool {
	return len(b) >= 4 && b[0] == collectdSignature>>8 && (b[1] == 0 || b[1] == collectdEncryption&0xff)
}

// collectdText returns the text of the part that b begins with.
func collectdText(b []byte) (text []byte, ok bool) {
	_, n := collectdPart(b)
	if n < 5 || n > len(b) || b[n-1] != 0 {
		return nil, false
	}
	text = b[4 : n-1 : n-1]
	return text, bytes.IndexByte(text, 0) < 0
}

// decodeCollectd reads the first values of a packet; the others follow as
// messages of their own.
func (d *Decoder) decodeCollectd() bool {
	d.array = arrayState{open: true, dialect: FormatCollectd}
	d.series = seriesState{}
	if d.nextCollectd() {
		return true
	}
	// There are no values in it, as in a notification.
	d.msg.Format, d.msg.Raw = FormatCollectd, d.buf
	return true
}

// nextCollectd reads up to the next values. It reports false behind the last.
func (d *Decoder) nextCollectd() bool {
	s := &d.series.collectd
	d.begin(FormatCollectd)
	for d.pos < len(d.buf) {
		b := d.buf[d.pos:]
		kind, n := collectdPart(b)
		switch {
		case kind == collectdSignature || kind == collectdEncryption:
			d.endCollectd("the packet is signed or encrypted, and packets with a key are not read here", Encrypted)
			return true
		case n < 4 || n > len(b):
			d.endCollectd("a part ends too early", Malformed)
			return true
		case kind == collectdValues:
			d.msg.Raw = b[:n]
			if msg := d.collectdValues(b[4:n]); msg != "" {
				d.fail(FormatCollectd, d.pos, msg)
			}
			d.pos += n
			return true
		}
		if !s.take(kind, b[:n]) {
			d.endCollectd("a part is malformed", Malformed)
			return true
		}
		d.pos += n
	}
	d.array = arrayState{}
	return false
}

// collectdPart reads the head of a part: its type and its length, 0 for none.
func collectdPart(b []byte) (kind uint16, n int) {
	if len(b) < 4 {
		return 0, 0
	}
	return binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
}

// endCollectd refuses the rest of the packet.
func (d *Decoder) endCollectd(msg string, fault Fault) {
	d.fail(FormatCollectd, d.pos, msg)
	d.err.Fault = fault
	d.msg.Raw = d.buf[d.pos:]
	d.pos = len(d.buf)
	d.array = arrayState{}
}

// take takes a part that later values inherit, and passes over what does not
// bear on them.
func (s *collectdState) take(kind uint16, part []byte) bool {
	var into *[]byte
	switch kind {
	case collectdHost:
		into = &s.host
	case collectdPlugin:
		into = &s.plugin
	case collectdPluginInstance:
		into = &s.pluginInstance
	case collectdType:
		into = &s.kind
	case collectdTypeInstance:
		into = &s.typeInstance
	case collectdTime, collectdTimeHR:
		if len(part) != 12 {
			return false
		}
		t := binary.BigEndian.Uint64(part[4:])
		s.time = Time{Int: int64(t & math.MaxInt64), Set: true}
		if kind == collectdTimeHR { // units of 2^-30 s
			s.time = Time{Int: int64(t >> 30), Frac: int32((t & (1<<30 - 1)) * 1e9 >> 30), Set: true}
		}
		return true
	default:
		return true
	}
	text, ok := collectdText(part)
	*into = text
	return ok
}

// collectdValues reads a count, the type of each value and the values.
func (d *Decoder) collectdValues(b []byte) string {
	s := &d.series.collectd
	if len(b) < 2 {
		return "the values end too early"
	}
	n := int(binary.BigEndian.Uint16(b))
	if n == 0 || len(b) != 2+9*n {
		return "the values do not have the length that their number wants"
	}
	d.msg.Device, d.msg.Time = d.named(s.host), s.time
	suffix := d.collectdTags()
	for i := range n {
		raw := b[2+n+8*i:][:8]
		var v Value
		switch bits := binary.BigEndian.Uint64(raw); b[2+i] {
		case collectdGauge:
			v = Value{Kind: device.KindFloat, Bits: binary.LittleEndian.Uint64(raw)}
		case collectdDerive:
			v = intValue(int64(bits))
		case collectdCounter, collectdAbsolute:
			if v = intValue(int64(bits)); bits > math.MaxInt64 {
				v = floatValue(float64(bits))
			}
		default:
			return "a value is of a type that is not known"
		}
		if !d.addField(d.collectdMetric(i, n, suffix), v) {
			return "more than 4096 values"
		}
	}
	return ""
}

var pluginInstanceKey, typeInstanceKey = []byte("plugin_instance"), []byte("type_instance")

// collectdTags returns the instances as tags.
func (d *Decoder) collectdTags() []byte {
	s := &d.series.collectd
	d.tags = d.tags[:0]
	if len(s.pluginInstance) > 0 {
		d.addTag(pluginInstanceKey, cutName(s.pluginInstance), 0)
	}
	if len(s.typeInstance) > 0 {
		d.addTag(typeInstanceKey, cutName(s.typeInstance), 0)
	}
	return d.joinTags(d.tags, 0)
}

// collectdMetric returns plugin.type{…}, with the name of the value behind the
// type when there are several.
func (d *Decoder) collectdMetric(i, n int, suffix []byte) []byte {
	s := &d.series.collectd
	at := len(d.scratch)
	d.scratch = append(append(d.scratch, cutName(s.plugin)...), '.')
	d.scratch = append(d.scratch, cutName(s.kind)...)
	if n > 1 {
		d.scratch = append(d.scratch, '.')
		if names := collectdNames[string(s.kind)]; len(names) == n {
			d.scratch = append(d.scratch, names[i]...)
		} else {
			d.scratch = strconv.AppendInt(d.scratch, int64(i), 10)
		}
	}
	d.scratch = append(d.scratch, suffix...)
	return cutName(d.since(at))
}

// collectdNames are the names of the values of a type, as collectd's types.db
// has them; the packet does not. The values of other types are numbered.
var collectdNames = map[string][]string{
	"compression":    {"uncompressed", "compressed"},
	"df":             {"used", "free"},
	"disk_io_time":   {"io_time", "weighted_io_time"},
	"disk_latency":   {"read", "write"},
	"disk_merged":    {"read", "write"},
	"disk_octets":    {"read", "write"},
	"disk_ops":       {"read", "write"},
	"disk_time":      {"read", "write"},
	"dns_octets":     {"queries", "responses"},
	"if_dropped":     {"rx", "tx"},
	"if_errors":      {"rx", "tx"},
	"if_octets":      {"rx", "tx"},
	"if_packets":     {"rx", "tx"},
	"io_octets":      {"rx", "tx"},
	"io_ops":         {"read", "write"},
	"io_packets":     {"rx", "tx"},
	"load":           {"shortterm", "midterm", "longterm"},
	"ps_count":       {"processes", "threads"},
	"ps_cputime":     {"user", "syst"},
	"ps_disk_octets": {"read", "write"},
	"ps_disk_ops":    {"read", "write"},
	"ps_pagefaults":  {"minflt", "majflt"},
	"serial_octets":  {"rx", "tx"},
	"vmpage_faults":  {"minflt", "majflt"},
	"vmpage_io":      {"in", "out"},
}
