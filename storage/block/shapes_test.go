package block_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
)

const epoch = 1764000000123000 // µs

// shape makes the ith value of a series of a certain character.
type shape func(tb testing.TB, rng *rand.Rand, i int) device.Value

// walk is a random walk in steps of 1/parts.
func walk(parts float64) shape {
	at := 0
	return func(tb testing.TB, rng *rand.Rand, _ int) device.Value {
		at += rng.IntN(5) - 2
		return mustFloat(tb, float64(at)/parts)
	}
}

func shapes() map[string]func() shape {
	float := func(f func(rng *rand.Rand, i int) float64) func() shape {
		return func() shape {
			return func(tb testing.TB, rng *rand.Rand, i int) device.Value { return mustFloat(tb, f(rng, i)) }
		}
	}
	integer := func(f func(rng *rand.Rand, i int) int64) func() shape {
		return func() shape {
			return func(_ testing.TB, rng *rand.Rand, i int) device.Value { return device.Int(f(rng, i)) }
		}
	}
	text := func(f func(rng *rand.Rand, i int) string) func() shape {
		return func() shape {
			return func(tb testing.TB, rng *rand.Rand, i int) device.Value { return mustText(tb, f(rng, i)) }
		}
	}
	extremes := []float64{
		0, math.Copysign(0, -1), math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, math.MaxFloat64, -math.MaxFloat64,
		1e22, 1e-22, 1 << 53, 1<<53 + 2, -(1 << 53), math.Pi, 0x1p-1022, 1e300, math.MaxFloat32, 1e-45, 0.1, -0.1,
	}
	return map[string]func() shape{
		"constant":      float(func(*rand.Rand, int) float64 { return 21.5 }),
		"minus zero":    float(func(_ *rand.Rand, i int) float64 { return math.Copysign(0, float64(i%3)-1) }),
		"counter":       integer(func(_ *rand.Rand, i int) int64 { return int64(i) * 17 }),
		"wrapping":      integer(func(_ *rand.Rand, i int) int64 { return math.MaxInt64 - 100 + int64(i) }),
		"float counter": float(func(_ *rand.Rand, i int) float64 { return float64(i) * 1e15 }),
		"walk":          func() shape { return walk(1) },
		"decimal walk":  func() shape { return walk(100) },
		"step":          float(func(_ *rand.Rand, i int) float64 { return float64(i / 50 % 3) }),
		"noise":         float(func(rng *rand.Rand, _ int) float64 { return math.Round(rng.NormFloat64()*100) / 10 }),
		"float32":       float(func(rng *rand.Rand, _ int) float64 { return float64(float32(math.Round(rng.NormFloat64()*1000) / 100)) }),
		"any float32":   float(func(rng *rand.Rand, _ int) float64 { return float64(rng.Float32()) }),
		"computed":      float(func(rng *rand.Rand, _ int) float64 { return float64(rng.IntN(1000)) * 0.1 * 1.1 }),
		"many digits":   float(func(rng *rand.Rand, _ int) float64 { return rng.NormFloat64() }),
		"some digits":   float(func(rng *rand.Rand, _ int) float64 { return math.Round(rng.Float64()*1e12) / 1e12 }),
		"any finite":    float(func(rng *rand.Rand, _ int) float64 { return math.Float64frombits(rng.Uint64() &^ (1 << 62)) }),
		"denormal":      float(func(rng *rand.Rand, _ int) float64 { return math.Float64frombits(rng.Uint64N(1 << 30)) }),
		"extreme":       float(func(_ *rand.Rand, i int) float64 { return extremes[i%len(extremes)] }),
		"spike": float(func(_ *rand.Rand, i int) float64 {
			return []float64{20.5, -9999.99}[min(i%97/96, 1)] + float64(i%3)/100
		}),
		"levels":        float(func(rng *rand.Rand, _ int) float64 { return float64(rng.IntN(7)) * 1.43 }),
		"high":          integer(func(rng *rand.Rand, _ int) int64 { return rng.Int64() - rng.Int64() }),
		"extreme int":   integer(func(_ *rand.Rand, i int) int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1}[i%4] }),
		"text":          text(func(_ *rand.Rand, i int) string { return []string{"open", "closed", "n/a", ""}[i/9%4] }),
		"distinct text": text(func(_ *rand.Rand, i int) string { return fmt.Sprintf("uptime %d s, 나루", i*13) }),
		"long text":     text(func(rng *rand.Rand, _ int) string { return strings.Repeat("x", rng.IntN(device.MaxTextLen+1)) }),
		"sparse boolean": func() shape {
			return func(_ testing.TB, _ *rand.Rand, i int) device.Value { return device.Bool(i%60 == 0) }
		},
		"mixed": func() shape {
			return func(tb testing.TB, rng *rand.Rand, i int) device.Value {
				switch rng.IntN(5) {
				case 0:
					return device.Int(int64(i))
				case 1:
					return device.Bool(i%2 == 0)
				case 2:
					return mustText(tb, fmt.Sprint(i%10))
				}
				return mustFloat(tb, float64(i))
			}
		},
	}
}

// clock makes the times of n readings.
type clock func(rng *rand.Rand, n int) []int64

func clocks() map[string]clock {
	by := func(step func(rng *rand.Rand, i int) int64) clock {
		return func(rng *rand.Rand, n int) []int64 {
			t, ts := int64(epoch), make([]int64, n)
			for i := range ts {
				ts[i] = t
				t += step(rng, i)
			}
			return ts
		}
	}
	return map[string]clock{
		"regular":  by(func(*rand.Rand, int) int64 { return 1_000_000 }),
		"jittered": by(func(rng *rand.Rand, _ int) int64 { return 4_000_000 + 1000*rng.Int64N(500) }),
		"bursts":   by(func(_ *rand.Rand, i int) int64 { return 1 + int64(i%10/9)*3_600_000_000 }),
		"holes": by(func(rng *rand.Rand, _ int) int64 {
			if rng.IntN(100) == 0 {
				return 86400_000_000
			}
			return 60_000_000
		}),
		"huge": func(_ *rand.Rand, n int) []int64 {
			ts := make([]int64, n)
			for i := range ts {
				ts[i] = math.MinInt64 + int64(i)*int64(math.MaxUint64/uint64(n))
			}
			return ts
		},
	}
}

// fill makes a series of this shape with these times, whose offsets begin at
// offset and grow by step.
func fill(tb testing.TB, rng *rand.Rand, id uint32, sh shape, ts []int64, offset, step uint64) block.Series {
	s := block.Series{ID: id, Times: ts}
	for i := range ts {
		s.Offsets = append(s.Offsets, offset+uint64(i)*step)
		s.Values = append(s.Values, sh(tb, rng, i))
	}
	return s
}

// sparse is a device with many metrics, each of which sends at some of the
// device's times only.
func sparse(tb testing.TB, rng *rand.Rand, metrics, n int) []block.Series {
	ss := make([]block.Series, metrics)
	walks := make([]shape, metrics)
	for i := range ss {
		ss[i].ID = uint32(10 + 3*i)
		walks[i] = walk(10)
	}
	offset := uint64(1000)
	for row := range n {
		for i := range ss {
			if row%metrics != i && rng.IntN(4) != 0 {
				continue
			}
			s := &ss[i]
			s.Times = append(s.Times, epoch+int64(row)*10_000_000)
			s.Offsets = append(s.Offsets, offset)
			s.Values = append(s.Values, walks[i](tb, rng, row))
			offset++
		}
		offset += rng.Uint64N(5)
	}
	return ss
}

// everything is one device with a series of each shape, in different times and
// orders of offsets.
func everything(tb testing.TB, rng *rand.Rand, n int) []block.Series {
	var ss []block.Series
	all, times := shapes(), clocks()
	for i, name := range sortedKeys(all) {
		clockNames := []string{"regular", "jittered", "holes"}
		ts := times[clockNames[i%3]](rand.New(rand.NewPCG(1, uint64(i%4))), n+i%2)
		ss = append(ss, fill(tb, rng, uint32(i*i), all[name](), ts, 1e9+uint64(i), 30))
	}
	return ss
}
