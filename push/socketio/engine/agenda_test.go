package engine

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAgenda(t *testing.T) {
	type step struct {
		at   time.Duration
		name string
		span time.Duration // 0: take it back
	}
	for _, c := range []struct {
		name  string
		steps []step
		want  map[string]time.Duration
	}{
		{"one", []step{{0, "a", 3 * time.Second}}, map[string]time.Duration{"a": 3 * time.Second}},
		{
			"several spans",
			[]step{{0, "a", 3 * time.Second}, {0, "b", time.Second}, {0, "c", 2 * time.Second}},
			map[string]time.Duration{"a": 3 * time.Second, "b": time.Second, "c": 2 * time.Second},
		},
		{
			"a sooner one later",
			[]step{{0, "a", 9 * time.Second}, {time.Second, "b", time.Second}},
			map[string]time.Duration{"a": 9 * time.Second, "b": 2 * time.Second},
		},
		{"taken back", []step{{0, "a", 3 * time.Second}, {time.Second, "a", 0}}, map[string]time.Duration{}},
		{
			"put off",
			[]step{{0, "a", 3 * time.Second}, {2 * time.Second, "a", 3 * time.Second}},
			map[string]time.Duration{"a": 5 * time.Second},
		},
		{
			"the middle one taken back",
			[]step{
				{0, "a", 3 * time.Second},
				{500 * time.Millisecond, "b", 3 * time.Second},
				{time.Second, "c", 3 * time.Second},
				{time.Second, "b", 0},
			},
			map[string]time.Duration{"a": 3 * time.Second, "c": 4 * time.Second},
		},
		{
			"nearly due is due",
			[]step{{0, "a", 4 * time.Second}, {10 * time.Millisecond, "b", 4 * time.Second}},
			map[string]time.Duration{"a": 4 * time.Second, "b": 4 * time.Second},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var a agenda
				start := time.Now()
				var mu sync.Mutex // guards got
				got := map[string]time.Duration{}
				entries := map[string]*entry{}
				for _, s := range c.steps {
					<-time.After(s.at - time.Since(start))
					e := entries[s.name]
					if e == nil {
						e = &entry{f: func() {
							mu.Lock()
							defer mu.Unlock()
							got[s.name] = time.Since(start)
						}}
						entries[s.name] = e
					}
					if s.span == 0 {
						a.clear(e)
						continue
					}
					a.set(e, s.span, time.Now())
				}
				<-time.After(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				if d := cmp.Diff(c.want, got); d != "" {
					t.Errorf("(-want +got):\n%s", d)
				}
			})
		})
	}
}

// Whatever is set, put off and taken back: each entry is called once, at most
// 1/128 of its span early and never late, and the lists are empty afterwards.
func TestAgendaAtRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const entries = 300
		spans := []time.Duration{200 * time.Millisecond, time.Second, 25 * time.Second}
		random := rand.New(rand.NewPCG(1, 2))
		var a agenda
		var mu sync.Mutex // guards the next two
		due := map[int]time.Time{}
		span := map[int]time.Duration{}
		all := make([]entry, entries)
		for i := range all {
			all[i].f = func() {
				mu.Lock()
				defer mu.Unlock()
				before := time.Until(due[i])
				if before < 0 || before > span[i]/early {
					t.Errorf("%v early of %v", before, span[i])
				}
				delete(due, i)
			}
		}
		for range 5000 {
			i := random.IntN(entries)
			if random.IntN(4) == 0 {
				a.clear(&all[i])
				mu.Lock()
				delete(due, i)
				mu.Unlock()
			} else {
				length := spans[random.IntN(len(spans))]
				base := time.Now().Add(-time.Duration(random.IntN(20)) * time.Millisecond)
				mu.Lock()
				span[i], due[i] = length, base.Add(length)
				mu.Unlock()
				a.set(&all[i], length, base)
			}
			<-time.After(time.Duration(random.IntN(10)) * time.Millisecond)
			synctest.Wait()
		}
		<-time.After(time.Minute)
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, s := range a.spans {
			if s.first != nil || s.last != nil {
				t.Errorf("entries are left for %v", s.length)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(due) != 0 {
			t.Errorf("%d were not called", len(due))
		}
	})
}
