package listen

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// batchReader reads many datagrams with one system call, recvmmsg. The package
// ipv4 does so for sockets of either family.
type batchReader struct {
	conn *Socket
	msgs [udpBatch]ipv4.Message
}

func newBatchReader(conn *Socket) *batchReader {
	r := &batchReader{conn: conn}
	for i := range r.msgs {
		r.msgs[i].Buffers = [][]byte{make([]byte, maxDatagram)}
	}
	return r
}

// read waits for datagrams and returns how many there are.
func (r *batchReader) read() (int, error) { return r.conn.read(r.msgs[:]) }

// datagram returns a datagram of the last read, valid until the next.
func (r *batchReader) datagram(i int) (payload []byte, from netip.AddrPort) {
	m := &r.msgs[i]
	if a, ok := m.Addr.(*net.UDPAddr); ok {
		from = unmapped(a.AddrPort())
	}
	return m.Buffers[0][:m.N], from
}
