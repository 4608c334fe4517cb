package fleet

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fates sends n datagrams a millisecond apart through a link and returns their
// numbers as they come out, each with the millisecond.
func fates(t *testing.T, im impairment, seed uint64, n int) (out []string, s *stats) {
	t.Helper()
	s = &stats{}
	now := time.UnixMilli(0)
	l := link{impairment: im, rng: rand.New(rand.NewPCG(seed, 1)), stats: s, write: func(b []byte) error {
		out = append(out, string(b)+"@"+strconv.FormatInt(now.UnixMilli(), 10))
		return nil
	}}
	for i := range n {
		if err := l.release(now); err != nil {
			t.Fatal(err)
		}
		if err := l.send([]byte(strconv.Itoa(i)), now); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Millisecond)
	}
	if err := l.letGo(now); err != nil {
		t.Fatal(err)
	}
	for at, ok := l.next(); ok; at, ok = l.next() {
		if at.Before(now.Add(-time.Millisecond)) {
			t.Errorf("a datagram due at %v is still there at %v", at, now)
		}
		now = at
		if err := l.release(now); err != nil {
			t.Fatal(err)
		}
	}
	return out, s
}

func TestLinkFates(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		im   impairment
		want []string
	}{
		{"nothing", impairment{}, []string{"0@0", "1@1", "2@2", "3@3", "4@4", "5@5"}},
		{"all lost", impairment{loss: 1}, nil},
		{"all twice", impairment{duplicate: 1}, []string{"0@0", "0@0", "1@1", "1@1", "2@2", "2@2", "3@3", "3@3", "4@4", "4@4", "5@5", "5@5"}},
		{"every other overtaken", impairment{reorder: 1}, []string{"1@1", "0@1", "3@3", "2@3", "5@5", "4@5"}},
		{"some lost", impairment{loss: 0.5}, []string{"1@1", "2@2", "3@3", "5@5"}},
		{"late", impairment{jitter: 3 * time.Millisecond}, []string{"1@2", "0@3", "2@5", "4@5", "3@5", "5@7"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, _ := fates(t, tt.im, 1, 6)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again, _ := fates(t, tt.im, 1, 6)
			if !slices.Equal(got, again) {
				t.Errorf("the same seed gives %v and then %v", got, again)
			}
		})
	}
}

// TestLinkAccounts holds that every datagram is sent, once or twice, or counted
// as lost.
func TestLinkAccounts(t *testing.T) {
	t.Parallel()
	const n = 20_000
	im := impairment{loss: 0.1, duplicate: 0.05, reorder: 0.2, jitter: 20 * time.Millisecond}
	out, s := fates(t, im, 3, n)
	if got, want := int64(len(out)), n-s.lost.Load()+s.duplicated.Load(); got != want {
		t.Errorf("%d came out, want %d", got, want)
	}
	for _, c := range []struct {
		name  string
		count int64
		share float64
	}{{"lost", s.lost.Load(), 0.1}, {"duplicated", s.duplicated.Load(), 0.045}, {"reordered", s.reordered.Load(), 0.15}} {
		if share := float64(c.count) / n; share < 0.8*c.share || share > 1.2*c.share {
			t.Errorf("%s: %v of all, want about %v", c.name, share, c.share)
		}
	}
}

func TestLinkPassesErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for _, im := range []impairment{{}, {duplicate: 1}} {
		l := link{impairment: im, rng: rand.New(rand.NewPCG(1, 1)), stats: &stats{}, write: func([]byte) error { return broken }}
		if err := l.send([]byte("a"), time.UnixMilli(0)); !errors.Is(err, broken) {
			t.Errorf("%+v: error %v", im, err)
		}
	}
}
