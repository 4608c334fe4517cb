package api

import (
	"context"
	"crypto/rand"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/naru-telemetry/naru/push"
)

const (
	// maxSnapshots bounds the snapshots at a time: each keeps files from being
	// deleted.
	maxSnapshots = 2
	// snapshotIdle is when a snapshot that nobody copies from is let go.
	snapshotIdle = 10 * time.Minute
	// copyBytes is how much of a file is written before the deadline moves.
	copyBytes = 64 << 10
)

// Snapshot is the files of the store as they are at one moment. Its methods may
// be called concurrently, Close once and last.
type Snapshot interface {
	Files() []File
	// Copy writes the file, exactly File.Bytes bytes, to w.
	Copy(ctx context.Context, name string, w io.Writer) error
	Close() error
}

// File is a file of the store.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	Sealed bool   `json:"sealed"`        // it never changes again
	Sum    string `json:"sum,omitempty"` // hex SHA-256, where it is known
}

// snapshots are those that are being copied.
type snapshots struct {
	mu   sync.Mutex // guards following, and the fields of each
	open map[string]*openSnapshot
	made int // open, and on their way
}

type openSnapshot struct {
	Snapshot
	copies int
	let    bool // to be closed after the last copy
	idle   *time.Timer
}

// backup is GET /api/v1/backup: a snapshot is taken.
func (a *API) backup(w http.ResponseWriter, r *http.Request) {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default: // a page elsewhere could use up the snapshots without reading them
		push.Refuse(w, http.StatusForbidden, "this origin may not take backups")
		return
	}
	ctx, end, ok := a.work.begin(r.Context())
	if !ok {
		push.Refuse(w, http.StatusServiceUnavailable, errStopping.Error())
		return
	}
	defer end()
	if !a.snapshots.reserve() {
		w.Header().Set("Retry-After", "60")
		push.Refuse(w, http.StatusTooManyRequests, "two backups are being taken already")
		return
	}
	s, err := a.cfg.Snapshot(ctx)
	if err != nil {
		a.snapshots.forget()
		if ctx.Err() == nil {
			a.cfg.Logger.Error("no snapshot can be taken", "error", err)
		}
		push.Refuse(w, http.StatusInternalServerError, "the store cannot be read")
		return
	}
	id := rand.Text()
	a.snapshots.add(id, s, func() { a.letGo(id) })
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return // nobody asks for it, and it is let go when it has been idle
	}
	reply(w, map[string]any{"id": id, "store": a.cfg.About().Store, "files": s.Files()})
}

// backupFile is GET /api/v1/backup/{id}/{name}.
func (a *API) backupFile(w http.ResponseWriter, r *http.Request) {
	ctx, end, ok := a.work.begin(r.Context())
	if !ok {
		push.Refuse(w, http.StatusServiceUnavailable, errStopping.Error())
		return
	}
	defer end()
	s := a.snapshots.use(r.PathValue("id"))
	if s == nil {
		push.Refuse(w, http.StatusNotFound, "no such backup, or it was idle for too long")
		return
	}
	defer func() {
		if a.snapshots.leave(s) {
			a.closeSnapshot(s)
		}
	}()
	for _, f := range s.Files() {
		if f.Name != r.PathValue("name") {
			continue
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(f.Bytes, 10))
		err := s.Copy(ctx, f.Name, slowWriter{w, http.NewResponseController(w)})
		if err != nil {
			if ctx.Err() == nil {
				a.cfg.Logger.Warn("a copy of a file was broken off", "file", f.Name, "error", err)
			}
			panic(http.ErrAbortHandler) // the server closes the connection without a word
		}
		return
	}
	push.Refuse(w, http.StatusNotFound, "no such file in the backup")
}

// endBackup is DELETE /api/v1/backup/{id}.
func (a *API) endBackup(w http.ResponseWriter, r *http.Request) {
	if !a.letGo(r.PathValue("id")) {
		push.Refuse(w, http.StatusNotFound, "no such backup, or it was idle for too long")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// letGo closes a snapshot, as soon as nobody copies from it; false when there is
// none.
func (a *API) letGo(id string) bool {
	s, last := a.snapshots.release(id)
	if last {
		a.closeSnapshot(s)
	}
	return s != nil
}

func (a *API) closeSnapshot(s *openSnapshot) {
	if err := s.Close(); err != nil {
		a.cfg.Logger.Warn("a snapshot was not closed well", "error", err)
	}
	a.snapshots.forget()
}

// reserve takes the place of a snapshot that is about to be made.
func (s *snapshots) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.made == maxSnapshots {
		return false
	}
	s.made++
	return true
}

// forget gives the place of a snapshot back.
func (s *snapshots) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made--
}

// add makes a snapshot known; idle is called when nobody has used it for long.
func (s *snapshots) add(id string, snapshot Snapshot, idle func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[string]*openSnapshot{}
	}
	s.open[id] = &openSnapshot{Snapshot: snapshot, idle: time.AfterFunc(snapshotIdle, idle)}
}

// use returns a snapshot to copy from, until leave; nil when there is none.
func (s *snapshots) use(id string) *openSnapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	if o != nil {
		o.copies++
		o.idle.Stop()
	}
	return o
}

// leave reports whether the snapshot is to be closed now.
func (s *snapshots) leave(o *openSnapshot) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.copies--
	if o.copies == 0 && !o.let {
		o.idle.Reset(snapshotIdle)
	}
	return o.copies == 0 && o.let
}

// release makes a snapshot unknown, and reports whether it is to be closed now.
func (s *snapshots) release(id string) (o *openSnapshot, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o = s.open[id]; o == nil {
		return nil, false
	}
	delete(s.open, id)
	o.idle.Stop()
	o.let = true
	return o, o.copies == 0
}

// ids returns the names of those that are open.
func (s *snapshots) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.open))
}

// slowWriter gives every part of a file its own time to be taken.
type slowWriter struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

func (s slowWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), copyBytes)]
		if err = s.out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			break
		}
		var written int
		written, err = s.w.Write(part)
		n += written
		b = b[len(part):]
	}
	return n, err
}
