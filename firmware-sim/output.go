package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/firmware-sim/fleet"
)

// runner is what the commands run.
type runner interface {
	Run(ctx context.Context) error
	Report() fleet.Report
}

// output is how a command reports.
type output struct {
	json, quiet bool
}

// progressEvery is how often the line on a terminal changes.
const progressEvery = 500 * time.Millisecond

// watch runs r with a line of progress on a terminal, and reports at the end.
func (o *output) watch(ctx context.Context, cmd *cobra.Command, r runner) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	var progress sync.WaitGroup
	if errOut := cmd.ErrOrStderr(); !o.quiet && isTerminal(errOut) {
		progress.Go(func() { showProgress(running, errOut, r) })
	}
	err := r.Run(ctx)
	stop()
	progress.Wait()
	if err != nil {
		return err
	}
	report := r.Report()
	if err := o.write(cmd.OutOrStdout(), &report); err != nil {
		return err
	}
	if report.AskedForAck > 0 && report.Unacknowledged > 0 {
		return errUnacknowledged
	}
	return nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func showProgress(ctx context.Context, w io.Writer, r runner) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	before := r.Report()
	for {
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprint(w, "\r\x1b[K")
			return
		case <-ticker.C:
		}
		now := r.Report()
		_, _ = fmt.Fprint(w, "\r\x1b[K", progressLine(&before, &now))
		before = now
	}
}

func progressLine(before, now *fleet.Report) string {
	var b strings.Builder
	rate := 0.0
	if d := now.Elapsed - before.Elapsed; d > 0 {
		rate = float64(now.Readings-before.Readings) / d.Seconds()
	}
	put := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, format, args...) }
	put("%6s  %s readings  %s/s", now.Elapsed.Round(time.Second), group(now.Readings), group(int64(rate)))
	if now.AskedForAck > 0 {
		put("  %s acknowledged", group(now.Acknowledged))
	}
	if now.Retransmitted > 0 {
		put("  %s sent again", group(now.Retransmitted))
	}
	if now.Errors > 0 {
		put("  %s errors", group(now.Errors))
	}
	return b.String()
}

func (o *output) write(w io.Writer, r *fleet.Report) error {
	switch {
	case o.quiet:
		return nil
	case o.json:
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := io.WriteString(w, reportText(r))
	return err
}

// reportText is the report for people. What is zero and needs no mention has
// none.
func reportText(r *fleet.Report) string {
	var b strings.Builder
	put := func(name, format string, args ...any) {
		line := fmt.Sprintf("%-15s ", name) + fmt.Sprintf(format, args...)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	put("sent", "%s readings in %s messages, %s bytes", group(r.Readings), group(r.Messages), group(r.Bytes))
	put("time", "%s, %s readings/s", r.Elapsed.Round(time.Millisecond), group(int64(r.Rate())))
	if r.AskedForAck > 0 {
		put("acknowledged", "%s of %s messages", group(r.Acknowledged), group(r.AskedForAck))
		put("latency", "p50 %v  p90 %v  p99 %v  max %v", r.P50, r.P90, r.P99, r.Max)
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Refused)) {
		put("refused", "%s: %q", group(r.Refused[reason]), reason)
	}
	for _, c := range []struct {
		name, words string
		n           int64
	}{
		{"unacknowledged", "messages", r.Unacknowledged},
		{"sent again", "messages", r.Retransmitted},
		{"lost", "datagrams, on purpose", r.Lost},
		{"duplicated", "datagrams, on purpose", r.Duplicated},
		{"reordered", "datagrams, on purpose", r.Reordered},
		{"missed", "reports were due while nothing could be sent", r.Missed},
		{"carried out", "commands", r.Commands},
		{"failed", "commands of these", r.FailedCommands},
		{"rebooted", "times", r.Reboots},
		{"reconnected", "times", r.Reconnects},
		{"errors", "", r.Errors},
	} {
		if c.n > 0 {
			put(c.name, "%s %s", group(c.n), c.words)
		}
	}
	for _, e := range r.FirstErrors {
		put("", "%s", e)
	}
	if more := r.Errors - int64(len(r.FirstErrors)); more > 0 {
		put("", "and %s more", group(more))
	}
	return b.String()
}

// group writes a number with commas between groups of three digits.
func group(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
