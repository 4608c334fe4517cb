package engine

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// packets parses a payload into texts that show kind and form.
func packets(payload string) (out []string, err error) {
	err = parsePayload([]byte(payload), func(p packet) error {
		form := "text"
		if p.binary {
			form = "binary"
		}
		out = append(out, string(p.kind)+" "+form+" "+string(p.data))
		return nil
	})
	return out, err
}

func TestParsePayload(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // those before what is malformed, if anything is
		bad  bool
	}{
		{"4hello", []string{"4 text hello"}, false},
		{"4", []string{"4 text "}, false},
		{"4test1\x1e4test2\x1e4test3", []string{"4 text test1", "4 text test2", "4 text test3"}, false},
		{"4hello\x1ebAQIDBA==", []string{"4 text hello", "4 binary \x01\x02\x03\x04"}, false},
		{"b", []string{"4 binary "}, false},
		{"3", []string{"3 text "}, false},
		{"2probe", []string{"2 text probe"}, false},
		{"", nil, true},
		{"abc", nil, true},
		{"7", nil, true},
		{"4a\x1e", []string{"4 text a"}, true},
		{"4a\x1e\x1e4b", []string{"4 text a"}, true},
		{"4a\x1ex", []string{"4 text a"}, true},
		{"bAQID=", nil, true},
		{"bAQ-_", nil, true},
		{"4\xff", nil, true},
	} {
		got, err := packets(c.in)
		if d := cmp.Diff(c.want, got); d != "" || c.bad != (err != nil) {
			t.Errorf("%q: %v (-want +got):\n%s", c.in, err, d)
		}
	}
}

func TestParsePayloadStops(t *testing.T) {
	enough := errors.New("enough")
	n := 0
	err := parsePayload([]byte("4a\x1e4b\x1e4c"), func(packet) error {
		if n++; n == 2 {
			return enough
		}
		return nil
	})
	if n != 2 || !errors.Is(err, enough) {
		t.Errorf("%d packets, %v", n, err)
	}
}

func TestMessages(t *testing.T) {
	for _, size := range []int{0, 1, 124, 125, 126, 65_534, 65_535, 70_000} {
		text := []byte(strings.Repeat("x", size))
		var b Builder
		b.Text([]byte("one"), []byte("-"), []byte("half"))
		b.Binary(text)
		b.Text(text)
		m := b.Messages()
		want := [][]byte{[]byte("4one-half"), appendBinary(nil, text), append([]byte("4"), text...)}
		if got := m.asPayload(); !bytes.Equal(got, bytes.Join(want, []byte{separator})) {
			t.Errorf("%d: payload of %d bytes: %.60q", size, len(got), got)
		}
		var frames []string
		for rest := m.frames; len(rest) > 0; {
			var opcode byte
			var data []byte
			opcode, data, rest = cutFrame(rest)
			frames = append(frames, string('0'+opcode)+string(data))
		}
		if !slices.Equal(frames, []string{"14one-half", "2" + string(text), "14" + string(text)}) {
			t.Errorf("%d: frames %.60q", size, frames)
		}
		if b.frames != nil {
			t.Error("the builder remembers")
		}
	}
}

// FuzzPayload: what can be read is written the same, but for what base64 leaves
// open; nothing panics.
func FuzzPayload(f *testing.F) {
	for _, s := range []string{"4hello", "4hello\x1ebAQIDBA==", "abc", "", "2probe", "b\x1e4", "4\xff", "6\x1e6"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		var first []string
		err := parsePayload(b, func(p packet) error {
			first = append(first, string(p.kind)+string(p.data))
			if p.binary {
				again = appendBinary(again, p.data)
				return nil
			}
			again = append(appendSeparated(again), byte(p.kind))
			again = append(again, p.data...)
			return nil
		})
		if err != nil {
			return
		}
		var second []string
		if err := parsePayload(again, func(p packet) error {
			second = append(second, string(p.kind)+string(p.data))
			return nil
		}); err != nil || !slices.Equal(first, second) {
			t.Fatalf("%q became %q: %v", b, again, err)
		}
	})
}
