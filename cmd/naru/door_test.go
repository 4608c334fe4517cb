package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestDoor(t *testing.T) {
	t.Parallel()
	said := &outputBuffer{}
	d := &door{most: 5, perAddr: 2, exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, log: slog.New(slog.NewTextHandler(said, nil))}
	for i, c := range []struct {
		peer string
		want bool
	}{
		{"192.0.2.1", true},
		{"192.0.2.1", true},
		{"192.0.2.1", false},
		{"10.0.0.1", true},
		{"10.0.0.1", true},
		{"127.0.0.1", true}, // and now it is full
		{"127.0.0.1", false},
		{"192.0.2.2", false},
	} {
		if got := d.enter(netip.MustParseAddr(c.peer)); got != c.want {
			t.Errorf("%d, %s: %v", i, c.peer, got)
		}
	}
	if open, refused := d.stats(); open != 5 || refused != 3 {
		t.Errorf("%d open, %d refused", open, refused)
	}
	d.leave(netip.MustParseAddr("192.0.2.1"))
	if !d.enter(netip.MustParseAddr("192.0.2.2")) {
		t.Error("nobody gets the place that is free")
	}
	if n := strings.Count(said.String(), "there are too many"); n != 1 {
		t.Errorf("%d lines: %s", n, said)
	}
	for _, peer := range []string{"192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.1", "127.0.0.1"} {
		d.leave(netip.MustParseAddr(peer))
	}
	if open, _ := d.stats(); open != 0 || len(d.from) != 0 {
		t.Errorf("%d are open, of %v", open, d.from)
	}
}

// A connection beyond the bound is closed, and a place that becomes free is given.
func TestTooManyHTTPConnections(t *testing.T) {
	t.Parallel()
	g := startGateway(t, t.TempDir(), "--max-http-connections", "2")
	serves := func(conn net.Conn) bool {
		_, _ = fmt.Fprint(conn, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
		b := make([]byte, 12)
		_, err := io.ReadFull(conn, b)
		return err == nil && string(b) == "HTTP/1.1 200"
	}
	var two []net.Conn
	eventually(t, "two that are served", func() bool { // the connection that asked for readiness goes when it likes
		if conn := dial(t, "tcp", g.HTTP); serves(conn) {
			two = append(two, conn)
		}
		return len(two) == 2
	})
	if serves(dial(t, "tcp", g.HTTP)) {
		t.Error("a third is served")
	}
	_ = two[0].Close()
	eventually(t, "a free place", func() bool { return serves(dial(t, "tcp", g.HTTP)) })
}

func TestCalmLog(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	h := &calmLog{Handler: slog.NewTextHandler(&b, nil)}
	at := time.Unix(1_700_000_000, 0)
	for _, ms := range []int{0, 1, 999, 1000, 1001, 2500, 500} { // the last by a clock that was set back
		if err := h.Handle(t.Context(), slog.NewRecord(at.Add(time.Duration(ms)*time.Millisecond), slog.LevelWarn, fmt.Sprint("line ", ms), 0)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for line := range strings.SplitSeq(strings.TrimSpace(b.String()), "\n") {
		_, msg, _ := strings.Cut(line, "msg=")
		got = append(got, msg)
	}
	if want := `"line 0","line 1000","line 2500","line 500"`; strings.Join(got, ",") != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	got, err := prefixesOf([]string{"127.0.0.1", "10.1.2.3/8", "::1", "fd00::/8"})
	if err != nil || fmt.Sprint(got) != "[127.0.0.1/32 10.0.0.0/8 ::1/128 fd00::/8]" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "localhost", "10.0.0.0/33", "fe80::1%eth0", "10.0.0.1:80"} {
		if _, err := prefixesOf([]string{bad}); err == nil || !strings.Contains(err.Error(), "trusted-proxies") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if code, _, stderr := command(t, nil, "serve", "--data", t.TempDir(), "--trusted-proxies", "nginx"); code != 2 || !strings.Contains(stderr, "trusted-proxies") {
		t.Errorf("%d %s", code, stderr)
	}
}
