package block_test

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
)

// FuzzParse gives the decoder hostile blocks whose checksum is right: it must
// not panic nor take more memory than a block may hold, and what it takes must
// survive encoding.
func FuzzParse(f *testing.F) {
	rng := rand.New(rand.NewPCG(7, 8))
	for _, ss := range [][]block.Series{everything(f, rng, 30), sparse(f, rng, 9, 40), everything(f, rng, 2)[:3]} {
		f.Add(checkRoundTrip(f, &block.Encoder{}, ss))
	}
	f.Add(checkRollups(f, []block.Rollup{rollupOf(sparse(f, rng, 1, 90)[0], 5)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clone(b)
		block.Seal(b)
		var d block.Decoder
		h, err := d.Open(b)
		if err != nil {
			if !errors.Is(err, block.ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if h.Count > block.MaxReadings {
			t.Fatalf("%d readings", h.Count)
		}
		if h.Rollups {
			if rs, err := decodeRollups(b); err == nil {
				checkRollups(t, rs)
			}
			return
		}
		_, ss, err := decodeAll(b)
		if err != nil {
			return
		}
		for i, s := range ss {
			if g := h.Series[i]; len(s.Times) != g.Count || len(s.Values) != g.Count || len(s.Offsets) != g.Count ||
				s.Times[0] != g.MinTime || s.Times[g.Count-1] != g.MaxTime || slices.Min(s.Offsets) < h.MinOffset || slices.Max(s.Offsets) > h.MaxOffset {
				t.Fatalf("series %d is not what the header says: %+v", i, g)
			}
		}
		again, err := block.Append(nil, ss, &block.Encoder{})
		if err != nil {
			t.Fatal(err)
		}
		if _, got, err := decodeAll(again); err != nil || !gocmp.Equal(ss, got, sameValue) {
			t.Fatalf("%v (-want +got):\n%s", err, gocmp.Diff(ss, got, sameValue))
		}
	})
}

// source makes readings of fuzz bytes; when these are used up it gives zeros.
type source struct{ b []byte }

func (s *source) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	c := s.b[0]
	s.b = s.b[1:]
	return c
}

// number takes as many bytes as the first one says.
func (s *source) number() uint64 {
	var buf [8]byte
	n := copy(buf[:s.byte()%9], s.b)
	s.b = s.b[n:]
	return binary.LittleEndian.Uint64(buf[:])
}

func (s *source) value() device.Value {
	switch s.byte() % 8 {
	case 0:
		return device.Int(int64(s.number()))
	case 1:
		return device.Bool(s.byte()&1 == 1)
	case 2:
		n := min(int(s.byte()), len(s.b))
		v, err := device.Text(string(s.b[:n]))
		s.b = s.b[n:]
		if err != nil {
			return device.Bool(false)
		}
		return v
	case 3:
		return s.float(math.Float64frombits(s.number()))
	case 4:
		return s.float(float64(math.Float32frombits(uint32(s.number()))))
	}
	return s.float(float64(int32(s.number())) / []float64{1, 10, 100, 1e6}[s.byte()%4])
}

func (s *source) float(f float64) device.Value {
	v, err := device.Float(f)
	if err != nil {
		return device.Int(0)
	}
	return v
}

func (s *source) series() (ss []block.Series) {
	var shared []int64
	id := uint64(0)
	for len(ss) < 8 && len(s.b) > 0 {
		flags := s.byte()
		id += s.number() >> 40
		if id > math.MaxUint32 {
			break
		}
		r := block.Series{ID: uint32(id)}
		id++
		if flags&1 == 0 || shared == nil {
			shared = s.times(int(flags>>1)%40 + 1)
		}
		r.Times = shared
		offset := s.number() >> 1
		for range r.Times {
			r.Offsets = append(r.Offsets, offset)
			offset = (offset + s.number()) &^ (1 << 63)
			r.Values = append(r.Values, s.value())
		}
		ss = append(ss, r)
	}
	return ss
}

func (s *source) times(n int) (ts []int64) {
	t := int64(s.number())
	for range n {
		ts = append(ts, t)
		next := t + int64(s.number()&(1<<62-1)) + 1
		if next <= t {
			break
		}
		t = next
	}
	return ts
}

// FuzzRoundTrip encodes readings of all kinds: what is decoded must be the same
// to the bit.
func FuzzRoundTrip(f *testing.F) {
	rng := rand.New(rand.NewPCG(17, 18))
	for _, n := range []int{10, 100, 1000, 4000} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.IntN(rng.IntN(256) + 1))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := source{b}
		if ss := s.series(); len(ss) > 0 {
			checkRoundTrip(t, &block.Encoder{}, ss)
		}
	})
}
