package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"testing"
	"time"
)

// The viewers of the peers return from dialling when they are subscribed to the device
// of the query.

func deviceOf(query string) string {
	q, err := url.ParseQuery(query)
	if err != nil {
		return ""
	}
	return q.Get("device")
}

// dialCentrifuge opens a viewer by the JSON protocol of centrifuge.
func dialCentrifuge(ctx context.Context, addr, query string) (*rawViewer, error) {
	v, err := openViewer(ctx, new(net.Dialer), addr, "/connection/websocket")
	if err != nil {
		return nil, err
	}
	v.ping, v.pong = "{}", "{}"
	err = v.send(`{"id":1,"connect":{}}` + "\n" + fmt.Sprintf(`{"id":2,"subscribe":{"channel":%q}}`, deviceOf(query)))
	for subscribed := false; err == nil && !subscribed; {
		var message []byte
		if message, err = v.next(); err == nil && bytes.Contains(message, []byte(`"error"`)) {
			err = errors.New(string(message))
		}
		subscribed = bytes.Contains(message, []byte(`"id":2,`))
	}
	if err != nil {
		return nil, errors.Join(err, v.conn.Close())
	}
	return v, nil
}

// dialSocketIOPeer opens a viewer by Socket.IO that joins a room.
func dialSocketIOPeer(ctx context.Context, addr, query string) (*rawViewer, error) {
	v, err := openViewer(ctx, new(net.Dialer), addr, "/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		return nil, err
	}
	v.ping, v.pong = "2", "3"
	for _, step := range []struct{ want, answer string }{
		{"0{", "40"}, {"40{", fmt.Sprintf(`420["join",%q]`, deviceOf(query))}, {"430[", ""},
	} {
		message, err := v.next()
		if err == nil && !bytes.HasPrefix(message, []byte(step.want)) {
			err = fmt.Errorf("got %q, want %s", message, step.want)
		}
		if err == nil && step.answer != "" {
			err = v.send(step.answer)
		}
		if err != nil {
			return nil, errors.Join(err, v.conn.Close())
		}
	}
	return v, nil
}

// The packets of MQTT 3.1.1 that the benchmarks need: a session without keep-alive that
// leaves nothing behind, and quality of service 0.
var (
	mqttConnect   = []byte("\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
	mqttConnected = []byte("\x20\x02\x00\x00")
	mqttGranted   = []byte("\x90\x03\x00\x01\x00")
)

// appendMQTT appends a packet of a topic of less than 256 bytes, with what stands before
// and behind it.
func appendMQTT(dst []byte, kind byte, before, topic, behind []byte) []byte {
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(before)+2+len(topic)+len(behind)))
	dst = append(append(dst, before...), 0, byte(len(topic)))
	return append(append(dst, topic...), behind...)
}

// dialMQTT opens a viewer by MQTT over TCP. Its messages are whole packets.
func dialMQTT(ctx context.Context, addr, query string) (*rawViewer, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	v := &rawViewer{conn: conn, r: bufio.NewReaderSize(conn, 4096)}
	v.read = v.packet
	for _, step := range []struct{ say, want []byte }{
		{mqttConnect, mqttConnected},
		{appendMQTT(nil, 0x82, []byte{0, 1}, []byte(deviceOf(query)), []byte{0}), mqttGranted},
	} {
		_, err := conn.Write(step.say)
		if err == nil {
			err = expectBytes(v.r, step.want)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return v, nil
}

// expectBytes reads exactly these.
func expectBytes(r io.Reader, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("got % x, want % x", got, want)
	}
	return nil
}

// packet reads a packet of MQTT that publishes, as a text frame.
func (v *rawViewer) packet() (opcode byte, err error) {
	kind, err := v.r.ReadByte()
	if err != nil {
		return 0, err
	}
	if kind&0xf0 != 0x30 {
		return 0, fmt.Errorf("packet of kind %#x", kind)
	}
	size, err := binary.ReadUvarint(v.r)
	if err != nil {
		return 0, err
	}
	return 1, v.fill(size)
}

// publishByMQTT opens a socket whose readings it publishes as JSON to the topic of their
// device, until the benchmark ends, and returns its address.
func publishByMQTT(b *testing.B, broker net.Conn) (addr string) {
	b.Helper()
	if _, err := broker.Write(mqttConnect); err != nil {
		b.Fatal(err)
	}
	if err := expectBytes(broker, mqttConnected); err != nil {
		b.Fatal(err)
	}
	var listen net.ListenConfig
	socket, err := listen.ListenPacket(b.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		forward(socket, broker)
	}()
	b.Cleanup(func() {
		_ = socket.Close()
		<-ended
	})
	return socket.LocalAddr().String()
}

// forward publishes until the socket is closed or the broker gone.
func forward(socket net.PacketConn, broker net.Conn) {
	in := make([]byte, 64<<10)
	var text, out []byte
	for offset := int64(1); ; offset++ {
		n, _, err := socket.ReadFrom(in)
		if err != nil {
			return
		}
		_, rest, _ := bytes.Cut(in[:n], []byte(",device="))
		device, rest, _ := bytes.Cut(rest, []byte{' '})
		_, value, _ := bytes.Cut(rest, []byte{'='})
		text = strconv.AppendInt(append(text[:0], `{"offset":`...), offset, 10)
		text = append(append(append(text, `,"device":"`...), device...), `","metric":"climate.temperature","time":`...)
		text = append(strconv.AppendInt(text, time.Now().UnixMilli(), 10), `,"value":`...)
		text = append(append(text, bytes.TrimSuffix(value, []byte{'i'})...), '}')
		out = appendMQTT(out[:0], 0x30, nil, device, text)
		if _, err := broker.Write(out); err != nil {
			return
		}
	}
}
