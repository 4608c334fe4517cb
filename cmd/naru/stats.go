package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/push/api"
)

func newStatsCommand(environ []string) *cobra.Command {
	f := placeFlags{}
	asJSON := false
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Tell what the readings of each device take on the disk",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stdout := cmd.OutOrStdout()
			return f.use(cmd.Context(), false, commandLogger(cmd.ErrOrStderr()), func(ctx context.Context, p *place) error {
				u, err := p.usage(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(stdout).Encode(u)
				}
				return printUsage(stdout, u)
			})
		},
	}
	f.addTo(cmd, environ)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON, as the API gives it")
	return cmd
}

// usage returns what the store takes.
func (p *place) usage(ctx context.Context) (u api.Usage, err error) {
	if p.gateway != nil {
		err = p.gateway.getJSON(ctx, "api/v1/stats", nil, &u)
		return u, err
	}
	return usageOf(ctx, p.store)
}

// printUsage prints a table, what takes most first, and the sums.
func printUsage(w io.Writer, u api.Usage) error {
	slices.SortStableFunc(u.Series, func(a, b api.SeriesUsage) int { return cmp.Compare(b.Bytes, a.Bytes) })
	width := len("device")
	for _, s := range u.Series {
		width = max(width, len(s.Device))
	}
	out := bufio.NewWriter(w) // what fails shows in Flush
	_, _ = fmt.Fprintf(out, "%12s %12s %10s  %-*s  %s\n", "bytes", "readings", "a reading", width, "device", "metric")
	for _, s := range u.Series {
		_, _ = fmt.Fprintf(out, "%12d %12d %10s  %-*s  %s\n", s.Bytes, s.Readings, perReading(s.Bytes, s.Readings), width, s.Device, printable(string(s.Metric)))
	}
	_, _ = fmt.Fprintf(out, "\n%d series, %d readings, %s in %d files: %s bytes a reading\n%s written to the disk today\n",
		len(u.Series), u.Readings, bytesText(float64(u.Bytes)), len(u.Files), perReading(u.Bytes, u.Readings), bytesText(float64(u.BytesToday)))
	return out.Flush()
}

// perReading writes bytes a reading with two digits behind the point.
func perReading(bytes, readings int64) string {
	if readings == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(bytes)/float64(readings))
}
