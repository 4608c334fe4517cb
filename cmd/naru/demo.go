package main

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
)

// The demo fleet is a household's worth of devices, with enough of a past that
// the first look at the page shows curves.
const (
	demoSeed     = 7700
	demoBackfill = 10 * time.Minute
)

// demo runs a simulated fleet against the gateway's own sockets, as any device
// outside would be heard.
func (g *gateway) demo(ctx context.Context) error {
	cfg := fleet.Config{
		Seed: demoSeed, Rate: g.settings.DemoRate, Backfill: demoBackfill,
		Acks: fleet.Acks{Share: 0.25},
	}
	if g.udpConn != nil {
		cfg.UDP = loopback(g.udpConn.LocalAddr())
	}
	if g.tcpLn != nil {
		cfg.TCP = loopback(g.tcpLn.Addr())
	}
	if cfg.UDP == "" && cfg.TCP == "" {
		return &usageError{fmt.Errorf("demo: the simulated fleet needs the UDP or the TCP listener")}
	}
	if g.store.Stats().Head > 0 {
		cfg.Backfill = 0 // a past is there already
	}
	f, err := fleet.New(cfg)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return f.Run(ctx)
}

// loopback returns the address under which this machine reaches a socket bound
// to a.
func loopback(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	if _, err := strconv.Atoi(port); err != nil {
		return a.String()
	}
	return net.JoinHostPort(host, port)
}
