package main

import (
	"context"
	"errors"
	"net/netip"
	"slices"

	"github.com/naru-telemetry/naru/ingest"
	"github.com/naru-telemetry/naru/ingest/wire"
	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage"
)

// writer takes what devices write over HTTP to the pipeline.
type writer struct {
	pipeline *ingest.Pipeline
	store    *storage.Log
}

// Ready makes the writer, with the methods below, an api.Writer. A store that
// fails still shows what other devices send; who writes over HTTP is told, and
// sends again.
func (w writer) Ready() error {
	switch {
	case w.store.Healthy() == nil:
		return nil
	case w.store.Full():
		return errors.New("readings cannot be written to the disk: it is full")
	}
	return errors.New("readings cannot be written to the disk")
}

func (w writer) Write(ctx context.Context, p api.Payload) (api.Written, error) {
	unit, ok := wire.ParsePrecision(p.Precision)
	if !ok {
		return api.Written{}, &api.InputError{Msg: "precision: want n, u, ms, s, m or h"}
	}
	peer := peerAt(p.From)
	if !p.Limit.All() {
		peer.Limit = &p.Limit
	}
	done, err := w.pipeline.Write(ctx, peer, p.Body, unit)
	out := api.Written{Readings: done.Readings, Messages: done.Messages, Refused: done.Refused}
	for _, t := range done.Told {
		out.Told = append(out.Told, api.RefusedRow{Line: int64(t.Line), Error: t.Detail})
	}
	return out, err
}

func (w writer) Refuse(from netip.AddrPort, reason, detail string) {
	all := ingest.Reasons()
	if i := slices.IndexFunc(all, func(r ingest.Reason) bool { return r.String() == reason }); i >= 0 {
		w.pipeline.Refuse(peerAt(from), all[i], detail, nil)
	}
}

func peerAt(a netip.AddrPort) ingest.Peer { return ingest.Peer{Addr: a, Transport: "http"} }
