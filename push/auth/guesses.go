package auth

import (
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Bounds of wrong tokens. Nobody guesses one of 130 random bits; these are for
// tokens that somebody has chosen, and for the log.
const (
	// guessesPerAddr may come at once from an address, and one more each
	// guessPause.
	guessesPerAddr = 10
	guessPause     = 6 * time.Second
	// guessesAll may come at once from all addresses that have shown no right token
	// lately, and one more each guessPauseAll.
	guessesAll    = 100
	guessPauseAll = 200 * time.Millisecond
	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 4096
	// sameGuesses is how many wrong tokens of an address are remembered: a client
	// that goes on with one that was revoked guesses nothing, and must lock out
	// nobody who shares its address.
	sameGuesses = 4
	// trustTime is how long an address that has shown a right token does not share
	// the bound for all.
	trustTime = 24 * time.Hour
)

// bucket is a number of guesses that are left and come back with time.
type bucket struct {
	left float64
	at   time.Time
}

// fill brings back what has come since, up to most.
func (b *bucket) fill(now time.Time, most float64, pause time.Duration) {
	if now.After(b.at) {
		b.left = min(most, b.left+float64(now.Sub(b.at))/float64(pause))
		b.at = now
	}
}

// guesser is an address that has shown a token.
type guesser struct {
	bucket
	wrong [sameGuesses][8]byte // hashes of the last ones, cut
	next  int                  // in wrong
	right time.Time            // when it last showed a right one; zero: never
}

// guesses bounds wrong tokens by address, of IPv6 by /64, and in all.
type guesses struct {
	mu    sync.Mutex // guards following
	all   bucket
	peers map[netip.Prefix]*guesser
}

func prefixOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{} // no address: they share one
	}
	return p
}

// may reports whether a token of the address is looked at.
func (g *guesses) may(a netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all.fill(now, guessesAll, guessPauseAll)
	p := g.peers[prefixOf(a)]
	if p == nil {
		return g.all.left >= 1
	}
	p.fill(now, guessesPerAddr, guessPause)
	return p.left >= 1 && (g.all.left >= 1 || now.Sub(p.right) < trustTime && !p.right.IsZero())
}

// note takes what came of a token of the address.
func (g *guesses) note(a netip.Addr, hash [8]byte, right bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.peers[prefixOf(a)]
	if p == nil {
		p = g.addLocked(prefixOf(a), now)
	}
	switch {
	case right:
		p.right = now
	case !slices.Contains(p.wrong[:], hash):
		p.wrong[p.next] = hash
		p.next = (p.next + 1) % sameGuesses
		p.left--
		g.all.left = max(g.all.left-1, 0)
	}
}

// addLocked makes an address known in the place of the one that has been silent
// for longest, of those without a right token first. The caller holds mu.
func (g *guesses) addLocked(key netip.Prefix, now time.Time) *guesser {
	if len(g.peers) >= maxGuessers {
		var oldest netip.Prefix
		var least time.Time
		for k, p := range g.peers {
			at := p.at
			if p.right.After(at) {
				at = p.right
			}
			if !p.right.IsZero() {
				at = at.Add(trustTime)
			}
			if least.IsZero() || at.Before(least) {
				oldest, least = k, at
			}
		}
		delete(g.peers, oldest)
	}
	if g.peers == nil {
		g.peers = map[netip.Prefix]*guesser{}
	}
	p := &guesser{bucket: bucket{guessesPerAddr, now}}
	g.peers[key] = p
	return p
}
