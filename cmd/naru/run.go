package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"
)

const viewerGrace = 5 * time.Second // for the viewers' last messages

// actor is a part of the program that runs until its context ends.
type actor struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // valid after done
}

// start runs f. When it fails, fatal is called with the reason.
func start(ctx context.Context, fatal context.CancelCauseFunc, f func(context.Context) error) *actor {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a := &actor{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(a.done)
		defer cancel()
		if a.err = f(ctx); a.err != nil {
			fatal(a.err)
		}
	}()
	return a
}

// stop ends the actor and returns its error.
func (a *actor) stop() error {
	a.cancel()
	<-a.done
	return a.err
}

// run starts everything and serves until ctx is done or a part fails. Then it
// stops in the order in which readings travel: sockets, imports, pipeline, last
// commit, viewers, store. So all that was taken is kept and shown, and devices get their
// answers.
func (g *gateway) run(ctx context.Context) error {
	ctx, fatal := context.WithCancelCause(ctx)
	defer fatal(nil)
	store := start(ctx, fatal, g.store.Run)
	pipeline := start(ctx, fatal, g.pipeline.Run)
	gate := start(ctx, fatal, g.pipeline.Gate().Run)
	guard := start(ctx, fatal, g.guard.Run)
	web := start(ctx, fatal, func(context.Context) error {
		if err := g.http.Serve(g.httpLn); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	var sockets []*actor
	if g.tcpLn != nil {
		sockets = append(sockets, start(ctx, fatal, func(ctx context.Context) error { return g.tcp.Serve(ctx, g.tcpLn) }))
	}
	if g.udpConn != nil {
		g.log.Info("datagrams are taken", "component", "ingest", "receive_buffer_bytes", g.received)
		sockets = append(sockets, start(ctx, fatal, func(ctx context.Context) error { return g.udp.Serve(ctx, g.udpConn) }))
	}
	for i := range g.extras {
		x := &g.extras[i]
		sockets = append(sockets, start(ctx, fatal, func(ctx context.Context) error { return x.serve(ctx, g.log) }))
	}
	if g.settings.Demo {
		sockets = append([]*actor{start(ctx, fatal, g.demo)}, sockets...)
	}
	g.ready.Store(true)

	<-ctx.Done()
	g.log.Info("stopping")
	g.ready.Store(false)
	var errs []error
	for _, s := range sockets {
		errs = append(errs, s.stop())
	}
	g.api.Close()
	errs = append(errs, pipeline.stop(), gate.stop())
	if g.tcpLn != nil {
		g.tcp.CloseConns()
	}
	if g.udpConn != nil {
		errs = append(errs, g.udpConn.Close())
	}
	for i := range g.extras {
		errs = append(errs, g.extras[i].finish())
	}
	errs = append(errs, store.stop())
	g.feed.Close()
	g.live.Drain()
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), viewerGrace)
	defer cancel()
	if g.http.Shutdown(goodbye) != nil {
		errs = append(errs, g.http.Close())
	}
	errs = append(errs, web.stop(), guard.stop())
	if g.live.Wait(goodbye) != nil {
		g.log.Warn("some viewers did not answer the goodbye")
	}
	errs = append(errs, g.viewers.Close(), g.closeSessions(), g.store.Close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		// The part that failed has returned it too.
		errs = append([]error{cause}, slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, cause) })...)
	}
	return errors.Join(errs...)
}
