package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/storage"
)

func newCheckCommand(environ []string) *cobra.Command {
	o := folderOptions{}
	repair := false
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look at every checksum of a data folder or backup",
		Long: `Look at every checksum of a data folder, which no gateway may have open, or of a
backup. What cannot be read is told with its file and with what was lost. With
--repair what is in the way of the rest is put aside; nothing is deleted.`,
		Example: `  naru check --data /var/lib/naru
  naru check --data /mnt/usb/naru`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(); err != nil {
				return err
			}
			_, err := checkFolder(cmd.Context(), o.Data, repair, o.quiet, cmd.OutOrStdout(), cmd.ErrOrStderr())
			return err
		},
	}
	o.addTo(cmd, environ)
	cmd.Flags().BoolVar(&repair, "repair", false, "put aside what is in the way of the rest")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

// checkFolder checks the folder and prints what it finds. Problems are an error.
func checkFolder(ctx context.Context, dir string, repair, quiet bool, stdout, stderr io.Writer) (storage.CheckReport, error) {
	shown := newProgress(stderr, quiet, "check", 0, bytesText)
	shown.run()
	report, err := storage.Check(ctx, dir, storage.CheckOptions{Repair: repair, Progress: shown.set})
	shown.stop()
	switch {
	case errors.Is(err, storage.ErrInUse):
		return report, fmt.Errorf("%w; stop the gateway first, or check a backup", err)
	case errors.Is(err, fs.ErrNotExist):
		return report, fmt.Errorf("there are no readings in %s", dir)
	case err != nil:
		return report, err
	}
	for _, p := range report.Problems {
		if _, err := fmt.Fprintln(stdout, printable(problemText(&p))); err != nil {
			return report, err
		}
	}
	if !quiet {
		_, err = fmt.Fprintf(stdout, "checked %d files, %d blocks, %d readings: %d problems, %d repaired\n",
			report.Files, report.Blocks, report.Readings, len(report.Problems), report.Repaired)
	}
	if n := len(report.Problems); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d problems were found in %s", n, dir))
	}
	return report, err
}

// problemText says what is wrong, what was lost and where the file is.
func problemText(p *storage.Problem) string {
	text := p.File + ": " + p.What
	switch {
	case p.Lost < 0:
		text += "; how many readings are lost is not known"
	case p.Lost > 0:
		text += fmt.Sprintf("; %d readings are lost", p.Lost)
	default:
		text += "; no reading is lost"
	}
	if p.Aside != "" {
		text += "; put aside as " + p.Aside
	}
	return text
}
