// Command centrifuge does with the centrifuge library what the gateway does in the
// benchmarks: it takes readings in line protocol over UDP, and publishes each as JSON to
// the channel of its device, for viewers by WebSocket.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/centrifugal/centrifuge"
)

// receiveBuffer is what the kernel may keep of datagrams that are not read yet.
const receiveBuffer = 4 << 20

func main() {
	delay := flag.Duration("write-delay", 0, "for how long messages to a viewer are gathered")
	ports := flag.String("ports-file", "", "the file that gets the addresses")
	flag.Parse()
	log.Fatal(serve(*delay, *ports))
}

func serve(delay time.Duration, ports string) error {
	node, err := newNode(delay)
	if err != nil {
		return err
	}
	var listen net.ListenConfig
	datagrams, err := listen.ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	socket, ok := datagrams.(*net.UDPConn)
	if !ok {
		return errors.New("no UDP socket")
	}
	if err := socket.SetReadBuffer(receiveBuffer); err != nil {
		return err
	}
	viewers, err := listen.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]string{"http": viewers.Addr().String(), "udp": socket.LocalAddr().String()})
	if err != nil {
		return err
	}
	if err := os.WriteFile(ports, text, 0o600); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- publish(node, socket) }()
	go func() {
		mux := http.NewServeMux()
		mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
		server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
		ended <- server.Serve(viewers)
	}()
	return <-ended
}

// newNode returns a node that lets everybody in, to any channel.
func newNode(delay time.Duration) (*centrifuge.Node, error) {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return nil, err
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{}, WriteDelay: delay}, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(_ centrifuge.SubscribeEvent, answer centrifuge.SubscribeCallback) {
			answer(centrifuge.SubscribeReply{}, nil)
		})
	})
	return node, node.Run()
}

// publish takes datagrams as the benchmarks send them, one whole number in each.
func publish(node *centrifuge.Node, socket *net.UDPConn) error {
	buf := make([]byte, 64<<10)
	for offset := 1; ; offset++ {
		n, _, err := socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		measurement, rest, _ := bytes.Cut(buf[:n], []byte(",device="))
		device, rest, _ := bytes.Cut(rest, []byte{' '})
		field, value, ok := bytes.Cut(rest, []byte{'='})
		if !ok {
			return errors.New("not a reading: " + string(buf[:n]))
		}
		// The library keeps the JSON for as long as a viewer has not got it.
		text := append(make([]byte, 0, 128), `{"offset":`...)
		text = append(strconv.AppendInt(text, int64(offset), 10), `,"device":"`...)
		text = append(append(text, device...), `","metric":"`...)
		text = append(append(text, measurement...), '.')
		text = append(append(text, field...), `","time":`...)
		text = append(strconv.AppendInt(text, time.Now().UnixMilli(), 10), `,"value":`...)
		text = append(append(text, bytes.TrimSuffix(value, []byte{'i'})...), '}')
		if _, err := node.Publish(string(device), text); err != nil {
			return err
		}
	}
}
