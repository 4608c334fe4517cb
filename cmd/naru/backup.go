package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

const (
	// manifestFile says in a backup what belongs to it.
	manifestFile = "backup.json"
	// arriving ends the name of a file that is not whole yet.
	arriving = ".arriving"
)

// manifest is what a backup knows of itself.
type manifest struct {
	Store string    `json:"store"`
	Taken time.Time `json:"taken"` // zero until the first backup is whole
	// Files of the last backup that is whole, with their sums.
	Files []api.File `json:"files"`
	// Arriving are the names that a backup which was not finished may have left.
	Arriving []string `json:"arriving,omitempty"`
}

// names returns the names of all files that may be there, sorted.
func (m *manifest) names() []string {
	names := slices.Clone(m.Arriving)
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

type backupOptions struct {
	placeFlags
	quiet bool
}

func newBackupCommand(environ []string) *cobra.Command {
	o := backupOptions{}
	cmd := &cobra.Command{
		Use:   "backup DIR",
		Short: "Copy the store into a folder, the gateway running or not",
		Long: `Copy the store as it is at this moment into a folder, from a running gateway or,
where none has the data folder open, from the folder. Into the folder of an
earlier backup only what has changed is copied. The access token is not part of
a backup.

A backup is itself a data folder; naru restore brings it back.`,
		Example: `  naru backup /mnt/usb/naru
  naru backup --url http://192.168.1.20:7780 ~/naru-backup`,
		Args: oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.use(cmd.Context(), false, commandLogger(stderr), func(ctx context.Context, p *place) error {
				return backup(ctx, p, args[0], o.quiet, stdout, stderr)
			})
		},
	}
	o.addTo(cmd, environ)
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "no progress and no summary")
	return cmd
}

// oneFolder wants one argument.
func oneFolder(cmd *cobra.Command, args []string) error {
	if err := cobra.ExactArgs(1)(cmd, args); err != nil {
		return &usageError{errors.New("want one folder")}
	}
	return nil
}

// backup copies the store at p into dir.
func backup(ctx context.Context, p *place, dir string, quiet bool, stdout, stderr io.Writer) (err error) {
	s, store, err := p.snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for _, f := range s.Files() {
		if !isStoreFile(f.Name) {
			return fmt.Errorf("the gateway names a file %q", f.Name)
		}
	}
	b, err := openBackup(dir, store)
	if err != nil {
		return err
	}
	missing := b.missing(s.Files())
	total := int64(0)
	for _, f := range missing {
		total += f.Bytes
	}
	shown := newProgress(stderr, quiet, "backup", total, bytesText)
	shown.run()
	err = b.take(ctx, s, missing, shown)
	shown.stop()
	if err != nil || quiet {
		return err
	}
	_, err = fmt.Fprintf(stdout, "backed up %d files, %s; %d more were there already\n",
		len(missing), bytesText(float64(total)), len(s.Files())-len(missing))
	return err
}

// backupFolder is a folder of backups of one store.
type backupFolder struct {
	dir string
	manifest
}

// openBackup opens or begins the folder for backups of the store.
func openBackup(dir, store string) (*backupFolder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	b := &backupFolder{dir: dir}
	err := b.load()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := wantEmpty(dir); err != nil {
			return nil, err
		}
		b.Store = store
		return b, b.save()
	case err != nil:
		return nil, err
	case b.Store != store:
		return nil, fmt.Errorf("%s holds a backup of another store (%s, not %s); name another folder", dir, b.Store, store)
	}
	for _, name := range []string{addressFile, tokenFile, sessionFile} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("%s has become the data folder of a gateway; name another folder", dir)
		}
	}
	return b, nil
}

// wantEmpty returns an error unless the folder is empty.
func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty, and no backup: name an empty folder, or a new one", dir)
	}
	return err
}

func (b *backupFolder) path(name string) string { return filepath.Join(b.dir, name) }

// load reads the manifest; fs.ErrNotExist says that there is none.
func (b *backupFolder) load() error {
	text, err := os.ReadFile(b.path(manifestFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &b.manifest); err != nil {
		return fmt.Errorf("%s: %w", b.path(manifestFile), err)
	}
	for _, name := range b.names() {
		if !isStoreFile(name) {
			return fmt.Errorf("%s names a file %q", b.path(manifestFile), name)
		}
	}
	return nil
}

// save writes the manifest.
func (b *backupFolder) save() error {
	text, err := json.MarshalIndent(&b.manifest, "", "  ")
	if err != nil {
		return err
	}
	_, err = arrive(b.path(manifestFile), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
	if err == nil {
		err = os.Rename(b.path(manifestFile)+arriving, b.path(manifestFile))
	}
	return errors.Join(err, boltfile.SyncDir(b.dir))
}

// arrive writes the file that is to get this path under a name of its own, until
// it is on the disk, and returns the sum of what was written. On failure it
// leaves nothing.
func arrive(path string, write func(io.Writer) error) (sum string, err error) {
	f, err := os.OpenFile(path+arriving, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = write(io.MultiWriter(f, h))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// missing returns what of the files must be copied: all but the sealed ones that
// are there.
func (b *backupFolder) missing(files []api.File) []api.File {
	return slices.DeleteFunc(slices.Clone(files), func(f api.File) bool { return f.Sealed && b.has(f) })
}

func (b *backupFolder) has(f api.File) bool {
	info, err := os.Stat(b.path(f.Name))
	if err != nil || info.Size() != f.Bytes {
		return false
	}
	i := slices.IndexFunc(b.Files, func(o api.File) bool { return o.Name == f.Name && o.Sealed })
	if i < 0 || f.Sum != "" && b.Files[i].Sum != "" && f.Sum != b.Files[i].Sum {
		return false
	}
	return true
}

// take copies the missing files of the snapshot and puts them in their places
// when all of them have arrived: hot.db last, since an older one goes with newer
// files, but not the other way round.
func (b *backupFolder) take(ctx context.Context, s api.Snapshot, missing []api.File, shown *progress) (err error) {
	all := s.Files()
	before := b.manifest
	b.Arriving = (&manifest{Files: all, Arriving: before.Arriving}).names()
	if err := b.save(); err != nil {
		return err
	}
	var arrived []string
	defer func() {
		for _, name := range arrived {
			err = errors.Join(err, os.Remove(b.path(name)+arriving))
		}
	}()
	sums := map[string]string{}
	for _, f := range missing {
		sum, err := b.fetch(ctx, s, f, shown)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		sums[f.Name] = sum
		arrived = append(arrived, f.Name)
	}
	for len(arrived) > 0 {
		name := arrived[len(arrived)-1]
		if err := os.Rename(b.path(name)+arriving, b.path(name)); err != nil {
			return err
		}
		arrived = arrived[:len(arrived)-1]
	}
	if err := boltfile.SyncDir(b.dir); err != nil {
		return err
	}
	b.settle(all, sums)
	if err := b.save(); err != nil {
		return err
	}
	return b.clean(before)
}

// settle makes the files those of the present backup.
func (b *backupFolder) settle(all []api.File, sums map[string]string) {
	files := make([]api.File, 0, len(all))
	for _, f := range all {
		if sum, ok := sums[f.Name]; ok {
			f.Sum = sum
		} else if i := slices.IndexFunc(b.Files, func(o api.File) bool { return o.Name == f.Name }); f.Sum == "" && i >= 0 {
			f.Sum = b.Files[i].Sum
		}
		files = append(files, f)
	}
	b.Files, b.Taken, b.Arriving = files, time.Now().UTC().Truncate(time.Second), nil
}

// fetch copies one file and returns its sum.
func (b *backupFolder) fetch(ctx context.Context, s api.Snapshot, f api.File, shown *progress) (string, error) {
	counted := shown.done.Load()
	sum, err := arrive(b.path(f.Name), func(w io.Writer) error {
		return s.Copy(ctx, f.Name, io.MultiWriter(w, countingWriter{shown}))
	})
	if err != nil {
		return "", err
	}
	if got := shown.done.Load() - counted; got != f.Bytes {
		err = fmt.Errorf("%d bytes arrived, want %d", got, f.Bytes)
	} else if f.Sum != "" && f.Sum != sum {
		err = errors.New("what arrived is not what was sent")
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(b.path(f.Name)+arriving))
	}
	return sum, nil
}

// clean removes what earlier backups had and the present one has not.
func (b *backupFolder) clean(before manifest) error {
	names := before.names()
	var errs []error
	for _, name := range names {
		if !slices.ContainsFunc(b.Files, func(f api.File) bool { return f.Name == name }) {
			if err := os.Remove(b.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		if err := os.Remove(b.path(name) + arriving); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, boltfile.SyncDir(b.dir))...)
}

// countingWriter counts into a progress.
type countingWriter struct{ p *progress }

func (c countingWriter) Write(b []byte) (int, error) {
	c.p.done.Add(int64(len(b)))
	return len(b), nil
}
