package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage"
)

// addressFile holds the addresses of the gateway that has the data folder open,
// in the folder, as JSON like the ports file.
const addressFile = "gateway.json"

// storeFile is the file without which a folder holds no readings.
const storeFile = "hot.db"

// folderFlags say which data folder a command is about.
type folderFlags struct {
	settings
	all     *pflag.FlagSet // of the settings
	environ []string
}

// addTo declares the flags.
func (f *folderFlags) addTo(cmd *cobra.Command, environ []string) {
	f.environ = environ
	f.all = pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	f.flags(f.all)
	for _, name := range []string{"config", "data"} {
		cmd.Flags().AddFlag(f.all.Lookup(name))
	}
}

// settle fills in what the command line has left open.
func (f *folderFlags) settle() error {
	if err := f.load(f.all, f.environ); err != nil {
		return &usageError{err}
	}
	return nil
}

// placeFlags say where a command finds the readings: with --url in that gateway,
// else in the data folder, or where a gateway has it open in that one.
type placeFlags struct {
	folderFlags
	url, token string
}

// addTo declares the flags.
func (f *placeFlags) addTo(cmd *cobra.Command, environ []string) {
	f.folderFlags.addTo(cmd, environ)
	cmd.Flags().StringVar(&f.url, "url", "", "`address` of a gateway, such as http://192.168.1.20:7780")
	cmd.Flags().StringVar(&f.token, "token", "", "access token, for a gateway on another machine (or NARU_TOKEN)")
}

// place is an open store or a gateway.
type place struct {
	gateway *remote // nil: the store is open
	store   *storage.Log
	name    string // for people
}

// use opens the place, calls do and closes it. The context of do also ends when
// the store cannot be written any more. With create a folder that was named and
// holds no readings is taken too.
func (f *placeFlags) use(ctx context.Context, create bool, log *slog.Logger, do func(context.Context, *place) error) error {
	p, err := f.open(create, log)
	if err != nil {
		return err
	}
	if p.gateway != nil {
		return f.explain(p, do(ctx, p))
	}
	ctx, fatal := context.WithCancelCause(ctx)
	defer fatal(nil)
	writer := start(ctx, fatal, p.store.Run)
	err = do(ctx, p)
	return errors.Join(err, writer.stop(), p.store.Close())
}

func (f *placeFlags) open(create bool, log *slog.Logger) (*place, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	if f.url != "" {
		return f.at(f.url)
	}
	named := f.all.Lookup("data").Changed
	_, err := os.Stat(filepath.Join(f.Data, storeFile))
	switch {
	case err == nil, create && named && errors.Is(err, fs.ErrNotExist):
		return f.openFolder(log)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case named:
		return nil, fmt.Errorf("there are no readings in %s", f.Data)
	}
	return f.at(f.scheme() + here(f.HTTP) + "/")
}

// at returns the gateway at an address.
func (f *placeFlags) at(address string) (*place, error) {
	gateway, err := newRemote(address, f.token, envToken(f.environ))
	return &place{gateway: gateway, name: address}, err
}

// openFolder opens the store, or finds the gateway that has it open.
func (f *placeFlags) openFolder(log *slog.Logger) (*place, error) {
	store, err := storage.Open(keepAll(f.Data, log))
	if err == nil {
		return &place{store: store, name: f.Data}, nil
	}
	if !errors.Is(err, storage.ErrInUse) {
		return nil, err
	}
	var a struct {
		HTTP        string `json:"http"`
		Certificate string `json:"certificate"`
	}
	text, readErr := os.ReadFile(filepath.Join(f.Data, addressFile))
	if readErr != nil || json.Unmarshal(text, &a) != nil || a.HTTP == "" {
		return nil, fmt.Errorf("%w; name the gateway's address with --url", err)
	}
	if token, err := os.ReadFile(filepath.Join(f.Data, tokenFile)); err == nil && f.token == "" {
		f.token = strings.TrimSpace(string(token))
	}
	scheme := "http://"
	if a.Certificate != "" {
		scheme = "https://"
	}
	p, err := f.at(scheme + here(a.HTTP) + "/")
	if err == nil {
		p.gateway.client, err = clientFor(a.Certificate)
	}
	return p, err
}

// keepAll opens a folder without retention, which is the gateway's business, and
// with a log that keeps no more than it has to.
func keepAll(dir string, log *slog.Logger) storage.Config {
	return storage.Config{Dir: dir, RetainAge: -1, RetainMinutes: -1, RetainHours: -1, RetainSize: maxRetainSize, LogAge: -1, Logger: log}
}

// explain makes the failure to reach a gateway that nobody has named say what to
// do.
func (f *placeFlags) explain(p *place, err error) error {
	if f.url == "" && errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no gateway answers at %s, and there are no readings in %s; name one with --url or --data", p.name, f.Data)
	}
	return err
}

// question is a selection of readings in both of its forms.
type question struct {
	query  device.Query
	values url.Values
}

// read calls yield for every reading that is asked for, by offset.
func (p *place) read(ctx context.Context, q *question, yield func(*device.Stored) error) error {
	if p.gateway != nil {
		return p.gateway.read(ctx, q.values, yield)
	}
	return p.store.Read(ctx, q.query, yield)
}

// count returns how many readings are asked for.
func (p *place) count(ctx context.Context, q *question) (int64, error) {
	if p.gateway != nil {
		return p.gateway.count(ctx, q.values)
	}
	return p.store.Count(ctx, q.query)
}
