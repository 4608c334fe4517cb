package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/ingest/rows"
	"github.com/naru-telemetry/naru/push/api"
)

// toldRefusals is how many refused rows are told one by one.
const toldRefusals = 20

// importOptions are the flags of naru import.
type importOptions struct {
	placeFlags
	api.ImportOptions
	file  string
	quiet bool
}

func newImportCommand(environ []string) *cobra.Command {
	o := importOptions{}
	cmd := &cobra.Command{
		Use:   "import FILE|-",
		Short: "Take readings from a file of CSV, NDJSON or line protocol",
		Long: `Take readings from a file, packed with gzip or not, into a running gateway or,
where none has the data folder open, into the folder. The times of the rows are
taken as they are. Rows that cannot be taken are told with their lines and cost
nothing else.

CSV begins with a line that names the columns: device, metric, time and value in
any order, or time and one column for each metric. The time may also be called
unix_s, unix_ms, unix_us or unix_ns.`,
		Example: `  naru import history.csv.gz
  naru import --device greenhouse --precision s wide.csv
  ssh old-pi cat readings.line | naru import --url http://192.168.1.20:7780 -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return &usageError{errors.New("want one file, or - for the standard input")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.file = args[0]
			return importFile(cmd.Context(), &o, cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addTo(cmd, environ)
	f := cmd.Flags()
	f.StringVar(&o.Format, "format", "", "csv, ndjson or line (default: as the file's name or its first bytes tell)")
	f.StringVar(&o.Device, "device", "", "`device` of rows that name none")
	f.StringVar(&o.Precision, "precision", "", "how numbers of time count: s, ms, us or ns (default: as the format and their size tell)")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

// importFile imports the file that o names.
func importFile(ctx context.Context, o *importOptions, stdin io.Reader, stdout, stderr io.Writer) error {
	in, err := openInput(o.file, stdin)
	if err != nil {
		return err
	}
	defer func() { _ = in.close() }()
	shown := newProgress(stderr, o.quiet, "import", in.size, bytesText)
	if err := in.begin(shown, &o.ImportOptions); err != nil {
		return err
	}
	if _, _, err := rowsConfig(o.ImportOptions, nil); err != nil {
		return &usageError{err}
	}
	return o.use(ctx, true, commandLogger(stderr), func(ctx context.Context, p *place) error {
		shown.run()
		done, err := takeRows(ctx, o, p, in, shown)
		shown.stop()
		if !o.quiet {
			seconds := shown.elapsed().Seconds()
			_, writeErr := fmt.Fprintf(stdout, "imported %d readings in %.1f s (%s/s)\n", done.Readings, seconds, readingsText(float64(done.Readings)/seconds))
			err = errors.Join(err, writeErr)
		}
		if done.Total > 0 {
			err = errors.Join(err, fmt.Errorf("%d rows were refused: %s", done.Total, reasonsText(done.Reasons)))
		}
		return err
	})
}

func takeRows(ctx context.Context, o *importOptions, p *place, in *input, shown *progress) (api.Imported, error) {
	if p.gateway != nil {
		done, err := p.gateway.importRows(ctx, o.ImportOptions, in)
		for _, r := range done.Refused[:min(len(done.Refused), toldRefusals)] {
			shown.say(fmt.Sprintf("line %d: %s", r.Line, r.Error))
		}
		return done, err
	}
	done := api.Imported{Reasons: map[string]int64{}}
	cfg, body, err := rowsConfig(o.ImportOptions, in.r)
	if err != nil {
		return done, err
	}
	if in.packed {
		if body, err = gzip.NewReader(in.r); err != nil {
			return done, err
		}
	}
	im := importer{store: p.store}
	done.Readings, err = im.run(ctx, body, cfg, func(r rows.Refused) {
		if done.Total++; done.Total <= toldRefusals {
			shown.say(fmt.Sprintf("line %d: %s", r.Line, r.Err))
		}
		done.Reasons[r.Reason]++
	})
	return done, err
}

// importRows sends the rows to the gateway.
func (r *remote) importRows(ctx context.Context, o api.ImportOptions, in *input) (done api.Imported, err error) {
	q := url.Values{"format": {o.Format}, "device": {o.Device}, "precision": {o.Precision}}
	req, err := r.request(ctx, http.MethodPost, "api/v1/import", q, io.NopCloser(in.r))
	if err != nil {
		return done, err
	}
	req.Header.Set("Expect", "100-continue") // a refusal comes before the rows
	if in.packed {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := r.roundTrip(req)
	if err != nil {
		return done, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxImportAnswer))
	if err != nil {
		return done, err
	}
	decodeErr := json.Unmarshal(text, &done)
	if resp.StatusCode != http.StatusOK {
		resp.Body = io.NopCloser(bytes.NewReader(text))
		return done, errorOf(resp)
	}
	if decodeErr != nil {
		return done, fmt.Errorf("the gateway sent something else than an answer: %w", decodeErr)
	}
	return done, nil
}

// maxImportAnswer bounds what a gateway answers, api.MaxRefusedRows errors of
// some hundred bytes.
const maxImportAnswer = 4 << 20

// reasonsText writes 12 value, 3 time.
func reasonsText(reasons map[string]int64) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%d %s", reasons[reason], reason))
	}
	return strings.Join(parts, ", ")
}

// input is a file to import.
type input struct {
	name   string
	file   *os.File // nil: standard input
	source io.Reader
	size   int64         // in bytes; 0: not known
	r      *bufio.Reader // counts into the progress
	packed bool
}

func openInput(name string, stdin io.Reader) (*input, error) {
	if name == "-" {
		return &input{name: name, source: stdin}, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	in := &input{name: name, file: f, source: f}
	if info.Mode().IsRegular() {
		in.size = info.Size()
	}
	return in, nil
}

// begin looks at the first bytes, and puts the format into o if it is not there.
func (in *input) begin(shown *progress, o *api.ImportOptions) error {
	in.r = bufio.NewReaderSize(counter{in.source, shown}, 64<<10)
	head, err := in.r.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	in.packed = string(head) == "\x1f\x8b"
	if o.Format != "" {
		return nil
	}
	format := rows.FormatOfName(in.name)
	if format == 0 {
		head, err := in.r.Peek(rows.DetectLen)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if in.packed {
			head = unpackHead(head)
		}
		format = rows.FormatOf(head)
	}
	o.Format = format.String()
	return nil
}

// unpackHead returns the beginning of what was packed into a file that begins
// with b; what is wrong with it shows when the file is read.
func unpackHead(b []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	head := make([]byte, rows.DetectLen)
	n, _ := io.ReadFull(z, head) // b ends too early
	return head[:n]
}

func (in *input) close() error {
	if in.file == nil {
		return nil
	}
	return in.file.Close()
}

// commandLogger tells of what a person must know: damage, and a disk that does
// not take what is written.
func commandLogger(stderr io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
