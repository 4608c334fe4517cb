package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// watchOptions are the flags of naru watch.
type watchOptions struct {
	url, token      string
	envToken        string // NARU_TOKEN, which goes behind the flag and the address
	devices         []string
	metrics         []string
	lines, jsonText bool
}

func newWatchCommand(environ []string) *cobra.Command {
	o := watchOptions{}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch readings in the terminal",
		Long: `Watch readings as they arrive: a live table on a terminal, a line for each
reading when piped or with --lines. The connection is taken up again where it
broke.`,
		Example: `  naru watch
  naru watch --device 'greenhouse-*' --metric '*temperature'
  naru watch --json | jq .value`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.envToken = envToken(environ)
			return watch(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.url, "url", "http://127.0.0.1:7780/", "address of the gateway")
	f.StringVar(&o.token, "token", "", "access token, for a gateway on another machine (or NARU_TOKEN)")
	f.StringArrayVar(&o.devices, "device", nil, "`pattern` of devices, repeatable")
	f.StringArrayVar(&o.metrics, "metric", nil, "`pattern` of metrics, repeatable")
	f.BoolVar(&o.lines, "lines", false, "a line for each reading also on a terminal")
	f.BoolVar(&o.jsonText, "json", false, "each reading as JSON, as the API gives it")
	return cmd
}

// liveMessage is a message of the live endpoint.
type liveMessage struct {
	Type     string            `json:"type"`
	Cursor   string            `json:"cursor"`
	Reason   string            `json:"reason"`
	Error    string            `json:"error"`
	Readings []json.RawMessage `json:"readings"`
}

// liveReading is a reading as the API gives it.
type liveReading struct {
	Offset uint64          `json:"offset"`
	Device string          `json:"device"`
	Metric string          `json:"metric"`
	Time   float64         `json:"time"` // Unix milliseconds
	Value  json.RawMessage `json:"value"`
}

// view shows readings.
type view interface {
	show(raw json.RawMessage, r liveReading) error
	note(text string)
	flush() error
}

// Waits between attempts to connect.
const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

// watch shows readings until ctx is done.
func watch(ctx context.Context, o watchOptions, stdout, stderr io.Writer) error {
	gateway, err := newRemote(o.url, o.token, o.envToken)
	if err != nil {
		return err
	}
	var v view = &lineView{w: stdout, stderr: stderr, json: o.jsonText}
	if f, ok := stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) && !o.lines && !o.jsonText {
		table := newTableView(f)
		ctx, cancel := context.WithCancel(ctx)
		var drawing sync.WaitGroup
		drawing.Go(func() { table.run(ctx) })
		defer drawing.Wait()
		defer cancel()
		v = table
	}
	after, retry := "", firstRetry
	for {
		was := after
		err := watchOnce(ctx, o, gateway, &after, v)
		if ctx.Err() != nil {
			return v.flush()
		}
		var refused *statusError
		if errors.As(err, &refused) && refused.status < 500 {
			return err
		}
		if after != was {
			retry = firstRetry
		}
		v.note(fmt.Sprintf("connection lost (%v); trying again in %v", err, retry))
		select {
		case <-ctx.Done():
			return v.flush()
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}

// watchOnce reads one stream to its end and moves after along.
func watchOnce(ctx context.Context, o watchOptions, gateway *remote, after *string, v view) error {
	q := url.Values{"device": o.devices, "metric": o.metrics}
	if *after != "" {
		q.Set("after", *after)
	} else {
		q.Set("last", "1")
	}
	req, err := gateway.request(ctx, http.MethodGet, "api/v1/live", q, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/x-ndjson")
	resp, err := gateway.do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		if len(line) == 1 {
			continue // the stream says that it lives
		}
		var m liveMessage
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("the gateway sent something else than a message: %w", err)
		}
		if err := showMessage(&m, v); err != nil {
			return err
		}
		if m.Cursor != "" {
			*after = m.Cursor
		}
	}
}

func showMessage(m *liveMessage, v view) error {
	switch m.Type {
	case "gap":
		v.note("some readings are no longer kept")
	case "reset":
		v.note("the gateway has a new store")
	case "error":
		v.note(m.Error)
	}
	for _, raw := range m.Readings {
		var r liveReading
		if err := json.Unmarshal(raw, &r); err != nil {
			return fmt.Errorf("the gateway sent something else than a reading: %w", err)
		}
		if err := v.show(raw, r); err != nil {
			return err
		}
	}
	return v.flush()
}
