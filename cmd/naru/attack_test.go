//go:build unix

package main

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Bounds of how much the memory of a gateway may grow under an attack, in bytes. What
// an attack would take of a gateway without bounds is many times as much.
const (
	mostUnderAttack = 40 << 20
	mostOfBodies    = 200 << 20 // 64 MiB of bodies may be held at a time, and as much may be waiting for the collector
	raceFactor      = 10        // the race detector keeps a shadow of the memory, and more on each stack
)

// underRace reports whether the race detector watches this program.
func underRace() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// honest is a device that goes on sending, and wants an acknowledgement each time.
type honest struct {
	id   string
	in   io.Writer
	out  *outputBuffer
	udp  bool // datagrams may be lost: it sends again
	sent int
}

func (h *honest) acknowledged() bool {
	return strings.Contains(h.out.String(), fmt.Sprintf(`{"ack":%d}`, h.sent))
}

func (h *honest) say() {
	_, _ = fmt.Fprintf(h.in, "t,device=%s,seq=%d,ack=1 v=%d\n", h.id, h.sent, h.sent) // what is missed is told
}

// honestDevices are one each over UDP, TCP and DTLS, the latter by way of an address.
func honestDevices(t *testing.T, g addresses, dtls string) []*honest {
	t.Helper()
	over := func(id, network, addr string) *honest {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), network, addr)
		if err != nil {
			t.Fatal(err)
		}
		h := &honest{id: id, in: conn, out: &outputBuffer{}, udp: network == "udp"}
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			_, _ = io.Copy(h.out, conn) // until it is closed
		}()
		t.Cleanup(func() {
			_ = conn.Close()
			<-heard
		})
		return h
	}
	d := startDTLSDevice(t, dtls, "-psk_identity", "sealed", "-psk", testKey)
	return []*honest{over("udp", "udp", g.UDP), over("tcp", "tcp", g.TCP), {id: "sealed", in: d.in, out: &d.out, udp: true}}
}

// round has each of them send one reading and wait for its acknowledgement.
func round(t *testing.T, devices []*honest) {
	t.Helper()
	for _, h := range devices {
		h.sent++
		h.say()
	}
	for _, h := range devices {
		polls := 0
		eventually(t, fmt.Sprintf("acknowledgement %d of %s", h.sent, h.id), func() bool {
			if polls++; h.udp && polls%200 == 0 {
				h.say()
			}
			return h.acknowledged()
		})
	}
}

// newcomer is a device that has not been here before: it begins anew as often as it
// is told to, and returns how often.
func newcomer(t *testing.T, g addresses) (tries int) {
	t.Helper()
	for limit := time.Now().Add(patience); time.Now().Before(limit); {
		tries++
		d := startDTLSDevice(t, g.UDP, "-psk_identity", "newcomer", "-psk", testKey)
		h := honest{id: "newcomer", in: d.in, out: &d.out, sent: tries}
		h.say()
		over := func() bool { return h.acknowledged() || strings.Contains(d.out.String(), "alert") }
		eventually(t, "a word to the newcomer", over)
		if h.acknowledged() {
			return tries
		}
	}
	t.Fatal("the newcomer does not get in")
	return 0
}

// attack is what somebody does to a gateway that other devices need.
type attack struct {
	name string
	// do returns how many blows there were.
	do func(t *testing.T, g *process) (int, error)
	// counted returns how many of them are counted, or were lost on the way.
	counted func(t *testing.T, g *process) float64
	most    float64 // 0: mostUnderAttack
}

// counts returns a function for attack.counted that adds up metrics, each a name or
// name and label.
func counts(names ...string) func(*testing.T, *process) float64 {
	return func(t *testing.T, g *process) (sum float64) {
		t.Helper()
		for _, name := range append(names, "naru_udp_kernel_drops_total") {
			name, label, _ := strings.Cut(name, " ")
			sum += g.metric(t, name, label)
		}
		return sum
	}
}

var attacks = []attack{
	{name: "garbage handshakes from many addresses", do: garbageHandshakes, counted: counts("naru_dtls_strays_total")},
	{
		name: "forged ClientHellos", do: forgedHellos,
		counted: counts("naru_dtls_handshakes_evicted_total", "naru_dtls_strangers_total", "naru_dtls_handshakes"),
	},
	{name: "slow writers", do: slowWriters, counted: counts("naru_tcp_connections")},
	{
		name: "10,000 connections from one address", do: manyConnections,
		counted: counts("naru_refused_total connections_limit", "naru_tcp_connections"),
	},
	{name: "bombs as datagrams", do: bombDatagrams, counted: counts("naru_refused_total too_long")},
	{name: "bombs over HTTP", do: bombBodies, counted: counts("naru_refused_total too_long"), most: mostOfBodies},
	{name: "malformed CBOR", do: malformedCBOR, counted: func(t *testing.T, g *process) float64 {
		return refusedTotal(t, g.addresses) + g.metric(t, "naru_udp_kernel_drops_total", "")
	}},
	{name: "malformed CoAP", do: malformedCoAP, counted: counts("naru_coap_malformed_total")},
	{name: "CBOR in CoAP", do: cborInCoAP, counted: counts("naru_coap_requests_total")},
}

// TestAttacks: under each attack memory stays bounded, honest devices are heard and
// acknowledged, a new one gets in, and what was done is counted.
func TestAttacks(t *testing.T) {
	t.Parallel()
	program(t, "openssl", "openssl")
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			g := startProcess(t, "", t.TempDir(), "--psk", "sealed="+testKey, "--psk", "newcomer="+testKey)
			devices := honestDevices(t, g.addresses, g.UDP)
			round(t, devices)
			before := g.procStatus(t, "VmRSS")
			var blows int
			var err error
			over := make(chan struct{})
			go func() {
				defer close(over)
				blows, err = a.do(t, g)
			}()
			tries := newcomer(t, g.addresses)
			for going := true; going; {
				select {
				case <-over:
					going = false
				default:
				}
				round(t, devices)
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Skip("this machine has too few file descriptors, or addresses: ", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "everything to be counted", func() bool { return a.counted(t, g) >= float64(blows) })
			for _, h := range devices {
				if n := g.count(t, "device="+h.id); n != h.sent {
					t.Errorf("%s: %d readings are stored, %d were acknowledged", h.id, n, h.sent)
				}
			}
			grown, most := g.procStatus(t, "VmHWM")-before, cmp.Or(a.most, mostUnderAttack)
			if underRace() {
				most *= raceFactor
			}
			if grown > most {
				t.Errorf("memory grew by %.1f MB", grown/1e6)
			}
			t.Logf("%d blows, %v counted; memory grew by %.1f MB at most; the newcomer got in at attempt %d; %d rounds of the others",
				blows, a.counted(t, g), grown/1e6, tries, devices[0].sent)
		})
	}
}

// sendFrom sends one datagram from the nth address of the loopback network.
func sendFrom(n int, to string, b []byte) error {
	addr, err := net.ResolveUDPAddr("udp", to)
	if err != nil {
		return err
	}
	c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 9, byte(n>>8), byte(n))}, addr)
	if err != nil {
		return err
	}
	_, err = c.Write(b)
	return errors.Join(err, c.Close())
}

// manyAddresses is from how many addresses an attacker comes, or seems to.
const manyAddresses = 10_000

// handshakeRecord puts a record of a handshake in clear around a message.
func handshakeRecord(message []byte) []byte {
	b := append([]byte{22, 0xfe, 0xfd}, make([]byte, 8)...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(message))), message...)
}

func garbageHandshakes(_ *testing.T, g *process) (int, error) {
	random := rand.New(rand.NewPCG(3, 3)) //nolint:gosec // the same bytes in every run
	for i := range manyAddresses {
		b := make([]byte, 1+random.IntN(400))
		for j := range b {
			b[j] = byte(random.Uint32())
		}
		b[0] |= 2 // no ClientHello
		if err := sendFrom(i, g.UDP, handshakeRecord(b)); err != nil {
			return i, err
		}
	}
	return manyAddresses, nil
}

func forgedHellos(_ *testing.T, g *process) (int, error) {
	for i := range manyAddresses {
		body := binary.BigEndian.AppendUint32([]byte{0xfe, 0xfd}, uint32(i))
		body = append(body, make([]byte, 28)...)
		body = append(body, 0, 0, 0, 4, 0xc0, 0xa8, 0x00, 0xa8, 1, 0)
		message := append([]byte{1, 0, 0, byte(len(body)), 0, 0, 0, 0, 0, 0, 0, byte(len(body))}, body...)
		if err := sendFrom(i, g.UDP, handshakeRecord(message)); err != nil {
			return i, err
		}
	}
	return manyAddresses, nil
}

// perAddress is how many connections of one address a gateway holds by default.
const perAddress = 256

// fromAfar opens a connection from another address than the honest devices have.
func fromAfar(t *testing.T, g *process) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, 9)}}
	conn, err := d.DialContext(t.Context(), "tcp", g.TCP)
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// slowWriters hold as many connections as they may, and send lines that do not end.
func slowWriters(t *testing.T, g *process) (int, error) {
	line := bytes.Repeat([]byte("x"), 60_000)
	var all []net.Conn
	for range perAddress {
		conn, err := fromAfar(t, g)
		if err != nil {
			return 0, err
		}
		if _, err := conn.Write(line); err != nil {
			return 0, err
		}
		all = append(all, conn)
	}
	for range 20 {
		for _, conn := range all {
			if _, err := conn.Write([]byte("x")); err != nil {
				return 0, err
			}
		}
	}
	return perAddress, nil
}

func manyConnections(t *testing.T, g *process) (int, error) {
	const connections = 10_000
	for i := range connections {
		if _, err := fromAfar(t, g); err != nil {
			return i, err
		}
	}
	return connections, nil
}

// bomb returns gzip that unpacks to so many bytes.
func bomb(size int) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	chunk := bytes.Repeat([]byte("a"), 1<<20)
	for ; size > 0; size -= len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return b.Bytes(), err
}

func bombDatagrams(_ *testing.T, g *process) (int, error) {
	b, err := bomb(60 << 20)
	if err != nil {
		return 0, err
	}
	const bombs = 500
	for i := range bombs {
		if err := sendFrom(i, g.UDP, b); err != nil {
			return i, err
		}
	}
	return bombs, nil
}

// bombBodies writes bodies beyond what is unpacked; the gateway reads no further
// whatever follows.
func bombBodies(t *testing.T, g *process) (int, error) {
	b, err := bomb(48 << 20)
	if err != nil {
		return 0, err
	}
	const bombs = 8
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for i := range bombs {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.url("/api/v1/write"), bytes.NewReader(b))
		if err != nil {
			return i, err
		}
		req.Header.Set("Content-Encoding", "gzip")
		resp, err := client.Do(req)
		if err != nil {
			return i, err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			return i, errors.New(resp.Status)
		}
	}
	return bombs, nil
}
