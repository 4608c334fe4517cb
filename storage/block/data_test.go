package block_test

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
)

// dataEnv names a folder of *.csv.gz files with the columns device, metric,
// Unix milliseconds and value, and a header line.
const dataEnv = "NARU_DATA"

// stream is the readings of one device in the order of their arrival.
type stream []device.Stored

func loadStreams(tb testing.TB, file string) map[device.ID]stream {
	tb.Helper()
	f, err := os.Open(file)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	streams := map[device.ID]stream{}
	lines := bufio.NewScanner(z)
	lines.Scan()
	for n := uint64(1); lines.Scan(); n++ {
		p := strings.SplitN(lines.Text(), ",", 4)
		ms, err := strconv.ParseInt(p[2], 10, 64)
		if err != nil {
			tb.Fatal(err)
		}
		d := device.ID(p[0])
		streams[d] = append(streams[d], device.Stored{Offset: n, Reading: device.Reading{
			Device: d, Metric: device.Metric(p[1]), Time: device.Time(ms * 1000), Value: parseValue(tb, p[3]),
		}})
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return streams
}

// parseValue takes every number for a float, as most devices send them.
func parseValue(tb testing.TB, s string) device.Value {
	if b, err := strconv.ParseBool(s); err == nil && len(s) > 1 {
		return device.Bool(b)
	}
	if x, err := strconv.ParseFloat(s, 64); err == nil {
		return mustFloat(tb, x)
	}
	return mustText(tb, s)
}

// cut makes blocks of size readings each; the last one is shorter.
func (st stream) cut(size int) (blocks [][]block.Series) {
	ids := map[device.Metric]uint32{}
	for len(st) > 0 {
		n := min(size, len(st))
		index := map[uint32]int{}
		var b []block.Series
		for _, r := range st[:n] {
			id, ok := ids[r.Metric]
			if !ok {
				id = uint32(len(ids) + 1)
				ids[r.Metric] = id
			}
			i, ok := index[id]
			if !ok {
				i = len(b)
				index[id] = i
				b = append(b, block.Series{ID: id})
			}
			b[i].Times = append(b[i].Times, int64(r.Time))
			b[i].Offsets = append(b[i].Offsets, r.Offset)
			b[i].Values = append(b[i].Values, r.Value)
		}
		slices.SortFunc(b, func(x, y block.Series) int { return int(x.ID) - int(y.ID) })
		for i := range b {
			b[i].Tidy()
		}
		blocks = append(blocks, b)
		st = st[n:]
	}
	return blocks
}

// BenchmarkData encodes and decodes real readings: block after block, all
// parts, and reports bytes and nanoseconds a reading.
func BenchmarkData(b *testing.B) {
	dir := os.Getenv(dataEnv)
	if dir == "" {
		b.Skip("no folder of data in " + dataEnv)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no data in %s: %v", dir, err)
	}
	for _, file := range files {
		streams := loadStreams(b, file)
		for _, size := range []int{512, 2048, 4096, 8192, 16384} {
			var blocks [][]block.Series
			for _, s := range streams {
				blocks = append(blocks, s.cut(size)...)
			}
			b.Run(strings.TrimSuffix(filepath.Base(file), ".csv.gz")+"/"+strconv.Itoa(size), func(b *testing.B) {
				benchBlocks(b, blocks)
			})
		}
	}
}

func benchBlocks(b *testing.B, blocks [][]block.Series) {
	var enc block.Encoder
	var dec block.Decoder
	var buf []byte
	var got block.Series
	var raw, values, offsets time.Duration
	var n, size, plain int
	decode := func(want block.Part, took *time.Duration) {
		start := time.Now()
		h, err := dec.Open(buf)
		if err != nil {
			b.Fatal(err)
		}
		for i := range h.Series {
			if err := dec.Decode(i, want, &got); err != nil {
				b.Fatal(err)
			}
		}
		*took += time.Since(start)
	}
	for b.Loop() {
		for _, s := range blocks {
			start := time.Now()
			var err error
			if buf, err = block.Append(buf[:0], s, &enc); err != nil {
				b.Fatal(err)
			}
			raw += time.Since(start)
			decode(block.Times|block.Values, &values)
			decode(block.All, &offsets)
			size += len(buf)
			for i := range s {
				n += len(s[i].Times)
			}
			plain += block.OffsetBytes(buf)
		}
	}
	per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / float64(n) }
	b.ReportMetric(float64(size)/float64(n), "B/reading")
	b.ReportMetric(float64(plain)/float64(n), "offsetB/reading")
	b.ReportMetric(per(raw), "enc-ns/reading")
	b.ReportMetric(per(values), "dec-ns/reading")
	b.ReportMetric(per(offsets), "dec+offset-ns/reading")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRollups does the same for the rollups of real readings.
func BenchmarkRollups(b *testing.B) {
	dir := os.Getenv(dataEnv)
	if dir == "" {
		b.Skip("no folder of data in " + dataEnv)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.csv.gz"))
	if err != nil || len(files) == 0 {
		b.Fatalf("no data in %s: %v", dir, err)
	}
	for _, file := range files {
		streams := loadStreams(b, file)
		for _, step := range []time.Duration{time.Minute, time.Hour} {
			b.Run(strings.TrimSuffix(filepath.Base(file), ".csv.gz")+"/"+step.String(), func(b *testing.B) {
				var enc block.Encoder
				var buf []byte
				var size, buckets, readings int
				var took time.Duration
				for b.Loop() {
					for _, s := range streams {
						for _, rs := range s.rollUp(step.Microseconds(), 4096) {
							start := time.Now()
							if buf, err = block.AppendRollups(buf[:0], rs, &enc); err != nil {
								b.Fatal(err)
							}
							took += time.Since(start)
							size += len(buf)
							for i := range rs {
								buckets += len(rs[i].Starts)
							}
						}
						readings += len(s)
					}
				}
				b.ReportMetric(float64(size)/float64(buckets), "B/bucket")
				b.ReportMetric(float64(size)/float64(readings), "B/reading")
				b.ReportMetric(float64(took.Nanoseconds())/float64(buckets), "enc-ns/bucket")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// rollUp sums up the numbers and booleans of a stream in buckets of step
// microseconds, and cuts them into blocks of about size buckets.
func (st stream) rollUp(step int64, size int) (blocks [][]block.Rollup) {
	for _, b := range st.cut(block.MaxReadings) {
		var rs []block.Rollup
		total := 0
		for i := range b {
			s := &b[i]
			if s.Values[0].Kind() == device.KindText {
				continue
			}
			r := block.Rollup{ID: s.ID}
			for j, t := range s.Times {
				var v float64
				if s.Values[j].Kind() == device.KindFloat {
					v = s.Values[j].Float()
				} else if s.Values[j].Bool() {
					v = 1
				}
				n := len(r.Starts) - 1
				if n < 0 || r.Starts[n] != t-t%step {
					r.Starts, r.Counts = append(r.Starts, t-t%step), append(r.Counts, 1)
					r.Min, r.Max, r.Sum = append(r.Min, v), append(r.Max, v), append(r.Sum, v)
					continue
				}
				r.Counts[n]++
				r.Min[n], r.Max[n], r.Sum[n] = min(r.Min[n], v), max(r.Max[n], v), r.Sum[n]+v
			}
			total += len(r.Starts)
			rs = append(rs, r)
		}
		blocks = append(blocks, cutRollups(rs, max(total/size, 1))...)
	}
	return blocks
}

func cutRollups(rs []block.Rollup, n int) (blocks [][]block.Rollup) {
	for k := range n {
		var b []block.Rollup
		for i := range rs {
			r := &rs[i]
			lo, hi := len(r.Starts)*k/n, len(r.Starts)*(k+1)/n
			if lo < hi {
				b = append(b, block.Rollup{
					ID: r.ID, Starts: r.Starts[lo:hi], Counts: r.Counts[lo:hi],
					Min: r.Min[lo:hi], Max: r.Max[lo:hi], Sum: r.Sum[lo:hi],
				})
			}
		}
		if len(b) > 0 {
			blocks = append(blocks, b)
		}
	}
	return blocks
}
