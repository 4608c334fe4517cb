package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/push"
)

// errEnded is the cause of the end of requests whose access has ended.
var errEnded = errors.New("auth: the access has ended")

// holder is somebody who has access, and his requests.
type holder struct {
	grant  *device.Grant
	viewer push.Viewer
	used   atomic.Int64 // device.Time of the last request since the start; 0: none

	mu    sync.Mutex // guards following
	ended bool
	next  uint64
	onEnd map[uint64]func() // of who is served
}

// newHolder returns who has the grant.
func newHolder(grant *device.Grant) (*holder, error) {
	limit, err := grant.Limit()
	if err != nil {
		return nil, err
	}
	h := &holder{grant: grant, viewer: push.Viewer{Name: grant.Name, Limit: limit}, onEnd: map[uint64]func(){}}
	if grant.ID != 0 { // what is in no store does not end
		h.viewer.OnEnd = h.whenOver
	}
	return h, nil
}

// whenOver is push.Viewer.OnEnd.
func (h *holder) whenOver(f func()) (forget func()) {
	h.mu.Lock()
	n, ended := h.next, h.ended
	if !ended {
		h.next++
		h.onEnd[n] = f
	}
	h.mu.Unlock()
	if ended {
		f()
	}
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.onEnd, n)
	}
}

// enter returns a context for a request, which ends with the access, and what is
// to be called when the request is over.
func (h *holder) enter(ctx context.Context) (context.Context, func()) {
	if h.viewer.OnEnd == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	forget := h.whenOver(func() { cancel(errEnded) })
	return ctx, func() {
		forget()
		cancel(nil)
	}
}

// end ends what is under way; when it is for good, also what has been let in a
// moment ago.
func (h *holder) end(forGood bool) {
	h.mu.Lock()
	h.ended = h.ended || forGood
	all := h.onEnd
	h.onEnd = map[uint64]func(){}
	h.mu.Unlock()
	for _, f := range all {
		f()
	}
}

// hashed is the hash by which a token is known.
type hashed [sha256.Size]byte

func hashOf(token string) hashed { return sha256.Sum256([]byte(token)) }

// prefix is what holders are found by. That it is found tells who measures the
// time something of a hash, and of a token nothing.
func (h *hashed) prefix() [8]byte { return [8]byte(h[:8]) }

// prefix returns that of the grant's hash; false when it is damaged.
func (h *holder) prefix() (p [8]byte, ok bool) {
	if len(h.grant.Hash) != sha256.Size || h.grant.Damaged {
		return p, false
	}
	return [8]byte(h.grant.Hash), true
}

// holders are all who have access by a token.
type holders struct {
	mu     sync.RWMutex // guards following
	byHash map[[8]byte]*holder
	byID   map[uint64]*holder
}

// add makes somebody known.
func (s *holders) add(h *holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := h.prefix(); ok {
		s.byHash[p] = h
	}
	s.byID[h.grant.ID] = h
}

// remove forgets somebody, and ends his requests.
func (s *holders) remove(id uint64) {
	s.mu.Lock()
	h := s.byID[id]
	if h != nil {
		delete(s.byID, id)
		if p, ok := h.prefix(); ok {
			delete(s.byHash, p)
		}
	}
	s.mu.Unlock()
	if h != nil {
		h.end(true)
	}
}

// withHash returns who has the token with this hash and whose access has not
// ended, or nil.
func (s *holders) withHash(hash hashed, now device.Time) *holder {
	s.mu.RLock()
	h := s.byHash[hash.prefix()]
	s.mu.RUnlock()
	if h == nil || subtle.ConstantTimeCompare(h.grant.Hash, hash[:]) != 1 || h.grant.Expired(now) {
		return nil
	}
	return h
}

// withID returns whose grant it is, or nil.
func (s *holders) withID(id uint64, now device.Time) *holder {
	s.mu.RLock()
	h := s.byID[id]
	s.mu.RUnlock()
	if h == nil || h.grant.Damaged || h.grant.Expired(now) {
		return nil
	}
	return h
}

// used returns when the grant was last used since the start; 0: never.
func (s *holders) used(id uint64) device.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if h := s.byID[id]; h != nil {
		return device.Time(h.used.Load())
	}
	return 0
}

// endExpired ends the requests of whose access has ended by its time.
func (s *holders) endExpired(now device.Time) {
	s.mu.RLock()
	var ended []*holder
	for _, h := range s.byID {
		if h.grant.Expired(now) {
			ended = append(ended, h)
		}
	}
	s.mu.RUnlock()
	for _, h := range ended {
		h.end(false) // the clock may go back
	}
}
