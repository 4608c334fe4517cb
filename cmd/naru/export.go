package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/ingest/rows"
	"github.com/naru-telemetry/naru/push/api"
)

// exportOptions are the flags of naru export.
type exportOptions struct {
	placeFlags
	devices, metrics []string
	from, to         string
	format, output   string
	quiet            bool
}

func newExportCommand(environ []string) *cobra.Command {
	o := exportOptions{}
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write readings down as CSV, NDJSON or line protocol",
		Long: `Write readings down, from a running gateway or, where none has the data folder
open, from the folder. What naru import reads back is the same to the bit, the
kinds of the values included.`,
		Example: `  naru export --from -24h > day.csv
  naru export --device 'greenhouse-*' --output greenhouse.ndjson.gz
  naru export --url http://192.168.1.20:7780 --format line`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return export(cmd.Context(), &o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addTo(cmd, environ)
	f := cmd.Flags()
	f.StringArrayVar(&o.devices, "device", nil, "`pattern` of devices, repeatable")
	f.StringArrayVar(&o.metrics, "metric", nil, "`pattern` of metrics, repeatable")
	f.StringVar(&o.from, "from", "", "the first `moment`: RFC 3339, Unix milliseconds, or a duration back from now such as -24h")
	f.StringVar(&o.to, "to", "", "the `moment` before which to end")
	f.StringVar(&o.format, "format", "", "csv, ndjson or line (default: as the output's name tells, else csv)")
	f.StringVarP(&o.output, "output", "o", "", "`file` to write, packed where its name ends with .gz (default: standard output)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

// export writes the readings that o asks for.
func export(ctx context.Context, o *exportOptions, stdout, stderr io.Writer) error {
	format, err := o.formatOf()
	if err != nil {
		return &usageError{err}
	}
	q, err := o.question(time.Now())
	if err != nil {
		return &usageError{err}
	}
	return o.use(ctx, false, commandLogger(stderr), func(ctx context.Context, p *place) error {
		total, err := p.count(ctx, q)
		if err != nil {
			return err
		}
		out, err := createOutput(o.output, stdout)
		if err != nil {
			return err
		}
		shown := newProgress(stderr, o.quiet, "export", total, readingsText)
		shown.run()
		left, err := writeReadings(ctx, p, q, rows.NewEncoder(format), out, shown)
		shown.stop()
		if err = out.finish(err); err != nil {
			return err
		}
		if n := shown.done.Load(); !o.quiet {
			seconds := shown.elapsed().Seconds()
			_, err = fmt.Fprintf(stderr, "exported %d readings in %.1f s (%s/s)\n", n, seconds, readingsText(float64(n)/seconds))
		}
		if left > 0 {
			return fmt.Errorf("%d readings were left out, since line protocol has no place for their metric or time; csv and ndjson do", left)
		}
		return err
	})
}

func (o *exportOptions) formatOf() (rows.Format, error) {
	if o.format != "" {
		f, err := rows.ParseFormat(o.format)
		if err != nil {
			return 0, fmt.Errorf("format: %w", err)
		}
		return f, nil
	}
	if f := rows.FormatOfName(o.output); f != 0 {
		return f, nil
	}
	return rows.CSV, nil
}

// question returns what is asked for.
func (o *exportOptions) question(now time.Time) (*question, error) {
	q := &question{values: url.Values{"device": o.devices, "metric": o.metrics}}
	var err error
	if q.query.Selector, err = device.NewSelector(o.devices, o.metrics); err != nil {
		return nil, err
	}
	for _, b := range []struct {
		name, text string
		at         *device.Time
	}{{"from", o.from, &q.query.From}, {"to", o.to, &q.query.To}} {
		if *b.at, err = api.ParseTime(b.text, now); err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		if *b.at != 0 {
			q.values.Set(b.name, string(b.at.AppendMillis(nil)))
		}
	}
	return q, nil
}

// writeReadings writes what q asks for, and returns how many readings the format
// cannot carry.
func writeReadings(ctx context.Context, p *place, q *question, e *rows.Encoder, w io.Writer, shown *progress) (left int64, err error) {
	buf := e.Begin(nil)
	if _, err := w.Write(buf); err != nil {
		return 0, err
	}
	err = p.read(ctx, q, func(s *device.Stored) error {
		var ok bool
		if buf, ok = e.Append(buf[:0], s); !ok {
			left++
			return nil
		}
		shown.done.Add(1)
		_, err := w.Write(buf)
		return err
	})
	return left, err
}

// output is a file that appears when it is whole, or the standard output.
type output struct {
	*bufio.Writer
	packed *gzip.Writer
	file   *os.File
	path   string // empty: standard output
}

// createOutput begins the file at path; with an empty path or - it is stdout.
func createOutput(path string, stdout io.Writer) (*output, error) {
	if path == "" || path == "-" {
		return &output{Writer: bufio.NewWriterSize(stdout, 64<<10)}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return nil, err
	}
	o := &output{file: f, path: path}
	if strings.HasSuffix(strings.ToLower(path), ".gz") {
		o.packed = gzip.NewWriter(f)
		o.Writer = bufio.NewWriterSize(o.packed, 64<<10)
	} else {
		o.Writer = bufio.NewWriterSize(f, 64<<10)
	}
	return o, nil
}

// finish puts the file in its place, or takes it away when writing has failed
// with err.
func (o *output) finish(err error) error {
	if err == nil || o.file == nil {
		err = errors.Join(err, o.Flush())
	}
	if o.file == nil {
		return err
	}
	if o.packed != nil && err == nil {
		err = o.packed.Close()
	}
	if err == nil {
		err = o.file.Sync()
	}
	err = errors.Join(err, o.file.Close())
	if err == nil {
		err = os.Rename(o.file.Name(), o.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(o.file.Name()))
	}
	return nil
}
