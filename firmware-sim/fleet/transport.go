package fleet

// Transport is how a device reaches the server.
type Transport string

// The transports.
const (
	UDP Transport = "udp" // a payload in a datagram
	TCP Transport = "tcp" // payloads follow each other in a stream
)

// datagrams reports whether datagrams carry it, which a bad link may lose.
func (t Transport) datagrams() bool { return t == UDP }

// route is where a device sends, and how.
type route struct {
	transport Transport
	address   string
}

func (r route) String() string { return string(r.transport) + " " + r.address }
