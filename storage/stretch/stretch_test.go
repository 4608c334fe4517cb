package stretch_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	bolt "go.etcd.io/bbolt"

	"github.com/naru-telemetry/naru/device"
	"github.com/naru-telemetry/naru/storage/block"
	"github.com/naru-telemetry/naru/storage/boltfile"
	"github.com/naru-telemetry/naru/storage/stretch"
)

var update = flag.Bool("update", false, "write the golden file anew")

// readings returns a block with a reading of a series at each time; offsets begin
// with the first time's index times 10.
func readings(tb testing.TB, id uint32, offset uint64, times ...int64) []byte {
	tb.Helper()
	s := block.Series{ID: id, Times: times}
	for i := range times {
		s.Offsets = append(s.Offsets, offset+uint64(i))
		s.Values = append(s.Values, device.Int(int64(i)))
	}
	b, err := block.Append(nil, []block.Series{s}, &block.Encoder{})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// rollups returns a block with a rollup of a series at each time.
func rollups(tb testing.TB, id uint32, starts ...int64) []byte {
	tb.Helper()
	r := block.Rollup{ID: id, Starts: starts}
	for i := range starts {
		x := float64(i)
		r.Min, r.Max, r.Sum, r.Counts = append(r.Min, x), append(r.Max, x+1), append(r.Sum, 2*x+1), append(r.Counts, 2)
	}
	b, err := block.AppendRollups(nil, []block.Rollup{r}, &block.Encoder{})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// run is what one Put stores.
type run struct {
	tier   stretch.Tier
	device uint32
	time   int64
	series uint32
	blocks [][]byte
}

// create makes a file with runs and devices and returns its path.
func create(tb testing.TB, m stretch.Meta, runs []run, devices []stretch.Device) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "a.db")
	f, err := stretch.Create(path, m, nil)
	if err != nil {
		tb.Fatal(err)
	}
	err = f.Update(func(tx stretch.Tx) error {
		for _, r := range runs {
			if err := tx.Put(r.tier, r.device, r.time, r.series, r.blocks...); err != nil {
				return err
			}
		}
		for i := range devices {
			if err := tx.PutDevice(&devices[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Finish(); err != nil {
		tb.Fatal(err)
	}
	return path
}

func open(tb testing.TB, path string, sealed bool) *stretch.File {
	tb.Helper()
	f, err := stretch.Open(path, sealed, nil)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.Close(); err != nil {
			tb.Error(err)
		}
	})
	return f
}

func never(tb testing.TB) func(error) {
	return func(err error) {
		tb.Helper()
		tb.Errorf("damaged: %v", err)
	}
}

var rawMeta = stretch.Meta{Kind: stretch.Raw, Store: "abcdefgh", Start: -1000, End: 1000}

// spans returns the times of the pieces, as MIN..MAX.
func spans(t *testing.T, f *stretch.File, tier stretch.Tier, number uint32, from, to int64) (out []string) {
	t.Helper()
	err := f.View(func(tx stretch.Tx) error {
		return tx.Pieces(tier, number, from, to, func(p *stretch.Piece) error {
			b, err := tx.Block(p)
			if err != nil {
				return err
			}
			var h block.Header
			if err := h.Parse(b); err != nil {
				return err
			}
			if p.Device != number || p.Tier != tier || h.Count != p.Count || h.MinTime != p.MinTime || h.MaxTime != p.MaxTime ||
				h.MinOffset != p.MinOffset || h.MaxOffset != p.MaxOffset || p.Bytes() != len(b) {
				t.Errorf("piece %+v of block %+v", p, h)
			}
			out = append(out, fmt.Sprintf("%d..%d", p.MinTime, p.MaxTime))
			return nil
		}, never(t))
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPieces lists ranges and the blocks that may have times of them.
func TestPieces(t *testing.T) {
	path := create(t, rawMeta, []run{
		{stretch.Readings, 1, -100, 0, [][]byte{readings(t, 1, 1, -100, -90), readings(t, 1, 3, -80, -50), readings(t, 1, 5, -10, 10)}},
		{stretch.Readings, 1, 100, 0, [][]byte{readings(t, 1, 7, 100)}},
		// Series of one time, and a time of the key that is below the block's.
		{stretch.Readings, 1, 200, 0, [][]byte{readings(t, 1, 8, 200, 210)}},
		{stretch.Readings, 1, 200, 7, [][]byte{readings(t, 7, 10, 200, 220)}},
		{stretch.Readings, 1, 290, 0, [][]byte{readings(t, 1, 12, 300, 310)}},
		{stretch.Readings, 2, 0, 0, [][]byte{readings(t, 2, 14, 0, 500)}},
		{stretch.Readings, 4, math.MinInt64, 0, [][]byte{readings(t, 4, 16, math.MinInt64, -1<<62, math.MaxInt64)}},
		{stretch.ByMinute, 1, -100, 0, [][]byte{rollups(t, 1, -100, 0, 100)}},
	}, nil)
	f := open(t, path, true)
	all := []string{"-100..-90", "-80..-50", "-10..10", "100..100", "200..210", "200..220", "300..310"}
	for name, c := range map[string]struct {
		tier     stretch.Tier
		device   uint32
		from, to int64
		want     []string
	}{
		"all":                   {stretch.Readings, 1, math.MinInt64, math.MaxInt64, all},
		"before":                {stretch.Readings, 1, -1000, -101, nil},
		"behind":                {stretch.Readings, 1, 311, 1000, nil},
		"first moment":          {stretch.Readings, 1, -1000, -100, all[:1]},
		"last moment":           {stretch.Readings, 1, 310, 1000, all[6:]},
		"inside a block":        {stretch.Readings, 1, -70, -60, all[1:2]},
		"between two of a run":  {stretch.Readings, 1, -89, -81, nil},
		"between two runs":      {stretch.Readings, 1, 11, 99, nil},
		"over two runs":         {stretch.Readings, 1, -20, 150, all[2:4]},
		"around zero":           {stretch.Readings, 1, 0, 0, all[2:3]},
		"both of one time":      {stretch.Readings, 1, 205, 205, all[4:6]},
		"the longer of the two": {stretch.Readings, 1, 215, 215, all[5:6]},
		"behind the key only":   {stretch.Readings, 1, 291, 299, nil},
		"upside down":           {stretch.Readings, 1, 300, 200, nil},
		"another device":        {stretch.Readings, 2, 400, 450, []string{"0..500"}},
		"no device":             {stretch.Readings, 3, math.MinInt64, math.MaxInt64, nil},
		"before all devices":    {stretch.Readings, 0, math.MinInt64, math.MaxInt64, nil},
		"the ends of time":      {stretch.Readings, 4, math.MaxInt64, math.MaxInt64, []string{"-9223372036854775808..9223372036854775807"}},
		"rollups":               {stretch.ByMinute, 1, 1, 50, []string{"-100..100"}},
		"no rollups":            {stretch.ByHour, 1, math.MinInt64, math.MaxInt64, nil},
	} {
		if diff := cmp.Diff(c.want, spans(t, f, c.tier, c.device, c.from, c.to)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	n := 0
	err := f.View(func(tx stretch.Tx) error {
		return tx.AllPieces(stretch.Readings, func(*stretch.Piece) error { n++; return nil }, never(t))
	})
	if err != nil || n != len(all)+2 {
		t.Errorf("AllPieces: %d, %v, want %d", n, err, len(all)+2)
	}
	stop := errors.New("stop")
	err = f.View(func(tx stretch.Tx) error {
		return tx.Pieces(stretch.Readings, 1, -1000, 1000, func(*stretch.Piece) error { return stop }, never(t))
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of the function", err)
	}
}

// TestReplaced puts and deletes runs of a cold file.
func TestReplaced(t *testing.T) {
	m := rawMeta
	m.Kind = stretch.Cold
	path := create(t, m, []run{
		{stretch.Readings, 1, 0, 0, [][]byte{readings(t, 1, 1, 0, 10)}},
		{stretch.Readings, 1, 20, 0, [][]byte{readings(t, 1, 3, 20)}},
		{stretch.Readings, 1, 20, 5, [][]byte{readings(t, 5, 4, 20)}},
	}, nil)
	f := open(t, path, false)
	ids := map[int]bool{}
	err := f.Update(func(tx stretch.Tx) error {
		ids[tx.ID()] = true
		return tx.Put(stretch.Readings, 1, 0, 0, readings(t, 1, 1, 0, 5, 15))
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0..15", "20..20", "20..20"}, spans(t, f, stretch.Readings, 1, -1000, 1000)); diff != "" {
		t.Errorf("replaced (-want +got):\n%s", diff)
	}
	err = f.Update(func(tx stretch.Tx) error {
		ids[tx.ID()] = true
		var last stretch.Piece
		err := tx.Pieces(stretch.Readings, 1, 20, 20, func(p *stretch.Piece) error { last = *p; return nil }, never(t))
		if err != nil {
			return err
		}
		return tx.Delete(&last)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0..15", "20..20"}, spans(t, f, stretch.Readings, 1, -1000, 1000)); diff != "" {
		t.Errorf("deleted (-want +got):\n%s", diff)
	}
	err = f.View(func(tx stretch.Tx) error { ids[tx.ID()] = true; return nil })
	if err != nil || len(ids) != 2 {
		t.Errorf("states %v, %v: want one of each update, the last for who looks after it", ids, err)
	}
	if err := f.Update(func(tx stretch.Tx) error { return tx.Put(stretch.Readings, 1, 0, 0, []byte("no block")) }); err == nil {
		t.Error("something that is no block was stored")
	}
	if err := f.SetEnd(500); err != nil || f.End != 500 {
		t.Errorf("end %d, %v", f.End, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, path, false); again.End != 500 {
		t.Errorf("end %d when it is opened again", again.End)
	}
}

var devices = []stretch.Device{
	{Number: 1, Name: "gh1", Done: 90, MinTime: -40, MaxTime: 70, MinOffset: 3, MaxOffset: 88, Series: []stretch.Series{
		{ID: 1, Metric: "air.temperature", Count: 50, Rolled: [stretch.Tiers]bool{false, true, true}},
		{ID: 4, Metric: "cpu.usage{cpu=cpu0}", Count: 1},
		{ID: math.MaxUint32, Metric: "door", Count: 1 << 40, Rolled: [stretch.Tiers]bool{false, false, true}},
	}},
	{Number: 2, Name: "empty"},
	{
		Number: math.MaxUint32, Name: device.ID(strings.Repeat("d", device.MaxIDLen)), Done: math.MaxUint64,
		MinTime: math.MinInt64, MaxTime: math.MaxInt64, MinOffset: 0, MaxOffset: math.MaxUint64,
		Series: []stretch.Series{{ID: 7, Metric: device.Metric(strings.Repeat("m", device.MaxMetricLen)), Count: 1}},
	},
}

func TestDevices(t *testing.T) {
	f := open(t, create(t, rawMeta, nil, devices), true)
	var got []stretch.Device
	err := f.View(func(tx stretch.Tx) error {
		err := tx.Devices(func(d *stretch.Device) error { got = append(got, *d); return nil }, func(_ uint32, err error) { t.Error(err) })
		if err != nil {
			return err
		}
		for _, want := range devices {
			d, ok, err := tx.Device(want.Number)
			if diff := cmp.Diff(want, d, cmpopts.EquateEmpty()); !ok || err != nil || diff != "" {
				t.Errorf("device %d: %v, %v (-want +got):\n%s", want.Number, ok, err, diff)
			}
		}
		if d, ok, err := tx.Device(3); ok || err != nil || d.Name != "" {
			t.Errorf("a device that is not there: %+v, %v, %v", d, ok, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(devices, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if n := devices[0].Count(); n != 51+1<<40 {
		t.Errorf("%d readings", n)
	}
}

// editFile changes the file through bbolt.
func editFile(t *testing.T, path string, fn func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(fn); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDamage damages single entries: each is told, and the rest is read.
func TestDamage(t *testing.T) {
	flip := func(bucket string, at int) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			k, v := b.Cursor().First()
			v = bytes.Clone(v)
			v[(at+len(v))%len(v)] ^= 4
			return b.Put(bytes.Clone(k), v)
		}
	}
	put := func(bucket, key, value string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucket)).Put([]byte(key), []byte(value)) }
	}
	key := string(append(binaryKey(1, -100), 0, 0, 0, 0))
	for name, c := range map[string]struct {
		edit            func(*bolt.Tx) error
		pieces, devices int
		told, unnamed   int // unnamed: of told, devices whose number is not known
	}{
		"nothing":           {func(*bolt.Tx) error { return nil }, 3, 3, 0, 0},
		"sum of a run":      {flip("raw", 0), 1, 3, 1, 0},
		"directory":         {flip("raw", 5), 1, 3, 1, 0},
		"short run":         {put("raw", key, "abc"), 1, 3, 1, 0},
		"cut run":           {put("raw", key, "abcd\x02"), 1, 3, 1, 0},
		"short key":         {put("raw", "\x00\x00\x00\x01", "x"), 3, 3, 1, 0},
		"sum of a device":   {flip("devices", 0), 3, 2, 1, 0},
		"name of a device":  {flip("devices", 6), 3, 2, 1, 0},
		"device under none": {put("devices", "x", "y"), 3, 3, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			path := create(t, rawMeta, []run{
				{stretch.Readings, 1, -100, 0, [][]byte{readings(t, 1, 1, -100, -90), readings(t, 1, 3, -80)}},
				{stretch.Readings, 1, 100, 0, [][]byte{readings(t, 1, 7, 100)}},
			}, devices)
			editFile(t, path, c.edit)
			f := open(t, path, true)
			pieces, found, told, unnamed := 0, 0, 0, 0
			err := f.View(func(tx stretch.Tx) error {
				damaged := func(err error) {
					told++
					if !errors.Is(err, stretch.ErrDamaged) {
						t.Errorf("told: %v", err)
					}
				}
				err := tx.Devices(func(*stretch.Device) error { found++; return nil }, func(number uint32, err error) {
					damaged(err)
					if number == 0 {
						unnamed++
					}
				})
				if err != nil {
					return err
				}
				return tx.AllPieces(stretch.Readings, func(*stretch.Piece) error { pieces++; return nil }, damaged)
			})
			if err != nil || pieces != c.pieces || found != c.devices || told != c.told || unnamed != c.unnamed {
				t.Errorf("%d pieces, %d devices, told %d (%d without number), %v; want %+v", pieces, found, told, unnamed, err, c)
			}
		})
	}
}

func binaryKey(number byte, time int64) []byte {
	k := []byte{0, 0, 0, number}
	u := uint64(time) ^ 1<<63
	for shift := 56; shift >= 0; shift -= 8 {
		k = append(k, byte(u>>shift))
	}
	return k
}

// TestOpen lists files that are not those of the history, or not of this version.
func TestOpen(t *testing.T) {
	meta := func(text string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("meta"), boltfile.Seal([]byte("meta"), []byte(text)))
		}
	}
	drop := func(bucket string) func(*bolt.Tx) error {
		return func(tx *bolt.Tx) error { return tx.DeleteBucket([]byte(bucket)) }
	}
	for name, c := range map[string]struct {
		edit   func(*bolt.Tx) error
		sealed bool
		want   error
	}{
		"sound":          {func(*bolt.Tx) error { return nil }, true, nil},
		"not a cold one": {func(*bolt.Tx) error { return nil }, false, boltfile.ErrStructure},
		"newer":          {meta(`{"format":2,"kind":"raw","store":"abcdefgh","start":1,"end":2,"more":true}`), true, boltfile.ErrNewerFormat},
		"no format":      {meta(`{"kind":"raw","start":1,"end":2}`), true, boltfile.ErrStructure},
		"no kind":        {meta(`{"format":1,"kind":"1d","start":1,"end":2}`), true, boltfile.ErrStructure},
		"no stretch":     {meta(`{"format":1,"kind":"raw","start":2,"end":2}`), true, boltfile.ErrStructure},
		"no JSON":        {meta(`format 1`), true, boltfile.ErrStructure},
		"bad sum": {func(tx *bolt.Tx) error {
			return tx.Bucket([]byte("meta")).Put([]byte("meta"), []byte(`1234{"format":1,"kind":"raw","start":1,"end":2}`))
		}, true, boltfile.ErrStructure},
		"no meta":    {drop("meta"), true, boltfile.ErrStructure},
		"no devices": {drop("devices"), true, boltfile.ErrStructure},
		"no tier":    {drop("1h"), true, boltfile.ErrStructure},
	} {
		path := create(t, rawMeta, nil, devices)
		editFile(t, path, c.edit)
		f, err := stretch.Open(path, c.sealed, nil)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if err == nil {
			if diff := cmp.Diff(stretch.Meta{Format: 1, Kind: "raw", Store: "abcdefgh", Start: -1000, End: 1000}, f.Meta); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
			err = f.Close()
		}
		if err != nil && c.want == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := create(t, rawMeta, nil, nil)
	if _, err := stretch.Create(path, rawMeta, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("a file that is there is made: %v", err)
	}
	if _, err := stretch.Open(path+"x", true, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there is opened: %v", err)
	}
	if _, err := os.Stat(path + "x"); !errors.Is(err, os.ErrNotExist) {
		t.Error("opening made a file")
	}
}

// TestTruncated cuts a sealed file at every KiB, and a bit behind.
func TestTruncated(t *testing.T) {
	path := create(t, rawMeta, []run{{stretch.Readings, 1, 0, 0, [][]byte{readings(t, 1, 1, slices.Collect(times(2000))...)}}}, devices)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(whole, "\x00"))
	for n := 1024; n < len(whole); n += 1024 {
		for _, at := range []int{n - 100, n} {
			if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := stretch.Open(path, true, nil)
			switch {
			case err == nil:
				if got := spans(t, f, stretch.Readings, 1, math.MinInt64, math.MaxInt64); at < used || len(got) != 1 {
					t.Errorf("of %d bytes, %d used, %d are enough to be opened: %v", len(whole), used, at, got)
				}
				if err := f.Close(); err != nil {
					t.Error(err)
				}
			case !errors.Is(err, boltfile.ErrStructure):
				t.Errorf("cut at %d: %v", at, err)
			}
		}
	}
}

// times yields n times with pseudorandom steps.
func times(n int) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		x, at := uint32(1), int64(0)
		for range n {
			if !yield(at) {
				return
			}
			x = x*1664525 + 1013904223
			at += int64(x>>8) + 1
		}
	}
}

// TestGolden holds the layout of keys and values against a file.
func TestGolden(t *testing.T) {
	path := create(t, rawMeta, []run{
		{stretch.Readings, 1, -100, 0, [][]byte{readings(t, 1, 1, -100, -90), readings(t, 1, 3, -80, -50)}},
		{stretch.Readings, 1, -100, 7, [][]byte{readings(t, 7, 10, -100)}},
		{stretch.ByMinute, 1, -60e6, 0, [][]byte{rollups(t, 1, -60e6, 0)}},
		{stretch.ByHour, 1, 0, 0, [][]byte{rollups(t, 1, 0)}},
	}, devices)
	var out strings.Builder
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				fmt.Fprintf(&out, "%s %s\n", name, hex.EncodeToString(k))
				for line := range slices.Chunk(v, 32) {
					fmt.Fprintf(&out, "\t%s\n", hex.EncodeToString(line))
				}
				return nil
			})
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "file.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != string(want) {
		t.Errorf("other bytes are written than before; if the format is still the same, run with -update:\n%s", out.String())
	}
}
