package live

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

// Sessions is by what a client of Socket.IO is known again when its connection,
// or the gateway, has been away. What the client shows carries everything itself,
// with a code that nobody else can make. Kept are the key of that code, and the ids
// of sessions whose selection is no longer the one that the client asks for when it
// connects: those begin anew, and the client is told.
type Sessions struct {
	path string // empty: in memory only

	writing sync.Mutex // held while the file is written; guards following
	file    *os.File
	size    int64 // of what is whole in file

	mu      sync.Mutex // guards following; goes behind writing
	key     [sha256.Size]byte
	changed map[string]struct{}
	next    *sessionsWrite // what the next write will be; nil: nothing
}

// sessionsWrite is a write that several may wait for. Once it is no longer
// Sessions.next, who holds Sessions.writing owns it.
type sessionsWrite struct {
	ids  []string
	done bool
	err  error
}

const (
	// maxChanged bounds the ids that are kept. When there are more, the key is
	// exchanged: then every session begins anew, once.
	maxChanged = 65_536
	// sessionIDLen is the length of a session's id, which ends with a newline in
	// the file.
	sessionIDLen = 20
	digestLen    = 16
	macLen       = 16
)

// NewSessions returns sessions that live as long as the program does.
func NewSessions() *Sessions {
	s := &Sessions{changed: map[string]struct{}{}}
	_, _ = rand.Read(s.key[:]) // cannot fail
	return s
}

// OpenSessions returns sessions that are kept in the file at path, which only its
// owner may read. A file that is damaged is begun anew.
func OpenSessions(path string) (*Sessions, error) {
	s := &Sessions{path: path, changed: map[string]struct{}{}}
	err := s.load()
	if err == nil && len(s.changed) <= maxChanged {
		s.file, err = os.OpenFile(path, os.O_WRONLY, 0o600)
	} else if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errSessionsFile) {
		err = s.begin()
	}
	if err != nil {
		return nil, fmt.Errorf("live: sessions: %w", err)
	}
	return s, nil
}

var errSessionsFile = errors.New("the file is damaged")

// load reads the file: the key, then an id a line. What a crash has cut off at the
// end is overwritten: nobody has been told of it.
func (s *Sessions) load() error {
	b, err := os.ReadFile(s.path)
	if err != nil {
		return err
	}
	first, rest, whole := strings.Cut(string(b), "\n")
	key, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || !whole || len(key) != len(s.key) {
		return errSessionsFile
	}
	copy(s.key[:], key)
	s.size = int64(len(first) + 1)
	for {
		id, behind, whole := strings.Cut(rest, "\n")
		if !whole {
			return nil
		}
		if len(id) != sessionIDLen {
			return errSessionsFile
		}
		s.changed[id] = struct{}{}
		s.size += sessionIDLen + 1
		rest = behind
	}
}

// begin exchanges the key and begins an empty file, whole or not at all. The
// caller holds writing, or is the only one there is.
func (s *Sessions) begin() error {
	var key [sha256.Size]byte
	_, _ = rand.Read(key[:]) // cannot fail
	if s.path != "" {
		if err := s.beginFile(base64.RawURLEncoding.EncodeToString(key[:]) + "\n"); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = key
	clear(s.changed)
	return nil
}

func (s *Sessions) beginFile(text string) error {
	part := s.path + ".new"
	if err := os.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, text)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(part, s.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if s.file != nil {
		_ = s.file.Close() // nothing in it counts any more
	}
	s.file, s.size = f, int64(len(text))
	return nil
}

// Close closes the file.
func (s *Sessions) Close() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// proof returns what a client shows for a session with this selection.
func (s *Sessions) proof(id string, selection []byte) string {
	digest := sha256.Sum256(selection)
	b := append([]byte(id), digest[:digestLen]...)
	return base64.RawURLEncoding.EncodeToString(append(b, s.mac(b)...))
}

func (s *Sessions) mac(b []byte) []byte {
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(b) // cannot fail
	return h.Sum(nil)[:macLen]
}

// recognize returns the id of the session that the proof was made for, when its
// selection was this one and still is.
func (s *Sessions) recognize(proof string, selection []byte) (id string, ok bool) {
	const signed = sessionIDLen + digestLen
	b, err := base64.RawURLEncoding.DecodeString(proof)
	if err != nil || len(b) != signed+macLen || !hmac.Equal(b[signed:], s.mac(b[:signed:signed])) {
		return "", false
	}
	digest := sha256.Sum256(selection)
	if string(b[sessionIDLen:signed]) != string(digest[:digestLen]) {
		return "", false
	}
	id = string(b[:sessionIDLen])
	s.mu.Lock()
	defer s.mu.Unlock()
	_, changed := s.changed[id]
	return id, !changed
}

// change notes that the session no longer has the selection that it began with.
// It returns when the disk has that; who wait together share a write.
func (s *Sessions) change(id string) error {
	s.mu.Lock()
	if _, ok := s.changed[id]; ok {
		s.mu.Unlock()
		return nil
	}
	if s.next == nil {
		s.next = &sessionsWrite{}
	}
	w := s.next
	w.ids = append(w.ids, id)
	s.mu.Unlock()

	s.writing.Lock()
	defer s.writing.Unlock()
	if !w.done {
		s.mu.Lock()
		s.next = nil
		s.mu.Unlock()
		w.err, w.done = s.write(w.ids), true
	}
	return w.err
}

// write keeps the ids. The caller holds writing.
func (s *Sessions) write(ids []string) error {
	if s.path != "" {
		text := strings.Join(ids, "\n") + "\n"
		_, err := s.file.WriteAt([]byte(text), s.size)
		if err = errors.Join(err, s.file.Sync()); err != nil {
			return fmt.Errorf("live: sessions: %w", err)
		}
		s.size += int64(len(text))
	}
	s.mu.Lock()
	for _, id := range ids {
		s.changed[id] = struct{}{}
	}
	full := len(s.changed) > maxChanged
	s.mu.Unlock()
	if full {
		return s.begin()
	}
	return nil
}
