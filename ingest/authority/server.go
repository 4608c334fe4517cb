package authority

import (
	"crypto/tls"
	"slices"
	"sync"
	"time"
)

const (
	// serverLifetime is that of a server certificate; renewAhead before its end there
	// is a new one.
	serverLifetime = 90 * 24 * time.Hour
	renewAhead     = 30 * 24 * time.Hour
	// lookEvery is how often the names are asked for.
	lookEvery = time.Minute
	// MaxNames bounds the names in a certificate, which small devices hold in buffers
	// of a few hundred bytes.
	MaxNames = 16
)

// Server has a certificate for a machine whose names and addresses change. Its
// methods may be called concurrently.
type Server struct {
	authority *Authority
	names     func() []string

	mu     sync.Mutex // guards following
	leaf   *tls.Certificate
	of     []string // the names in leaf
	looked time.Time
}

// Server returns a server that has the names, DNS names and addresses, that names
// returns, the first MaxNames of them.
func (a *Authority) Server(names func() []string) *Server {
	return &Server{authority: a, names: names}
}

// Certificate returns a certificate that is valid now and for all names.
func (s *Server) Certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := now()
	of := s.of
	if since := now.Sub(s.looked); s.leaf == nil || since < 0 || since >= lookEvery {
		of = s.names()
		of = of[:min(len(of), MaxNames)]
		s.looked = now
	}
	if s.leaf != nil && now.Add(renewAhead).Before(s.leaf.Leaf.NotAfter) && slices.Equal(of, s.of) {
		return s.leaf, nil
	}
	leaf, err := s.authority.server(of, now.Add(serverLifetime))
	if err != nil {
		return nil, err
	}
	s.leaf, s.of = leaf, slices.Clone(of)
	return leaf, nil
}
