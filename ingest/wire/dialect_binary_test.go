package wire

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// collectdPacket is the beginning of a packet that collectd 5.12 has sent, with
// LoadPlugin load, memory and uptime, up to the end of a part.
const collectdPacket = "0000000a70692d6777000008000c1ac1f7e0f80860790009000c0000000040000000000200096c6f616400000400096c6f6164000006002100030101" +
	"0100000000003e13400000000080381f400000000000cf1f400008000c1ac1f7e0f80bab3e0002000b6d656d6f7279000004000b6d656d6f72790000" +
	"05000d6275666665726564000006000f00010100000000007f89410005000b636163686564000006000f00010100000000120bf14100050009667265" +
	"65000006000f00010100000000faa0124200050010736c61625f756e7265636c000006000f00010100000000007283410005000e736c61625f726563" +
	"6c000006000f00010100000000d08cb0410008000c1ac1f7e0f80c756a0002000b757074696d65000004000b757074696d650000050005000006000f" +
	"000101000000000071b240"

const (
	// collectdSealed and collectdSigned begin what the same program sends with
	// SecurityLevel Encrypt and Sign.
	collectdSealed = "0210053d0001758fd3dd765220f07ea35f84c1f035e43d1b26d96a5a6ddf795ca68d9a0b29dfb975"
	collectdSigned = "02000025ab877ed278c5d76a72bcbca453c83522dc374ba3568819e13537e4919e85f985750000000a70692d677700"
)

func TestDecodeCollectd(t *testing.T) {
	host := "0000 0008 676831 00 0002 0007 6966 00 0003 0007 6c6f 00 0004 000e 69665f6f6374657473 00 "
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"captured", collectdPacket, []string{
			"collectd pi-gw @1795678083.875511282s: load.load.shortterm=4.810546875 load.load.midterm=7.80517578125 load.load.longterm=7.9521484375",
			"collectd pi-gw @1795678083.875712214s: memory.memory{type_instance=buffered}=5.3469184e+07",
			"collectd pi-gw @1795678083.875712214s: memory.memory{type_instance=cached}=4.575010816e+09",
			"collectd pi-gw @1795678083.875712214s: memory.memory{type_instance=free}=2.0002537472e+10",
			"collectd pi-gw @1795678083.875712214s: memory.memory{type_instance=slab_unrecl}=4.0779776e+07",
			"collectd pi-gw @1795678083.875712214s: memory.memory{type_instance=slab_recl}=2.77663744e+08",
			"collectd pi-gw @1795678083.875760415s: uptime.uptime=4721",
		}},
		{"encrypted", collectdSealed, []string{"collectd (byte 1: the packet is signed or encrypted, and packets with a key are not read here)"}},
		{"signed", collectdSigned, []string{"collectd (byte 1: the packet is signed or encrypted, and packets with a key are not read here)"}},
		{"derives, old time", host + "0001 000c 0000000069240a80 0006 0018 0002 0202 0000000000000001 ffffffffffffffff", []string{
			"collectd gh1 @1763969664s: if.if_octets.rx{plugin_instance=lo}=1i if.if_octets.tx{plugin_instance=lo}=-1i",
		}},
		{"counters", host + "0006 0018 0002 0003 7fffffffffffffff ffffffffffffffff", []string{
			"collectd gh1: if.if_octets.rx{plugin_instance=lo}=9223372036854775807i if.if_octets.tx{plugin_instance=lo}=1.8446744073709552e+19",
		}},
		{"three where two are known", host + "0006 0021 0003 020202 0000000000000001 0000000000000002 0000000000000003", []string{
			"collectd gh1: if.if_octets.0{plugin_instance=lo}=1i if.if_octets.1{plugin_instance=lo}=2i if.if_octets.2{plugin_instance=lo}=3i",
		}},
		{"notification", "0000 0008 676831 00 0101 000c 0000000000000004 0100 0008 626164 00", []string{"collectd:"}},
		{"wrong count, and on", host + "0006 0018 0003 0202 0000000000000001 0000000000000002 0006 000f 0001 02 0000000000000005", []string{
			"collectd (byte 37: the values do not have the length that their number wants)", "collectd gh1: if.if_octets{plugin_instance=lo}=5i",
		}},
		{"unknown type of value", host + "0006 000f 0001 09 0000000000000005", []string{"collectd (byte 37: a value is of a type that is not known)"}},
		{"part beyond the end", host + "0006 00ff 0001", []string{"collectd (byte 37: a part ends too early)"}},
		{"part of no length", host + "0006 0000", []string{"collectd (byte 37: a part ends too early)"}},
		{"text without its zero", host + "0005 0006 6162", []string{"collectd (byte 37: a part is malformed)"}},
		{"time of a wrong length", host + "0008 0008 00000000", []string{"collectd (byte 37: a part is malformed)"}},
		{"zeros in front of a line", "0000 6d20763d31", []string{"line: m.v=1"}},
		{"zeros in front of JSON", "0000 7b2276223a317d", []string{"json: v=1i"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := unhex(t, c.in)
			if diff := cmp.Diff(c.want, decodeAll(in, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeESPHome(t *testing.T) {
	// Put together as PacketTransport::init_data_, add_data_ and flush_ of
	// components/packet_transport do.
	head := "5345 09 6b69746368656e2d31 " // kitchen-1
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"plain", head + "01 02 0000ac41 04 74656d70 03 01 04 646f6f72 0000", []string{"esphome kitchen-1: temp=21.5 door=true"}},
		{"rolling code", head + "05 0700000001000000 03 00 01 61 02 0000c0bf 01 62", []string{"esphome kitchen-1 seq=4294967303: a=false b=-1.5"}},
		{"rolling code beyond a seq", head + "05 07000000010000ff 03 00 01 61 000000", []string{"esphome kitchen-1: a=false"}},
		{"padded name", "5345 03 676831 0000 01 03 01 01 61 000000", []string{"esphome gh1: a=true"}},
		{"ping key", head + "01 04 01020304 03 01 01 61 0000", []string{"esphome kitchen-1: a=true"}},
		{"ping", "4850 09 6b69746368656e2d31 01020304", []string{"esphome kitchen-1:"}},
		{"encrypted", head + "9c417f20 d1883e07", []string{"esphome (byte 13: the packet is encrypted, and packets with a key are not read here)"}},
		{"unknown key", head + "01 09 0000", []string{"esphome (byte 14: this is neither a sensor nor a binary sensor; is the packet encrypted?)"}},
		{"name beyond the end", head + "01 03 01 09 61 000000", []string{"esphome (byte 14: a sensor ends too early)"}},
		{"text that begins alike", "5345 0a 6d20763d31", []string{
			"line (line 1, byte 3: fields are missing: want measurement[,tag=value] field=value [time])", "line: m.v=1",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := unhex(t, c.in)
			if diff := cmp.Diff(c.want, decodeAll(in, false)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
