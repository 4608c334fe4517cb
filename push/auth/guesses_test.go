package auth

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// attempt is one token of an address; it reports whether it was looked at.
func attempt(g *guesses, addr, secret string, right bool, now time.Time) bool {
	a := netip.MustParseAddr(addr)
	if !g.may(a, now) {
		return false
	}
	hash := hashOf(secret)
	g.note(a, hash.prefix(), right, now)
	return true
}

func TestGuesses(t *testing.T) {
	start := time.Now()
	// tries sends n different wrong tokens and returns how many were looked at.
	tries := func(g *guesses, addr string, n int, now time.Time) (looked int) {
		for i := range n {
			if attempt(g, addr, addr+strconv.Itoa(i)+now.String(), false, now) {
				looked++
			}
		}
		return looked
	}
	for _, c := range []struct {
		name string
		do   func(g *guesses) int
		want int
	}{
		{"an address", func(g *guesses) int { return tries(g, "192.0.2.1", 50, start) }, guessesPerAddr},
		{"its neighbour", func(g *guesses) int {
			tries(g, "192.0.2.1", 50, start)
			return tries(g, "192.0.2.2", 5, start)
		}, 5},
		{"a neighbour of IPv6 is the same household", func(g *guesses) int {
			tries(g, "2001:db8::1", 50, start)
			return tries(g, "2001:db8::2", 5, start)
		}, 0},
		{"another household of IPv6", func(g *guesses) int {
			tries(g, "2001:db8::1", 50, start)
			return tries(g, "2001:db8:0:1::1", 5, start)
		}, 5},
		{"after a pause for one", func(g *guesses) int {
			tries(g, "192.0.2.1", 50, start)
			return tries(g, "192.0.2.1", 50, start.Add(guessPause))
		}, 1},
		{"after a long pause", func(g *guesses) int {
			tries(g, "192.0.2.1", 50, start)
			return tries(g, "192.0.2.1", 50, start.Add(time.Hour))
		}, guessesPerAddr},
		{"the same wrong token is no guess", func(g *guesses) int {
			n := 0
			for range 500 {
				if attempt(g, "192.0.2.1", "revoked", false, start) {
					n++
				}
			}
			return n + tries(g, "192.0.2.1", 50, start)
		}, 500 + guessesPerAddr - 1},
		{"all together", func(g *guesses) int {
			n := 0
			for i := range 1000 {
				n += tries(g, "10.0."+strconv.Itoa(i/256)+"."+strconv.Itoa(i%256), 1, start)
			}
			return n
		}, guessesAll},
		{"all together, later", func(g *guesses) int {
			for i := range 200 {
				tries(g, "10.0.0."+strconv.Itoa(i), 1, start)
			}
			return tries(g, "10.1.0.1", 5, start.Add(3*guessPauseAll))
		}, 3},
		{"who had a right token is not kept out by the others", func(g *guesses) int {
			attempt(g, "192.0.2.9", "right", true, start)
			for i := range 200 {
				tries(g, "10.0.0."+strconv.Itoa(i), 1, start)
			}
			n := 0
			for range 20 {
				if attempt(g, "192.0.2.9", "right", true, start.Add(time.Second/10)) {
					n++
				}
			}
			return n
		}, 20},
		{"and may guess no more than anybody", func(g *guesses) int {
			attempt(g, "192.0.2.9", "right", true, start)
			return tries(g, "192.0.2.9", 50, start)
		}, guessesPerAddr},
	} {
		g := &guesses{all: bucket{guessesAll, start}}
		if got := c.do(g); got != c.want {
			t.Errorf("%s: %d were looked at, want %d", c.name, got, c.want)
		}
	}
}

// The table is bounded, and those who had a right token stay in it.
func TestGuessersAreBounded(t *testing.T) {
	start := time.Now()
	g := &guesses{all: bucket{guessesAll, start}}
	attempt(g, "192.0.2.9", "right", true, start)
	for i := range maxGuessers + 100 {
		a := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		attempt(g, a.String(), "x", false, start.Add(time.Duration(i)*time.Second))
	}
	if len(g.peers) != maxGuessers {
		t.Errorf("%d addresses are remembered", len(g.peers))
	}
	if g.peers[netip.MustParsePrefix("192.0.2.9/32")] == nil {
		t.Error("the one with the right token was forgotten")
	}
	if g.peers[netip.MustParsePrefix("10.0.0.1/32")] != nil {
		t.Error("the oldest is still there")
	}
	if !g.may(netip.Addr{}, start) {
		t.Error("who has no address is kept out")
	}
}
