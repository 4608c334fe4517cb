//go:build !linux

package listen

import (
	"net/netip"
)

// batchReader reads datagrams one by one.
type batchReader struct {
	conn *Socket
	buf  [maxDatagram]byte
	n    int
	from netip.AddrPort
}

func newBatchReader(conn *Socket) *batchReader { return &batchReader{conn: conn} }

// read waits for a datagram and returns 1.
func (r *batchReader) read() (int, error) {
	n, from, err := r.conn.ReadFromUDPAddrPort(r.buf[:])
	if err != nil {
		return 0, err
	}
	r.n, r.from = n, unmapped(from)
	return 1, nil
}

// datagram returns the datagram of the last read, valid until the next.
func (r *batchReader) datagram(int) (payload []byte, from netip.AddrPort) {
	return r.buf[:r.n], r.from
}
