package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/authority"
	"github.com/naru-telemetry/naru/ingest/listen"
	"github.com/naru-telemetry/naru/ingest/wire"
	"github.com/naru-telemetry/naru/push"
	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/push/auth"
	"github.com/naru-telemetry/naru/push/live"
	"github.com/naru-telemetry/naru/storage"
)

// Files in the data folder beside the store's.
const (
	tokenFile    = "token"             // the access token
	socketIOFile = "socketio-sessions" // by what clients of Socket.IO are known again
)

// sessionFile holds the key of the sessions of browsers, in the data folder.
const sessionFile = "session-key"

// gateway is the wired program: everything is open, nothing runs yet.
type gateway struct {
	settings *settings
	log      *slog.Logger

	store    *storage.Log
	feed     *push.Feed
	pipeline *ingest.Pipeline
	udp      *listen.UDP
	sessions *storage.Sessions // nil when nobody comes in over DTLS
	tcp      *listen.TCP
	tls      *listen.TLS          // of tcp, and of those among extras
	ca       *authority.Authority // nil when the certificate is somebody else's
	viewers  *live.Sessions       // nil until it is open
	live     *live.Handler
	importer *importer
	api      *api.API
	guard    *auth.Guard
	http     *http.Server

	udpConn  *listen.Socket // nil when switched off, as the listeners below
	tcpLn    net.Listener
	httpLn   net.Listener
	door     *door // httpLn, below its TLS
	received int   // effective receive buffer of udpConn, bytes
	extras   []extra

	token     string
	tokenMade bool
	ready     atomic.Bool
}

// openGateway opens the store and the sockets and wires the packages.
func openGateway(ctx context.Context, s *settings, log *slog.Logger) (*gateway, error) {
	g := &gateway{settings: s, log: log}
	if err := g.openStore(); err != nil {
		return nil, err
	}
	g.openIngest()
	if err := g.openTLS(); err != nil {
		return nil, errors.Join(err, g.abandon())
	}
	if err := g.openDTLS(); err != nil {
		return nil, errors.Join(err, g.abandon())
	}
	if err := g.openPush(); err != nil {
		return nil, errors.Join(err, g.abandon())
	}
	if err := g.openSockets(ctx); err != nil {
		return nil, errors.Join(err, g.abandon())
	}
	return g, nil
}

func (g *gateway) openStore() error {
	s := g.settings
	size := int64(s.RetainSize)
	if size == defaultRetainSize() {
		size = 0 // then the disk has a say
	}
	store, err := storage.Open(storage.Config{
		Dir:            s.Data,
		CommitInterval: s.CommitInterval,
		RetainAge:      time.Duration(s.RetainAge),
		RetainMinutes:  time.Duration(s.RetainMinutes),
		RetainHours:    time.Duration(s.RetainHours),
		RetainSize:     size,
		// The feed is made from the open store; nothing is appended before.
		OnAppend: func(rs []device.Stored) { g.feed.Publish(rs) },
		// Nor is the registry changed before there is a gate.
		OnRegister: func(id device.ID, r *device.Registration) { g.registered(id, r) },
		OnCommand:  func(id device.ID) { g.notifyCommand(id) },
		Logger:     g.log,
	})
	if err != nil {
		return err
	}
	g.store = store
	g.feed = push.NewFeed(push.Config{Store: store.StoreID(), History: store})
	return nil
}

func (g *gateway) openIngest() {
	s := g.settings
	log := g.log.With("component", "ingest")
	registry := g.store.Registry()
	g.pipeline = ingest.New(ingest.Config{
		Sink: sink{g.store}, Mailbox: g.store.Mailbox(), MaxDevices: s.MaxDevices, MaxSeries: s.MaxSeries, Rates: s.rates(), Admission: ingest.Admission(s.Admission),
		OnPresence: g.feed.Announce, Used: registry.Used, Logger: log,
	})
	for _, known := range g.store.Series(device.Selector{}) {
		g.pipeline.Gate().Seed(known.Series)
	}
	for _, r := range registry.Registrations() {
		g.pipeline.Gate().Register(r.ID, r)
	}
	g.udp = &listen.UDP{
		NewHandler: func(reply ingest.ReplyFunc) listen.Handler { return g.pipeline.NewSession(false, reply) },
		CoAP:       g.coap(),
		Logger:     log,
	}
	g.tcp = &listen.TCP{
		NewHandler: func(reply ingest.ReplyFunc) listen.Handler { return g.pipeline.NewSession(true, reply) },
		Refuse:     g.pipeline.Refuse,
		Logger:     log,
		Idle:       s.Idle, MaxConns: s.MaxConns, MaxPerAddr: s.MaxConnsPerAddr,
	}
}

// coap returns what serves CoAP on one socket.
func (g *gateway) coap() *listen.CoAP {
	return &listen.CoAP{
		Write: func(ctx context.Context, peer ingest.Peer, payload []byte) (ingest.Written, error) {
			return g.pipeline.Write(ctx, peer, payload, wire.Ago)
		},
		Listener: g.pipeline.Gate().Listener,
		Next:     g.store.Mailbox().Next,
		Refuse:   g.pipeline.Refuse,
	}
}

func (g *gateway) openPush() error {
	s := g.settings
	var err error
	if g.token, g.tokenMade, err = auth.LoadToken(filepath.Join(s.Data, tokenFile)); err != nil {
		return err
	}
	if g.viewers, err = live.OpenSessions(filepath.Join(s.Data, socketIOFile)); err != nil {
		return err
	}
	proxies, err := prefixesOf(s.TrustedProxies)
	if err != nil {
		return err
	}
	g.live = live.New(live.Config{
		Feed: g.feed, Origins: s.Origins, JSONP: s.JSONP, Iframe: s.Iframe, Sessions: g.viewers, Logger: g.log.With("component", "live"),
		MaxViewers: s.MaxViewers, MaxViewersPerAddr: s.MaxViewersPerAddr, Exempt: proxies,
	})
	g.importer = &importer{store: g.store, admit: g.pipeline.Gate().Introduce}
	g.api = api.New(api.Config{
		Readings: g.store, History: g.store, Catalog: g.store,
		Presence: g.presence, Waiting: g.waiting, Limits: g.limits, Refused: g.refused, About: g.about,
		Importer: g.importer,
		Writer:   writer{g.pipeline, g.store},
		Snapshot: func(ctx context.Context) (api.Snapshot, error) { return takeSnapshot(ctx, g.store) },
		Usage:    func(ctx context.Context) (api.Usage, error) { return usageOf(ctx, g.store) },
		Registry: g.store.Registry(),
		Mailbox:  g.store.Mailbox(),
		Logger:   g.log.With("component", "api"),
	})
	if err := g.openGuard(); err != nil {
		return err
	}
	g.http = &http.Server{
		Handler:           g.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		// Long answers move their deadline with every write.
		WriteTimeout:   time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(&calmLog{Handler: g.log.With("component", "http").Handler()}, slog.LevelWarn),
	}
	return nil
}

// openGuard makes who decides about access.
func (g *gateway) openGuard() error {
	s := g.settings
	key, err := auth.LoadSessionKey(filepath.Join(s.Data, sessionFile))
	if err != nil { // the disk may be full, and readings are looked at all the same
		g.log.Warn("the sessions of browsers end with the gateway", "component", "access", "error", err)
	}
	proxies, err := prefixesOf(s.TrustedProxies)
	if err != nil {
		return err
	}
	g.guard, err = auth.New(auth.Config{
		Token: g.token, Grants: g.store.Access(), SessionKey: key, Origins: s.Origins, Proxies: proxies,
		Logger: g.log.With("component", "access"),
	})
	return err
}

// openSockets opens the sockets, the page's first: a device that is heard is
// also seen.
func (g *gateway) openSockets(ctx context.Context) error {
	s := g.settings
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.HTTP)
	if err != nil {
		return fmt.Errorf("http: %w", err)
	}
	if g.httpLn, err = g.openDoor(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	if on(s.TCP) {
		if g.tcpLn, err = lc.Listen(ctx, "tcp", s.TCP); err != nil {
			return fmt.Errorf("tcp: %w", err)
		}
	}
	if on(s.UDP) {
		if g.udpConn, g.received, err = listen.ListenUDP(ctx, s.UDP, int(s.ReceiveBuffer)); err != nil {
			return err
		}
	}
	return g.openExtra(ctx)
}

func on(addr string) bool { return addr != "" && addr != "off" }

// abandon closes what openGateway has opened.
func (g *gateway) abandon() error {
	var errs []error
	if g.httpLn != nil {
		errs = append(errs, g.httpLn.Close())
	}
	if g.tcpLn != nil {
		errs = append(errs, g.tcpLn.Close())
	}
	if g.udpConn != nil {
		errs = append(errs, g.udpConn.Close())
	}
	if g.viewers != nil {
		errs = append(errs, g.viewers.Close())
	}
	return errors.Join(append(errs, g.closeExtra(), g.closeSessions(), g.store.Close())...)
}

// sink adapts the store to the pipeline.
type sink struct{ *storage.Log }

func (s sink) Append(rs []device.Reading) (uint64, error) {
	last, err := s.Log.Append(rs)
	if errors.Is(err, storage.ErrFull) {
		return 0, ingest.ErrFull
	}
	return last, err
}

func (g *gateway) refused() []api.Refused {
	newest := g.pipeline.Inspector().Newest()
	out := make([]api.Refused, 0, len(newest))
	for _, r := range newest {
		format := ""
		if r.Format != 0 {
			format = r.Format.String()
		}
		out = append(out, api.Refused{
			Time: r.Time, Remote: r.Peer.Addr.String(), Transport: r.Peer.Transport, Format: format,
			Reason: r.Reason.String(), Error: r.Detail, Payload: r.Payload, Size: r.Size, At: r.At,
		})
	}
	return out
}

func (g *gateway) about() api.About {
	a := api.About{Version: versionString(), Store: g.store.StoreID(), HTTP: portOf(g.httpLn.Addr()), HTTPS: g.settings.HTTPTLS}
	if g.udpConn != nil {
		a.UDP = portOf(g.udpConn.LocalAddr())
	}
	if g.tcpLn != nil {
		a.TCP = portOf(g.tcpLn.Addr())
	}
	a.Addresses = reachable(g.deviceAddr())
	a.Storage = g.storageState()
	return a
}

// storageState says whether readings are kept, in words for people. It tells no
// paths.
func (g *gateway) storageState() *api.Storage {
	switch {
	case g.store.Healthy() == nil:
		return &api.Storage{State: api.StorageOK}
	case g.store.Full():
		return &api.Storage{State: api.StorageFull, Detail: "no space left on the disk"}
	}
	return &api.Storage{State: api.StorageFailing, Detail: "the log of the gateway says why"}
}

// deviceAddr is the address that devices send to, as far as it is bound.
func (g *gateway) deviceAddr() net.Addr {
	switch {
	case g.udpConn != nil:
		return g.udpConn.LocalAddr()
	case g.tcpLn != nil:
		return g.tcpLn.Addr()
	}
	return g.httpLn.Addr()
}

func portOf(a net.Addr) int {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return 0
	}
	return int(p.Port())
}

// writePorts writes the addresses for who has asked for port 0.
func (g *gateway) writePorts(path string) error {
	if path == "" {
		return nil
	}
	ports := map[string]string{"http": g.httpLn.Addr().String()}
	if g.settings.HTTPTLS {
		ports["certificate"] = g.certificateFile()
	}
	if g.udpConn != nil {
		ports["udp"] = g.udpConn.LocalAddr().String()
	}
	if g.tcpLn != nil {
		ports["tcp"] = g.tcpLn.Addr().String()
	}
	for i := range g.extras {
		ports[g.extras[i].text] = g.extras[i].listening()
	}
	b, err := json.Marshal(ports)
	if err != nil {
		return err
	}
	// Renamed into place, so that who waits for the file finds it whole.
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
