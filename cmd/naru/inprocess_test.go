package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// gatewayUnderTest is a gateway in this process, from the command line on.
type gatewayUnderTest struct {
	addresses
	output *outputBuffer
	cancel context.CancelFunc
	ended  chan struct{}
	code   int // valid after ended
}

// startGateway runs the command line on loopback and waits until it serves. It
// is ended with the test, and must then have ended well.
func startGateway(t *testing.T, data string, more ...string) *gatewayUnderTest {
	t.Helper()
	ports := filepath.Join(t.TempDir(), "ports.json")
	ctx, cancel := context.WithCancel(context.Background())
	g := &gatewayUnderTest{output: &outputBuffer{}, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(g.ended)
		g.code = run(ctx, serveArgs(data, ports, more...), nil, g.output, g.output)
	}()
	t.Cleanup(func() { g.stop(t) })
	g.addresses = waitForPorts(t, ports, g.ended, g.output.String)
	if g.Certificate == "" { // otherwise the test must know it first
		eventually(t, "readiness", func() bool { return g.status(t, "/readyz") == 200 })
	}
	return g
}

// stop ends the gateway as a signal would, and wants it to end well.
func (g *gatewayUnderTest) stop(t *testing.T) {
	t.Helper()
	g.cancel()
	select {
	case <-g.ended:
	case <-time.After(patience):
		t.Fatalf("the gateway does not end:\n%s", g.output)
	}
	if g.code != 0 {
		t.Errorf("exit code %d, want 0:\n%s", g.code, g.output)
	}
}

// command runs a command line that ends by itself.
func command(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs outputBuffer
	code = run(ctx, args, environ, &out, &errs)
	if ctx.Err() != nil {
		t.Fatalf("naru %q does not end:\n%s%s", args, &out, &errs)
	}
	return code, out.String(), errs.String()
}

// dial opens a socket of a device, for as long as the test lasts.
func dial(tb testing.TB, network, addr string) net.Conn {
	tb.Helper()
	var d net.Dialer
	conn, err := d.DialContext(tb.Context(), network, addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		tb.Fatal(err)
	}
	return conn
}

// sendTo opens a socket and sends one payload.
func sendTo(tb testing.TB, network, addr, payload string) net.Conn {
	tb.Helper()
	conn := dial(tb, network, addr)
	if _, err := fmt.Fprint(conn, payload); err != nil {
		tb.Fatal(err)
	}
	return conn
}
