package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// moreHTTPConns is how many connections there may be beside those of viewers, who
	// have one each.
	moreHTTPConns = 2000
	// defaultHTTPConnsPerAddr is for some hundred browsers behind one address.
	defaultHTTPConnsPerAddr = 1000
	// doorPause is how often is logged that somebody was turned away.
	doorPause = time.Minute
)

// door lets in as many connections to the page and the API as there may be. One
// too many is closed without a word: reading what it wants would hold it.
type door struct {
	net.Listener
	most, perAddr int
	exempt        []netip.Prefix // of perAddr
	log           *slog.Logger

	mu      sync.Mutex // guards following
	open    int
	from    map[netip.Addr]int
	refused int64
	told    time.Time // when one was last logged; zero: never
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok { // as no listener of ours has
			_ = conn.Close()
			continue
		}
		peer := addrOf(conn)
		if d.enter(peer) {
			return &guest{TCPConn: tcp, door: d, peer: peer}, nil
		}
		_ = conn.Close() // the peer is turned away either way
	}
}

func addrOf(conn net.Conn) netip.Addr {
	p, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap().WithZone("")
}

// enter counts a connection, or reports that there are too many.
func (d *door) enter(peer netip.Addr) bool {
	free := peer.IsLoopback() || slices.ContainsFunc(d.exempt, func(p netip.Prefix) bool { return p.Contains(peer) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open >= d.most || !free && d.from[peer] >= d.perAddr {
		d.refused++
		if now := time.Now(); d.told.IsZero() || now.Sub(d.told) >= doorPause {
			d.told = now
			d.log.Warn("a connection was closed at once: there are too many", "address", peer,
				"open", d.open, "of_address", d.from[peer], "refused_so_far", d.refused)
		}
		return false
	}
	d.open++
	if d.from == nil {
		d.from = map[netip.Addr]int{}
	}
	d.from[peer]++
	return true
}

func (d *door) leave(peer netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open--
	if d.from[peer]--; d.from[peer] == 0 {
		delete(d.from, peer)
	}
}

// stats returns how many connections are open, and how many were turned away.
func (d *door) stats() (open int, refused int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open, d.refused
}

// guest is a connection that was let in. It is a TCPConn in all but Close, so that
// several buffers are still one write.
type guest struct {
	*net.TCPConn
	door *door
	peer netip.Addr
	left atomic.Bool
}

// Close implements net.Conn.
func (c *guest) Close() error {
	if !c.left.Swap(true) {
		c.door.leave(c.peer)
	}
	return c.TCPConn.Close()
}

// openDoor returns the listener of the page on an open socket.
func (g *gateway) openDoor(ln net.Listener) (net.Listener, error) {
	s := g.settings
	proxies, err := prefixesOf(s.TrustedProxies)
	if err != nil {
		return nil, err
	}
	g.door = &door{Listener: ln, most: cmp.Or(s.MaxHTTPConns, s.MaxViewers+moreHTTPConns), perAddr: s.MaxHTTPConnsPerAddr, exempt: proxies, log: g.log.With("component", "http")}
	if !s.HTTPTLS {
		return g.door, nil
	}
	return tls.NewListener(g.door, &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.tls.Certificate() },
		// Not HTTP/2: its streams would pass the bounds on connections, and WebSockets
		// need a connection of their own anyway.
		NextProtos: []string{"http/1.1"},
	}), nil
}

// calmLog lets a line a second through: strangers can make the HTTP server log as
// often as they like.
type calmLog struct {
	slog.Handler
	last atomic.Int64 // Unix nanoseconds of the last line
}

// Handle implements slog.Handler.
func (c *calmLog) Handle(ctx context.Context, r slog.Record) error {
	now, last := r.Time.UnixNano(), c.last.Load()
	if now-last >= 0 && now-last < int64(time.Second) || !c.last.CompareAndSwap(last, now) {
		return nil
	}
	return c.Handler.Handle(ctx, r)
}
