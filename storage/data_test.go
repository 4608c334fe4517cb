package storage

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/naru-telemetry/naru/device"
)

// dataEnv names a folder of *.csv.gz files with the columns device, metric,
// Unix milliseconds and value, and a header line.
const dataEnv = "NARU_DATA"

// eachRow calls fn with the readings of a file.
func eachCSV(tb testing.TB, path string, fn func(device.Reading)) {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Scan()
	for lines.Scan() {
		p := strings.SplitN(lines.Text(), ",", 4)
		ms, err := strconv.ParseFloat(p[2], 64)
		if err != nil {
			tb.Fatal(err)
		}
		r := device.Reading{Device: device.ID(p[0]), Metric: device.Metric(p[1]), Time: device.Time(ms * 1000)}
		r.Received = r.Time
		if x, err := strconv.ParseFloat(p[3], 64); err == nil {
			r.Value = float(tb, x)
		} else if b, err := strconv.ParseBool(p[3]); err == nil {
			r.Value = device.Bool(b)
		} else {
			r.Value = mustText(tb, p[3])
		}
		fn(r)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
}

// TestDataAtRest stores the sets that NARU_DATA names, reads them back bit by
// bit, and tells what they take.
func TestDataAtRest(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(os.Getenv(dataEnv), "*.csv.gz"))
	if err != nil || os.Getenv(dataEnv) == "" || len(paths) == 0 {
		t.Skip(dataEnv + " names no folder with data")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { dataAtRest(t, path) })
	}
}

func dataAtRest(t *testing.T, path string) {
	var all []device.Reading
	eachCSV(t, path, func(r device.Reading) { all = append(all, r) })
	readingsAtRest(t, all)
}

// readingsAtRest stores the readings, reads them back bit by bit, open and sealed,
// and tells the bytes a reading that they take; those of the sealed are returned.
func readingsAtRest(t *testing.T, all []device.Reading) (sealed float64) {
	t.Helper()
	l := openLog(t, Config{RetainAge: -1, LogAge: -1})
	start := time.Now()
	for rs := range slices.Chunk(all, 1000) {
		if _, err := l.Append(rs); err != nil {
			t.Fatal(err)
		}
		if err := l.commit(commitDue); err != nil {
			t.Fatal(err)
		}
		select {
		case <-l.pressed:
			if err := l.relieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		default:
		}
	}
	if err := l.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(t.Context(), allDevices); err != nil {
		t.Fatal(err)
	}
	n := checkAtRest(t, l, all)
	s := l.Stats()
	t.Logf("open: %d readings of %d, %d files, %d bytes: %.3f bytes/reading, in %v", n, len(all), s.HistoryFiles, s.HistoryBytes, float64(s.HistoryBytes)/float64(n), time.Since(start))
	start = time.Now()
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = l.Stats()
	sealed = float64(s.HistoryBytes) / float64(n)
	t.Logf("sealed: %d files, %d bytes: %.3f bytes/reading, in %v", s.HistoryFiles, s.HistoryBytes, sealed, time.Since(start))
	for _, v := range l.shelf.volumes() {
		t.Logf("  %s %d bytes", v.name, v.bytes.Load())
	}
	checkAtRest(t, l, all)
	return sealed
}

// checkAtRest checks that what is read is what was appended, and returns how many
// readings that is.
func checkAtRest(t *testing.T, l *Log, all []device.Reading) int {
	t.Helper()
	type key struct {
		device.Series
		device.Time
	}
	want := map[key]device.Value{}
	for _, r := range all {
		want[key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}] = r.Value
	}
	got := 0
	err := l.Read(t.Context(), device.Query{}, func(r *device.Stored) error {
		got++
		k := key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}
		if want[k] != r.Value {
			t.Fatalf("%+v is %v, want %v", k, r.Value, want[k])
		}
		return nil
	})
	n, countErr := l.Count(t.Context(), device.Query{})
	if err != nil || countErr != nil || got != len(want) || int(n) != got {
		t.Errorf("%d readings, %v, counted %d, %v, want %d", got, err, n, countErr, len(want))
	}
	return got
}

// TestShapesAtRest stores sets of shapes that the data at hand do not have.
func TestShapesAtRest(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long where the processor is emulated")
	}
	const n = 30_000
	begin := device.Time(490_000 * 3600e6)
	rng := rand.New(rand.NewPCG(51, 52))
	every := func(d time.Duration, value func(i int) device.Value) (rs []device.Reading) {
		for i := range n {
			rs = append(rs, device.Reading{Device: "d", Metric: "m", Time: begin.Add(time.Duration(i) * d), Value: value(i)})
		}
		return rs
	}
	walk := 0.0
	for name, rs := range map[string][]device.Reading{
		"constant": every(time.Second, func(int) device.Value { return float(t, 21.5) }),
		"counter":  every(10*time.Second, func(i int) device.Value { return device.Int(int64(1_000_000 + i*17)) }),
		"random walk": every(time.Second, func(int) device.Value {
			walk += rng.NormFloat64()
			return float(t, math.Round(walk*100)/100)
		}),
		"steps": every(time.Second, func(i int) device.Value { return device.Int(int64(i / 1000 % 7)) }),
		"float32 as double": every(time.Second, func(i int) device.Value {
			return float(t, float64(float32(20+5*math.Sin(float64(i)/100)+rng.NormFloat64()/10)))
		}),
		"noise":    every(time.Second, func(int) device.Value { return float(t, rng.NormFloat64()) }),
		"switches": every(time.Minute, func(i int) device.Value { return device.Bool(i%997 < 400) }),
		"states": every(30*time.Second, func(int) device.Value {
			return mustText(t, []string{"idle", "heating", "cooling", "error: sensor 7 does not answer"}[rng.IntN(4)])
		}),
		"texts":             every(time.Minute, func(i int) device.Value { return mustText(t, fmt.Sprintf("request %d took %d ms", i, rng.IntN(1000))) }),
		"many series":       wide(t, rng, 2000, 20, 10*time.Second),
		"sparse":            wide(t, rng, 20, 300, 7*time.Hour),
		"devices of a size": fleetReadings(n),
	} {
		t.Run(name, func(t *testing.T) {
			if sealed := readingsAtRest(t, rs); sealed > 20 {
				t.Errorf("%.2f bytes/reading", sealed)
			}
		})
	}
}

// wide returns rounds of readings of so many series of ten devices, a round every
// step, give or take half of one.
func wide(t *testing.T, rng *rand.Rand, series, rounds int, step time.Duration) (rs []device.Reading) {
	for round := range rounds {
		for s := range series {
			at := device.Time(490_000 * 3600e6).Add(time.Duration(round) * step).Add(time.Duration(rng.Int64N(int64(step / 2))))
			rs = append(rs, device.Reading{
				Device: device.ID(fmt.Sprint("d", s%10)), Metric: device.Metric(fmt.Sprintf("cpu.usage{cpu=cpu%d}", s)),
				Time: at, Value: float(t, math.Round(rng.Float64()*1000)/10),
			})
		}
	}
	return rs
}

func fleetReadings(n int) (all []device.Reading) {
	f := newFleet(25)
	f.now = 490_000 * 3600e6
	for len(all) < n {
		all = append(all, f.fill(nil, 100)...)
	}
	return all
}
