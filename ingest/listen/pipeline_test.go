package listen

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
)

// memory is a sink with room for everything, durable after delay.
type memory struct {
	delay time.Duration

	mu       sync.Mutex
	readings []string
}

func (m *memory) Append(rs []device.Reading) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		m.readings = append(m.readings, string(r.Device)+" "+string(r.Metric)+"="+r.Value.String())
	}
	return uint64(len(m.readings)), nil
}

func (m *memory) Room(context.Context, int) error { return errors.New("there is always room") }

func (m *memory) WaitDurable(ctx context.Context, _ uint64) error {
	select {
	case <-time.After(m.delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *memory) texts() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.readings)
}

// TestPipelineOverTCP joins the server with the sessions it is made for: what
// stands in the log and what the device is told, however the connection ends.
func TestPipelineOverTCP(t *testing.T) {
	const broken = "\xbf\x00\xff"
	tests := []struct {
		name     string
		sent     string
		end      func(c net.Conn, stop func() error) // nil: cut off by the server
		readings []string
		answers  string
		took     time.Duration
	}{
		{
			name: "cut off behind a broken item", sent: "t,device=x,seq=1,ack=1 v=1\n\xa4\x66device\x61x\x63seq\x02\x63ack\xf5\x61v\x02" + broken,
			readings: []string{"x t.v=1", "x v=2"},
			answers:  "{\"ack\":1}\n{\"ack\":2}\n{\"error\":\"syntax\"}\n", took: time.Second,
		},
		{
			name: "server stopped", sent: "t,device=x,seq=1,ack=1 v=1\nt,device=/,seq=2,ack=1 v=1\nt,device=x,seq=3,ack=1 v=",
			end:      func(_ net.Conn, stop func() error) { _ = stop() },
			readings: []string{"x t.v=1"}, answers: "{\"ack\":1}\n{\"error\":\"device\",\"seq\":2}\n", took: time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sink := &memory{delay: time.Second}
				p := ingest.New(ingest.Config{Sink: sink})
				running := served(t, p.Run)
				server := &TCP{
					NewHandler: func(reply ingest.ReplyFunc) Handler { return p.NewSession(true, reply) }, Refuse: p.Refuse,
				}
				ln := newPipeListener()
				stop := served(t, func(ctx context.Context) error { return server.Serve(ctx, ln) })
				c := ln.dial(localDevice)
				begin := time.Now()
				write(t, c, tt.sent)
				synctest.Wait()
				if tt.end != nil {
					tt.end(c, stop)
				}
				answers := make(chan string)
				go func() {
					got, _ := io.ReadAll(c)
					answers <- string(got)
				}()
				if tt.end != nil { // the order in which the program stops
					_ = running()
					server.CloseConns()
				}
				if d := cmp.Diff(tt.answers, <-answers); d != "" {
					t.Error("answers (-want +got):\n", d)
				}
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %s, want %s", took, tt.took)
				}
				if d := cmp.Diff(tt.readings, sink.texts()); d != "" {
					t.Error("readings (-want +got):\n", d)
				}
			})
		})
	}
}

// TestPipelineOverUDP: a retransmission is answered again, to where it came from,
// and stored once.
func TestPipelineOverUDP(t *testing.T) {
	sink := &memory{}
	p := ingest.New(ingest.Config{Sink: sink})
	served(t, p.Run)
	_, to, _ := udpServer(t, "127.0.0.1:0", func(reply ingest.ReplyFunc) Handler { return p.NewSession(false, reply) })
	for range 3 {
		c := dialUDP(t, to)
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		write(t, c, "t,device=x,seq=1,ack=1 v=1", "t,device=x,seq=1,ack=1 v=1")
		for range 2 {
			buf := make([]byte, 100)
			n, err := c.Read(buf)
			if err != nil || string(buf[:n]) != `{"ack":1}` {
				t.Fatalf("answer %q, %v", buf[:n], err)
			}
		}
	}
	if got := strings.Join(sink.texts(), ", "); got != "x t.v=1" {
		t.Errorf("stored %q", got)
	}
}
