package fleet

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// drive plays a script against an outbox, a millisecond at a time, and returns
// what it does when. The script maps milliseconds to what happens then: +7 sends
// message 7, -7 answers it.
func drive(p ackPolicy, until int, script map[int][]int) []string {
	o := newOutbox(p)
	var log []string
	for ms := range until {
		now := time.UnixMilli(int64(ms))
		for _, step := range script[ms] {
			switch {
			case step > 0 && !o.room():
				log = append(log, fmt.Sprintf("%d no room for %d", ms, step))
			case step > 0:
				o.add(uint64(step), nil, now)
			case o.settle(uint64(-step), now) == nil:
				log = append(log, fmt.Sprintf("%d unknown %d", ms, -step))
			}
		}
		for {
			next, waiting := o.nextDue()
			u, givenUp := o.due(now)
			if u == nil {
				break
			}
			verb := "again"
			if givenUp {
				verb = "give up"
			} else if waiting && next.After(now) {
				verb = "hurry"
			}
			log = append(log, fmt.Sprintf("%d %s %d", ms, verb, u.seq))
		}
	}
	return log
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	plain := ackPolicy{timeout: 10 * time.Millisecond, longest: 25 * time.Millisecond, retries: 4, window: 3}
	quick := plain
	quick.overtaken, quick.window = 2, 100
	adaptive := plain
	adaptive.shortest, adaptive.timeout, adaptive.longest = 5*time.Millisecond, 100*time.Millisecond, time.Second
	tests := []struct {
		name   string
		policy ackPolicy
		script map[int][]int
		want   []string
	}{
		{"answered in time", plain, map[int][]int{0: {1}, 9: {-1}}, nil},
		{
			"waits double up to the longest, then it gives up", plain,
			map[int][]int{5: {1}},
			[]string{"15 again 1", "35 again 1", "60 again 1", "85 again 1", "110 give up 1"},
		},
		{"answered after a retransmission", plain, map[int][]int{0: {1}, 12: {-1}}, []string{"10 again 1"}},
		{"answered twice", plain, map[int][]int{0: {1}, 3: {-1}, 4: {-1}}, []string{"4 unknown 1"}},
		{"answer to nothing", plain, map[int][]int{0: {-9}}, []string{"0 unknown 9"}},
		{
			"window counts what waits", plain,
			map[int][]int{0: {1, 2, 3, 4}, 1: {-2, 5, 6}, 2: {-1, -3, -5}},
			[]string{"0 no room for 4", "1 no room for 6"},
		},
		{
			"two in the order of sending", plain,
			map[int][]int{0: {2, 1}, 11: {-1, -2}},
			[]string{"10 again 2", "10 again 1"},
		},
		{
			"overtaken", quick,
			map[int][]int{0: {1, 2, 3, 4}, 1: {-2}, 2: {-3}, 3: {-4}, 4: {-1}},
			[]string{"2 hurry 1"},
		},
		{
			"overtaken again takes four times as many", quick,
			map[int][]int{0: {1, 2, 3}, 1: {-3, -2}, 2: {11, 12, 13, 14, 15, 16, 17, 18, 19}, 3: {-17}, 4: {-18}, 5: {-19, -11, -12, -13, -14, -15, -16}, 6: {-1}},
			[]string{"1 hurry 1", "3 hurry 11", "3 hurry 12", "3 hurry 13", "3 hurry 14", "3 hurry 15", "4 hurry 16", "4 hurry 1"},
		},
		{
			"overtaken does not shorten or count the waits", quick,
			map[int][]int{0: {1, 2, 3}, 1: {-2, -3}},
			[]string{"1 hurry 1", "10 again 1", "30 again 1", "55 again 1", "80 again 1", "105 give up 1"},
		},
		{
			"the wait follows the answers", adaptive,
			map[int][]int{0: {1}, 4: {-1}, 10: {2}, 40: {-2}},
			[]string{"22 again 2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, drive(tt.policy, 130, tt.script)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutboxDoesNotRunAhead(t *testing.T) {
	t.Parallel()
	o := newOutbox(ackPolicy{timeout: time.Hour, longest: time.Hour, window: 9})
	now := time.UnixMilli(0)
	o.add(0, nil, now)
	seq := uint64(1)
	for ; o.room(); seq++ {
		o.add(seq, nil, now)
		o.settle(seq, now)
	}
	if seq != maxAhead {
		t.Errorf("%d messages ahead of the oldest, want %d", seq, maxAhead)
	}
	if o.settle(0, now); !o.room() {
		t.Error("no room although nothing waits")
	}
}

func TestOutboxOverANewConnection(t *testing.T) {
	t.Parallel()
	o := newOutbox(ackPolicy{timeout: time.Second, longest: time.Second, retries: 1, window: 9})
	now := time.UnixMilli(0)
	for seq := range uint64(3) {
		o.add(seq, nil, now)
	}
	o.settle(1, now)
	o.again(now)
	var got []uint64
	for u, _ := o.due(now); u != nil; u, _ = o.due(now) {
		got = append(got, u.seq)
	}
	if diff := cmp.Diff([]uint64{0, 2}, got); diff != "" {
		t.Errorf("sent again (-want +got):\n%s", diff)
	}
	if n := o.clear(); n != 2 {
		t.Errorf("%d were waiting, want 2", n)
	}
	if _, ok := o.nextDue(); ok || !o.room() {
		t.Error("something waits in a cleared outbox")
	}
}
