package main

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/naru-telemetry/naru/push/api"
	"github.com/naru-telemetry/naru/storage"
)

// storeSnapshot makes a snapshot of the store an api.Snapshot.
type storeSnapshot struct{ *storage.Snapshot }

func takeSnapshot(ctx context.Context, store *storage.Log) (*storeSnapshot, error) {
	s, err := store.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	return &storeSnapshot{s}, nil
}

// Files returns the files.
func (s *storeSnapshot) Files() []api.File { return filesOf(s.Snapshot.Files()) }

func filesOf(in []storage.FileInfo) []api.File {
	out := make([]api.File, 0, len(in))
	for _, f := range in {
		out = append(out, api.File{Name: f.Name, Bytes: f.Bytes, Sealed: f.Sealed, Sum: f.Sum})
	}
	return out
}

// usageOf returns what the store takes, as the API tells it.
func usageOf(ctx context.Context, store *storage.Log) (api.Usage, error) {
	u, err := store.Usage(ctx)
	if err != nil {
		return api.Usage{}, err
	}
	out := api.Usage{
		Readings: u.Readings, Bytes: u.Bytes, BytesToday: u.BytesToday, Files: filesOf(u.Files),
		Series: make([]api.SeriesUsage, 0, len(u.Series)),
	}
	for _, s := range u.Series {
		out.Series = append(out.Series, api.SeriesUsage{Device: s.Device, Metric: s.Metric, Readings: s.Readings, Bytes: s.Bytes})
	}
	return out, nil
}

// remoteSnapshot is a snapshot of a gateway.
type remoteSnapshot struct {
	gateway *remote
	ID      string     `json:"id"`
	Store   string     `json:"store"`
	All     []api.File `json:"files"`
}

// snapshot takes a snapshot, and returns the id of its store.
func (p *place) snapshot(ctx context.Context) (s api.Snapshot, store string, err error) {
	if p.gateway == nil {
		s, err := takeSnapshot(ctx, p.store)
		return s, p.store.StoreID(), err
	}
	r := &remoteSnapshot{gateway: p.gateway}
	if err := p.gateway.getJSON(ctx, "api/v1/backup", nil, r); err != nil {
		return nil, "", err
	}
	return r, r.Store, nil
}

// isStoreFile reports whether a file of a store may have this name, which a
// gateway or a manifest tells: it stays in its folder and takes no other's place.
func isStoreFile(name string) bool {
	return storeFileName.MatchString(name) && !strings.HasSuffix(name, arriving) &&
		!slices.Contains([]string{tokenFile, sessionFile, addressFile, manifestFile}, name)
}

var storeFileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// Files returns the files.
func (s *remoteSnapshot) Files() []api.File { return s.All }

// Copy fetches a file.
func (s *remoteSnapshot) Copy(ctx context.Context, name string, w io.Writer) error {
	resp, err := s.gateway.get(ctx, "api/v1/backup/"+s.ID+"/"+name, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(w, resp.Body)
	return err
}

// Close lets the gateway's snapshot go. Even an interrupted command does so.
func (s *remoteSnapshot) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), importGrace)
	defer cancel()
	req, err := s.gateway.request(ctx, http.MethodDelete, "api/v1/backup/"+s.ID, nil, nil)
	if err != nil {
		return err
	}
	resp, err := s.gateway.roundTrip(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
