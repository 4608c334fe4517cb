package storage

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
)

var update = flag.Bool("update", false, "write the golden files anew")

// numbered is a reading whose series is an id, as a batch has it.
type numbered struct {
	ID             uint32
	Time, Received device.Time
	Value          device.Value
}

// build returns the batch of these readings; prev gives the previous batch of
// each series.
func build(first uint64, rs []numbered, prev map[uint32]uint64) *batch {
	var b builder
	index := map[uint32]int{}
	hints := map[uint32]*uint8{}
	for _, n := range rs {
		r := device.Reading{Time: n.Time, Received: n.Received, Value: n.Value}
		if b.count == 0 {
			b.start(first, &r)
		}
		if hints[n.ID] == nil {
			hints[n.ID] = new(uint8)
			index[n.ID] = b.addSeries(n.ID, prev[n.ID])
		}
		b.add(index[n.ID], &r, hints[n.ID])
	}
	return &b.batch
}

// decode returns the readings of an encoded batch.
func decode(key uint64, enc []byte) (rs []numbered, b batch, err error) {
	if err := b.parse(key, enc); err != nil {
		return nil, b, err
	}
	if _, err := b.unpack(nil); err != nil {
		return nil, b, err
	}
	for r := b.reader(); ; {
		ok, err := r.next(nil)
		if !ok {
			return rs, b, err
		}
		rs = append(rs, numbered{b.dict[r.row.index].id, r.row.time, r.row.received, r.row.value})
	}
}

func checkRoundTrip(t *testing.T, first uint64, rs []numbered, prev map[uint32]uint64) []byte {
	t.Helper()
	b := build(first, rs, prev)
	enc, _ := appendBatch(nil, b, nil)
	got, dec, err := decode(first, enc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rs, got, sameValue); diff != "" {
		t.Errorf("readings (-want +got):\n%s", diff)
	}
	if dec.time != b.time || dec.received != b.received || dec.count != len(rs) {
		t.Errorf("header %+v %+v %d, want %+v %+v %d", dec.time, dec.received, dec.count, b.time, b.received, len(rs))
	}
	if diff := cmp.Diff(b.dict, dec.dict, cmp.AllowUnexported(dictEntry{})); diff != "" {
		t.Errorf("dictionary (-want +got):\n%s", diff)
	}
	return enc
}

func TestBatchFloats(t *testing.T) {
	floats := []float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, -0.1, 20.48, 1.005, 1e-7, 123456.789, 1e15, 1 << 47, 1<<47 - 1, 1 << 53, 1<<53 + 2,
		math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 2.2250738585072014e-308,
		5.827000141143799, float64(float32(0.3)), 93.72200000000001, math.Pi, 1e22, 1e23, 52.1234567, 3e-22, 1e300, 0.30000000000000004,
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		f := math.Float64frombits(rng.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			continue
		}
		floats = append(floats, f)
		m := math.Trunc(rng.NormFloat64() * 1e5)
		floats = append(floats, m/pow10[rng.IntN(len(pow10))], m*1e9, float64(float32(rng.NormFloat64())))
	}
	for len(floats) > 0 {
		n := min(len(floats), maxBatchReadings)
		var rs []numbered
		for i, f := range floats[:n] {
			rs = append(rs, numbered{ID: uint32(1 + i%3), Value: float(t, f)})
		}
		checkRoundTrip(t, 1, rs, nil)
		floats = floats[n:]
	}
}

func TestBatchRoundTrip(t *testing.T) {
	long, err := device.Text(strings.Repeat("é", device.MaxTextLen/2))
	if err != nil {
		t.Fatal(err)
	}
	for name, rs := range map[string][]numbered{
		"one":      {{ID: 1, Value: device.Int(1)}},
		"integers": {{1, 5, 6, device.Int(math.MinInt64)}, {1, 5, 6, device.Int(math.MaxInt64)}, {1, 5, 6, device.Int(0)}},
		"booleans": {{9, 5, 6, device.Bool(true)}, {9, 5, 7, device.Bool(false)}},
		"text":     {{2, 5, 6, long}, {1, 5, 6, mustText(t, "")}, {2, 5, 6, mustText(t, "n/a")}},
		"kinds in one series": {
			{3, 1, 1, device.Int(1)}, {3, 2, 1, float(t, 1)}, {3, 3, 1, device.Bool(true)}, {3, 4, 1, mustText(t, "1")},
		},
		"times back and forth": {
			{1, 1_000_000, 5, device.Int(0)}, {2, 0, 900, device.Int(0)}, {1, -7_000, 4, device.Int(0)}, {2, 1, 5, device.Int(0)},
		},
		"ids at the bounds": {{maxSeries, 0, 0, device.Int(0)}, {1, 0, 0, device.Int(0)}, {maxSeries - 1, 0, 0, device.Int(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			checkRoundTrip(t, 1000, rs, map[uint32]uint64{1: 999, 2: 1, 3: 500})
			checkRoundTrip(t, 1, rs, nil)
			checkRoundTrip(t, 1<<62, rs, map[uint32]uint64{1: 7})
		})
	}
	t.Run("random", func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for range 200 {
			checkRoundTrip(t, rng.Uint64N(1<<40)+1, randomBatch(t, rng), nil)
		}
	})
}

func mustText(t testing.TB, s string) device.Value {
	t.Helper()
	v, err := device.Text(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func randomBatch(t testing.TB, rng *rand.Rand) (rs []numbered) {
	for range 1 + rng.IntN(300) {
		n := numbered{
			ID:       1 + rng.Uint32N(40),
			Time:     device.Time(rng.Int64N(1 << 50)),
			Received: device.Time(1e15 + rng.Int64N(1e6)),
		}
		switch rng.IntN(4) {
		case 0:
			n.Value = float(t, math.Round(rng.NormFloat64()*1e4)/100)
		case 1:
			n.Value = device.Int(rng.Int64() >> rng.IntN(64))
		case 2:
			n.Value = device.Bool(rng.IntN(2) == 0)
		case 3:
			n.Value = mustText(t, strings.Repeat("x", rng.IntN(20)))
		}
		rs = append(rs, n)
	}
	return rs
}

func TestBatchDamage(t *testing.T) {
	rs := randomBatch(t, rand.New(rand.NewPCG(5, 6)))
	enc, _ := appendBatch(nil, build(77, rs, nil), nil)
	for i := range enc {
		for bit := range 8 {
			enc[i] ^= 1 << bit
			if _, _, err := decode(77, enc); err == nil {
				t.Fatalf("bit %d of byte %d flipped: no error", bit, i)
			}
			enc[i] ^= 1 << bit
		}
	}
	for n := range enc {
		if _, _, err := decode(77, enc[:n]); err == nil {
			t.Fatalf("cut after %d bytes: no error", n)
		}
	}
	if _, _, err := decode(78, enc); err == nil {
		t.Error("under another key: no error")
	}
}

// golden is a batch with every form of row.
func golden(t testing.TB) []numbered {
	t0 := device.Time(1764000000123000)
	vs := []device.Value{
		float(t, 21.5), float(t, -7), float(t, math.Copysign(0, -1)), float(t, 1e-9), float(t, math.Pi), float(t, float64(float32(0.3))),
		device.Int(-3), device.Int(1 << 40), device.Bool(true), device.Bool(false), mustText(t, "open"), float(t, 1e300),
	}
	var rs []numbered
	for i, v := range vs {
		rs = append(rs, numbered{
			ID: uint32(1 + i%5), Time: t0 + device.Time(i/4*1000+i/6), Received: t0 + device.Time(i/4*1234), Value: v,
		})
	}
	for i := range 50 { // enough repetition for compression to pay
		rs = append(rs, numbered{ID: 7, Time: t0 + device.Time(i)*1_000_000, Received: t0 + device.Time(i)*1_000_000, Value: float(t, 19.25)})
	}
	return rs
}

// TestBatchGolden pins the format by what it was when the files were written.
// Compression may give other bytes on another machine, so a compressed batch
// is only decoded.
func TestBatchGolden(t *testing.T) {
	all := golden(t)
	for name, rs := range map[string][]numbered{"plain": all[:8], "packed": all} {
		t.Run(name, func(t *testing.T) {
			const first = 4711
			enc := checkRoundTrip(t, first, rs, map[uint32]uint64{1: 4000, 2: 4000, 3: 17})
			file := filepath.Join("testdata", "batch-"+name+".golden")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(hex.EncodeToString(enc)+"\n"), 0o644); err != nil {
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
			got, b, err := decode(first, want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(rs, got, sameValue); diff != "" {
				t.Errorf("an old batch reads differently (-want +got):\n%s", diff)
			}
			if compressed := want[0]&batchPacked != 0; compressed != (name == "packed") {
				t.Errorf("compressed: %v", compressed)
			}
			if b.dict[0].prev != 4000 || b.dict[2].prev != 17 || b.dict[3].prev != 0 {
				t.Errorf("previous batches: %+v", b.dict)
			}
			if name == "plain" && !bytes.Equal(want, enc) {
				t.Errorf("the format has changed: written %x, want %x", enc, want)
			}
		})
	}
}

// FuzzBatch gives the decoder sealed batches with hostile contents: it must
// not panic, and what it takes must survive encoding.
func FuzzBatch(f *testing.F) {
	enc, _ := appendBatch(nil, build(4711, golden(f), map[uint32]uint64{1: 4000}), nil)
	f.Add(uint64(4711), enc)
	rng := rand.New(rand.NewPCG(7, 8))
	for range 4 {
		enc, _ := appendBatch(nil, build(1, randomBatch(f, rng), nil), nil)
		f.Add(uint64(1), enc)
	}
	f.Fuzz(func(t *testing.T, key uint64, enc []byte) {
		if len(enc) >= batchPrefix {
			enc = bytes.Clone(enc)
			binary.LittleEndian.PutUint32(enc[1:], batchSum(key, enc))
		}
		rs, b, err := decode(key, enc)
		if err != nil || len(rs) != b.count {
			return
		}
		prev := map[uint32]uint64{}
		for _, e := range b.dict {
			prev[e.id] = e.prev
		}
		again, _ := appendBatch(nil, build(key, rs, prev), nil)
		got, _, err := decode(key, again)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rs, got) {
			t.Errorf("(-want +got):\n%s", cmp.Diff(rs, got, sameValue))
		}
	})
}
