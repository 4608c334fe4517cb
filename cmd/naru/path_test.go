//go:build unix

package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// interloper is somebody on the path between a device and the gateway: he passes
// everything on, and adds what he likes in the device's name.
type interloper struct {
	device, gateway *net.UDPConn
	client          atomic.Pointer[net.UDPAddr] // the device
	meddling        atomic.Bool
	past            [][]byte // what the device has sent
	replays, forged int      // records of the session that have been added
	running         sync.WaitGroup
}

// newInterloper returns one, and the address that the device takes for the gateway's.
func newInterloper(t *testing.T, gateway string) (i *interloper, addr string) {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", gateway)
	if err != nil {
		t.Fatal(err)
	}
	i = &interloper{}
	if i.device, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	if i.gateway, err = net.DialUDP("udp", nil, to); err != nil {
		t.Fatal(err)
	}
	i.running.Go(i.up)
	i.running.Go(i.down)
	t.Cleanup(i.leave)
	return i, i.device.LocalAddr().String()
}

// leave ends it; what it has counted may then be read.
func (i *interloper) leave() {
	_, _ = i.device.Close(), i.gateway.Close() // the second time it has been done
	i.running.Wait()
}

// down passes on what the gateway sends, but for its answers to handshakes that were
// replayed: openssl drops them, and s_client then waits for the next record and no
// longer for what it is to send.
func (i *interloper) down() {
	b := make([]byte, 1<<16)
	for {
		n, err := i.gateway.Read(b)
		if err != nil {
			return
		}
		if i.meddling.Load() && b[0] != 23 {
			continue
		}
		_, _ = i.device.WriteToUDP(b[:n], i.client.Load()) // the device has spoken first
	}
}

// up passes on what the device sends, each datagram of a session with company.
func (i *interloper) up() {
	b := make([]byte, 1<<16)
	for {
		n, from, err := i.device.ReadFromUDP(b)
		if err != nil {
			return
		}
		i.client.Store(from)
		sent := bytes.Clone(b[:n])
		_, _ = i.gateway.Write(sent)
		if i.past = append(i.past, sent); sent[0] == 23 {
			i.meddle(sent)
		}
	}
}

// inName is a record in the device's name; its number is one to come.
func inName(kind byte, epoch uint16, body []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kind, 0xfe, 0xfd}, uint64(epoch)<<48|1<<20)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

// meddle adds what an interloper can: replays of this datagram and of those before,
// the handshake too, ends of the session, and records that are bent, too long or
// empty.
func (i *interloper) meddle(sent []byte) {
	i.meddling.Store(true)
	add := append(slices.Clone(i.past[max(0, len(i.past)-40):]), sent, sent)
	for _, b := range add {
		if b[0] == 23 {
			i.replays++
		}
	}
	bent := bytes.Clone(sent)
	bent[len(bent)-1] ^= 1
	forged := [][]byte{bent, inName(21, 1, make([]byte, 26)), inName(23, 1, nil), inName(23, 1, make([]byte, 17_000))}
	i.forged += len(forged)
	add = append(append(add, forged...),
		inName(21, 0, []byte{1, 0}), inName(21, 0, []byte{2, 40}), inName(23, 1, make([]byte, 30_000)), inName(22, 0, make([]byte, 30_000)),
		inName(23, 0, []byte("t v=1")), inName(20, 0, []byte{1}), inName(23, 2, make([]byte, 40)))
	for _, b := range add {
		_, _ = i.gateway.Write(b)
	}
}

// TestInterloper: replays, forged alerts and records that are bent or too long, sent
// from the device's own address, do nothing to its session, and are counted.
func TestInterloper(t *testing.T) {
	t.Parallel()
	g := startProcess(t, "", t.TempDir(), "--psk", "sealed="+testKey)
	i, addr := newInterloper(t, g.UDP)
	devices := honestDevices(t, g.addresses, addr)
	before := g.procStatus(t, "VmRSS")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the gateway says:\n%s\nthe device:\n%s", g.output, devices[2].out)
		}
	})
	const rounds = 100
	for range rounds {
		round(t, devices)
	}
	if n := g.metric(t, "naru_dtls_sessions", ""); n != 1 {
		t.Errorf("%v sessions", n)
	}
	if n := g.metric(t, "naru_dtls_handshakes_total", ""); n != 1 {
		t.Errorf("%v handshakes", n)
	}
	for _, h := range devices {
		if n := g.count(t, "device="+h.id); n != rounds {
			t.Errorf("%s: %d readings are stored, %d were acknowledged", h.id, n, rounds)
		}
	}
	i.leave()
	// What comes while the handshake is not over is a stray when there is no room for
	// it, whatever it is.
	var repeated, forged, rest float64
	defer func() {
		t.Logf("%d replays, %v counted; %d forged records, %v counted; %v others; memory grew by %.1f MB at most",
			i.replays, repeated, i.forged, forged, rest, (g.procStatus(t, "VmHWM")-before)/1e6)
	}()
	eventually(t, "everything to be counted", func() bool {
		repeated, forged = g.metric(t, "naru_dtls_repeated_total", ""), g.metric(t, "naru_dtls_forged_total", "")
		rest = g.metric(t, "naru_udp_kernel_drops_total", "") + g.metric(t, "naru_dtls_strays_total", "")
		return repeated > 0 && forged > 0 && repeated+forged+rest >= float64(i.replays+i.forged)
	})
}
