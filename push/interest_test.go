package push

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
)

// However topics come and go, the index names those that a scan would find.
func TestInterest(t *testing.T) {
	ids := []device.ID{"a", "b", "ab", "abc", "gh1", "gh2", "x/y"}
	selections := []string{"", "a", "b", "a b", "a*", "*b*", "gh?", "gh1 gh2", "gh1 a*", "nobody", "x/*"}
	limits := []string{"", "gh*", "a", "a b*"}
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 7))
		n := newInterest()
		var all []*topic
		for range 500 {
			if r.IntN(3) > 0 {
				sel := selector(t, selections[r.IntN(len(selections))], "").Within(selector(t, limits[r.IntN(len(limits))], ""))
				all = append(all, &topic{sel: sel})
				n.add(all[len(all)-1])
			} else if len(all) > 0 {
				i := r.IntN(len(all))
				n.remove(all[i])
				all = slices.Delete(all, i, i+1)
			}
			id := ids[r.IntN(len(ids))]
			var got, want []string
			for _, list := range n.in(id) {
				for _, topic := range list {
					got = append(got, fmt.Sprintf("%p", topic))
				}
			}
			for _, topic := range all {
				if topic.sel.MatchDevice(id) {
					want = append(want, fmt.Sprintf("%p", topic))
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: of %s: %s, want %s", seed, id, strings.Join(got, " "), strings.Join(want, " "))
			}
		}
		for _, topic := range all {
			n.remove(topic)
		}
		if len(n.named)+len(n.broad)+len(n.matched) != 0 {
			t.Errorf("seed %d: %v is left", seed, n)
		}
	}
}
