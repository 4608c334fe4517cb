package storage

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/boltfile"
)

// fleet makes readings of typical sensors: packets of four metrics from many
// devices, with two decimals, jitter, a counter, a state.
type fleet struct {
	rng     *rand.Rand
	devices []device.ID
	values  [][4]float64
	now     device.Time
	at      int
}

func newFleet(devices int) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(11, 12)), now: device.TimeOf(time.Now())}
	for i := range devices {
		f.devices = append(f.devices, device.ID("greenhouse-"+strconv.Itoa(i)))
		f.values = append(f.values, [4]float64{20 + f.rng.Float64()*5, 50 + f.rng.Float64()*20, 1013, 3.3})
	}
	return f
}

var fleetMetrics = [4]device.Metric{"air.temperature", "air.humidity", "air.pressure", "battery.voltage"}

// fill makes n readings that span a second.
func (f *fleet) fill(rs []device.Reading, n int) []device.Reading {
	rs = rs[:0]
	for range n / 4 {
		f.now = f.now.Add(time.Second / time.Duration(n/4))
		i := f.at % len(f.devices)
		f.at++
		received := f.now + device.Time(f.rng.Int64N(900))
		for m, step := range [4]float64{0.03, 0.1, 0.05, 0.001} {
			v := &f.values[i][m]
			*v += f.rng.NormFloat64() * step
			val, err := device.Float(math.Round(*v*100) / 100)
			if err != nil {
				panic(err)
			}
			rs = append(rs, device.Reading{
				Device: f.devices[i], Metric: fleetMetrics[m], Time: (f.now - 40_000) / 1000 * 1000, Received: received, Value: val,
			})
		}
	}
	return rs
}

func benchBatch(n int) (*batch, []device.Reading) {
	f := newFleet(25)
	var rs []device.Reading
	var b builder
	rs = f.fill(rs, n)
	ids, hints := map[device.Series]int{}, map[int]*uint8{}
	b.start(1_000_000, &rs[0])
	for i := range rs {
		key := device.Series{Device: rs[i].Device, Metric: rs[i].Metric}
		index, ok := ids[key]
		if !ok {
			index = b.addSeries(uint32(len(ids)+1), 1_000_000-100)
			ids[key], hints[index] = index, new(uint8)
		}
		b.add(index, &rs[i], hints[index])
	}
	return &b.batch, rs
}

func BenchmarkBatchEncode(b *testing.B) {
	for _, n := range []int{100, 4096} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			_, rs := benchBatch(n)
			series := map[device.Series]int{}
			index := make([]int, n)
			for i := range rs {
				key := device.Series{Device: rs[i].Device, Metric: rs[i].Metric}
				if _, ok := series[key]; !ok {
					series[key] = len(series)
				}
				index[i] = series[key]
			}
			hints := make([]uint8, len(series))
			var enc, scratch []byte
			for b.Loop() {
				var bb builder
				bb.start(1_000_000, &rs[0])
				for i := range rs {
					if index[i] == len(bb.dict) {
						bb.addSeries(uint32(index[i]+1), 1_000_000-100)
					}
					bb.add(index[i], &rs[i], &hints[index[i]])
				}
				enc, scratch = appendBatch(enc[:0], &bb.batch, scratch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/reading")
			b.ReportMetric(float64(len(enc))/float64(n), "B/reading")
		})
	}
}

func BenchmarkBatchDecode(b *testing.B) {
	for _, n := range []int{100, 4096} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			src, _ := benchBatch(n)
			enc, _ := appendBatch(nil, src, nil)
			var dec batch
			var scratch []byte
			for b.Loop() {
				if err := dec.parse(1_000_000, enc); err != nil {
					b.Fatal(err)
				}
				var err error
				if scratch, err = dec.unpack(scratch); err != nil {
					b.Fatal(err)
				}
				for r := dec.reader(); ; {
					if ok, err := r.next(nil); err != nil {
						b.Fatal(err)
					} else if !ok {
						break
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/reading")
		})
	}
}

// BenchmarkAppend appends as fast as the writer commits, 100 readings a call.
func BenchmarkAppend(b *testing.B) {
	l := runLog(b, Config{})
	f := newFleet(25)
	calls := make([][]device.Reading, 500)
	for i := range calls {
		calls[i] = f.fill(nil, 100)
	}
	i := 0
	for b.Loop() {
		for {
			_, err := l.Append(calls[i%len(calls)])
			if err == nil {
				break
			}
			if err := l.Room(context.Background(), 100); err != nil {
				b.Fatal(err)
			}
		}
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100), "ns/reading")
}

// filled returns a log with n committed readings, 100 a commit, at dir.
func filled(b *testing.B, dir string, n int) *Log {
	b.Helper()
	l := openLog(b, Config{Dir: dir})
	fillLog(b, l, n)
	return l
}

func fillLog(b *testing.B, l *Log, n int) {
	b.Helper()
	f := newFleet(25)
	var rs []device.Reading
	for i := range n / 100 {
		rs = f.fill(rs, 100)
		if _, err := l.Append(rs); err != nil {
			b.Fatal(err)
		}
		// Many batches a commit: how they are split is what is measured.
		l.mu.Lock()
		l.sealLocked()
		l.mu.Unlock()
		if i%100 == 99 {
			if err := l.commit(commitAll); err != nil {
				b.Fatal(err)
			}
		}
	}
}

const benchReadings = 500_000

func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	if err := filled(b, dir, benchReadings).Close(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := Open(Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchReadings), "ns/reading")
}

func BenchmarkRead(b *testing.B) {
	l := filled(b, b.TempDir(), benchReadings)
	one, err := device.NewSelector([]string{"greenhouse-7"}, []string{"air.temperature"})
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]device.Query{"all": {}, "desc": {Desc: true}, "series": {Selector: one}} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				if err := l.Read(b.Context(), q, func(*device.Stored) error { n++; return nil }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/reading")
		})
	}
	b.Run("latest100", func(b *testing.B) {
		for b.Loop() {
			if _, _, err := l.Latest(b.Context(), device.Selector{}, 100); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("after", func(b *testing.B) {
		after := uint64(benchReadings / 2)
		for b.Loop() {
			if _, _, err := l.After(b.Context(), device.Selector{}, after, 100); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWrittenBytes commits 100 readings at a time and reports what goes
// to the file: the pages that bbolt writes.
func BenchmarkWrittenBytes(b *testing.B) {
	for _, n := range []int{4, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			// Small enough to be in the steady state, where pages are reused.
			l := openLog(b, Config{LogSize: 2 << 20})
			f := newFleet(25)
			var rs []device.Reading
			commit := func() {
				rs = f.fill(rs, n)
				if _, err := l.Append(rs); err != nil {
					b.Fatal(err)
				}
				if err := l.commit(commitAll); err != nil {
					b.Fatal(err)
				}
			}
			for range 500 {
				commit()
			}
			pages := l.db.Stats().TxStats
			io := writtenByProcess(b)
			start := pages.GetPageAlloc()
			batches := l.Stats().BatchBytes
			for b.Loop() {
				commit()
			}
			pages = l.db.Stats().TxStats
			readings := float64(b.N * n)
			// The meta page is written by each commit, and not counted there.
			b.ReportMetric((float64(pages.GetPageAlloc()-start)+float64(b.N*boltfile.PageSize))/readings, "page-B/reading")
			b.ReportMetric(float64(writtenByProcess(b)-io)/readings, "io-B/reading")
			b.ReportMetric(float64(l.Stats().BatchBytes-batches)/readings, "batch-B/reading")
		})
	}
}

// BenchmarkWear replays 100 readings a second, committed every 1, 5 or 10 s, with
// what the keeper does each minute, in the time of the readings: an operation is
// a second. NARU_BENCH_DIR names a folder on the file system whose device is
// watched; written-B is what commits have written.
func BenchmarkWear(b *testing.B) {
	for _, every := range []int{1, 5, 10} {
		b.Run(fmt.Sprintf("commit=%ds", every), func(b *testing.B) {
			dir := os.Getenv("NARU_BENCH_DIR")
			if dir == "" {
				dir = b.TempDir()
			}
			dir = filepath.Join(dir, fmt.Sprint(every, time.Now().UnixNano()))
			l := openLog(b, Config{Dir: dir, LogSize: 16 << 20})
			f := newFleet(25)
			var rs []device.Reading
			seconds := 0
			second := func() {
				rs = f.fill(rs, 100)
				if _, err := l.Append(rs); err != nil {
					b.Fatal(err)
				}
				if seconds++; seconds%every == 0 {
					if err := l.commit(commitAll); err != nil {
						b.Fatal(err)
					}
				}
				if seconds%60 == 0 {
					if err := l.tend(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
			for range 600 {
				second()
			}
			start := l.written.Load()
			for b.Loop() {
				second()
			}
			b.ReportMetric(float64(l.written.Load()-start)/float64(b.N*100), "written-B/reading")
		})
	}
}

// writtenByProcess returns write_bytes of /proc/self/io, which counts a page
// each time it becomes dirty; 0 where there is none.
func writtenByProcess(b *testing.B) (n int64) {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "write_bytes: %d", &n); err == nil {
			return n
		}
	}
	return 0
}
