//go:build unix

package wsconn

import "syscall"

// rawWriter writes to a socket what its buffer takes, without waiting. It must not be
// used concurrently.
type rawWriter struct {
	conn syscall.RawConn
	try  func(fd uintptr) bool // made once
	b    []byte
	n    int
	err  error
}

func newRawWriter(conn syscall.RawConn) *rawWriter {
	w := &rawWriter{conn: conn}
	w.try = func(fd uintptr) bool {
		for {
			w.n, w.err = syscall.Write(int(fd), w.b)
			if w.err != syscall.EINTR { //nolint:errorlint // of a system call
				return true
			}
		}
	}
	return w
}

// write returns how much the socket has taken.
func (w *rawWriter) write(b []byte) (int, error) {
	w.b = b
	err := w.conn.Write(w.try)
	w.b = nil
	switch {
	case err != nil:
		return 0, err
	case w.err == syscall.EAGAIN: //nolint:errorlint // as above
		return 0, nil
	case w.err != nil:
		return 0, w.err
	}
	return w.n, nil
}
