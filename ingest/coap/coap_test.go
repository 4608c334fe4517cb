package coap

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIs(t *testing.T) {
	for _, c := range []struct {
		name, datagram string
		want           bool
	}{
		{"POST", "\x40\x02\x00\x01", true},
		{"token of 8", "\x48\x01\x00\x0112345678", true},
		{"token of 9", "\x49\x01\x00\x01123456789", false},
		{"token cut off", "\x48\x01\x00\x011234567", false},
		{"ping", "\x40\x00\x00\x01", true},
		{"reset", "\x70\x00\x00\x01", true},
		{"longer empty message", "\x40\x00\x00\x01\x00", false},
		{"empty message with a token", "\x41\x00\x00\x01", false},
		{"response", "\x40\x45\x00\x01", false},
		{"reserved method", "\x40\x08\x00\x01", false},
		{"CoIoT of Shelly", "\x50\x1e\x00\x01", false},
		{"version 0", "\x00\x02\x00\x01", false},
		{"version 2, or CBOR", "\x80\x02\x00\x01", false},
		{"JSON object", "{\x02\x00\x01", false},
		{"JSON array", "[\x02\x00\x01", false},
		{"line", "temp v=1", false},
		{"line with a tab", "t\tv=1", false},
		{"line with an end", "a\n\nb", false},
		{"ESPHome", "SE\x04test", false},
		{"short", "\x40\x02\x00", false},
		{"nothing", "", false},
	} {
		if got := Is([]byte(c.datagram)); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestParse(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name, datagram string
		want           Message
	}{
		{"RFC 7252, figure 16", "\x40\x01\x7d\x34\xbbtemperature", Message{Code: GET, ID: 0x7d34, Options: []Option{{URIPath, []byte("temperature")}}}},
		{"RFC 7252, figure 17", "\x41\x01\x7d\x35\x20\xbbtemperature", Message{Code: GET, ID: 0x7d35, Token: []byte{0x20}, Options: []Option{{URIPath, []byte("temperature")}}}},
		{"RFC 7252, figure 16, response", "\x60\x45\x7d\x34\xff22.3 C", Message{Type: Acknowledgement, Code: Content, ID: 0x7d34, Payload: []byte("22.3 C")}},
		{"ping", "\x40\x00\x00\x05", Message{ID: 5}},
		{"repeated option", "\x50\x02\x00\x01\xb1a\x01b", Message{Type: NonConfirmable, Code: POST, ID: 1, Options: []Option{{URIPath, []byte("a")}, {URIPath, []byte("b")}}}},
		{"delta of one byte", "\x40\x02\x00\x01\xd0\x0e", Message{Code: POST, ID: 1, Options: []Option{{Block1, []byte{}}}}},
		{"delta of two bytes", "\x40\x02\x00\x01\xe1\xfe\xf2\x1a", Message{Code: POST, ID: 1, Options: []Option{{0xffff, []byte{0x1a}}}}},
		{"length of one byte", "\x40\x02\x00\x01\xbd\x00" + long[:13], Message{Code: POST, ID: 1, Options: []Option{{URIPath, []byte(long[:13])}}}},
		{"length of two bytes", "\x40\x02\x00\x01\xbe\x00\x1f" + long, Message{Code: POST, ID: 1, Options: []Option{{URIPath, []byte(long)}}}},
	} {
		var m Message
		if err := Parse([]byte(c.datagram), &m); err != nil {
			t.Error(c.name, err)
			continue
		}
		if len(m.Token) == 0 {
			m.Token = nil
		}
		if d := cmp.Diff(c.want, m); d != "" {
			t.Error(c.name, "(-want +got):\n", d)
		}
		if got := string(m.Append(nil)); got != c.datagram {
			t.Errorf("%s: appended %x, want %x", c.name, got, c.datagram)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	for _, c := range []struct {
		datagram, want string
	}{
		{"\x40\x02\x00", "byte 4: the head has four bytes"},
		{"\x80\x02\x00\x01", "byte 1: the version is not 1"},
		{"\x49\x02\x00\x01123456789", "byte 1: a token has at most 8 bytes"},
		{"\x42\x02\x00\x01a", "byte 6: the token is cut off"},
		{"\x40\x00\x00\x01\xff", "byte 5: an empty message has four bytes"},
		{"\x40\x02\x00\x01\xff", "byte 5: nothing follows the payload marker"},
		{"\x40\x02\x00\x01\xf0", "byte 5: an option's delta or length is reserved or cut off"},
		{"\x40\x02\x00\x01\x0f", "byte 5: an option's delta or length is reserved or cut off"},
		{"\x40\x02\x00\x01\xd0", "byte 5: an option's delta or length is reserved or cut off"},
		{"\x40\x02\x00\x01\x0e\x00", "byte 5: an option's delta or length is reserved or cut off"},
		{"\x40\x02\x00\x01\xe0\xff\xff", "byte 5: an option's number exceeds 65535"},
		{"\x40\x02\x00\x01\xb3ab", "byte 5: option 11 has 3 bytes, and 2 follow"},
		{"\x40\x02\x00\x01\xb0" + strings.Repeat("\x00", 32), "byte 37: more than 32 options"},
	} {
		var m Message
		if err := Parse([]byte(c.datagram), &m); err == nil || err.Error() != "CoAP: "+c.want {
			t.Errorf("%x: %v, want %s", c.datagram, err, c.want)
		}
	}
}

func TestBlock(t *testing.T) {
	for _, c := range []struct {
		value string
		want  Block
		ok    bool
	}{
		{"", Block{}, true},
		{"\x0e", Block{0, true, 6}, true},
		{"\x12\x34\x55", Block{0x12345, false, 5}, true},
		{"\x07", Block{0, false, 7}, false},
		{"\x00\x00\x00\x00", Block{}, false},
		{"\x00\x00\x00\x00\x00", Block{}, false},
	} {
		got, ok := BlockOf(Option{Block1, []byte(c.value)})
		if got != c.want || ok != c.ok {
			t.Errorf("%x: %+v, %v", c.value, got, ok)
		}
		if o := got.Option(Block1); ok && string(o.Value) != c.value {
			t.Errorf("%x: written %x", c.value, o.Value)
		}
	}
}

// FuzzParse: what can be read is written again to mean the same, and nothing
// panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"\x40\x01\x7d\x34\xbbtemperature", "\x41\x45\x7d\x35\x20\xffx", "\x40\x02\x00\x01\xe1\xff\x00\x1a", "\x40\x00\x00\x00",
		"\x40\x02\x00\x01\xb8readings\x11\x32\xd1\x02\x0e\xff{}", "\x40\x02\x00\x01\xbd\x001234567890123", "\x40\x02\x00\x01\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Message
		if err := Parse(b, &m); err != nil {
			return
		}
		out := m.Append(nil)
		if err := Parse(out, &again); err != nil {
			t.Fatalf("%x, written as %x: %v", b, out, err)
		}
		if d := cmp.Diff(m, again); d != "" {
			t.Error("(-first +again):\n", d)
		}
		if len(out) > len(b) || len(out) == len(b) && !bytes.Equal(out[:headLen], b[:headLen]) {
			t.Errorf("%x became %x", b, out)
		}
	})
}
