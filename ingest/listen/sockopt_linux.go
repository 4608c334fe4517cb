package listen

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Words of the answer to SO_MEMINFO; linux/sock_diag.h, SK_MEMINFO_*.
const (
	memInfoDrops = 8
	memInfoWords = 9
)

// kernelDrops returns how many datagrams the socket has lost since it was
// opened; it wraps around.
func kernelDrops(conn syscall.Conn) (uint32, bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false
	}
	var info [memInfoWords]uint32
	ok := false
	err = raw.Control(func(fd uintptr) {
		size := uint32(unsafe.Sizeof(info))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
		ok = errno == 0 && uintptr(size) == unsafe.Sizeof(info)
	})
	return info[memInfoDrops], err == nil && ok
}

// growReceiveBuffer asks for size bytes, beyond the system's limit where the
// process may (CAP_NET_ADMIN), and returns what it got. The kernel doubles the
// number to make room for its own bookkeeping.
func growReceiveBuffer(conn *net.UDPConn, size int) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
		}
	})
	return receiveBuffer(conn)
}

// receiveBuffer returns the size of the receive buffer in bytes, the kernel's
// bookkeeping included; 0 where it is not known.
func receiveBuffer(conn syscall.Conn) (size int) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		size, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return size
}
