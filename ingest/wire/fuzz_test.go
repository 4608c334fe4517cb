package wire

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

// FuzzDecode wants that any payload is decoded in order, within bounds and to
// its end, and that the lines of a stream do not bear on each other.
func FuzzDecode(f *testing.F) {
	for _, s := range streams {
		f.Add([]byte(s.in))
	}
	f.Add([]byte(`[{"bn":"d/","n":"a","v":1},{"v":]`))
	f.Add([]byte("[{\"v\":1},\n{\"v\":[1,]},{\"v\":2}]\n{\"v\":4}"))
	f.Add([]byte("m v=\"x\ny\" 5"))
	f.Fuzz(func(t *testing.T, in []byte) {
		checkBounds(t, in, false)
		checkBounds(t, in, true)
		var want []string
		var d Decoder
		for line := range bytes.SplitSeq(in, []byte("\n")) {
			if start := bytes.TrimLeft(line, " \t\r\x00"); len(start) > 0 && IsCBOR(start) {
				return // an item may hold newlines
			}
			d.Reset(line, true)
			want = append(want, outcomes(&d)...)
		}
		d.Reset(in, true)
		if diff := cmp.Diff(want, outcomes(&d)); diff != "" {
			t.Fatalf("line by line and as a whole (-want +got):\n%s", diff)
		}
	})
}

func outcomes(d *Decoder) []string {
	var out []string
	for d.Next() {
		m, err := d.Message()
		out = append(out, string(m.Raw)+" "+outcome(m, err))
	}
	return out
}

// checkBounds decodes in and checks the promises of Message.
func checkBounds(t *testing.T, in []byte, lines bool) {
	t.Helper()
	var d Decoder
	checkDecoder(t, &d, in, lines)
}

// checkDecoder does so with a decoder that may be pinned. What is unpacked is
// not a part of the payload.
func checkDecoder(t *testing.T, d *Decoder, in []byte, lines bool) {
	t.Helper()
	d.Reset(in, lines)
	behind := 0
	for messages := 1; d.Next(); messages++ {
		m, err := d.Message()
		if d.unpacked {
			in, behind = d.buf, 0
		}
		if messages > len(in) {
			t.Fatalf("%d messages of %d bytes", messages, len(in))
		}
		if len(m.Raw) > 0 {
			at := int(uintptr(unsafe.Pointer(&m.Raw[0])) - uintptr(unsafe.Pointer(&in[0])))
			if at < behind || at+len(m.Raw) > len(in) {
				t.Fatalf("Raw is %d bytes at %d of %d, the message before ended at %d", len(m.Raw), at, len(in), behind)
			}
			behind = at + len(m.Raw)
		}
		if len(m.Fields) > maxFields {
			t.Fatalf("%d fields", len(m.Fields))
		}
		if most := 2*len(in) + maxFields*3*device.MaxMetricLen; len(d.scratch) > most {
			t.Fatalf("%d bytes of scratch space for %d", len(d.scratch), len(in))
		}
		if last := bytes.Count(in, []byte("\n")) + 1; m.Format.binary() != (m.Line == 0) || m.Line > last {
			t.Fatalf("%s on line %d of %d", m.Format, m.Line, last)
		}
		if m.HasSeq && m.Seq > 1<<63-1 || !m.HasSeq && m.Seq != 0 {
			t.Fatalf("seq %d, %v", m.Seq, m.HasSeq)
		}
		if err != nil {
			checkError(t, err, in)
			checkPlace(t, err, m.Raw)
		}
	}
}

// checkPlace holds the place within Raw against the byte within its line.
func checkPlace(t *testing.T, err error, raw []byte) {
	t.Helper()
	var e *SyntaxError
	switch {
	case !errors.As(err, &e):
		return
	case e.At < 1:
		t.Fatalf("%+v has no place in %q", e, raw)
	case e.Format.binary() || e.At > len(raw)+1:
		return
	}
	line := bytes.LastIndexByte(raw[:e.At-1], '\n')
	if line >= 0 && e.At-1-line != e.Byte || line < 0 && e.At > e.Byte {
		t.Fatalf("%+v is another place in %q", e, raw)
	}
}

func checkError(t *testing.T, err error, in []byte) {
	t.Helper()
	var e *SyntaxError
	switch {
	case !errors.As(err, &e):
		t.Fatalf("the error is a %T", err)
	case e.Msg == "":
		t.Fatalf("%+v says nothing", e)
	case e.Format.binary():
		if e.Byte < 1 || e.Byte > len(in)+1 {
			t.Fatalf("%+v lies outside of %d bytes", e, len(in))
		}
	case e.Line < 1 || e.Line > bytes.Count(in, []byte("\n"))+1 || e.Byte < 1 || e.Byte > len(in)+1:
		t.Fatalf("%+v lies outside of %q", e, in)
	}
}
