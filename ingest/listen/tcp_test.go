package listen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/naru-telemetry/naru/ingest"
)

var equal = cmpopts.EquateEmpty()

// pipeServer runs t over pipes in a synctest bubble.
type pipeServer struct {
	*TCP
	*pipeListener
	*recorder
	refused refusals
	stop    func() error
}

func newPipeServer(t *testing.T, configure func(*TCP)) *pipeServer {
	s := &pipeServer{TCP: &TCP{}, pipeListener: newPipeListener(), recorder: newRecorder()}
	s.NewHandler, s.Refuse = s.handler, s.refused.refuse
	if configure != nil {
		configure(s.TCP)
	}
	t.Cleanup(s.CloseConns)
	s.stop = served(t, func(ctx context.Context) error { return s.Serve(ctx, s.pipeListener) })
	return s
}

const localDevice = "192.168.1.7:4711"

// text returns all payloads of all as one; where reads end is no business of the
// sender's.
func (s *pipeServer) text() string { return strings.Join(s.all(), "") }

func TestTCPPeer(t *testing.T) {
	tests := []struct{ remote, want string }{
		{"192.168.1.7:4711", "192.168.1.7:4711"},
		{"[::ffff:10.0.0.1]:9", "10.0.0.1:9"},
		{"[fe80::1%eth0]:9", "[fe80::1%eth0]:9"},
		{"pipe", "invalid AddrPort"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s := newPipeServer(t, nil)
			c := s.dial(tt.remote)
			write(t, c, "t v=1\n")
			synctest.Wait()
			if got, _ := s.state(); got.Addr.String() != tt.want || got.Transport != "tcp" {
				t.Errorf("peer %v, want %s", got, tt.want)
			}
			_ = c.Close()
		})
	}
}

func TestTCPLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, func(tcp *TCP) { tcp.MaxConns, tcp.MaxPerAddr = 4, 2 })
		open := func(addr string, ok bool) net.Conn {
			t.Helper()
			c := s.dial(addr)
			if ok {
				write(t, c, "t v=1\n")
				return c
			}
			got, err := io.ReadAll(c)
			if err != nil || string(got) != `{"error":"connections_limit"}`+"\n" {
				t.Errorf("answer %q, %v", got, err)
			}
			return c
		}
		a1 := open("10.0.0.1:1", true)
		open("10.0.0.1:2", true)
		open("10.0.0.1:3", false)
		open("[::ffff:10.0.0.1]:4", false)
		b1 := open("10.0.0.2:1", true)
		_ = a1.Close()
		synctest.Wait()
		open("10.0.0.1:5", true)
		open("10.0.0.3:1", true)
		open("10.0.0.4:1", false)
		_ = b1.Close()
		synctest.Wait()
		open("10.0.0.4:2", true)
		want := []string{
			"connections_limit: 2 connections are open, 2 of them from this address (0)",
			"connections_limit: 2 connections are open, 2 of them from this address (0)",
			"connections_limit: 4 connections are open, 0 of them from this address (0)",
		}
		if d := cmp.Diff(want, s.refused.all()); d != "" {
			t.Error("(-want +got):\n", d)
		}
		if st := s.Stats(); st.Open != 4 || st.Accepted != 9 {
			t.Errorf("%+v", st)
		}
		// A peer that is refused and does not listen holds nobody up for long.
		begin := time.Now()
		deaf := s.dial("10.0.0.1:7")
		open("10.0.0.9:1", false)
		if took := time.Since(begin); took != refusalTimeout {
			t.Errorf("took %s", took)
		}
		_ = deaf.Close()
	})
}

// dialTCP serves a loopback listener and connects to it.
func dialTCP(t *testing.T, server *TCP) *net.TCPConn {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.CloseConns)
	served(t, func(ctx context.Context) error { return server.Serve(ctx, ln) })
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		t.Fatalf("a %T", c)
	}
	return tcp
}

func TestTCPAcceptErrors(t *testing.T) {
	opError := func(err error) error {
		return &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	tests := []struct {
		err    error
		passes bool
	}{
		{opError(syscall.EMFILE), true},
		{opError(syscall.ENFILE), true},
		{opError(syscall.ENOBUFS), true},
		{opError(syscall.ECONNABORTED), true},
		{opError(syscall.EPERM), true},
		{opError(syscall.EBADF), false},
		{opError(syscall.EINVAL), false},
		{&net.OpError{Op: "accept", Net: "tcp", Err: net.ErrClosed}, false},
		{errFatal, false},
	}
	for _, tt := range tests {
		t.Run(tt.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log logLines
				tcp := &TCP{NewHandler: newRecorder().handler, Logger: log.logger()}
				ln := newPipeListener()
				done := make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() { done <- tcp.Serve(ctx, ln) }()
				c := ln.dial(localDevice) // an idle connection does not hold the end up
				begin := time.Now()
				for range 10 {
					select {
					case ln.errs <- tt.err:
						synctest.Wait()
					case <-ln.done:
					}
				}
				if tt.passes {
					if took := time.Since(begin); took != 9*acceptPause {
						t.Errorf("10 errors took %s", took)
					}
					write(t, ln.dial(localDevice), "t v=1\n")
					cancel()
				}
				if err := <-done; (err == nil) != tt.passes || err != nil && !errors.Is(err, tt.err) {
					t.Errorf("serve: %v", err)
				}
				if got := strings.Count(log.String(), "cannot be accepted"); (got == 1) != tt.passes || got > 1 {
					t.Errorf("logged %d times", got)
				}
				<-ln.done // the listener is closed
				tcp.CloseConns()
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Errorf("the connection is not closed: %v", err)
				}
			})
		})
	}
}

// TestTCPShutdown: Serve returns at once and leaves the connections open for
// answers until CloseConns.
func TestTCPShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPipeServer(t, nil)
		var conns []net.Conn
		for i := range 3 {
			c := s.dial(fmt.Sprintf("10.0.0.%d:1", i))
			write(t, c, "t v=1\nt v=") // and half a line
			conns = append(conns, c)
		}
		reads := conns[0]
		begin := time.Now()
		if err := s.stop(); err != nil {
			t.Error(err)
		}
		if got := s.all(); len(got) != 3 || s.Stats().Open != 3 {
			t.Errorf("got %q, %+v", got, s.Stats())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			got, err := io.ReadAll(reads)
			if err != nil || string(got) != "late\n" {
				t.Errorf("answer %q, %v", got, err)
			}
		})
		s.TCP.mu.Lock()
		for c := range s.TCP.conns {
			c.reply(ingest.Peer{}, []byte("late")) // as the pipeline does; two never read it
		}
		s.TCP.mu.Unlock()
		s.CloseConns()
		if took := time.Since(begin); took != closeGrace {
			t.Errorf("took %s, want %s for all together", took, closeGrace)
		}
		wg.Wait()
		if st := s.Stats(); st.Open != 0 {
			t.Errorf("%+v", st)
		}
		s.CloseConns() // again: nothing left to do
	})
}
