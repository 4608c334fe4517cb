package wire

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// follow frames a stream that arrives in the chunks and returns what its
// messages are made of, and whether the stream could be followed to its end.
func follow(t testing.TB, chunks [][]byte) (messages []string, whole bool) {
	t.Helper()
	var d Decoder
	var buf []byte
	for _, chunk := range chunks {
		buf = append(buf, chunk...)
		for {
			n, err := Frame(buf)
			if err != nil {
				return messages, false
			}
			if n == 0 {
				break
			}
			d.Reset(buf[:n], true)
			for d.Next() {
				m, err := d.Message()
				messages = append(messages, m.Format.String()+" "+string(m.Raw)+" "+outcome(m, err))
			}
			buf = bytes.Clone(buf[n:])
		}
	}
	return messages, true
}

// outcome is render without places, which count from the beginning of a payload.
func outcome(m *Message, err error) string {
	if err != nil {
		return "refused"
	}
	return render(m, nil)
}

// chunksOf parts b into chunks of n bytes.
func chunksOf(b []byte, n int) [][]byte { return slices.Collect(slices.Chunk(b, n)) }

var streams = []struct{ name, in string }{
	{"lines", "a v=1\nb v=2\r\n\n#c\nd v=3\n"},
	{"json", "{\"v\":1}\n[{\"v\":2},{\"v\":3}]\n{\"v\":\n{\"v\":4}{\"v\":5}\n"},
	{"cbor", "\xa1\x61v\x01\xd9\xd9\xf7\xa1\x61v\x02\x82\xa1\x61v\x0a\xa1\x61v\x0a"},
	{"all", "a v=1\n\xa1\x61v\x0a{\"v\":2}\n \x00\xd9\xd9\xf7\xa1\x61v\x0ab v=3\n\xbf\x61v\x9f\x0a\xff\xff\n\n{\"v\":4}\n"},
	{"cbor bytes in lines", "a v=\"\x81\"\n{\"v\":1}\x82\n\xd9\n\xd9\xd9\nb v=2\n\xef\xbb\xbf\x81\nc v=3\n"},
	{"blank", "\n\r\n \t\x00\n"},
}

func TestFrameSplitAnywhere(t *testing.T) {
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			want, whole := follow(t, [][]byte{[]byte(s.in)})
			if !whole {
				t.Fatal("the stream cannot be followed")
			}
			for at := 1; at < len(s.in); at++ {
				got, _ := follow(t, [][]byte{[]byte(s.in[:at]), []byte(s.in[at:])})
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("split at %d (-whole +split):\n%s", at, diff)
				}
			}
			got, _ := follow(t, chunksOf([]byte(s.in), 1))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("byte by byte (-whole +split):\n%s", diff)
			}
		})
	}
}

func TestFrame(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     int
		err      string
	}{
		{"nothing", "", 0, ""},
		{"half a line", "a v=", 0, ""},
		{"a line and a half", "a v=1\nb v", 6, ""},
		{"lines up to CBOR", "a v=1\nb v=2\n\xa0", 12, ""},
		{"blanks up to CBOR belong to it", "\n \x00\xa0\xa0", 4, ""},
		{"line ends alone", "\r\n\n", 3, ""},
		{"half an item", "\xa1\x61v", 0, ""},
		{"half an item behind line ends", "\n\xa1\x61v", 1, ""},
		{"half a self-description", "\xd9\xd9", 0, ""},
		{"one item of two", "\xa1\x61v\x01\xa0", 4, ""},
		{"malformed item", "\xa1\x61v\x1c", 0, "byte 4: reserved additional information"},
		{"an integer beyond 64 bits with sign is no reason to stop", "\xa1\x61v\x1b\xff\xff\xff\xff\xff\xff\xff\xff", 12, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := Frame([]byte(c.in))
			msg := ""
			if err != nil {
				msg = err.Error()
			}
			if n != c.want || msg != c.err {
				t.Errorf("got %d, %q; want %d, %q", n, msg, c.want, c.err)
			}
		})
	}
}

// FuzzFrame parts a stream in chunks of any size and wants the same messages.
func FuzzFrame(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.in), uint8(1))
		f.Add([]byte(s.in), uint8(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		want, wholeWant := follow(t, [][]byte{in})
		got, wholeGot := follow(t, chunksOf(in, int(size)+1))
		if diff := cmp.Diff(want, got); diff != "" || wholeWant != wholeGot {
			t.Fatalf("followed %v and %v (-whole +split):\n%s", wholeWant, wholeGot, diff)
		}
	})
}
