package wire

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
)

// maxUnpacked bounds what a packed datagram unpacks to: four times the largest
// there is. Text of readings packs to a tenth, so that datagrams of any path
// without fragments fit.
const maxUnpacked = 256 << 10

// gzipState keeps what unpacking needs from one datagram to the next.
type gzipState struct {
	reader gzip.Reader
	in     bytes.Reader
	out    []byte
}

// isGzip tells the two marks of RFC 1952 and its only method.
func isGzip(b []byte) bool { return len(b) > 2 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 }

// unpack puts what the datagram holds in the place of the datagram. It reports
// true where it refuses it instead.
func (d *Decoder) unpack() bool {
	if d.gzip == nil {
		d.gzip = &gzipState{out: make([]byte, maxUnpacked+1)}
	}
	g := d.gzip
	packed := d.buf
	d.msg.Raw = packed
	switch {
	case d.unpacked:
		d.fail(FormatGzip, 0, "what is unpacked is packed again")
	case g.unpack(packed) != nil:
		d.fail(FormatGzip, 0, "the packed data are damaged")
	case len(g.out) > maxUnpacked:
		d.fail(FormatGzip, 0, "unpacked this is more than 256 KiB")
		d.err.Fault = Oversized
	default:
		d.unpacked = true
		d.buf = g.out
		return false
	}
	d.pos = len(d.buf)
	return true
}

// unpack fills out with at most one byte more than there may be.
func (g *gzipState) unpack(packed []byte) error {
	g.in.Reset(packed)
	if err := g.reader.Reset(&g.in); err != nil {
		return err
	}
	n := 0
	for n <= maxUnpacked {
		m, err := g.reader.Read(g.out[n : maxUnpacked+1])
		n += m
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	g.out = g.out[:n]
	return nil
}
