package block_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
)

func decodeRollups(b []byte) ([]block.Rollup, error) {
	var d block.Decoder
	h, err := d.Open(b)
	if err != nil {
		return nil, err
	}
	rs := make([]block.Rollup, len(h.Series))
	for i := range rs {
		if err := d.DecodeRollups(i, &rs[i]); err != nil {
			return nil, err
		}
	}
	return rs, nil
}

// sameBits holds floats against each other to the bit.
var sameBits = gocmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

func checkRollups(tb testing.TB, want []block.Rollup) []byte {
	tb.Helper()
	b, err := block.AppendRollups(nil, want, &block.Encoder{})
	if err != nil {
		tb.Fatal(err)
	}
	got, err := decodeRollups(b)
	if err != nil {
		tb.Fatal(err)
	}
	if diff := gocmp.Diff(want, got, sameBits); diff != "" {
		tb.Fatalf("(-want +got):\n%s", diff)
	}
	return b
}

// rollupOf sums up a series of numbers in buckets of n readings.
func rollupOf(s block.Series, n int) (r block.Rollup) {
	r.ID = s.ID
	for i := range s.Times {
		var v float64
		switch s.Values[i].Kind() {
		case device.KindFloat:
			v = s.Values[i].Float()
		case device.KindInt:
			v = float64(s.Values[i].Int())
		case device.KindBool:
			if s.Values[i].Bool() {
				v = 1
			}
		case device.KindText:
			v = float64(len(s.Values[i].Text()))
		}
		if i%n == 0 {
			r.Starts, r.Counts = append(r.Starts, s.Times[i]), append(r.Counts, 0)
			r.Min, r.Max, r.Sum = append(r.Min, v), append(r.Max, v), append(r.Sum, 0)
		}
		k := len(r.Starts) - 1
		r.Counts[k]++
		r.Min[k], r.Max[k] = min(r.Min[k], v), max(r.Max[k], v)
		if sum := r.Sum[k] + v; !math.IsInf(sum, 0) {
			r.Sum[k] = sum
		}
	}
	return r
}

func TestRollups(t *testing.T) {
	all, times := shapes(), clocks()
	for _, name := range sortedKeys(all) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 5, 700} {
				rng := rand.New(rand.NewPCG(7, uint64(n)))
				s := fill(t, rng, 3, all[name](), times["jittered"](rng, n), 1, 1)
				other := rollupOf(s, 15)
				other.ID = 9
				checkRollups(t, []block.Rollup{rollupOf(s, 7), other})
			}
		})
	}
	t.Run("anything", func(t *testing.T) {
		r := block.Rollup{
			ID: 1, Starts: []int64{1, 2, 3}, Counts: []int64{math.MaxInt64, math.MinInt64, -1},
			Min: []float64{math.MaxFloat64, -math.MaxFloat64, 0}, Max: []float64{-1, math.Copysign(0, -1), 5}, Sum: []float64{1e300, -1e-300, 3},
		}
		checkRollups(t, []block.Rollup{r})
	})
}

func TestRollupsRefuse(t *testing.T) {
	for name, change := range map[string]func(r *block.Rollup){
		"infinite":     func(r *block.Rollup) { r.Max[1] = math.Inf(1) },
		"no number":    func(r *block.Rollup) { r.Sum[0] = math.NaN() },
		"short":        func(r *block.Rollup) { r.Counts = r.Counts[:1] },
		"starts equal": func(r *block.Rollup) { r.Starts[1] = r.Starts[0] },
	} {
		r := block.Rollup{ID: 1, Starts: []int64{0, 60}, Min: []float64{1, 2}, Max: []float64{1, 2}, Sum: []float64{1, 2}, Counts: []int64{1, 1}}
		change(&r)
		if _, err := block.AppendRollups(nil, []block.Rollup{r}, &block.Encoder{}); !errors.Is(err, block.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestContentsDoNotMix(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := fill(t, rng, 3, walk(10), clocks()["regular"](rng, 50), 1, 1)
	var d block.Decoder
	if _, err := d.Open(checkRoundTrip(t, &block.Encoder{}, []block.Series{s})); err != nil {
		t.Fatal(err)
	}
	if err := d.DecodeRollups(0, &block.Rollup{}); !errors.Is(err, block.ErrDamaged) {
		t.Errorf("readings as rollups: %v", err)
	}
	if _, err := d.Open(checkRollups(t, []block.Rollup{rollupOf(s, 5)})); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(0, block.All, &block.Series{}); !errors.Is(err, block.ErrDamaged) {
		t.Errorf("rollups as readings: %v", err)
	}
}

func TestRollupsGolden(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 16))
	var rs []block.Rollup
	for _, s := range everything(t, rng, 200) {
		if s.Values[0].Kind() != device.KindText {
			rs = append(rs, rollupOf(s, 10))
		}
	}
	got, err := decodeRollups(golden(t, "rollups", checkRollups(t, rs)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(rs, got, func(a, b block.Rollup) bool { return gocmp.Equal(a, b, sameBits) }) {
		t.Errorf("an old block reads differently (-want +got):\n%s", gocmp.Diff(rs, got, sameBits))
	}
}
