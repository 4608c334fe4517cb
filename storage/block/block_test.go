package block_test

import (
	"cmp"
	"encoding/hex"
	"errors"
	"flag"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
)

var update = flag.Bool("update", false, "write the golden files anew")

func mustFloat(tb testing.TB, f float64) device.Value {
	tb.Helper()
	v, err := device.Float(f)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func mustText(tb testing.TB, s string) device.Value {
	tb.Helper()
	v, err := device.Text(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func sortedKeys[M ~map[K]V, K cmp.Ordered, V any](m M) []K { return slices.Sorted(maps.Keys(m)) }

// sameValue holds values against each other to the bit.
var sameValue = gocmp.Comparer(func(a, b device.Value) bool { return a == b })

func sameSeries(a, b block.Series) bool {
	return a.ID == b.ID && slices.Equal(a.Times, b.Times) && slices.Equal(a.Offsets, b.Offsets) && slices.Equal(a.Values, b.Values)
}

// decodeAll decodes all of a block.
func decodeAll(b []byte) (*block.Header, []block.Series, error) {
	var d block.Decoder
	h, err := d.Open(b)
	if err != nil {
		return nil, nil, err
	}
	ss := make([]block.Series, len(h.Series))
	for i := range ss {
		if err := d.Decode(i, block.All, &ss[i]); err != nil {
			return nil, nil, err
		}
	}
	return h, ss, nil
}

// checkRoundTrip encodes and decodes the readings, compares all there is, and
// returns the block.
func checkRoundTrip(tb testing.TB, e *block.Encoder, want []block.Series) []byte {
	tb.Helper()
	prefix := []byte("before")
	b, err := block.Append(slices.Clone(prefix), want, e)
	if err != nil {
		tb.Fatal(err)
	}
	if string(b[:len(prefix)]) != string(prefix) {
		tb.Fatal("Append changed what was there before")
	}
	b = b[len(prefix):]
	h, got, err := decodeAll(b)
	if err != nil {
		tb.Fatal(err)
	}
	if !slices.EqualFunc(want, got, sameSeries) {
		tb.Fatalf("(-want +got):\n%s", gocmp.Diff(want, got, sameValue))
	}
	checkHeader(tb, h, want)
	return b
}

func checkHeader(tb testing.TB, h *block.Header, ss []block.Series) {
	tb.Helper()
	var times []int64
	var offsets []uint64
	for i, s := range ss {
		times, offsets = append(times, s.Times...), append(offsets, s.Offsets...)
		g := h.Series[i]
		if g.ID != s.ID || g.Count != len(s.Times) || g.MinTime != s.Times[0] || g.MaxTime != s.Times[len(s.Times)-1] {
			tb.Fatalf("series %d of the header: %+v", i, g)
		}
		if k, ok := h.Find(s.ID); k != i || !ok {
			tb.Fatalf("Find(%d) = %d, %v; want %d", s.ID, k, ok, i)
		}
	}
	if h.Rollups || h.Count != len(times) || h.MinTime != slices.Min(times) || h.MaxTime != slices.Max(times) ||
		h.MinOffset != slices.Min(offsets) || h.MaxOffset != slices.Max(offsets) {
		tb.Fatalf("header: %+v", h)
	}
}

func TestRoundTrip(t *testing.T) {
	all, times := shapes(), clocks()
	var e block.Encoder // one for all, as the store has
	for _, name := range sortedKeys(all) {
		t.Run(name, func(t *testing.T) {
			for _, c := range sortedKeys(times) {
				for _, n := range []int{1, 2, 3, 17, 64, 600} {
					rng := rand.New(rand.NewPCG(7, uint64(n)))
					checkRoundTrip(t, &e, []block.Series{fill(t, rng, 5, all[name](), times[c](rng, n), 1, 3)})
				}
			}
		})
	}
}

func TestRoundTripDevices(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	regular := clocks()["regular"](rng, 100)
	random := make([]uint64, 100)
	for i := range random {
		random[i] = rng.Uint64() >> 1
	}
	scattered := fill(t, rng, 1<<32-1, walk(1), regular, 1, 1)
	scattered.Offsets = random
	for name, ss := range map[string][]block.Series{
		"every shape":      everything(t, rng, 300),
		"sparse":           sparse(t, rng, 20, 500),
		"high cardinality": sparse(t, rng, 400, 400),
		"one time each":    sparse(t, rng, 40, 40),
		"ids at the bounds": {
			fill(t, rng, 0, walk(1), regular, 1, 2), fill(t, rng, 1<<32-2, walk(1), regular, 2, 2), scattered,
		},
		"offsets at the bounds": {
			fill(t, rng, 1, walk(1), regular[:1], 0, 1), fill(t, rng, 2, walk(1), regular[:1], 1<<63-1, 1), fill(t, rng, 3, walk(1), regular[:2], 5, 1<<62),
		},
		"late metric":  {fill(t, rng, 1, walk(1), regular, 1, 1), fill(t, rng, 2, walk(1), regular, 500, 1)},
		"part of time": {fill(t, rng, 1, walk(1), regular, 1, 2), fill(t, rng, 2, walk(1), regular[20:60], 42, 2)},
		"largest":      {fill(t, rng, 1, walk(2), clocks()["jittered"](rng, block.MaxReadings), 1, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			var e block.Encoder
			first := checkRoundTrip(t, &e, ss)
			if again := checkRoundTrip(t, &e, ss); !slices.Equal(first, again) {
				t.Error("an encoder that was used writes other bytes")
			}
		})
	}
}

// TestSizes holds shapes to the size that their character allows; each bound is
// little above what the codec reaches.
func TestSizes(t *testing.T) {
	all, times := shapes(), clocks()
	for _, c := range []struct {
		shape, clock string
		most         float64 // bytes a reading, of 4096
	}{
		{"constant", "regular", 0.02},
		{"counter", "regular", 0.02},
		{"step", "regular", 0.06},
		{"decimal walk", "regular", 0.32},
		{"levels", "regular", 0.46},
		{"noise", "regular", 1.30},
		{"float32", "regular", 1.55},
		{"computed", "regular", 1.60},
		{"sparse boolean", "regular", 0.05},
		{"text", "regular", 0.11},
		{"distinct text", "regular", 2.05},
		{"many digits", "regular", 7.40},
		{"any finite", "regular", 8.05},
		{"constant", "jittered", 1.20},
	} {
		rng := rand.New(rand.NewPCG(3, 4))
		s := fill(t, rng, 1, all[c.shape](), times[c.clock](rng, 4096), 1, 1)
		b := checkRoundTrip(t, &block.Encoder{}, []block.Series{s})
		if got := float64(len(b)) / 4096; got > c.most {
			t.Errorf("%s, %s: %.3f bytes a reading, at most %.2f", c.shape, c.clock, got, c.most)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	ts := []int64{1, 2, 3}
	good := func(id uint32) block.Series { return fill(t, rng, id, walk(1), ts, 1, 1) }
	with := func(change func(s *block.Series)) []block.Series {
		s := good(7)
		s.Times = slices.Clone(ts)
		change(&s)
		return []block.Series{good(6), s}
	}
	long := strings.Repeat("y", device.MaxTextLen)
	for name, c := range map[string]struct {
		series []block.Series
		want   error
	}{
		"nothing":        {nil, block.ErrInvalid},
		"no readings":    {with(func(s *block.Series) { s.Times, s.Offsets, s.Values = nil, nil, nil }), block.ErrInvalid},
		"equal times":    {with(func(s *block.Series) { s.Times[1] = s.Times[0] }), block.ErrInvalid},
		"times back":     {with(func(s *block.Series) { s.Times[1] = -5 }), block.ErrInvalid},
		"same id":        {with(func(s *block.Series) { s.ID = 6 }), block.ErrInvalid},
		"ids back":       {with(func(s *block.Series) { s.ID = 5 }), block.ErrInvalid},
		"offsets short":  {with(func(s *block.Series) { s.Offsets = s.Offsets[:2] }), block.ErrInvalid},
		"values short":   {with(func(s *block.Series) { s.Values = s.Values[:2] }), block.ErrInvalid},
		"no value":       {with(func(s *block.Series) { s.Values[1] = device.Value{} }), block.ErrInvalid},
		"offset too big": {with(func(s *block.Series) { s.Offsets[2] = 1 << 63 }), block.ErrInvalid},
		"too many": {
			[]block.Series{good(1), fill(t, rng, 2, walk(1), clocks()["regular"](rng, block.MaxReadings-2), 1, 1)},
			block.ErrTooLarge,
		},
		"too much text": {
			[]block.Series{fill(t, rng, 2, func(testing.TB, *rand.Rand, int) device.Value { return mustText(t, long) },
				clocks()["regular"](rng, block.MaxText/device.MaxTextLen+1), 1, 1)},
			block.ErrTooLarge,
		},
	} {
		var e block.Encoder
		b, err := block.Append([]byte("kept"), c.series, &e)
		if !errors.Is(err, c.want) || string(b) != "kept" {
			t.Errorf("%s: %q, %v, want %v", name, b, err, c.want)
		}
		checkRoundTrip(t, &e, []block.Series{good(1)}) // the encoder is still good
	}
}

func TestTidy(t *testing.T) {
	for name, c := range map[string]struct{ times, offsets, wantTimes, wantOffsets []int64 }{
		"empty":      {nil, nil, nil, nil},
		"in order":   {[]int64{1, 2, 3}, []int64{7, 8, 9}, []int64{1, 2, 3}, []int64{7, 8, 9}},
		"late":       {[]int64{1, 3, 2}, []int64{7, 8, 9}, []int64{1, 2, 3}, []int64{7, 9, 8}},
		"duplicates": {[]int64{5, 5, 1, 5, 1}, []int64{7, 9, 10, 8, 6}, []int64{1, 5}, []int64{10, 9}},
	} {
		var s block.Series
		for i, at := range c.times {
			s.Times = append(s.Times, at)
			s.Offsets = append(s.Offsets, uint64(c.offsets[i]))
			s.Values = append(s.Values, device.Int(c.offsets[i]))
		}
		s.Tidy()
		var offsets []int64
		for i, o := range s.Offsets {
			offsets = append(offsets, int64(o))
			if s.Values[i].Int() != int64(o) {
				t.Errorf("%s: value %d is another reading's", name, i)
			}
		}
		if !slices.Equal(s.Times, c.wantTimes) || !slices.Equal(offsets, c.wantOffsets) {
			t.Errorf("%s: times %v, offsets %v", name, s.Times, offsets)
		}
	}
}

func TestDecodeParts(t *testing.T) {
	want := sparse(t, rand.New(rand.NewPCG(9, 9)), 12, 200)
	b := checkRoundTrip(t, &block.Encoder{}, want)
	var d block.Decoder
	var s block.Series
	h, err := d.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range slices.Backward(h.Series) { // the order is free
		for part := range block.All + 1 {
			if err := d.Decode(i, part, &s); err != nil {
				t.Fatal(err)
			}
			w := block.Series{ID: want[i].ID, Times: []int64{}, Offsets: []uint64{}, Values: []device.Value{}}
			if part&block.Times != 0 {
				w.Times = want[i].Times
			}
			if part&block.Offsets != 0 {
				w.Offsets = want[i].Offsets
			}
			if part&block.Values != 0 {
				w.Values = want[i].Values
			}
			if !slices.Equal(w.Times, s.Times) || !slices.Equal(w.Offsets, s.Offsets) || !slices.Equal(w.Values, s.Values) || s.ID != w.ID {
				t.Fatalf("part %b of series %d differs", part, i)
			}
		}
	}
}

func TestDamage(t *testing.T) {
	b := checkRoundTrip(t, &block.Encoder{}, everything(t, rand.New(rand.NewPCG(5, 6)), 20))
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := block.Parse(b); !errors.Is(err, block.ErrDamaged) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
			b[i] ^= 1 << bit
		}
	}
	for n := range b {
		if _, err := block.Parse(b[:n]); !errors.Is(err, block.ErrDamaged) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
}

// golden compares b with the file, in hexadecimal, and returns the file's.
func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(hex.EncodeToString(b)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(b, want) {
		t.Errorf("%s: other bytes are written than before; if the format is still the same, run with -update", name)
	}
	return want
}

// TestGolden pins the format: blocks that were written once are read for ever.
func TestGolden(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	for name, ss := range map[string][]block.Series{
		"shapes": everything(t, rng, 40),
		"sparse": sparse(t, rand.New(rand.NewPCG(13, 14)), 8, 120),
		"one":    {{ID: 1, Times: []int64{epoch}, Offsets: []uint64{1841}, Values: []device.Value{mustFloat(t, 21.5)}}},
	} {
		want := golden(t, name, checkRoundTrip(t, &block.Encoder{}, ss))
		_, got, err := decodeAll(want)
		if err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(ss, got, sameValue); diff != "" {
			t.Errorf("%s: an old block reads differently (-want +got):\n%s", name, diff)
		}
	}
}

func TestFloatNeighbours(t *testing.T) {
	// Every float beside a decimal, on both sides, and the same in float32.
	var vs []device.Value
	for _, f := range []float64{0, 0.1, 93.722, 1e15, 123456.789, 1e-7} {
		up, down, up32 := f, f, float32(f)
		for range 20 {
			vs = append(vs, mustFloat(t, up), mustFloat(t, -up), mustFloat(t, down), mustFloat(t, float64(up32)))
			up, down, up32 = math.Nextafter(up, math.MaxFloat64), math.Nextafter(down, -1), math.Nextafter32(up32, math.MaxFloat32)
		}
	}
	s := block.Series{ID: 1, Values: vs}
	for i := range vs {
		s.Times = append(s.Times, int64(i))
		s.Offsets = append(s.Offsets, uint64(i))
	}
	checkRoundTrip(t, &block.Encoder{}, []block.Series{s})
}

// TestMemoryIsReused holds the second block to no allocation at all.
func TestMemoryIsReused(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	times := clocks()["jittered"](rng, 500)
	ss := []block.Series{
		fill(t, rng, 1, walk(100), times, 1, 3),
		fill(t, rng, 2, shapes()["computed"](), times, 2, 3),
		fill(t, rng, 3, shapes()["text"](), times[100:200], 303, 3),
	}
	var e block.Encoder
	var d block.Decoder
	var got block.Series
	b := checkRoundTrip(t, &e, ss)
	if n := testing.AllocsPerRun(20, func() {
		var err error
		if b, err = block.Append(b[:0], ss, &e); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Append allocates %.0f times", n)
	}
	if n := testing.AllocsPerRun(20, func() {
		if _, err := d.Open(b); err != nil {
			t.Fatal(err)
		}
		for i := range 2 { // a text is new every time
			if err := d.Decode(i, block.All, &got); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("Decode allocates %.0f times", n)
	}
}
