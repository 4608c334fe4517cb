package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// appendLine appends reading i of one of many devices, in line protocol. Its
// value is a room's temperature, in hundredths.
func appendLine(dst []byte, i int, at time.Time) []byte {
	dst = append(dst, "climate,device=d"...)
	dst = append(dst, '0'+byte(i/100%10), '0'+byte(i/10%10), '0'+byte(i%10))
	dst = append(dst, " temperature="...)
	dst = strconv.AppendInt(dst, int64(18+i/100%7), 10)
	dst = append(dst, '.', '0'+byte(i/7%10), '0'+byte(i/3%10), ' ')
	return strconv.AppendInt(dst, at.UnixNano(), 10)
}

// flood sends datagrams at a steady rate, many with one system call.
type flood struct {
	tb   testing.TB
	conn *ipv4.PacketConn
	msgs []ipv4.Message
}

func newFlood(tb testing.TB, addr string) *flood {
	tb.Helper()
	var d net.Dialer
	conn, err := d.DialContext(tb.Context(), "udp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	socket, ok := conn.(*net.UDPConn)
	if !ok {
		tb.Fatalf("%T is no UDP socket", conn)
	}
	f := &flood{tb: tb, conn: ipv4.NewPacketConn(socket), msgs: make([]ipv4.Message, 64)}
	for i := range f.msgs {
		f.msgs[i].Buffers = [][]byte{make([]byte, 0, 256)}
	}
	return f
}

// longestGap is for how much time steadily catches up at once: a sender that was
// kept from running must not become a burst that no receive buffer holds.
const longestGap = 10 * time.Millisecond

// steadily calls send for total things at rate a second, many at a time: for those
// from from to before to. After a pause it catches up at twice the rate.
func steadily(rate, total int, send func(from, to int)) {
	start := time.Now()
	last := start
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for sent := 0; sent < total; <-tick.C {
		now := time.Now()
		most := 1 + int(2*float64(rate)*min(now.Sub(last), longestGap).Seconds())
		due := min(total, sent+most, 1+int(float64(rate)*now.Sub(start).Seconds()))
		last = now
		if sent < due {
			send(sent, due)
			sent = due
		}
	}
}

// send makes total datagrams with payload and sends them at rate a second.
func (f *flood) send(rate, total int, payload func(dst []byte, i int) []byte) {
	f.tb.Helper()
	steadily(rate, total, func(from, to int) {
		for from < to {
			n := min(to-from, len(f.msgs))
			for i := range n {
				f.msgs[i].Buffers[0] = payload(f.msgs[i].Buffers[0][:0], from+i)
			}
			for left := f.msgs[:n]; len(left) > 0; {
				done, err := f.conn.WriteBatch(left, 0)
				if err != nil {
					f.tb.Fatalf("send: %v", err)
				}
				left = left[done:]
			}
			from += n
		}
	})
}

// streamOf returns a stream of lines, encoded beforehand, and how many there are.
func streamOf(size int) (lines []byte, readings int) {
	lines = make([]byte, 0, size+256)
	start := time.Now()
	for len(lines) < size {
		lines = append(appendLine(lines, readings, start.Add(time.Duration(readings)*time.Microsecond)), '\n')
		readings++
	}
	return lines, readings
}

// pour writes whole rounds of lines into a new connection for the given time,
// and returns how many rounds once the gateway has read them all.
func pour(addr string, lines []byte, d time.Duration) (rounds int, err error) {
	conn, err := net.Dial("tcp", addr) //nolint:noctx // ends by itself
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	for start := time.Now(); time.Since(start) < d; rounds++ {
		for rest := lines; len(rest) > 0; {
			n, err := conn.Write(rest[:min(len(rest), 64<<10)])
			if err != nil {
				return rounds, err
			}
			rest = rest[n:]
		}
	}
	half, ok := conn.(*net.TCPConn)
	if !ok {
		return rounds, fmt.Errorf("%T is no TCP connection", conn)
	}
	if err := half.CloseWrite(); err != nil {
		return rounds, err
	}
	_, err = io.Copy(io.Discard, conn)
	return rounds, err
}
