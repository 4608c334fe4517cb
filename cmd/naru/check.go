package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
--repair files are written anew from what is sound in them, rollups from the
readings, and the damaged ones are put aside; nothing is deleted.`,
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
	cmd.Flags().BoolVar(&repair, "repair", false, "write damaged files anew from what is sound in them")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

func newCompactCommand(environ []string) *cobra.Command {
	o := folderOptions{}
	cmd := &cobra.Command{
		Use:   "compact",
		Short: "Make a data folder as small as it gets",
		Long: `Make a data folder, which no gateway may have open, as small as it gets: all
readings go into sealed files, and the log keeps nothing. The gateway does most of
this by itself in time; this is for a folder that is put away, or to see what the
readings take at rest.`,
		Example: `  naru compact --data /var/lib/naru`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.settle(); err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(o.Data, storeFile)); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("there are no readings in %s", o.Data)
			}
			before := folderBytes(o.Data)
			if err := storage.Compact(cmd.Context(), o.Data); err != nil {
				return err
			}
			if o.quiet {
				return nil
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s before, %s now\n", bytesText(float64(before)), bytesText(float64(folderBytes(o.Data))))
			return err
		},
	}
	o.addTo(cmd, environ)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no summary")
	return cmd
}

// folderBytes returns the length of the files in a folder.
func folderBytes(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
	}
	return n
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
