//go:build !unix

package wsconn

import "net"

// Waiter leaves waiting to who reads.
type Waiter struct{}

func NewWaiter(net.Conn, func()) *Waiter { return nil }

func (*Waiter) Wait() {}
