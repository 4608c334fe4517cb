package block

import (
	"encoding/binary"
)

// reader takes numbers from the front of buf. bad is set, and stays, when one
// is cut off, too long or not what it has to be; zeros are read from then on.
type reader struct {
	buf []byte
	bad bool
}

func (r *reader) check(ok bool) {
	if !ok {
		r.bad, r.buf = true, nil
	}
}

func (r *reader) byte() (b byte) {
	if len(r.buf) == 0 {
		r.bad = true
		return 0
	}
	b, r.buf = r.buf[0], r.buf[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.buf)
	if n <= 0 {
		r.bad, r.buf = true, nil
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// count reads a number that may be limit at most.
func (r *reader) count(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.bad, r.buf = true, nil
		return 0
	}
	return int(v)
}

// take returns the next n bytes.
func (r *reader) take(n int) []byte {
	if n > len(r.buf) {
		r.bad, r.buf = true, nil
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}
