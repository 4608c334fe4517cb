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

	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

type folderOptions struct {
	folderFlags
	quiet bool
}

func newRestoreCommand(environ []string) *cobra.Command {
	o := folderOptions{}
	cmd := &cobra.Command{
		Use:   "restore BACKUP",
		Short: "Bring a backup back into a new data folder",
		Long: `Copy a backup into the data folder, which must be empty or not be there, and
check it. The restored store has a new id, so that viewers of the old one, which
has given offsets since the backup, are told to begin anew. The gateway makes a
new access token when it starts.`,
		Example: "  naru restore /mnt/usb/naru --data /var/lib/naru",
		Args:    oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.settle(); err != nil {
				return err
			}
			return restore(cmd.Context(), args[0], o.Data, o.quiet, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addTo(cmd, environ)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

// restore copies the backup in from to the new data folder.
func restore(ctx context.Context, from, to string, quiet bool, stdout, stderr io.Writer) error {
	b := &backupFolder{dir: from}
	if err := b.load(); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is no backup: there is no %s in it", from, manifestFile)
	} else if err != nil {
		return err
	}
	if b.Taken.IsZero() {
		return fmt.Errorf("the backup in %s was never finished", from)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	if entries, err := os.ReadDir(to); err != nil {
		return err
	} else if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: a backup is restored into a new folder", to)
	}
	total := int64(0)
	for _, f := range b.Files {
		total += f.Bytes
	}
	shown := newProgress(stderr, quiet, "restore", total, bytesText)
	shown.run()
	damaged, err := b.putBack(ctx, to, shown)
	shown.stop()
	if err != nil {
		return err
	}
	for _, f := range damaged {
		_, _ = fmt.Fprintf(stderr, "%s: it is not what the backup took\n", f.Name)
	}
	report, err := checkFolder(ctx, to, false, quiet, stdout, stderr)
	err = errors.Join(err, storage.Renew(to))
	if !quiet {
		_, writeErr := fmt.Fprintf(stdout, "restored %d readings, %s, as of %s, into %s\n",
			report.Readings, bytesText(float64(total)), b.Taken.Local().Format("2006-01-02 15:04:05"), to)
		err = errors.Join(err, writeErr)
	}
	if len(damaged) > 0 && err == nil {
		err = errors.New("the backup is damaged; what can be read was restored")
	}
	return err
}

// putBack copies the files of the backup into the folder, and returns those that
// have changed since the backup.
func (b *backupFolder) putBack(ctx context.Context, to string, shown *progress) (damaged []api.File, err error) {
	target := &backupFolder{dir: to}
	var arrived []string
	defer func() {
		for _, name := range arrived {
			err = errors.Join(err, os.Remove(target.path(name)+arriving))
		}
	}()
	for _, f := range b.Files {
		in, err := os.Open(b.path(f.Name))
		if err != nil {
			return nil, err
		}
		sum, err := arrive(target.path(f.Name), func(w io.Writer) error {
			_, err := io.Copy(w, contextReader{ctx, counter{in, shown}})
			return err
		})
		if err = errors.Join(err, in.Close()); err != nil {
			return nil, err
		}
		arrived = append(arrived, f.Name)
		if f.Sum != "" && sum != f.Sum {
			damaged = append(damaged, f)
		}
	}
	for len(arrived) > 0 {
		name := arrived[len(arrived)-1]
		if err := os.Rename(target.path(name)+arriving, target.path(name)); err != nil {
			return nil, err
		}
		arrived = arrived[:len(arrived)-1]
	}
	return damaged, errors.Join(boltfile.SyncDir(to), boltfile.SyncDir(filepath.Dir(filepath.Clean(to))))
}

// contextReader is a reader that ends with a context.
type contextReader struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
