package storage

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
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
	l := openLog(t, Config{RetainAge: -1, LogAge: -1})
	var rs, all []device.Reading
	start := time.Now()
	push := func() {
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
		rs = rs[:0]
	}
	eachCSV(t, path, func(r device.Reading) {
		all = append(all, r)
		if rs = append(rs, r); len(rs) == 1000 {
			push()
		}
	})
	push()
	if err := l.tend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(t.Context(), allDevices); err != nil {
		t.Fatal(err)
	}
	n, err := l.Count(t.Context(), device.Query{})
	if err != nil {
		t.Fatal(err)
	}
	s := l.Stats()
	t.Logf("open: %d readings of %d, %d files, %d bytes: %.3f bytes/reading, in %v", n, len(all), s.HistoryFiles, s.HistoryBytes, float64(s.HistoryBytes)/float64(n), time.Since(start))
	start = time.Now()
	if err := l.sealAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = l.Stats()
	t.Logf("sealed: %d files, %d bytes: %.3f bytes/reading, in %v", s.HistoryFiles, s.HistoryBytes, float64(s.HistoryBytes)/float64(n), time.Since(start))
	for _, v := range l.shelf.volumes() {
		t.Logf("  %s %d bytes", v.name, v.bytes.Load())
	}
	type key struct {
		device.Series
		device.Time
	}
	want := map[key]device.Value{}
	for _, r := range all {
		want[key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}] = r.Value
	}
	got := 0
	err = l.Read(t.Context(), device.Query{}, func(r *device.Stored) error {
		got++
		k := key{device.Series{Device: r.Device, Metric: r.Metric}, r.Time}
		if want[k] != r.Value {
			t.Fatalf("%+v is %v, want %v", k, r.Value, want[k])
		}
		return nil
	})
	if err != nil || got != len(want) || int(n) != got {
		t.Errorf("%d readings, %v, counted %d, want %d", got, err, n, len(want))
	}
}
