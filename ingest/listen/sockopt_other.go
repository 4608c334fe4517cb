//go:build !linux

package listen

import (
	"net"
	"syscall"
)

func kernelDrops(syscall.Conn) (uint32, bool) { return 0, false }

func receiveBuffer(syscall.Conn) int { return 0 }

func growReceiveBuffer(conn *net.UDPConn, size int) int {
	if conn.SetReadBuffer(size) != nil {
		return 0
	}
	return size
}
