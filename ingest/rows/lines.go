package rows

import (
	"bytes"
	"errors"
	"io"
)

const (
	// maxLine bounds a line: no payload of a device is longer than 64 KiB, and a
	// wide table may have some thousand columns.
	maxLine = 256 << 10
	// minBuffer is how much is read at a time.
	minBuffer = 64 << 10
)

var errLongLine = errors.New("the line is too long")

// lines reads a stream line by line.
type lines struct {
	r      io.Reader
	buf    []byte // what is read and not yet taken begins at at
	at     int
	err    error // of r
	number int64 // of the line at at, from 1
}

// rest returns what has been read and not taken.
func (l *lines) rest() []byte { return l.buf[l.at:] }

// end returns where the line ends that begins n bytes into the rest: the index
// of its newline, or of the end of the input. errLongLine says that it is longer
// than maxLine, io.EOF that there is no such line; anything else comes from the
// reader.
func (l *lines) end(n int) (int, error) {
	if n > len(l.rest()) { // the line before n ends with the input
		return 0, io.EOF
	}
	for searched := n; ; {
		rest := l.rest()
		if i := bytes.IndexByte(rest[searched:], '\n'); i >= 0 && searched+i-n <= maxLine {
			return searched + i, nil
		} else if i >= 0 || len(rest)-n > maxLine {
			return 0, errLongLine
		}
		searched = len(rest)
		switch {
		case l.err == nil:
			l.fill()
		case !errors.Is(l.err, io.EOF):
			return 0, l.err
		case searched == n:
			return 0, io.EOF
		default:
			return searched, nil
		}
	}
}

// take moves behind the line that ends at end, its newline included. count is
// how many lines that are.
func (l *lines) take(end int, count int64) {
	l.at = min(l.at+end+1, len(l.buf))
	l.number += count
}

// skip moves behind the line at hand, however long, and keeps nothing of it.
func (l *lines) skip() {
	for {
		if i := bytes.IndexByte(l.rest(), '\n'); i >= 0 {
			l.take(i, 1)
			return
		}
		l.at = len(l.buf)
		if l.err != nil {
			l.number++
			return
		}
		l.fill()
	}
}

// fill reads on. What rest returned before is no longer valid.
func (l *lines) fill() {
	if l.at > 0 {
		l.buf = l.buf[:copy(l.buf, l.rest())]
		l.at = 0
	}
	if cap(l.buf)-len(l.buf) < minBuffer/2 {
		grown := make([]byte, len(l.buf), max(2*cap(l.buf), minBuffer))
		copy(grown, l.buf)
		l.buf = grown
	}
	for range maxEmptyReads {
		n, err := l.r.Read(l.buf[len(l.buf):cap(l.buf)])
		l.buf = l.buf[:len(l.buf)+n]
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}

// maxEmptyReads is how often a reader may return nothing and no error.
const maxEmptyReads = 100
