package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/rows"
	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage"
)

const (
	// importRoom is what an import wants to be free before it appends, so that
	// devices find room beside it.
	importRoom = storage.DefaultMaxPending / 2
	// importGrace is how long an import that is ended waits for what it has
	// appended.
	importGrace = 5 * time.Second
)

// importer appends the rows of files. It may be used concurrently.
type importer struct {
	store *storage.Log
	// admit says whether a series may be taken; nil: every one.
	admit func(device.Series) error

	taken, refused atomic.Int64 // readings, and rows
}

// run appends the rows in r and returns how many readings it has taken, which
// are durable when err is nil. refused is called with each row that is not
// taken.
func (im *importer) run(ctx context.Context, r io.Reader, cfg rows.Config, refused func(rows.Refused)) (taken int64, err error) {
	cfg.Now, cfg.Admit = device.TimeOf(time.Now()), im.admit
	d := rows.NewDecoder(r, cfg)
	last := uint64(0)
	for {
		b, err := d.Next()
		switch {
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return taken, im.store.WaitDurable(ctx, last)
		case err == nil:
			im.refused.Add(int64(len(b.Refused)))
			for _, row := range b.Refused {
				refused(row)
			}
			last, err = im.append(ctx, b.Readings, last)
		}
		if err != nil {
			return taken, errors.Join(err, im.settle(ctx, last))
		}
		taken += int64(len(b.Readings))
		im.taken.Add(int64(len(b.Readings)))
	}
}

// append appends the readings, as soon as there is room, and returns the last
// offset that is not zero.
func (im *importer) append(ctx context.Context, rs []device.Reading, last uint64) (uint64, error) {
	if len(rs) == 0 {
		return last, nil
	}
	now := device.TimeOf(time.Now())
	for i := range rs {
		rs[i].Received = now
	}
	for {
		if err := im.store.Room(ctx, max(importRoom, len(rs))); err != nil {
			return last, err
		}
		given, err := im.store.Append(rs)
		if err == nil {
			return given, nil
		}
		if !errors.Is(err, storage.ErrFull) {
			return last, err
		}
	}
}

// settle makes what has been taken durable although the import has failed.
func (im *importer) settle(ctx context.Context, last uint64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), importGrace)
	defer cancel()
	return im.store.WaitDurable(ctx, last)
}

// Import makes the importer an api.Importer.
func (im *importer) Import(ctx context.Context, body io.Reader, o api.ImportOptions) (api.Imported, error) {
	done := api.Imported{Reasons: map[string]int64{}}
	cfg, body, err := rowsConfig(o, body)
	if err != nil {
		return done, &api.InputError{Msg: err.Error()}
	}
	done.Readings, err = im.run(ctx, body, cfg, func(r rows.Refused) {
		done.Total++
		done.Reasons[r.Reason]++
		if len(done.Refused) < api.MaxRefusedRows {
			done.Refused = append(done.Refused, api.RefusedRow{Line: r.Line, Error: r.Err})
		}
	})
	if header, ok := errors.AsType[*rows.HeaderError](err); ok {
		err = &api.InputError{Msg: header.Error()}
	}
	return done, err
}

// rowsConfig returns how to read rows about which somebody has said o; where
// that is not enough, the rows themselves tell.
func rowsConfig(o api.ImportOptions, r io.Reader) (rows.Config, io.Reader, error) {
	var cfg rows.Config
	var err error
	if o.Device != "" {
		if cfg.Device, err = device.ParseID(o.Device); err != nil {
			return cfg, r, err
		}
	}
	if o.Precision != "" {
		if cfg.Unit, err = rows.ParseUnit(o.Precision); err != nil {
			return cfg, r, errors.New("precision: " + err.Error())
		}
	}
	if o.Format != "" {
		if cfg.Format, err = rows.ParseFormat(o.Format); err != nil {
			return cfg, r, errors.New("format: " + err.Error())
		}
		return cfg, r, nil
	}
	head := make([]byte, rows.DetectLen)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return cfg, r, err
	}
	cfg.Format = rows.FormatOf(head[:n])
	return cfg, io.MultiReader(bytes.NewReader(head[:n]), r), nil
}
